"""Timers that a test plays, and executors that do at once what they are given: a scheduler on the test's own thread."""

import itertools
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from tests.fakes.clock import FakeClock

#: So many jobs are never due at one time, unless one of them plans itself.
MANY: Final = 1_000


class AtOnce(Executor):
    """Stands for a `ThreadPoolExecutor`: whatever is submitted is done by whoever submits it."""

    def __init__(self, *_: object, **__: object) -> None:
        self._stopped = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._stopped:
            msg = "cannot schedule new futures after shutdown"
            raise RuntimeError(msg)
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's own
        self._stopped = True


@dataclass
class Job:
    """What is to be done at a time, and again after an interval, if it has one."""

    at: datetime
    number: int
    action: Callable[..., object]
    args: tuple[str, ...] = ()
    interval: timedelta | None = None


class PlayedTimers:
    """Stands for `scheduler.timers.Timers`: nothing runs but by `play`, in the order of time."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        #: What jobs raised; a test that expects some clears it.
        self.broke: list[Exception] = []
        self._jobs: dict[str, Job] = {}
        self._numbers = itertools.count()

    def start(self) -> None:
        """Begin: it is `play` that does."""

    def stop(self) -> None:
        self._jobs.clear()

    def every(self, interval: timedelta, name: str, action: Callable[[], object], executor: str) -> None:
        self._jobs[name] = Job(self._clock.now() + interval, next(self._numbers), action, (), interval)

    def at(self, when: datetime, name: str, action: Callable[..., object], executor: str, *args: str) -> None:
        self._jobs[name] = Job(when, next(self._numbers), action, args)

    def shift(self, step: timedelta) -> None:
        for job in self._jobs.values():
            job.at += step

    def play(self, length: timedelta) -> None:
        """Let this much time pass, and do what falls due in it."""
        until, done_at_once = self._clock.now() + length, 0
        while True:
            name, job = min(self._jobs.items(), key=lambda item: (item[1].at, item[1].number), default=("", None))
            if job is None or job.at > until:
                break
            wait = max(job.at - self._clock.now(), timedelta(0))
            done_at_once = 0 if wait else done_at_once + 1
            assert done_at_once < MANY, f"{name} is planned for now again and again"
            self._clock.advance(wait)
            if job.interval is None:
                del self._jobs[name]
            else:
                job.at, job.number = self._clock.now() + job.interval, next(self._numbers)
            try:
                job.action(*job.args)
            except Exception as error:  # as APScheduler, which goes on without it
                self.broke.append(error)
        self._clock.advance(until - self._clock.now())
