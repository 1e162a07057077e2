"""The leader lease: by observed version, on one's own clock, with no moment at which two lead."""

import contextlib
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
from vault_plugin.core.ports import D, Stored

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
    lease = Lease("a:1").renewed(3, timedelta(seconds=100), Leader(instance="a:1", started_at=NOW, renewed_at=NOW))
    other = Leader(instance="b:1", started_at=NOW, renewed_at=NOW)
    seen = lease.unclear().observed(Stored(4, other), timedelta(seconds=101))
    assert not seen.holds
    assert not seen.may_take(timedelta(seconds=115))
    assert seen.may_take(timedelta(seconds=116))


def test_only_what_this_process_wrote_is_its_own_however_old() -> None:
    """A clone bears the same name; and a write whose outcome was never known may have landed."""
    mine, tried, clones = (Leader(instance="a:1", started_at=NOW, renewed_at=NOW + n * timedelta(seconds=5)) for n in range(3))
    lease = Lease("a:1").renewed(3, timedelta(0), mine).tries(tried).unclear()
    hour = timedelta(hours=1)

    assert not lease.observed(Stored(3, mine, age=hour), hour).doubts
    assert not lease.observed(Stored(4, tried, age=hour), hour).doubts
    assert lease.observed(Stored(4, clones, age=hour), hour).doubts


class Failing(MemoryStore):
    """A store in which the lease alone answers errors: what is named here."""

    failing: tuple[str, ...] = ()

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        if "read" in self.failing:
            raise StoreUnavailable("reading service/leader: status 500", reason="Vault500")
        return super().read(model, name, patient=patient)

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        if "write" in self.failing:
            raise StoreUnavailable("writing service/leader: status 500", reason="Vault500")
        return super().write(name, document, cas=cas, give_up_after=give_up_after)


def ticks(leader: Leadership, clock: FakeClock, seconds: int) -> None:
    for _ in range(seconds):
        with contextlib.suppress(StoreUnavailable):  # what concerns a write is told as trouble, until it is done without
            leader.tick()
        clock.advance(timedelta(seconds=1))


@pytest.mark.parametrize("failing", [("read", "write"), ("read",), ("write",)])
def test_a_lease_that_alone_answers_errors_is_done_without_after_a_minute(failing: tuple[str, ...]) -> None:
    """And not before; it ends as soon as the lease can be had, which goes on where it was."""
    store, clock = Failing(), FakeClock()
    leader = leadership(store, clock, "a:1")
    store.failing = failing
    ticks(leader, clock, 60)
    assert not leader.leads()
    assert not leader.remarks()

    ticks(leader, clock, 2)

    assert leader.leads()
    assert leader.holds()
    assert leader.remarks()
    store.failing = ()
    ticks(leader, clock, 2)
    assert leader.leads()
    assert not leader.remarks()
    assert store.read(Leader, LEADER).document is not None


def test_without_the_lease_one_stops_as_soon_as_somebody_else_is_seen_to_have_it() -> None:
    """Its plan is of before."""
    store, clock = Failing(), FakeClock()
    first, second = leadership(store, clock, "a:1"), leadership(store, clock, "b:1")
    store.failing = ("read", "write")
    ticks(second, clock, 62)
    assert second.leads()

    store.failing = ()
    first.tick()
    second.tick()

    assert first.leads()
    assert not second.holds()


def test_in_an_outage_nobody_leads_without_the_lease() -> None:
    """Nobody knows what became of it, and nothing can be done anyhow."""
    store, clock = Failing(), FakeClock()
    leader = leadership(store, clock, "a:1")
    store.failing, store.away = ("read", "write"), True
    for _ in range(100):
        with pytest.raises(StoreUnavailable):
            leader.tick()
        clock.advance(timedelta(seconds=1))

    assert not leader.leads()


def test_a_lease_of_a_newer_program_is_taken_only_when_it_is_left() -> None:
    """It can't be read, but its version tells that it is renewed."""
    store, clock = MemoryStore(), FakeClock()
    newer = Leader(instance="b:1", started_at=NOW, renewed_at=NOW, schema_version=2)
    old = leadership(store, clock, "a:1")
    for version in range(10):
        store.write(LEADER, newer, cas=version)
        ticks(old, clock, 5)
        assert not old.leads()

    ticks(old, clock, 16)

    assert old.leads()


def test_a_malformed_lease_is_written_over_at_once() -> None:
    """Only the service writes it."""
    store, clock = MemoryStore(), FakeClock()
    store.write(LEADER, Anything(), cas=0)

    leadership(store, clock, "a:1").tick()

    assert store.read(Leader, LEADER).version == 2


class Anything(Document):
    """What somebody wrote by mistake."""

    kind = "service"
