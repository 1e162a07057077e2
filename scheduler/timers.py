"""APScheduler, set up as this service needs it. Jobs carry a name and nothing else; the job store is memory.

APScheduler's own defaults would drop a job that is a second late: grace, coalescing and instances are set explicitly.
"""

import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

OVERLAPPING: Final = 1000


class Timers:
    """Runs callables at wall times. Thread-safe."""

    def __init__(self, executors: Mapping[str, int]) -> None:
        """Set up executors of so many threads; what is planned waits for `start`."""
        self._executors = {name: ThreadPoolExecutor(threads) for name, threads in executors.items()}
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors=self._executors,
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._scheduler.start(paused=True)  # a job knows its time only in a scheduler that was started

    def start(self) -> None:
        """Begin."""
        self._scheduler.resume()

    def every(self, interval: timedelta, name: str, action: Callable[[], object], executor: str) -> None:
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

    def at(self, when: datetime, name: str, action: Callable[..., object], executor: str, *args: str) -> None:
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

    def shift(self, step: timedelta) -> None:
        """Move everything planned by this much: the wall clock was set, and waiting isn't wall time.

        What is done at an interval may have run since, and be planned by the new clock already: it waits no longer than one.
        """
        for job in self._scheduler.get_jobs():
            if job.next_run_time is not None:
                moved, interval = job.next_run_time + step, getattr(job.trigger, "interval", None)
                latest = moved if interval is None else datetime.now(UTC) + interval
                with contextlib.suppress(JobLookupError):  # it has just run
                    job.modify(next_run_time=min(moved, latest))

    def stop(self) -> None:
        """Begin nothing more and wait for what runs."""
        self._scheduler.pause()
        self._scheduler.get_jobs()  # waits for a round that is under way: its thread would break on a scheduler that is gone
        for executor in self._executors.values():
            executor.shutdown(wait=True)  # APScheduler waits with its locks held: a job that plans another would never end
        self._scheduler.shutdown(wait=True)
