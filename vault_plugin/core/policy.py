"""What next, and why. Pure: the same arguments always give the same answer.

`next_action` asks a list of questions in order; the first that has an answer decides. The list is the specification.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from vault_plugin.core.credential import AT_VEEAM, FAILURES_KEPT, Assertion, Credential, Purpose, Rung, grant_is_dead
from vault_plugin.core.deleted import said_of
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import TenantSpec
from vault_plugin.core.timing import ZERO, Policy, backoff, due_at, lasts, overlap


class Do(StrEnum):
    """What to do with a credential now."""

    HOLD = "hold"
    """Nothing, until `Action.at` or until something changes."""
    ATTEMPT = "attempt"
    """Begin, take over or go on with an attempt by `Action.ladder`."""


@dataclass(frozen=True)
class Action:
    """A decision, with its reason and, for `HOLD`, when to ask again (None: only when something changes)."""

    do: Do
    reason: Reason
    at: datetime | None = None
    text: str = ""
    ladder: tuple[Rung, ...] = ()
    purpose: Purpose = Purpose.ROTATION


@dataclass(frozen=True)
class View:
    """The world, gathered, as far as one credential needs it."""

    name: str
    tenant: TenantSpec | None
    #: Why the tenant's document can't be served as it is (refused authority, unknown server), or empty.
    refused: str
    #: Fields in which the tenant differs from where the stored secrets came from.
    changed: tuple[str, ...]
    credential: Credential
    instance: str
    #: For how long this very journal entry was seen unchanged, on the asker's own monotonic clock.
    unchanged_for: timedelta = ZERO
    facts: ServerFacts = UNKNOWN
    #: By how much the wall clock was set back since the pair was stored.
    set_back: timedelta = ZERO

    @property
    def reread(self) -> timedelta:
        """Return how often the slowest consumer reads."""
        return self.tenant.consumer_reread if self.tenant else ZERO

    def due_at(self, policy: Policy) -> datetime | None:
        """Return when the pair is to be rotated; None if there is no pair."""
        pair = self.credential.pair
        if pair is None:
            return None
        at = due_at(self.name, self.credential.generation, pair, self.reread, policy, late=self.facts.kills_old)
        return self.facts.dead_since(self.credential) or at - self.set_back


# --- the ladder ------------------------------------------------------------------------------------------------------


def full_ladder(credential: Credential, now: datetime, facts: ServerFacts) -> tuple[Rung, ...]:
    """Return the rungs that can work, in order: cheapest first.

    A refresh goes last where it kills what consumers hold, and where somebody may still sleep on the same refresh token;
    only a grant that Microsoft has called dead goes behind it.
    """
    rungs = []
    if credential.assertion is not None and credential.assertion.expires_at > now:
        rungs.append(Rung.EXCHANGE)
    if credential.assertion is not None and credential.assertion.refreshable:
        rungs.append(Rung.REASSERT)
    pair = credential.pair
    if pair is not None and not pair.spent:
        doubtful = pair.doubtful or facts.dead_since(credential) is not None
        rungs.insert(len(rungs) if facts.wants_new_session or doubtful else 0, Rung.REFRESH)
        if grant_is_dead(credential.last_error) and not doubtful:
            rungs.sort(key=lambda rung: rung is Rung.REASSERT)
    return tuple(rungs)


def stuck(credential: Credential) -> bool:
    """Tell whether the last three answers were errors without a verdict."""
    failures = credential.failures
    return len(failures) == FAILURES_KEPT and not any(failure.verdict for failure in failures)


def keeps_failing(credential: Credential) -> bool:
    """Tell whether those were Veeam's: then it waits for the share of its lane that such credentials have."""
    return stuck(credential) and all(failure.rung in AT_VEEAM for failure in credential.failures)


def ladder(view: View, now: datetime, policy: Policy) -> tuple[Rung, ...]:
    """Return the rungs to try now.

    A rung whose last three answers were errors without a verdict lets the next one try first, when less than half of
    the overlap is left.
    """
    credential, pair = view.credential, view.credential.pair
    rungs = full_ladder(credential, now, view.facts)
    if pair is not None and stuck(credential) and {failure.rung for failure in credential.failures} == {*rungs[:1]}:
        half = overlap(pair.life, view.reread, policy, late=view.facts.kills_old) / 2
        if pair.expires_at - now < half:
            return (*rungs[1:], rungs[0])
    return rungs


def taken_over(credential: Credential, now: datetime, facts: ServerFacts) -> tuple[Rung, ...]:
    """Return the rungs left to somebody who takes over the recorded attempt.

    A refresh whose outcome is unknown goes on beside it, by a new session, while the assertion lives: whoever still
    sleeps on the old refresh token can't collide with that. Only then is the same refresh token tried again. An assertion
    that expired while nobody went on is renewed anew.
    """
    attempt = credential.attempt
    possible = full_ladder(credential, now, facts)
    if attempt is None:
        return possible
    expired = Rung.EXCHANGE not in possible
    left = (Rung.REASSERT if rung is Rung.EXCHANGE and expired else rung for rung in attempt.ladder)
    rungs = tuple(rung for rung in dict.fromkeys(left) if rung in possible)
    if attempt.rung is Rung.REFRESH and not attempt.climbed:
        return (*(rung for rung in rungs if rung is not Rung.REFRESH), Rung.REFRESH)
    return rungs or possible


# --- the questions ---------------------------------------------------------------------------------------------------

Question = Callable[[View, datetime, Policy], Action | None]


def _in_flight(view: View, now: datetime, policy: Policy) -> Action | None:
    attempt = view.credential.attempt
    if attempt is None:
        return None
    mine = attempt.instance == view.instance
    if not mine and view.unchanged_for < attempt.lease:
        return Action(Do.HOLD, Reason.IN_FLIGHT, at=now + attempt.lease - view.unchanged_for)
    if attempt.purpose is Purpose.SIGN_IN:
        return Action(Do.ATTEMPT, Reason.TAKEN_OVER, ladder=(Rung.EXCHANGE,), purpose=Purpose.SIGN_IN)
    reason = Reason.CLIMBED if attempt.climbed else Reason.TAKEN_OVER
    rungs = taken_over(view.credential, now, view.facts)
    return Action(Do.ATTEMPT, reason, ladder=rungs, purpose=attempt.purpose)


def _deleted(view: View, now: datetime, policy: Policy) -> Action | None:
    text, _ = said_of(view.name, view.credential)
    return Action(Do.HOLD, Reason.DOCUMENT_DELETED, text=text) if text else None


def _revoked(view: View, now: datetime, policy: Policy) -> Action | None:
    return Action(Do.HOLD, Reason.REVOKED) if view.credential.state is State.REVOKED else None


def _removed(view: View, now: datetime, policy: Policy) -> Action | None:
    if view.tenant is not None:
        return None
    if view.refused:
        return Action(Do.HOLD, Reason.CONFIGURATION_REFUSED, text=view.refused)
    return Action(Do.HOLD, Reason.TENANT_REMOVED, text=f"tenants/{view.name} is gone; nothing stored is lost")


def _paused(view: View, now: datetime, policy: Policy) -> Action | None:
    return Action(Do.HOLD, Reason.PAUSED) if view.tenant and view.tenant.paused else None


def _nothing_stored(view: View, now: datetime, policy: Policy) -> Action | None:
    credential = view.credential
    if credential.pair is None and credential.assertion is None and credential.attempt is None:
        return Action(Do.HOLD, credential.reason)
    return None


def _refused(view: View, now: datetime, policy: Policy) -> Action | None:
    if view.changed:
        text = f"changed since the sign-in: {', '.join(view.changed)}; set it back, or sign in anew"
        return Action(Do.HOLD, Reason.CONFIGURATION_CHANGED, text=text)
    if view.refused:
        return Action(Do.HOLD, Reason.CONFIGURATION_REFUSED, text=view.refused)
    return None


def _requested(view: View, now: datetime, policy: Policy) -> Action | None:
    rungs = full_ladder(view.credential, now, view.facts)
    if not view.credential.requested or not rungs:
        return None
    return Action(Do.ATTEMPT, Reason.REQUESTED, ladder=rungs)


def _last_try(credential: Credential, now: datetime) -> datetime:
    """Return when an attempt ended last. What lies in the future was noted before the clock was set back, and says nothing."""
    error = credential.last_error
    known = (credential.since, error.at if error else None, credential.tried_at)
    return max((at for at in known if at is not None and at <= now), default=credential.since)


def _needs_sign_in(view: View, now: datetime, policy: Policy) -> Action | None:
    credential = view.credential
    if credential.state is not State.NEEDS_SIGN_IN:
        return None
    at = _last_try(credential, now) + policy.silent_retry_after
    rungs = full_ladder(credential, now, view.facts)
    if lasts(at, policy.silent_retry_after, now) or not rungs:
        return Action(Do.HOLD, credential.reason, at=at if rungs else None)
    return Action(Do.ATTEMPT, Reason.SILENT_RETRY, ladder=rungs)


def _blocked(view: View, now: datetime, policy: Policy) -> Action | None:
    credential = view.credential
    if credential.state is not State.BLOCKED:
        return None
    last = _last_try(credential, now)
    long_blocked = last - credential.since >= policy.blocked_hourly_after
    wait = timedelta(hours=1) if long_blocked else policy.blocked_retry_after
    at = last + wait
    rungs = full_ladder(credential, now, view.facts)
    if lasts(at, wait, now) or not rungs:
        return Action(Do.HOLD, credential.reason, at=at if rungs else None)
    return Action(Do.ATTEMPT, Reason.RETRYING, ladder=rungs)


def _backing_off(view: View, now: datetime, policy: Policy) -> Action | None:
    credential, pair = view.credential, view.credential.pair
    if pair is None or not credential.failures:
        return None
    last = credential.failures[-1]
    wait = backoff(last.at, view.facts.dead_since(credential) or pair.expires_at, pair.life)
    at = last.at + wait
    return Action(Do.HOLD, Reason.BACKING_OFF, at=at) if lasts(at, wait, now) else None


def _due(view: View, now: datetime, policy: Policy) -> Action | None:
    at = view.due_at(policy)
    if at is not None and now < at:
        return None
    rungs = ladder(view, now, policy)
    return Action(Do.ATTEMPT, Reason.DUE, ladder=rungs) if rungs else None


def _idle_at(assertion: Assertion, begun_at: datetime | None, policy: Policy) -> datetime:
    """Return when an idle assertion is to be renewed; after trouble a whole interval later."""
    return max(assertion.obtained_at, begun_at or assertion.obtained_at) + policy.keep_alive_after


def _idle(view: View, now: datetime, policy: Policy) -> Action | None:
    assertion = view.credential.assertion
    if assertion is None or not assertion.refreshable or now < _idle_at(assertion, view.credential.renewal_begun_at, policy):
        return None
    return Action(Do.ATTEMPT, Reason.KEEP_ALIVE, ladder=(Rung.REASSERT,), purpose=Purpose.KEEP_ALIVE)


def _wait(view: View, now: datetime, policy: Policy) -> Action | None:
    at, assertion = view.due_at(policy), view.credential.assertion
    if at is None:
        return Action(Do.HOLD, Reason.NOT_DUE)
    if assertion and assertion.refreshable:
        at = min(at, _idle_at(assertion, view.credential.renewal_begun_at, policy))
    return Action(Do.HOLD, Reason.NOT_DUE, at=max(at, now))


QUESTIONS: tuple[Question, ...] = (
    _deleted,  # nothing is written over what an undelete can bring back
    _revoked,  # whatever its spec says
    _removed,  # the spec is gone: destroy nothing, do nothing
    _paused,  # the operator wants silence
    _nothing_stored,  # never signed in
    _refused,  # a stored secret goes only where it came from
    _in_flight,  # somebody's attempt is recorded: wait for it, go on with it, or take it over
    _requested,  # an operator wants it now, whatever the state
    _needs_sign_in,  # one silent try a day
    _blocked,  # every 15 minutes, later hourly
    _backing_off,  # its own answered errors
    _due,
    _idle,  # keep Microsoft's grant alive
    _wait,
)


def next_action(view: View, now: datetime, policy: Policy) -> Action:
    """Return what to do next with this credential. Asks nothing of the network and changes nothing."""
    for question in QUESTIONS:
        action = question(view, now, policy)
        if action is not None:
            return action
    msg = "the last question always has an answer"
    raise AssertionError(msg)
