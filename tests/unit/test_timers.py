"""The timers: APScheduler as we set it up."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.timers import Timers


@pytest.fixture
def timers() -> Iterator[Timers]:
    made = Timers({"one": 1})
    yield made
    made.stop()


def test_what_is_planned_before_the_start_is_known_and_waits(timers: Timers) -> None:
    """A lane's next tick can be moved forward while the credentials are still read."""
    ran = threading.Event()
    timers.at(datetime.now(UTC), "tick", ran.set, "one")
    assert not ran.wait(0.3)
    timers.start()
    assert ran.wait(5)


def test_a_clock_set_back_by_ten_minutes_silences_nothing(timers: Timers) -> None:
    """Planned as before the step, ten minutes too late; moved along, it runs at once."""
    ran = threading.Event()
    timers.start()
    timers.at(datetime.now(UTC) + timedelta(minutes=10), "late", ran.set, "one")
    assert not ran.wait(0.3)
    timers.shift(timedelta(minutes=-10))
    assert ran.wait(5)


def test_a_job_that_is_late_runs_all_the_same(timers: Timers) -> None:
    """APScheduler's own default would drop it."""
    ran = threading.Event()
    timers.start()
    timers.at(datetime.now(UTC) - timedelta(hours=1), "old", ran.set, "one")
    assert ran.wait(5)
