"""The lease, where a write takes long or meets somebody else's: it is never thought to last longer than others think."""

from collections.abc import Callable
from datetime import timedelta

from scheduler.leadership import Leadership
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from vault_plugin.core.documents import Document
from vault_plugin.core.lease import LEADER, LEADS_FOR, TAKEN_AFTER, Leader

SECOND = timedelta(seconds=1)


class Slow(MemoryStore):
    """A store whose writes land at once, and are answered later."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] = bool

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        version = super().write(name, document, cas=cas, give_up_after=give_up_after)
        self.meanwhile()
        return version


def leadership(store: MemoryStore, clock: FakeClock, instance: str) -> Leadership:
    return Leadership(store, clock, instance, "0.1.0")


def test_the_lease_counts_from_before_its_write() -> None:
    """Others count from when they see the version, which may be as soon as it was sent."""
    store, clock = Slow(), FakeClock()
    leader = leadership(store, clock, "a:1")
    begun = clock.monotonic()
    store.meanwhile = lambda: clock.advance(4 * SECOND)

    leader.tick()

    assert leader.leads()
    clock.advance(begun + LEADS_FOR - SECOND / 10 - clock.monotonic())
    assert leader.leads()
    clock.advance(SECOND / 5)
    assert not leader.leads()


def test_whoever_stops_calling_has_stopped_before_another_begins_however_slow_its_last_write_was() -> None:
    """The standby sees the version as soon as it stands; the leader is held up for eight seconds before it has its answer."""
    store, clock = Slow(), FakeClock()
    first, second = leadership(store, clock, "a:1"), leadership(store, clock, "b:1")

    def held_up() -> None:
        second.tick()
        clock.advance(8 * SECOND)

    store.meanwhile = held_up
    first.tick()
    store.meanwhile = bool

    for _ in range(20):
        clock.advance(SECOND)
        second.tick()
        assert not (first.leads() and second.leads())
    assert second.leads()
    assert TAKEN_AFTER > LEADS_FOR


def test_a_term_ends_when_somebody_else_has_led_though_the_lease_is_free_again() -> None:
    """What it knows is of before: it begins anew, if it leads again."""
    store, clock = MemoryStore(), FakeClock()
    first, second = leadership(store, clock, "a:1"), leadership(store, clock, "b:1")
    first.tick()
    clock.advance(20 * SECOND)
    second.tick()
    clock.advance(20 * SECOND)
    second.tick()
    assert second.leads()
    second.release()
    first.tick()  # its write meets another version
    first.tick()

    assert not first.holds()
    released = store.read(Leader, LEADER).document
    assert released is not None
    assert released.released
    first.tick()
    assert first.leads()
