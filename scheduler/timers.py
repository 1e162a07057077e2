"""APScheduler, set up as this service needs it. Jobs carry a name and nothing else; the job store is memory.

APScheduler's own defaults would drop a job that is a second late: grace, coalescing and instances are set explicitly.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

#: Bulkheads: what waits for one side can't starve the others. Threads of each.
EXECUTORS: Final = {"lanes": 2, "microsoft": 16, "vault": 4, "timers": 2}
OVERLAPPING: Final = 1000


class Timers:
    """Runs callables at wall times. Thread-safe."""

    def __init__(self) -> None:
        """Set up; nothing runs before `start`."""
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={name: ThreadPoolExecutor(threads) for name, threads in EXECUTORS.items()},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def every(self, interval: timedelta, name: str, action: Callable[[], None], executor: str) -> None:
        """Run the action at each interval, never twice at once."""
        self._scheduler.add_job(
            action,
            "interval",
            seconds=interval.total_seconds(),
            id=name,
            name=name,
            executor=executor,
            replace_existing=True,
        )

    def at(self, when: datetime, name: str, action: Callable[..., None], executor: str, *args: str) -> None:
        """Run the action once at this time, in place of what was planned under this name.

        It may overlap with a run that is just ending: APScheduler would drop a one-shot job that meets its own last run.
        """
        self._scheduler.add_job(
            action,
            "date",
            run_date=when,
            id=name,
            name=name,
            executor=executor,
            args=args,
            replace_existing=True,
            max_instances=OVERLAPPING,
        )

    def planned(self, name: str) -> datetime | None:
        """Return when the job under this name runs next, or None."""
        job = self._scheduler.get_job(name)
        return job.next_run_time if job else None

    def stop(self) -> None:
        """Begin nothing more and wait for what runs."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
