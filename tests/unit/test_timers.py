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
    assert ran.wait(60)


def test_a_clock_set_back_by_ten_minutes_silences_nothing(timers: Timers) -> None:
    """Planned as before the step, ten minutes too late; moved along, it runs at once."""
    ran = threading.Event()
    timers.start()
    timers.at(datetime.now(UTC) + timedelta(minutes=10), "late", ran.set, "one")
    assert not ran.wait(0.3)
    timers.shift(timedelta(minutes=-10))
    assert ran.wait(60)


def test_what_ran_before_a_step_was_noticed_isnt_moved_by_it_again(timers: Timers) -> None:
    """It was planned by the new clock already: moved once more it would be silent for as long as the step."""
    again = threading.Event()
    timers.start()
    timers.every(timedelta(seconds=0.2), "round", again.set, "one")
    assert again.wait(60)
    timers.shift(timedelta(minutes=10))
    again.clear()
    assert again.wait(60)


def test_a_job_that_is_late_runs_all_the_same(timers: Timers) -> None:
    """APScheduler's own default would drop it."""
    ran = threading.Event()
    timers.start()
    timers.at(datetime.now(UTC) - timedelta(hours=1), "old", ran.set, "one")
    assert ran.wait(60)


def test_what_still_runs_at_the_stop_may_plan_its_next_time() -> None:
    """A poll whose answer comes as we stop plans the next one, and must not wait for the stop that waits for it."""
    timers = Timers({"one": 1})
    running, over = threading.Event(), threading.Event()

    def plan() -> None:
        running.set()
        while not over.wait(0.01):
            timers.at(datetime.now(UTC) + timedelta(hours=1), "next", running.set, "one")

    timers.at(datetime.now(UTC), "poll", plan, "one")
    timers.start()
    assert running.wait(60)
    stopping = threading.Thread(target=timers.stop, daemon=True)
    stopping.start()
    stopping.join(1)  # time for the stop to begin waiting; longer or shorter, the end is the same
    over.set()
    stopping.join(60)

    assert not stopping.is_alive()
