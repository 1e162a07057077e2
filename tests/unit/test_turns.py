"""Whose turn it is to probe a server that rejects everybody, and what happens when it accepts again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.planned import Memory
from vault_plugin.core.credential import Assertion, Credential, Failure, Rejected, Rung
from vault_plugin.core.facts import ServerFacts
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.policy import Action, Do, View, next_action
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import Binding, TenantSpec
from vault_plugin.core.timing import Policy
from vault_plugin.core.turns import Waiting, turn_at

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
BINDING = Binding(authority="https://ms", client_id="c", scope="s", organization="o", server="vbr")


def waiting(name: str, called: float | None = None, expires: float = 10, **more: Any) -> Waiting:
    """Return a tenant that was called for so many minutes ago and whose token lives for so many more."""
    called_at = None if called is None else NOW - called * MINUTE
    return Waiting(name, called_at, NOW + expires * MINUTE, **({"accepted": True} | more))


def order(*tenants: Waiting, since: datetime | None = NOW - HOUR) -> list[str]:
    return sorted((one.name for one in tenants), key=lambda name: turns(*tenants, since=since)[name])


def turns(*tenants: Waiting, since: datetime | None = NOW - HOUR) -> dict[str, datetime]:
    return {one.name: turn_at(one, tenants, MINUTE, since) for one in tenants}


# --- the order -------------------------------------------------------------------------------------------------------


def test_turns_are_a_minute_apart_and_count_from_the_newest_call() -> None:
    """Whoever made it."""
    found = turns(waiting("a", 5), waiting("b", 0.5), waiting("c", 3))

    assert found == {"a": NOW + 0.5 * MINUTE, "c": NOW + 1.5 * MINUTE, "b": NOW + 2.5 * MINUTE}


def test_where_nobody_was_called_for_yet_nobody_waits() -> None:
    """There is no call to keep a distance from."""
    assert all(at < NOW for at in turns(waiting("a"), waiting("b")).values())


def test_who_was_asked_for_comes_first_then_who_had_no_turn_by_expiry_then_who_waits_longest() -> None:
    """Tenants that the server has accepted before go before those that it never did."""
    tenants = (
        waiting("had its turn lately", 1),
        waiting("had its turn long ago", 9),
        waiting("never accepted", expires=1, accepted=False),
        waiting("lives long", 70, expires=50),
        waiting("expires soon", 90, expires=3),
        waiting("asked for", 1, requested=True),
    )

    assert order(*tenants) == [
        "asked for", "expires soon", "lives long", "never accepted", "had its turn long ago", "had its turn lately",
    ]  # fmt: skip


def test_before_the_server_ever_accepted_anybody_the_longest_wait_decides() -> None:
    """Whatever expires first."""
    assert order(waiting("a", 3, expires=1), waiting("b", 7, expires=50), since=None) == ["b", "a"]


@given(st.lists(st.tuples(st.floats(0, 120), st.floats(-30, 60), st.booleans()), min_size=2, max_size=7))
def test_each_has_one_turn_before_anybody_has_a_second(drawn: list[tuple[float, float, bool]]) -> None:
    """And never are two called within a minute, however they stood before."""
    tenants = {
        f"t{n}": waiting(f"t{n}", called, expires, accepted=accepted) for n, (called, expires, accepted) in enumerate(drawn)
    }
    now, called, last = NOW, list[str](), max(one.called_at for one in tenants.values() if one.called_at)
    while len(called) < 2 * len(tenants):
        now += timedelta(seconds=10)
        due = [name for name, one in tenants.items() if turn_at(one, tenants.values(), MINUTE, NOW - HOUR) <= now]
        if due:
            name = min(due, key=lambda one: turn_at(tenants[one], tenants.values(), MINUTE, NOW - HOUR))
            assert now - last >= MINUTE
            assert len(due) == 1 or now - last > MINUTE + timedelta(seconds=10)
            called, last = [*called, name], now
            tenants[name] = Waiting(name, now, tenants[name].expires_at, tenants[name].accepted)
    assert set(called[: len(tenants)]) == set(called[len(tenants) :]) == set(tenants)


# --- the question ----------------------------------------------------------------------------------------------------


def credential(age: timedelta = timedelta(0), *, fresh: bool = True, refreshable: bool = True, **more: Any) -> Credential:
    """Return a credential of which the server rejected everything; its pair has been issued so long ago."""
    pair = TokenPair(access_token=Secret("a"), refresh_token=Secret("r"), issued_at=NOW - age, expires_at=NOW - age + HOUR)
    obtained_at = NOW if fresh else NOW - 2 * HOUR
    held = Assertion(
        json_text=Secret("{}"),
        obtained_at=obtained_at,
        expires_at=obtained_at + HOUR,
        refreshable=refreshable,
        signed_in_at=NOW,
    )
    fields: dict[str, Any] = {"state": State.BLOCKED, "reason": Reason.SERVER_REJECTS_EVERYONE, "since": NOW - age}
    return Credential(**({"pair": pair, "assertion": held, "binding": BINDING} | fields | more))


def failure(age: timedelta = timedelta(0), rung: Rung = Rung.EXCHANGE, verdict: str = "TokenRejected") -> Failure:
    return Failure(at=NOW - age, rung=rung, reason="RejectedByVeeam", text="400", verdict=verdict)


def asked(held: Credential, turn: datetime | None, **more: Any) -> Action:
    view = View("acme", TenantSpec(server="vbr"), "", (), held, "me:1", turn_at=turn, **more)
    return next_action(view, NOW, Policy())


@pytest.mark.parametrize(
    ("held", "ladder"),
    [
        pytest.param(credential(), (Rung.EXCHANGE,), id="the assertion lives"),
        pytest.param(credential(fresh=False), (Rung.REASSERT,), id="it can be renewed"),
        pytest.param(credential(fresh=False, refreshable=False), (Rung.REFRESH,), id="no grant stands"),
        pytest.param(
            credential(fresh=False, last_error=failure(rung=Rung.REASSERT, verdict="GrantRejected")),
            (Rung.REFRESH,),
            id="Microsoft has called the grant dead",
        ),
        pytest.param(credential(45 * MINUTE, state=State.ACTIVE), (Rung.EXCHANGE,), id="it is due"),
        pytest.param(credential(state=State.NEEDS_SIGN_IN, requested="r1"), (Rung.EXCHANGE,), id="it was asked for"),
    ],
)
def test_a_probe_is_one_call_when_its_turn_has_come_and_nothing_before(held: Credential, ladder: tuple[Rung, ...]) -> None:
    """A new session while a grant stands: a refresh token isn't wasted on a sick server."""
    later = NOW + 3 * MINUTE
    before, then = asked(held, later), asked(held, NOW)

    assert (before.do, before.reason, before.at) == (Do.HOLD, Reason.SERVER_REJECTS_EVERYONE, later)
    assert (then.do, then.reason, then.ladder) == (Do.ATTEMPT, Reason.PROBING, ladder)


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(credential(state=State.ACTIVE), id="isn't due"),
        pytest.param(credential(reason=Reason.MISCONFIGURED), id="blocked by something else"),
        pytest.param(credential(state=State.NEEDS_SIGN_IN), id="a person is needed"),
        pytest.param(credential(state=State.REVOKED, requested="r1"), id="revoked"),
    ],
)
def test_who_has_nothing_to_do_with_it_takes_no_turn(held: Credential) -> None:
    """He would delay those that wait."""
    for turn in (NOW, NOW + HOUR):
        assert asked(held, turn) == asked(held, None)


def test_while_the_server_accepts_anybody_there_are_no_turns() -> None:
    """A blocked one is tried by its own backoff."""
    assert asked(credential(30 * MINUTE), None).reason is not Reason.PROBING


# --- recovery --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.BLOCKED, State.ACTIVE])
def test_whom_it_rejected_is_tried_once_when_it_accepts_again(state: State) -> None:
    """With the whole ladder; one that failed since then waits as any other."""
    rejected = Rejected(since=NOW - HOUR, at=NOW - 20 * MINUTE)
    held = credential(45 * MINUTE, state=state, rejected=rejected, last_error=failure(2 * MINUTE))
    facts = ServerFacts(accepted_at=NOW, recovered_at=NOW - MINUTE)

    woken = asked(held, None, facts=facts)
    assert (woken.do, woken.reason) == (Do.ATTEMPT, Reason.SERVER_RECOVERED)
    assert set(woken.ladder) == set(Rung)
    again = asked(held.replace(last_error=failure(MINUTE / 2), failures=(failure(MINUTE / 2),)), None, facts=facts)
    assert again.do is Do.HOLD
    assert asked(held.replace(rejected=None), None, facts=facts).reason is not Reason.SERVER_RECOVERED
    assert asked(held, None, facts=ServerFacts(accepted_at=NOW)).reason is not Reason.SERVER_RECOVERED


def test_a_person_who_is_needed_isnt_woken_by_a_server() -> None:
    """It was Microsoft's verdict."""
    rejected = Rejected(since=NOW - HOUR, at=NOW - 20 * MINUTE)
    held = credential(45 * MINUTE, state=State.NEEDS_SIGN_IN, rejected=rejected, last_error=failure(2 * MINUTE))

    assert asked(held, None, facts=ServerFacts(recovered_at=NOW)).do is Do.HOLD


# --- what a term remembers -------------------------------------------------------------------------------------------


def test_a_term_asks_for_turns_only_while_the_server_rejects_everybody() -> None:
    """Two that it had accepted, and none since: each waits for its turn, the newest call counts."""
    memory = Memory()
    first, second = (credential(rejected=Rejected(since=NOW - n * MINUTE, at=NOW), calls=(NOW - n * MINUTE,)) for n in (5, 2))
    memory.saw("acme", first, timedelta(0))
    assert memory.turn("acme", first, NOW) is None

    memory.saw("globex", second, timedelta(0))
    for name in ("acme", "globex"):
        memory.update(name, waits_turn=True)
    assert memory.turn("acme", first, NOW) == NOW - MINUTE
    assert memory.turn("globex", second, NOW) == NOW

    memory.saw("initech", credential(last_rotation_at=NOW, rejected=None), timedelta(0))
    assert memory.turn("acme", first, NOW) is None
    assert memory.facts("vbr").recovered_at == NOW
