"""What is known of a server, and what it decides about a rejection."""

from datetime import UTC, datetime, timedelta
from typing import Any

from vault_plugin.core.credential import Attempt, Credential, Failure, Probe, Rejected, Rung
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.lifecycle.verdicts import judge
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Event, Reason, State

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def rejection(age: timedelta = timedelta(0), rung: Rung = Rung.EXCHANGE) -> Failure:
    return Failure(at=NOW - age, rung=rung, reason="RejectedByVeeam", text="400", verdict="TokenRejected")


def held(**more: Any) -> Credential:
    return Credential(since=NOW, **more)


def judged(facts: ServerFacts = UNKNOWN, credential: Credential | None = None) -> tuple[Event, Reason]:
    """Judge a renewed assertion that Veeam rejects now."""
    entry = Attempt(
        id="a", instance="me:1", ladder=(Rung.EXCHANGE,), generation=1, before=State.ACTIVE, before_since=NOW,
        started_at=NOW, deadline=NOW + MINUTE, renewed=True,
    )  # fmt: skip
    found = judge("acme", (rejection(),), entry, (credential or held(pair=PAIR)).rejected_again(NOW), facts, NOW)
    return found.event, found.reason


PAIR = TokenPair(
    access_token=Secret("a"), refresh_token=Secret("r"), issued_at=NOW - 100 * MINUTE, expires_at=NOW - 40 * MINUTE
)


def rejected(since: timedelta, **more: Any) -> Credential:
    """Return a credential that was accepted once, and rejected for so long."""
    return held(pair=PAIR, rejected=Rejected(since=NOW - since, at=NOW), **more)


def test_the_newest_of_everything_counts_whatever_the_order() -> None:
    """Folding is commutative: every instance comes to the same."""
    old = Probe(at=NOW - MINUTE, rung=Rung.REFRESH, old_alive=True)
    new = Probe(at=NOW, rung=Rung.REFRESH, old_alive=False)
    one, other = held(probes=(old,), last_rotation_at=NOW), held(probes=(new,), proved_at=NOW)

    assert UNKNOWN.learn("a", one).learn("b", other) == UNKNOWN.learn("b", other).learn("a", one)
    assert UNKNOWN.learn("a", one).learn("b", other).old_alive_after(Rung.REFRESH) is False


def failing(since: timedelta, **more: Any) -> Credential:
    """Return a credential that was accepted once, and got other answers for so long."""
    return held(pair=PAIR, failing_since=NOW - since, **more)


def test_a_server_that_failed_two_has_recovered_when_it_accepts_somebody() -> None:
    """One alone is its own trouble; so is whoever failed before somebody else was accepted."""
    accepted = held(pair=PAIR, last_rotation_at=NOW)
    one = UNKNOWN.learn("a", failing(MINUTE))
    assert one.learn("c", accepted).recovered_at is None
    assert one.learn("b", failing(2 * MINUTE)).learn("c", accepted).recovered_at == NOW
    before = held(pair=PAIR, last_rotation_at=NOW - 5 * MINUTE)
    broken = UNKNOWN.learn("c", before).learn("a", failing(MINUTE)).learn("b", failing(6 * MINUTE))
    assert broken.learn("c", accepted).recovered_at is None
    assert broken.learn("c", accepted).failing == {}
    assert not broken.rejects_everyone


def test_two_that_it_had_accepted_before_mean_everyone_until_somebody_is_accepted() -> None:
    """Then the server isn't sick as a whole."""
    one = UNKNOWN.learn("globex", rejected(MINUTE))
    assert not one.rejects_everyone
    sick = one.learn("initech", rejected(MINUTE))
    assert sick.rejects_everyone
    well = sick.learn("other", held(last_rotation_at=NOW))
    assert not well.rejects_everyone
    assert well.recovered_at == NOW


def test_a_tenant_that_was_never_accepted_says_nothing_of_the_others() -> None:
    """It may be unknown there. Nor does one that was rejected while another one was accepted, until it is accepted itself."""
    never = held(rejected=Rejected(since=NOW, at=NOW))
    assert not UNKNOWN.learn("a", never).learn("b", never).learn("c", rejected(MINUTE)).rejects_everyone

    beside = UNKNOWN.learn("a", rejected(10 * MINUTE)).learn("b", held(last_rotation_at=NOW - 5 * MINUTE))
    beside = beside.learn("a", rejected(10 * MINUTE)).learn("c", rejected(MINUTE))
    assert not beside.rejects_everyone
    assert beside.learn("a", held(pair=PAIR, last_rotation_at=NOW - 4 * MINUTE)).learn("a", rejected(MINUTE)).rejects_everyone


def test_a_recovery_is_learnt_after_a_start_too() -> None:
    """From whoever was told that the server rejects everybody, and from the acceptance after it; in any order."""
    told = rejected(MINUTE, reason=Reason.SERVER_REJECTS_EVERYONE)
    accepted = held(last_rotation_at=NOW + MINUTE)
    for facts in (
        UNKNOWN.learn("a", told).learn("b", accepted).learn("a", told),
        UNKNOWN.learn("b", accepted).learn("a", told),
    ):
        assert facts.recovered_at == NOW + MINUTE
    again = told.replace(rejected=Rejected(since=NOW, at=NOW + 2 * MINUTE))
    later = UNKNOWN.learn("b", accepted).learn("a", told).learn("a", again).learn("b", held(last_rotation_at=NOW + 3 * MINUTE))
    assert later.recovered_at == NOW + MINUTE, "it wakes once"


def test_one_rejected_tenant_is_blocked_and_two_mean_the_server() -> None:
    """A sick VB365 never makes the service ask any tenant's person."""
    assert judged() == (Event.REFUSED, Reason.REJECTED_BY_VEEAM)
    sick = UNKNOWN.learn("globex", rejected(MINUTE))
    assert judged(sick) == (Event.REFUSED, Reason.SERVER_REJECTS_EVERYONE)


def test_what_was_not_measured_is_not_assumed() -> None:
    """Neither a new session nor a late rotation without a probe that says so."""
    assert UNKNOWN.old_alive_after(Rung.REFRESH) is None
    assert not UNKNOWN.wants_new_session
    assert not UNKNOWN.kills_old
    refresh = Probe(at=NOW, rung=Rung.REFRESH, old_alive=False)
    exchange = Probe(at=NOW, rung=Rung.EXCHANGE, old_alive=False)
    assert UNKNOWN.learn("a", held(probes=(refresh,))).wants_new_session
    both = UNKNOWN.learn("a", held(probes=(refresh, exchange)))
    assert both.kills_old
    assert not both.wants_new_session
