"""The status that stands in the end, whatever order its threads ran in."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.test_rotations import Scheduler
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Status
from vault_plugin.core.states import Reason, State


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    yield made
    made.stop()


def credential(scheduler: Scheduler, state: State, generation: int) -> Credential:
    return Credential(since=scheduler.clock.now(), state=state, reason=Reason.REFRESHED, generation=generation)


def test_what_was_wished_last_stands_though_the_write_before_it_is_slow(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start tells of an attempt that is under way; the attempt ends before that is written."""
    writing, goes_on = threading.Event(), threading.Event()
    write = scheduler.store.write

    def slow(name: str, document: Any, *, cas: int, give_up_after: timedelta | None = None) -> int:
        if isinstance(document, Status) and document.state == State.ROTATING:
            writing.set()
            assert goes_on.wait(60)
        return write(name, document, cas=cas, give_up_after=give_up_after)

    monkeypatch.setattr(scheduler.store, "write", slow)
    scheduler.publisher.tell("acme", credential(scheduler, State.ROTATING, 1))
    assert writing.wait(60)
    scheduler.publisher.tell("acme", credential(scheduler, State.ACTIVE, 2))
    threading.Timer(0.2, goes_on.set).start()  # longer or shorter, the end is the same
    settled(scheduler, State.ACTIVE)


def test_a_rotation_that_a_revocation_overtook_is_not_told(scheduler: Scheduler) -> None:
    """The wish of the rotation comes late, with what it wrote itself."""
    scheduler.store.write("acme", credential(scheduler, State.REVOKED, 3), cas=0)
    scheduler.publisher.tell("acme")
    settled(scheduler, State.REVOKED)
    scheduler.publisher.tell("acme", credential(scheduler, State.ACTIVE, 2))
    scheduler.publisher._writers.shutdown(wait=True)

    assert status(scheduler) is State.REVOKED


def status(scheduler: Scheduler) -> State | None:
    document = scheduler.store.read(Status, "acme").document
    return State(document.state) if document else None


def settled(scheduler: Scheduler, state: State) -> None:
    """Wait until nothing is to be told any more, and look."""
    waiting = threading.Event()
    for _ in range(6000):
        with scheduler.publisher._lock:
            if not scheduler.publisher._to_tell and not scheduler.publisher._telling:
                break
        waiting.wait(0.01)
    assert status(scheduler) is state


def test_the_sweep_publishes_what_an_outage_left_unpublished(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody else's: neither what stands already, nor what is yet to be read for the first time."""
    asked: list[str] = []
    monkeypatch.setattr(scheduler.timers, "at", lambda _when, _name, _action, _executor, name: asked.append(name))
    scheduler.memory.update("missing", generation=2, published=1)
    scheduler.memory.update("stands", generation=2, published=2)
    scheduler.memory.update("unread", generation=2, published=-1)
    scheduler.publisher.publish_missing()

    assert asked == ["missing"]
