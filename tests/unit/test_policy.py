"""When, what next, and why."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_plugin.core.credential import Assertion, Attempt, Credential, Failure, Purpose, Rung
from vault_plugin.core.facts import UNKNOWN
from vault_plugin.core.findings import Findings
from vault_plugin.core.ladder import full_ladder, taken_over, wanted
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.policy import Action, Do, View, next_action
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import TenantSpec
from vault_plugin.core.timing import Policy, backoff, budget_left, call_timeout, due_at, overlap

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
POLICY = Policy()
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
lives = st.timedeltas(min_value=timedelta(seconds=20), max_value=timedelta(days=4))
rereads = st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(hours=2))


def pair(life: timedelta = HOUR, age: timedelta = timedelta(0), **more: Any) -> TokenPair:
    issued_at = NOW - age
    fields: dict[str, Any] = {"access_token": Secret("a"), "refresh_token": Secret("r"), "issued_at": issued_at}
    return TokenPair(**fields, expires_at=issued_at + life, **more)


def assertion(age: timedelta = timedelta(0), *, refreshable: bool = True) -> Assertion:
    obtained_at = NOW - age
    return Assertion(
        json_text=Secret("{}"),
        obtained_at=obtained_at,
        expires_at=obtained_at + HOUR,
        refreshable=refreshable,
        signed_in_at=NOW,
    )


def credential(**more: Any) -> Credential:
    fields: dict[str, Any] = {"state": State.ACTIVE, "since": NOW, "pair": pair(), "assertion": assertion()}
    return Credential(**(fields | more))


def view(held: Credential, **more: Any) -> View:
    fields: dict[str, Any] = {"tenant": TenantSpec(server="vbr"), "refused": "", "changed": (), "instance": "me:1"}
    return View(name="acme", credential=held, **(fields | more))


def attempt(**more: Any) -> Attempt:
    fields: dict[str, Any] = {
        "id": "a1", "instance": "me:1", "ladder": (Rung.REFRESH, Rung.EXCHANGE, Rung.REASSERT), "generation": 1,
        "before": State.ACTIVE, "before_since": NOW, "started_at": NOW, "deadline": NOW + MINUTE,
    }  # fmt: skip
    return Attempt(**(fields | more))


def failure(rung: Rung = Rung.REFRESH, age: timedelta = timedelta(0), verdict: str = "") -> Failure:
    return Failure(at=NOW - age, rung=rung, reason="ServerError", text="500", verdict=verdict)


@pytest.mark.parametrize("age", [timedelta(0), MINUTE])
def test_a_failed_renewal_holds_back_no_refresh_that_is_due(age: timedelta) -> None:
    """Microsoft's trouble binds Microsoft's rung only."""
    failed = failure(Rung.REASSERT, age)
    due = next_action(view(credential(pair=pair(age=50 * MINUTE), failures=(failed,))), NOW, POLICY)
    assert (due.do, due.ladder[0]) == (Do.ATTEMPT, Rung.REFRESH)

    doubtful = credential(pair=pair(age=50 * MINUTE, doubtful=True), assertion=assertion(2 * HOUR), failures=(failed,))
    assert next_action(view(doubtful), NOW, POLICY).reason is Reason.BACKING_OFF
    erred = credential(pair=pair(age=50 * MINUTE), failures=(failure(), failed))
    assert next_action(view(erred), NOW, POLICY).reason is Reason.BACKING_OFF


# --- times -----------------------------------------------------------------------------------------------------------


def test_an_hours_token_rotates_after_37_to_40_minutes() -> None:
    """DESIGN 6: overlap 20 minutes, jitter up to 3."""
    ages = [due_at(name, g, pair(), 5 * MINUTE, POLICY) - NOW for name in ("acme", "globex") for g in range(50)]

    assert min(ages) >= 37 * MINUTE
    assert max(ages) <= 40 * MINUTE
    assert len(set(ages)) > 90


@given(lives, rereads, st.integers(0, 10**6))
def test_due_is_after_issue_and_before_expiry(life: timedelta, reread: timedelta, generation: int) -> None:
    """The overlap is at most two thirds of the life, the jitter a twentieth."""
    held = pair(life)
    due = due_at("acme", generation, held, reread, POLICY)

    assert held.issued_at + life * 0.28 <= due <= held.expires_at - life / 4
    assert due == due_at("acme", generation, held, reread, POLICY)


@given(lives, rereads)
def test_the_overlap_covers_reread_and_outage_where_it_can(life: timedelta, reread: timedelta) -> None:
    """Or it is two thirds of the life and the budget says what is left."""
    covered = overlap(life, reread, POLICY)

    assert covered >= min(reread + POLICY.outage_budget + POLICY.margin, life * 2 / 3)
    assert budget_left(life, reread, POLICY) == covered - reread - POLICY.margin


@given(st.timedeltas(min_value=-2 * HOUR, max_value=2 * HOUR), lives)
def test_backoff_stays_within_its_bounds(remaining: timedelta, life: timedelta) -> None:
    """At least the smaller of 5 s and life/60; at most 5 min before expiry and 15 min after."""
    wait = backoff(NOW, NOW + remaining, life)

    assert wait >= min(timedelta(seconds=5), life / 60)
    assert wait <= (5 * MINUTE if remaining > timedelta(0) else 15 * MINUTE) or wait == min(timedelta(seconds=5), life / 60)


def test_a_calls_timeout_leaves_time_for_another_try() -> None:
    """A quarter of the remaining life while that is positive; a second is always given."""
    assert call_timeout(35 * MINUTE / 60, NOW + 20 * timedelta(seconds=1), NOW) == timedelta(seconds=5)
    assert call_timeout(timedelta(seconds=35), NOW + timedelta(seconds=1), NOW) == timedelta(seconds=1)
    assert call_timeout(timedelta(seconds=35), NOW - MINUTE, NOW) == timedelta(seconds=35)
    assert call_timeout(timedelta(seconds=35), None, NOW) == timedelta(seconds=35)


# --- the ladder ------------------------------------------------------------------------------------------------------


def test_the_ladder_holds_only_what_can_work() -> None:
    """No pair, no refresh; an old assertion isn't exchanged; without a refresh token nothing is renewed."""
    assert full_ladder(credential(), NOW, UNKNOWN) == (Rung.REFRESH, Rung.EXCHANGE, Rung.REASSERT)
    assert full_ladder(credential(pair=pair(refused_at=NOW)), NOW, UNKNOWN) == (Rung.EXCHANGE, Rung.REASSERT, Rung.REFRESH)
    assert full_ladder(credential(assertion=assertion(2 * HOUR)), NOW, UNKNOWN) == (Rung.REFRESH, Rung.REASSERT)
    assert full_ladder(credential(pair=None, assertion=assertion(2 * HOUR, refreshable=False)), NOW, UNKNOWN) == ()


def test_a_doubtful_refresh_goes_last() -> None:
    """Somebody may still sleep on that refresh token."""
    doubtful = credential(pair=pair(doubtful=True))
    assert full_ladder(doubtful, NOW, UNKNOWN) == (Rung.EXCHANGE, Rung.REASSERT, Rung.REFRESH)
    assert full_ladder(doubtful.replace(assertion=None), NOW, UNKNOWN) == (Rung.REFRESH,)


def test_a_rung_that_only_errs_lets_the_next_one_try_first() -> None:
    """After three answered errors, with less than half of the overlap left."""
    failing = credential(pair=pair(age=52 * MINUTE), failures=(failure(),) * 3)

    def first(held: Credential) -> Rung:
        return wanted(held, NOW, UNKNOWN, hurried=view(held).hurries(NOW, POLICY))[0]

    assert first(failing) is Rung.EXCHANGE
    assert first(failing.replace(failures=(failure(),) * 2)) is Rung.REFRESH
    assert first(failing.replace(pair=pair(age=42 * MINUTE))) is Rung.REFRESH


def test_an_assertion_that_expired_in_the_middle_of_an_attempt_is_renewed_anew() -> None:
    """Else the attempt would end with the verdict on a refresh, as if Veeam had rejected a fresh assertion."""
    went_on = attempt(ladder=(Rung.EXCHANGE, Rung.REFRESH), renewed=True, climbed=True)
    waited = credential(state=State.ROTATING, attempt=went_on, assertion=assertion(2 * HOUR))

    assert taken_over(waited, NOW, UNKNOWN) == (Rung.REASSERT, Rung.REFRESH)
    assert taken_over(waited.replace(assertion=assertion()), NOW, UNKNOWN) == (Rung.EXCHANGE, Rung.REFRESH)


def test_a_refresh_that_is_taken_over_goes_on_by_a_new_session() -> None:
    """Only then is the same refresh token tried again."""
    rotating = credential(state=State.ROTATING, attempt=attempt())

    assert taken_over(rotating, NOW, UNKNOWN) == (Rung.EXCHANGE, Rung.REASSERT, Rung.REFRESH)
    assert taken_over(rotating.replace(assertion=None), NOW, UNKNOWN) == (Rung.REFRESH,)


# --- the questions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "more", "do", "reason"),
    [
        pytest.param(credential(), {"tenant": None}, Do.HOLD, Reason.TENANT_REMOVED, id="the spec is gone"),
        pytest.param(
            credential(), {"tenant": TenantSpec(server="vbr", paused=True)}, Do.HOLD, Reason.PAUSED, id="the operator paused it"
        ),
        pytest.param(credential(state=State.REVOKED), {}, Do.HOLD, Reason.REVOKED, id="revoked"),
        pytest.param(
            Credential(since=NOW), {}, Do.HOLD, Reason.NEVER_SIGNED_IN, id="nothing is stored"
        ),
        pytest.param(credential(), {"changed": ("server",)}, Do.HOLD, Reason.CONFIGURATION_CHANGED, id="the server was changed"),
        pytest.param(credential(), {"refused": "no"}, Do.HOLD, Reason.CONFIGURATION_REFUSED, id="the authority isn't allowed"),
        pytest.param(
            credential(state=State.ROTATING, attempt=attempt(instance="other:1")), {}, Do.HOLD, Reason.IN_FLIGHT,
            id="another's attempt is under way",
        ),
        pytest.param(
            credential(state=State.ROTATING, attempt=attempt(instance="other:1")), {"unchanged_for": MINUTE},
            Do.ATTEMPT, Reason.TAKEN_OVER, id="another's attempt was seen unchanged for its lease",
        ),
        pytest.param(
            credential(state=State.ROTATING, attempt=attempt()), {}, Do.ATTEMPT, Reason.TAKEN_OVER, id="my own after a restart"
        ),
        pytest.param(
            credential(state=State.ROTATING, attempt=attempt(climbed=True)), {}, Do.ATTEMPT, Reason.CLIMBED,
            id="the next rung of my own",
        ),
        pytest.param(credential(requested="r1"), {}, Do.ATTEMPT, Reason.REQUESTED, id="an operator asks for it"),
        pytest.param(
            credential(state=State.NEEDS_SIGN_IN, reason=Reason.GRANT_REJECTED), {}, Do.HOLD, Reason.GRANT_REJECTED,
            id="a person is needed",
        ),
        pytest.param(
            credential(state=State.NEEDS_SIGN_IN, since=NOW - timedelta(days=1)), {}, Do.ATTEMPT, Reason.SILENT_RETRY,
            id="one silent try a day",
        ),
        pytest.param(
            credential(state=State.BLOCKED, reason=Reason.MISCONFIGURED, pair=pair(age=5 * HOUR), since=NOW - 14 * MINUTE), {},
            Do.HOLD, Reason.MISCONFIGURED, id="blocked for less than 15 minutes",
        ),
        pytest.param(
            credential(state=State.BLOCKED, pair=pair(age=5 * HOUR), since=NOW - 15 * MINUTE), {}, Do.ATTEMPT, Reason.RETRYING,
            id="blocked for 15 minutes",
        ),
        pytest.param(
            credential(pair=pair(age=50 * MINUTE), failures=(failure(),)), {}, Do.HOLD, Reason.BACKING_OFF, id="it has just erred"
        ),
        pytest.param(credential(pair=pair(age=50 * MINUTE)), {}, Do.ATTEMPT, Reason.DUE, id="it is due"),
        pytest.param(
            credential(assertion=assertion(timedelta(days=4))), {}, Do.ATTEMPT, Reason.KEEP_ALIVE, id="the grant is idle"
        ),
        pytest.param(credential(), {}, Do.HOLD, Reason.NOT_DUE, id="nothing is to be done"),
    ],
)  # fmt: skip
def test_the_first_question_that_has_an_answer_decides(
    held: Credential, more: dict[str, object], do: Do, reason: Reason
) -> None:
    """Each line is a sentence of the design."""
    action = next_action(view(held, **more), NOW, POLICY)

    assert (action.do, action.reason) == (do, reason)
    assert (action.do is Do.ATTEMPT) == bool(action.ladder)


def test_a_sign_ins_attempt_stays_a_sign_ins_attempt() -> None:
    """Taken over, it is exchanged from the sign-in's record."""
    rotating = credential(state=State.ROTATING, attempt=attempt(purpose=Purpose.SIGN_IN, ladder=(Rung.EXCHANGE,)))

    assert next_action(view(rotating), NOW, POLICY).purpose is Purpose.SIGN_IN


def test_long_blocked_is_retried_hourly() -> None:
    """After two hours of quarters of an hour."""
    held = credential(state=State.BLOCKED, pair=pair(age=5 * HOUR), since=NOW - 3 * HOUR, last_error=failure(age=20 * MINUTE))

    assert next_action(view(held), NOW, POLICY).at == NOW + 40 * MINUTE


@pytest.mark.parametrize(
    ("held", "wait"),
    [
        pytest.param(credential(pair=pair(age=50 * MINUTE)), 75 * timedelta(seconds=1), id="backing off"),
        pytest.param(
            credential(state=State.BLOCKED, pair=pair(age=5 * HOUR), since=NOW - 20 * MINUTE), 15 * MINUTE, id="blocked"
        ),
        pytest.param(credential(state=State.BLOCKED, pair=pair(age=5 * HOUR), since=NOW - 3 * HOUR), HOUR, id="long blocked"),
        pytest.param(credential(state=State.NEEDS_SIGN_IN, since=NOW - 25 * HOUR), 24 * HOUR, id="a person is needed"),
    ],
)
def test_a_clock_that_is_set_back_makes_no_wait_longer(held: Credential, wait: timedelta) -> None:
    """An error of the future was stored before: nobody knows what is left of its wait, so what is known before it counts."""

    def action(at: datetime) -> Action:
        erred = failure(age=NOW - at)
        return next_action(view(held.replace(failures=(erred,), last_error=erred)), NOW, POLICY)

    assert action(NOW).do is Do.HOLD
    assert action(NOW).at == NOW + wait
    assert action(NOW + timedelta(seconds=1)).do is Do.ATTEMPT
    assert action(NOW + 10 * MINUTE).do is Do.ATTEMPT


def test_a_hold_is_never_until_now() -> None:
    """Whoever asks again when he is told to would ask for ever: after a failed keep-alive, and where nothing can be tried."""
    old = assertion(4 * 24 * HOUR)
    failed = credential(assertion=old, last_error=failure(Rung.REASSERT), renewal_begun_at=NOW)
    assert (at := next_action(view(failed), NOW, POLICY).at) is not None
    assert at > NOW

    nothing = credential(state=State.BLOCKED, pair=None, assertion=assertion(2 * HOUR, refreshable=False))
    assert next_action(view(nothing.replace(since=NOW - HOUR)), NOW, POLICY).at is None


def test_a_dead_token_is_due_at_once_by_a_new_session() -> None:
    """Its own, or all of its server's: as if it had expired when that was found."""
    found = Findings(dead=1, dead_at=NOW)
    for held, facts in (
        (credential(generation=1, findings=found), UNKNOWN),
        (credential(generation=1), replace(UNKNOWN, lost_before=NOW + MINUTE)),
    ):
        asked = view(held, facts=facts)
        assert asked.due_at(POLICY) == facts.dead_since(held)
        action = next_action(asked, NOW + MINUTE, POLICY)
        assert (action.do, action.reason) == (Do.ATTEMPT, Reason.DUE)
        assert action.ladder == (Rung.EXCHANGE, Rung.REASSERT, Rung.REFRESH)


def test_what_was_found_of_a_token_says_nothing_of_its_successor() -> None:
    """Nor of a session that was begun since, nor what a clock noted that was set back meanwhile."""
    lost = replace(UNKNOWN, lost_before=NOW)
    assert UNKNOWN.dead_since(credential(generation=2, findings=Findings(dead=1, dead_at=NOW))) is None
    assert lost.dead_since(credential(generation=1)) is None
    assert lost.dead_since(credential(generation=1, pair=pair(age=MINUTE))) == NOW
    assert lost.by(NOW - MINUTE).dead_since(credential(generation=1, pair=pair(age=HOUR))) is None
    assert UNKNOWN.learn("a", credential(findings=Findings(sessions_lost_at=NOW))).lost_before == NOW


def test_a_dead_token_whose_exchange_fails_is_tried_again_soon() -> None:
    """Its remaining life is nothing: it is backed off from as if it had expired."""
    held = credential(generation=1, failures=(failure(Rung.EXCHANGE),), findings=Findings(dead=1, dead_at=NOW))
    action = next_action(view(held), NOW, POLICY)
    assert action.at == NOW + timedelta(seconds=5)
