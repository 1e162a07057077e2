"""What is known of a server, and what it decides about a rejection."""

from datetime import UTC, datetime, timedelta
from typing import Any

from vault_plugin.core.credential import Attempt, Credential, Failure, Probe, Rung, TokenPair
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.lifecycle.verdicts import verdict
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Event, Reason, State
from vault_plugin.core.timing import Policy

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
    event, reason, _ = verdict("acme", (rejection(),), entry, credential or held(), facts, Policy())
    return event, reason


def test_the_newest_of_everything_counts_whatever_the_order() -> None:
    """Folding is commutative: every instance comes to the same."""
    old = Probe(at=NOW - MINUTE, rung=Rung.REFRESH, old_alive=True)
    new = Probe(at=NOW, rung=Rung.REFRESH, old_alive=False)
    one, other = held(probes=(old,), last_rotation_at=NOW), held(probes=(new,), proved_at=NOW, reasserted_at=NOW)

    assert UNKNOWN.learn("a", one).learn("b", other) == UNKNOWN.learn("b", other).learn("a", one)
    assert UNKNOWN.learn("a", one).learn("b", other).old_alive_after(Rung.REFRESH) is False


def test_a_rejection_counts_until_somebody_is_accepted() -> None:
    """Then the server isn't sick as a whole."""
    sick = UNKNOWN.learn("globex", held(last_error=rejection(MINUTE)))
    assert sick.rejects_others_than("acme")
    assert not sick.rejects_others_than("globex")
    assert not sick.learn("other", held(last_rotation_at=NOW)).rejects_others_than("acme")


def test_one_rejected_tenant_is_blocked_and_two_mean_the_server() -> None:
    """A sick VB365 never makes the service ask every tenant's person."""
    assert judged() == (Event.REFUSED, Reason.REJECTED_BY_VEEAM)
    sick = UNKNOWN.learn("globex", held(last_error=rejection(MINUTE)))
    assert judged(sick) == (Event.REFUSED, Reason.SERVER_REJECTS_EVERYONE)


def test_only_a_server_that_never_took_a_renewed_assertion_leads_to_a_person() -> None:
    """Three rejections over half an hour after the token's expiry; one acceptance anywhere, and nobody is asked."""
    pair = TokenPair(
        access_token=Secret("a"), refresh_token=Secret("r"), issued_at=NOW - 100 * MINUTE, expires_at=NOW - 40 * MINUTE
    )
    rejected = held(pair=pair, failures=(rejection(30 * MINUTE), rejection(15 * MINUTE)))
    assert judged(credential=rejected) == (Event.GRANT_REJECTED, Reason.GRANT_REJECTED)

    assert judged(UNKNOWN.learn("b", held(reasserted_at=NOW)), rejected)[0] is Event.REFUSED
    twice = rejected.replace(failures=(rejection(30 * MINUTE),))
    assert judged(credential=twice)[0] is Event.REFUSED
    early = rejected.replace(pair=pair.replace(expires_at=NOW - 20 * MINUTE))
    assert judged(credential=early)[0] is Event.REFUSED


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
