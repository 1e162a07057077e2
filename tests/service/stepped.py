"""``python -m tests.service.stepped``: the service with a wall clock that a test sets, by writing seconds into the file STEPPED_BY.

Everything in the process that reads the wall clock to decide something reads this one: the service's own clock and
APScheduler. The monotonic clocks are the system's, as when somebody sets a machine's clock.
"""

import os
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import apscheduler.executors.base
import apscheduler.schedulers.base
import apscheduler.triggers.interval

from scheduler import __main__, clocks, timers

STEP = Path(os.environ["STEPPED_BY"])


class Stepped(datetime):
    """A datetime whose `now` is the system's and the step."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        moved = datetime.now(tz) + timedelta(seconds=float(STEP.read_text()))
        return cls.combine(moved.date(), moved.timetz())


if __name__ == "__main__":
    for module in (clocks, timers, apscheduler.executors.base, apscheduler.schedulers.base, apscheduler.triggers.interval):
        vars(module)["datetime"] = Stepped
    sys.exit(__main__.main())
