"""A Vault that was restored from a snapshot: by what it is noticed, and what is doubted then (DESIGN 5.3)."""

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from scheduler.held import HeldBack, Watched
from scheduler.leadership import Leadership
from tests.fakes.clock import FakeClock
from tests.fakes.snapshots import SnapshotStore
from vault_plugin.core.credential import FAILURES_KEPT, Assertion, Attempt, Credential, Failure, Rung
from vault_plugin.core.errors import StoreUnavailable, VersionConflict
from vault_plugin.core.facts import UNKNOWN
from vault_plugin.core.ladder import full_ladder, taken_over, wanted
from vault_plugin.core.lease import DOUBTED_AFTER, LEADER, TAKEN_AFTER, Leader
from vault_plugin.core.lifecycle.gather import doubting
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.ports import World
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import State

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


# --- the lease -------------------------------------------------------------------------------------------------------


class Ahead:
    """A clock by which everything here is over."""

    @staticmethod
    def now() -> datetime:
        return NOW + 9 * HOUR


class Place:
    """A Vault, and the instances that ask for its lease."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = SnapshotStore(self.clock.others)

    def instance(self, name: str = "a:1") -> Leadership:
        """Return a process under this name."""
        return Leadership(self.store, self.clock, name, "0.1.0")

    def lead(self, one: Leadership, seconds: float = 1) -> Leadership:
        """Let it tick each second for so long, at most until it leads."""
        for _ in range(int(seconds)):
            one.tick()
            if one.holds():
                break
            self.clock.advance(1)
        return one

    def told(self) -> datetime | None:
        """Return what the lease's document says is doubted."""
        document = self.store.read(Leader, LEADER).document
        assert document is not None
        return document.doubts_before


def test_nothing_is_doubted_where_there_was_no_lease_or_a_young_one() -> None:
    """The first leader ever, and one that follows another at once."""
    place = Place()
    assert place.lead(place.instance()).doubts_before() is None

    place.clock.advance(DOUBTED_AFTER - TAKEN_AFTER - 5 * SECOND)
    follower = place.lead(place.instance("b:1"), 20)
    assert follower.holds()
    assert follower.doubts_before() is None
    assert place.told() is None


@pytest.mark.parametrize("name", ["b:1", "a:1"])
def test_an_old_heartbeat_that_this_process_didnt_write_makes_everything_doubtful(name: str) -> None:
    """Another's; or a clone's, or that of the process before, under our own name: the name proves nothing."""
    place = Place()
    place.lead(place.instance("a:1"))
    place.clock.advance(DOUBTED_AFTER + SECOND)

    leader = place.lead(place.instance(name), 20)

    assert leader.holds()
    assert leader.doubts_before() == place.told() == place.clock.now()


def test_a_heartbeat_counts_by_vaults_clock() -> None:
    """Whose own clock is wrong by hours neither doubts nor trusts because of that."""
    place = Place()
    place.lead(place.instance("a:1"))
    place.clock.set(5 * HOUR)
    assert place.lead(place.instance("b:1"), 20).doubts_before() is None

    place.clock.set(-9 * HOUR)
    place.clock.advance(DOUBTED_AFTER + SECOND)
    assert place.lead(place.instance("c:1"), 20).doubts_before() == place.clock.now()


def test_a_leader_that_finds_its_own_last_write_doubts_nothing_however_old_it_is() -> None:
    """Vault was sealed for an hour: nobody led, and nobody called."""
    place = Place()
    leader = place.lead(place.instance())
    place.clock.advance(HOUR)
    leader.tick()
    assert leader.leads()
    assert leader.doubts_before() is None


def test_so_does_one_whose_last_write_had_no_answer() -> None:
    """Whether or not it landed: what stands there is its own."""
    for landed in (True, False):
        place = Place()
        leader, write = place.lead(place.instance()), place.store.write

        def lost(name: str, document: Any, *, landed: bool = landed, write: Any = write, **more: Any) -> int:
            if landed:
                write(name, document, **more)
            raise StoreUnavailable("no answer")

        place.clock.advance(6)
        cast("Any", place.store).write = lost
        with pytest.raises(StoreUnavailable):
            leader.tick()
        cast("Any", place.store).write = write
        place.clock.advance(HOUR)

        place.lead(leader, 3)
        assert leader.leads()
        assert leader.doubts_before() is None


def test_a_live_leader_whose_lease_went_back_ends_its_term_and_the_next_one_doubts() -> None:
    """What a term knows is of a Vault that is no more; the heartbeat needn't be old."""
    place = Place()
    leader = place.lead(place.instance())
    snapshot = place.store.snapshot()
    for _ in range(12):
        place.clock.advance(1)
        leader.tick()
    place.store.restore(snapshot)

    ended = False
    for _ in range(8):
        place.clock.advance(1)
        leader.tick()
        ended = ended or not leader.holds()
    assert ended
    assert leader.holds()
    assert leader.doubts_before() == place.told()
    assert place.told() is not None


def test_a_leader_that_is_told_of_an_old_credential_looks_at_once() -> None:
    """The restore shows at a credential first: the lease is renewed before its time, which can't succeed."""
    place = Place()
    leader = place.lead(place.instance())
    snapshot = place.store.snapshot()
    place.clock.advance(5)
    leader.tick()
    place.store.restore(snapshot)
    place.clock.advance(1)
    leader.tick()
    assert leader.holds(), "the renewal isn't due"

    leader.renew_now()
    leader.tick()
    leader.tick()
    assert not leader.holds()


def test_a_standby_sees_that_the_lease_went_back() -> None:
    """The leader died with the Vault that is no more; the heartbeat of the snapshot is young."""
    place = Place()
    leader, standby = place.lead(place.instance("a:1")), place.instance("b:1")
    snapshot = place.store.snapshot()
    for _ in range(12):
        place.clock.advance(1)
        leader.tick()
        standby.tick()
    place.store.restore(snapshot)

    place.lead(standby, 20)
    assert standby.holds()
    assert standby.doubts_before() == place.told() == place.clock.now()


def test_every_leader_hands_on_what_is_doubted() -> None:
    """By renewal, by a clean stop, by a take-over; a later doubt replaces an earlier one."""
    place = Place()
    place.lead(place.instance("a:1"))
    place.clock.advance(DOUBTED_AFTER + SECOND)
    leader = place.lead(place.instance("b:1"), 20)
    first = place.told()
    assert first is not None
    for _ in range(12):
        place.clock.advance(1)
        leader.tick()
    assert place.told() == first

    leader.release()
    follower = place.lead(place.instance("c:1"))
    assert follower.doubts_before() == place.told() == first
    place.clock.advance(MINUTE)
    taker = place.lead(place.instance("d:1"), 20)
    assert taker.doubts_before() == place.told() == first

    place.clock.advance(DOUBTED_AFTER + SECOND)
    later = place.lead(place.instance("e:1"), 20)
    assert later.doubts_before() == place.told() == place.clock.now()


# --- what is read ----------------------------------------------------------------------------------------------------


def watched(store: SnapshotStore, clock: FakeClock) -> tuple[Watched, list[str]]:
    """Return the store as the service reads it, and a list that grows each time it tells of a restore."""
    made, told = Watched(store, HeldBack(store.answers, clock)), list[str]()
    made.on_restore(lambda: told.append("back"))
    return made, told


@pytest.mark.parametrize("patient", [False, True])
def test_a_credential_older_than_what_was_written_is_told_once(*, patient: bool) -> None:
    """Nothing is begun with it: a read that must have an answer gets it, every other one fails once."""
    place = Place()
    store, told = watched(place.store, place.clock)
    store.write("acme", Credential(since=NOW), cas=0)
    snapshot = place.store.snapshot()
    store.write("acme", Credential(since=NOW), cas=1)
    assert store.read(Credential, "acme").version == 2
    assert told == []
    place.store.restore(snapshot)

    if patient:
        assert store.read(Credential, "acme", patient=True).version == 1
    else:
        with pytest.raises(StoreUnavailable) as raised:
            store.read(Credential, "acme")
        assert raised.value.reason == "ReadIsOld"
    assert told == ["back"]
    assert store.read(Credential, "acme").version == 1
    assert told == ["back"]


def test_a_newer_version_and_one_that_somebody_else_wrote_are_no_sign() -> None:
    """Nor is a path at which nothing stands."""
    place = Place()
    store, told = watched(place.store, place.clock)
    place.store.write("acme", Credential(since=NOW), cas=0)
    snapshot = place.store.snapshot()
    place.store.write("acme", Credential(since=NOW), cas=1)
    place.store.restore(snapshot)
    assert store.read(Credential, "acme").version == 1
    store.write("acme", Credential(since=NOW), cas=1)
    place.store.write("acme", Credential(since=NOW), cas=2)
    assert store.read(Credential, "acme").version == 3
    store.write("globex", Credential(since=NOW), cas=0)
    place.store.restore(snapshot)
    assert store.read(Credential, "globex").document is None
    assert told == []


def test_a_write_over_the_old_version_is_a_lost_race() -> None:
    """So nothing of before the restore is written over what stands."""
    place = Place()
    store, _ = watched(place.store, place.clock)
    store.write("acme", Credential(since=NOW), cas=0)
    snapshot = place.store.snapshot()
    version = store.write("acme", Credential(since=NOW), cas=1)
    place.store.restore(snapshot)

    with pytest.raises(VersionConflict):
        store.write("acme", Credential(since=NOW), cas=version)


# --- the pair --------------------------------------------------------------------------------------------------------


def pair(age: timedelta = 45 * MINUTE, **more: Any) -> TokenPair:
    issued_at = NOW - age
    fields: dict[str, Any] = {"access_token": Secret("a"), "refresh_token": Secret("r"), "issued_at": issued_at}
    return TokenPair(**fields, expires_at=issued_at + HOUR, **more)


def credential(held: TokenPair | None = None, *, fresh: bool = False, **more: Any) -> Credential:
    """Return a credential whose assertion's own access token is too old, unless `fresh`."""
    obtained_at = NOW if fresh else NOW - 2 * HOUR
    assertion = Assertion(
        json_text=Secret("{}"), obtained_at=obtained_at, expires_at=obtained_at + HOUR, refreshable=True, signed_in_at=NOW
    )
    return Credential(since=NOW, state=State.ACTIVE, pair=held or pair(restored=True), assertion=assertion, **more)


@pytest.mark.parametrize(("before", "doubted"), [(None, False), (NOW - HOUR, False), (NOW - 45 * MINUTE, False), (NOW, True)])
def test_a_pair_is_doubted_that_was_issued_before_the_restore(before: datetime | None, *, doubted: bool) -> None:
    """One of the same moment or later was given to whoever knew."""
    world = cast("World", type("World", (), {"doubts_before": staticmethod(lambda: before), "clock": Ahead}))
    held = doubting(world, credential(pair()))

    assert held.pair is not None
    assert held.pair.restored is doubted
    assert held.pair.refresh_goes_last is doubted
    nothing = Credential(since=NOW)
    assert doubting(world, nothing) is nothing


def test_a_pair_that_is_doubted_already_is_as_it_was() -> None:
    """Whether its refresh token was presented meanwhile isn't forgotten."""
    world = cast("World", type("World", (), {"doubts_before": staticmethod(lambda: NOW), "clock": Ahead}))
    held = credential(pair(restored=True, presented=True))

    assert doubting(world, held) is held


def test_a_doubted_refresh_goes_last() -> None:
    """Behind the exchange and behind Microsoft's renewal, also for whoever takes over an attempt of the snapshot."""
    held = credential(fresh=True)
    entry = Attempt(
        id="a1", instance="me:1", ladder=tuple(Rung), generation=1, before=State.ACTIVE, before_since=NOW, started_at=NOW,
        deadline=NOW + MINUTE,
    )  # fmt: skip

    assert full_ladder(held, NOW, UNKNOWN) == (Rung.EXCHANGE, Rung.REASSERT, Rung.REFRESH)
    assert taken_over(held.replace(attempt=entry), NOW, UNKNOWN)[-1] is Rung.REFRESH


SILENT: dict[str, Any] = {"renewal_begun_at": NOW - MINUTE}
ERRED = (Failure(at=NOW - MINUTE, rung=Rung.REASSERT, reason="ServerError", text="503"),) * FAILURES_KEPT
LAST, FIRST = (Rung.REASSERT, Rung.REFRESH), (Rung.REFRESH, Rung.REASSERT)


@pytest.mark.parametrize(
    ("held", "hurried", "rungs"),
    [
        pytest.param(credential(**SILENT), True, FIRST, id="Microsoft gave no answer, and it hurries"),
        pytest.param(credential(**SILENT), False, LAST, id="there is time"),
        pytest.param(credential(), True, LAST, id="Microsoft wasn't asked yet"),
        pytest.param(credential(renewal_begun_at=NOW - 3 * HOUR), True, LAST, id="it answered the newest renewal"),
        pytest.param(credential(pair(restored=True, presented=True), **SILENT), True, LAST, id="it was presented"),
        pytest.param(
            credential(pair(restored=True, presented=True), failures=ERRED, **SILENT),
            True,
            LAST,
            id="presented, and it errs on",
        ),
        pytest.param(credential(pair(doubtful=True), **SILENT), True, FIRST, id="somebody may sleep on it, and it hurries"),
        pytest.param(credential(pair(doubtful=True), **SILENT), False, LAST, id="somebody may sleep on it"),
        pytest.param(credential(pair(doubtful=True), failures=ERRED, **SILENT), False, LAST, id="and Microsoft errs"),
        pytest.param(
            credential(pair(doubtful=True, presented=True), **SILENT), True, LAST, id="somebody may sleep on it, presented"
        ),
        pytest.param(
            credential(fresh=True, renewal_begun_at=NOW + MINUTE), True, (Rung.EXCHANGE, *LAST), id="the assertion lives"
        ),
    ],
)
def test_a_doubted_refresh_goes_first_one_time(held: Credential, *, hurried: bool, rungs: tuple[Rung, ...]) -> None:
    """Only where consumers would be left without a token, and Microsoft says nothing."""
    assert wanted(held, NOW, UNKNOWN, hurried=hurried) == rungs


def test_that_it_was_presented_is_recorded_before_it_is() -> None:
    """In the journal's own write; another rung of the same pair records nothing, and a new pair knows of nothing."""
    for rung, presented in ((Rung.REFRESH, True), (Rung.REASSERT, False)):
        entry = Attempt(
            id="a1", instance="me:1", ladder=(rung,), generation=1, before=State.ACTIVE, before_since=NOW, started_at=NOW,
            deadline=NOW + MINUTE,
        )  # fmt: skip
        for restored in (True, False):
            begun = credential(pair(restored=restored)).started(entry, NOW, veeam_call=True).pair
            assert begun is not None
            assert begun.presented is (presented and restored)


def test_so_is_that_of_any_that_is_doubted_and_it_is_taken_back_where_nobody_looked_at_it() -> None:
    """Unless it was presented before this attempt."""
    entry = Attempt(
        id="a1", instance="me:1", ladder=(Rung.REFRESH,), generation=1, before=State.ACTIVE, before_since=NOW, started_at=NOW,
        deadline=NOW + MINUTE,
    )  # fmt: skip
    for before in (pair(doubtful=True), pair(doubtful=True, presented=True), pair(restored=True)):
        begun = credential(before).started(entry, NOW, veeam_call=True)
        assert begun.pair is not None
        assert begun.pair.presented
        assert begun.not_presented(before).pair == before


def test_who_takes_over_a_refresh_by_another_rung_presents_nothing() -> None:
    """The one time is yet to come, unless the refresh that was taken over was it."""
    entry = Attempt(
        id="a1", instance="me:1", ladder=(Rung.REFRESH, Rung.REASSERT), generation=1, before=State.ACTIVE, before_since=NOW,
        started_at=NOW, deadline=NOW + MINUTE,
    )  # fmt: skip
    onward = entry.replace(id="a2", ladder=(Rung.REASSERT, Rung.REFRESH))
    for doubted in (False, True):
        taken = credential(pair(doubtful=doubted)).started(entry, NOW, veeam_call=True).started(onward, NOW, veeam_call=False)
        assert taken.pair is not None
        assert (taken.pair.doubtful, taken.pair.presented) == (True, doubted)
