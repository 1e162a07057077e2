"""What next, and why. Pure: the same arguments always give the same answer.

`next_action` asks a list of questions in order; the first that has an answer decides. The list is the specification.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from vault_plugin.core import ladder
from vault_plugin.core.credential import AT_VEEAM, Assertion, Credential, Purpose, Rung
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
    #: It waits for the share of its lane that those have which keep failing.
    shares: bool = False


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
    #: When its turn comes to probe a server that rejects everybody; None: the server isn't known to.
    turn_at: datetime | None = None

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

    def hurries(self, now: datetime, policy: Policy) -> bool:
        """Tell whether less than half of the overlap is left."""
        pair = self.credential.pair
        if pair is None:
            return False
        if self.facts.dead_since(self.credential) is not None:
            return True
        return pair.expires_at - now < overlap(pair.life, self.reread, policy, late=self.facts.kills_old) / 2


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
    rungs = ladder.taken_over(view.credential, now, view.facts)
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


#: Veeam's rejections.
REJECTED = frozenset({Reason.REJECTED_BY_VEEAM, Reason.SERVER_REJECTS_EVERYONE})


def _turn(view: View, now: datetime, policy: Policy) -> Action | None:
    credential, due = view.credential, view.due_at(policy)
    if view.turn_at is None:
        return None
    rejected = credential.state is State.BLOCKED and credential.reason in REJECTED
    wants = rejected or (credential.state is State.ACTIVE and due is not None and due <= now)
    rungs = ladder.probe(credential, now, view.facts)
    if not rungs or not (wants or credential.requested):
        return None
    if now < view.turn_at:
        text = "the server rejects every tenant: it is probed once a minute, each time for another one"
        return Action(Do.HOLD, Reason.SERVER_REJECTS_EVERYONE, at=view.turn_at, text=text)
    return Action(Do.ATTEMPT, Reason.PROBING, ladder=rungs)


def _recovered(view: View, now: datetime, policy: Policy) -> Action | None:
    credential, since = view.credential, view.facts.recovered_at
    failed = credential.rejected is not None or credential.failing_since is not None
    waits = credential.state in (State.BLOCKED, State.ACTIVE) and failed
    if not waits or since is None or _last_try(credential, now) >= since:
        return None
    rungs = ladder.wanted(credential, now, view.facts, hurried=view.hurries(now, policy))
    return Action(Do.ATTEMPT, Reason.SERVER_RECOVERED, ladder=rungs) if rungs else None


def _requested(view: View, now: datetime, policy: Policy) -> Action | None:
    rungs = ladder.full_ladder(view.credential, now, view.facts)
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
    rungs, error = ladder.full_ladder(credential, now, view.facts), credential.last_error
    # Veeam's word is no reason to ask a person while a grant stands: a former version did so.
    unjust = error is not None and error.verdict == "TokenRejected" and bool({*rungs} - {Rung.REFRESH})
    wait = policy.blocked_retry_after if unjust else policy.silent_retry_after
    at = _last_try(credential, now) + wait
    if lasts(at, wait, now) or not rungs:
        return Action(Do.HOLD, credential.reason, at=at if rungs else None)
    return Action(Do.ATTEMPT, Reason.SILENT_RETRY, ladder=rungs)


def _blocked(view: View, now: datetime, policy: Policy) -> Action | None:
    credential = view.credential
    if credential.state is not State.BLOCKED:
        return None
    last, pair = _last_try(credential, now), credential.pair
    if pair is not None and last < pair.expires_at:
        wait = backoff(last, pair.expires_at, pair.life)
    else:
        begun = max(credential.since, pair.expires_at) if pair else credential.since
        wait = timedelta(hours=1) if last - begun >= policy.blocked_hourly_after else policy.blocked_retry_after
    at = last + wait
    rungs = ladder.wanted(credential, now, view.facts, hurried=view.hurries(now, policy))
    if lasts(at, wait, now) or not rungs:
        text = credential.last_error.text if credential.last_error else ""
        return Action(Do.HOLD, credential.reason, at=at if rungs else None, text=text, shares=True)
    return Action(Do.ATTEMPT, Reason.RETRYING, ladder=rungs, shares=True)


def _backing_off(view: View, now: datetime, policy: Policy) -> Action | None:
    credential, pair = view.credential, view.credential.pair
    failures = credential.failures
    rungs = ladder.wanted(credential, now, view.facts, hurried=view.hurries(now, policy))
    if rungs and rungs[0] in AT_VEEAM:  # Microsoft's trouble binds Microsoft's rung only
        failures = tuple(failure for failure in failures if failure.rung in AT_VEEAM or failure.climbed)
    if pair is None or not failures:
        return None
    last = failures[-1]
    wait = backoff(last.at, view.facts.dead_since(credential) or pair.expires_at, pair.life)
    at = last.at + wait
    return Action(Do.HOLD, Reason.BACKING_OFF, at=at) if lasts(at, wait, now) else None


def _due(view: View, now: datetime, policy: Policy) -> Action | None:
    at = view.due_at(policy)
    if at is not None and now < at:
        return None
    rungs = ladder.wanted(view.credential, now, view.facts, hurried=view.hurries(now, policy))
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
    _turn,  # the server rejects everybody: it is probed once a minute, each time for another tenant
    _requested,  # an operator wants it now, whatever the state
    _needs_sign_in,  # one silent try a day
    _recovered,  # the server accepts again, and this one was rejected or failed while it didn't
    _blocked,  # by the remaining life, then every 15 minutes, later hourly
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
