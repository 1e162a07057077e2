"""The leader lease: by observed version, on one's own clock, with no moment at which two lead."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.leadership import Leadership
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.core.lease import LEADER, LEADS_FOR, TAKEN_AFTER, Leader, Lease
from vault_plugin.core.ports import Stored

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


class Deaf(MemoryStore):
    """A store that can be cut off."""

    away = False

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        if self.away:
            raise StoreUnavailable("Vault can't be reached")
        return super().write(name, document, cas=cas, give_up_after=give_up_after)


def leadership(store: MemoryStore, clock: FakeClock, instance: str) -> Leadership:
    return Leadership(store, clock, instance, "0.1.0")


def test_the_first_leads_and_the_second_stands_by() -> None:
    """However long the second looks, while the first renews."""
    store, clock = MemoryStore(), FakeClock()
    first, second = leadership(store, clock, "a:1"), leadership(store, clock, "b:1")
    for _ in range(60):
        first.tick()
        second.tick()
        clock.advance(1)
    assert first.leads()
    assert not second.holds()
    assert second.holder() == "a:1"
    assert len([path for path, _ in store.writes if path == f"service/{LEADER}"]) == 12


def test_a_dead_leader_is_followed_within_the_lease_and_never_before_it_has_stopped() -> None:
    """10 s of its own after its last renewal it calls no more; 15 s unchanged and another leads."""
    store, clock = MemoryStore(), FakeClock()
    first, second = leadership(store, clock, "a:1"), leadership(store, clock, "b:1")
    first.tick()
    second.tick()
    for seconds in range(1, 16):
        clock.advance(1)
        second.tick()
        assert first.leads() == (seconds < LEADS_FOR.total_seconds())
        assert second.leads() == (seconds >= TAKEN_AFTER.total_seconds())
    first.tick()  # its write meets another version
    first.tick()  # it looks whose
    assert not first.holds()


def test_a_clean_stop_hands_over_at_the_next_look() -> None:
    """And a released lease isn't mistaken for ours."""
    store, clock = MemoryStore(), FakeClock()
    first, second = leadership(store, clock, "a:1"), leadership(store, clock, "b:1")
    first.tick()
    second.tick()
    first.release()
    assert not first.leads()
    second.tick()
    assert second.leads()


def test_the_same_instance_takes_its_own_lease_back_at_once() -> None:
    """A restart costs nothing."""
    store, clock = MemoryStore(), FakeClock()
    leadership(store, clock, "a:1").tick()
    again = leadership(store, clock, "a:1")
    again.tick()
    assert again.leads()


def test_an_outage_of_vault_ends_calls_and_not_the_term() -> None:
    """Nobody else led meanwhile: the plan in memory is still good."""
    store, clock = Deaf(), FakeClock()
    first = leadership(store, clock, "a:1")
    first.tick()
    store.away = True
    for _ in range(30):
        clock.advance(1)
        if first.leads() and clock.monotonic().total_seconds() % 5:
            continue
        with pytest.raises(StoreUnavailable):
            first.tick()
    assert not first.leads()
    assert first.holds()
    store.away = False
    first.tick()
    assert first.leads()


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.1, 8)), max_size=80))
def test_two_never_lead_at_once(turns: list[tuple[int, float]]) -> None:
    """Whoever is scheduled when, and however long the others sleep."""
    store, clock = MemoryStore(), FakeClock()
    three = [leadership(store, clock, name) for name in ("a:1", "b:1", "c:1")]
    for who, seconds in turns:
        clock.advance(seconds)
        three[who].tick()
        assert sum(one.leads() for one in three) <= 1


def test_somebody_elses_name_ends_a_hold() -> None:
    """Even if we have just renewed: the store is right."""
    lease = Lease("a:1").renewed(3, timedelta(seconds=100))
    other = Leader(instance="b:1", started_at=NOW, renewed_at=NOW)
    seen = lease.unclear().observed(Stored(4, other), timedelta(seconds=101))
    assert not seen.holds
    assert not seen.may_take(timedelta(seconds=115))
    assert seen.may_take(timedelta(seconds=116))
