"""A credential: the assertion, the Veeam pair, and the journal of the attempt that is under way.

Every method returns a new credential and goes through the state table. The journal entry (`Attempt`) is at once the lock
between replicas, the proof that Vault takes writes before a refresh token is spent, and what a successor reads after a
crash (DESIGN 5.3).
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final

from vault_plugin.core.documents import Document, Part, Timestamp
from vault_plugin.core.findings import Findings
from vault_plugin.core.handled import Handled, keep_handled
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Event, Reason, State, move
from vault_plugin.core.tenants import Binding

FAILURES_KEPT: Final = 3
CALLS_KEPT: Final = 8


class Rung(StrEnum):
    """How a new pair is got, cheapest first (DESIGN 5.2)."""

    REFRESH = "refresh"
    """Veeam, ``grant_type=refresh_token``."""
    EXCHANGE = "exchange"
    """Veeam, ``jwt-bearer`` with the stored assertion."""
    REASSERT = "reassert"
    """Microsoft, ``grant_type=refresh_token``; an exchange follows."""


#: The rungs that Veeam's token endpoint serves; the others are Microsoft's.
AT_VEEAM: Final = frozenset({Rung.REFRESH, Rung.EXCHANGE})
AT_MICROSOFT: Final = frozenset({Rung.REASSERT})


#: Pairs that say nothing of Microsoft's grant.
REFRESHES: Final = frozenset({Reason.REFRESHED, Reason.REEXCHANGED})


class Purpose(StrEnum):
    """Why an attempt was begun."""

    ROTATION = "rotation"
    SIGN_IN = "sign_in"
    KEEP_ALIVE = "keep_alive"


class Assertion(Part):
    """Microsoft's token JSON, whole, with what we must know of it without opening it."""

    #: The JSON object as text: every key that Microsoft sent, merged over refreshes.
    json_text: Secret
    #: When the request was sent that brought the newest part.
    obtained_at: Timestamp
    #: When the Microsoft access token inside expires.
    expires_at: Timestamp
    #: Whether it holds a Microsoft refresh token.
    refreshable: bool
    signed_in_at: Timestamp
    account: str = ""
    #: Scopes that were asked for and that Microsoft didn't grant, in our own words; `offline_access` for a refresh token.
    lacks: tuple[str, ...] = ()


class Rejected(Part):
    """Veeam's rejections of all that a credential has, since it accepted something of it: the first and the newest."""

    since: Timestamp
    at: Timestamp


class Probe(Part):
    """What became of the access token before, when a new one was got by this rung: measured, not assumed."""

    at: Timestamp
    rung: Rung
    old_alive: bool


class Failure(Part):
    """An attempt's answer that was not a pair. No body, no token."""

    at: Timestamp
    rung: Rung
    reason: str
    text: str
    remedy: str = ""
    code: int | None = None
    trace_id: str = ""
    #: The other side answered this very request (a verdict or an error), as against silence or throttling.
    answered: bool = True
    #: Whose verdict on what was sent it was: the class of the error, or empty where nothing was judged.
    verdict: str = ""
    #: Another rung was rejected before in the same attempt.
    climbed: bool = False


def grant_is_dead(error: Failure | None) -> bool:
    """Tell whether this is Microsoft's verdict that the grant is dead: nothing but a person's sign-in changes that."""
    return error is not None and error.verdict == "GrantRejected"


class Attempt(Part):
    """The journal entry of what is under way. `ladder` holds the rungs left to try, the current one first."""

    id: str
    instance: str
    purpose: Purpose = Purpose.ROTATION
    ladder: tuple[Rung, ...]
    generation: int
    session: str = ""
    #: State in which the attempt began, and since when it was so.
    before: State
    before_reason: Reason = Reason.RETRYING
    before_since: Timestamp
    started_at: Timestamp
    deadline: Timestamp
    #: The assertion was renewed in this attempt: Veeam's rejection of it is no reason to ask a person.
    renewed: bool = False
    #: The outcome of the rung before was stored; nothing was sent for the current one yet.
    climbed: bool = False
    rejections: tuple[Failure, ...] = ()

    @property
    def rung(self) -> Rung:
        """Return the rung that is being tried."""
        return self.ladder[0]

    @property
    def lease(self) -> timedelta:
        """Return for how long an entry must be seen unchanged before another instance may take it over."""
        return self.deadline - self.started_at


class Credential(Document):
    """``credentials/NAME``: read and written by the service only."""

    kind: ClassVar[str] = "credentials"

    state: State = State.NEEDS_SIGN_IN
    reason: Reason = Reason.NEVER_SIGNED_IN
    since: Timestamp
    binding: Binding | None = None
    assertion: Assertion | None = None
    pair: TokenPair | None = None
    #: Counts the pairs that were stored; what a consumer sees only grows.
    generation: int = 0
    #: The attempt whose exchange began the stored pair's session at Veeam; a refresh inherits it.
    session: str = ""
    attempt: Attempt | None = None
    #: When calls to Veeam's token endpoint were begun, newest last: a lane's memory is rebuilt from these.
    calls: tuple[Timestamp, ...] = ()
    failures: tuple[Failure, ...] = ()
    last_error: Failure | None = None
    #: When an attempt failed last without a verdict, whatever `last_error` tells.
    tried_at: Timestamp | None = None
    last_rotation_at: Timestamp | None = None
    #: When a renewal of the assertion was begun last, whatever came of it.
    renewal_begun_at: Timestamp | None = None
    rejected: Rejected | None = None
    #: Since when the server has answered with anything but a pair; None: it accepted the newest call, or said nothing since.
    failing_since: Timestamp | None = None
    #: The newest generation whose token was proved to work, and when; and the newest that was proved not to.
    proved: int = 0
    proved_at: Timestamp | None = None
    disproved: int = 0
    findings: Findings = Findings()
    probes: tuple[Probe, ...] = ()
    #: ID of the request that asked for a rotation now.
    requested: str = ""
    sign_in_id: str = ""
    handled: tuple[Handled, ...] = ()

    @property
    def distrusted(self) -> bool:
        """Tell whether a token of it was proved not to work, and none was proved to work since."""
        return self.pair is not None and self.disproved > self.proved

    def _moved(self, event: Event, reason: Reason, now: datetime) -> "Credential":
        attempt = self.attempt
        state = move(self.state, event, attempt.before if attempt else None)
        since = attempt.before_since if attempt and attempt.before is state else now
        return self.replace(state=state, reason=reason, since=since)

    def started(self, attempt: Attempt, now: datetime, *, veeam_call: bool) -> "Credential":
        """Record an attempt, or the take-over or next rung of one."""
        calls = (*self.calls, now)[-CALLS_KEPT:] if veeam_call else self.calls
        moved = self._moved(Event.STARTED, Reason.ROTATION_STARTED, now)
        old, pair = self.attempt, self.pair
        if old and pair and old.rung is Rung.REFRESH and not old.climbed:
            pair = pair.replace(doubtful=True)
        if pair and pair.doubted and attempt.rung is Rung.REFRESH:
            pair = pair.replace(presented=True)
        renewal = self.renewal_begun_at if veeam_call else now
        return moved.replace(attempt=attempt, calls=calls, pair=pair, renewal_begun_at=renewal)

    def not_presented(self, before: TokenPair | None) -> "Credential":
        """Take back that a doubted refresh token was presented, unless it was in the pair of before: nobody looked at it."""
        earlier = before is not None and before.presented
        return self if earlier or self.pair is None else self.replace(pair=self.pair.replace(presented=False))

    def accepted(self, pair: TokenPair, *, session: str, reason: Reason, now: datetime) -> "Credential":
        """Store the pair that Veeam gave. The attempt ends, whoever's entry stands there."""
        generation = self.generation + 1
        # Microsoft's verdict on the grant stands though Veeam still refreshes: a person will be needed.
        told = (self.last_error, *(self.attempt.rejections if self.attempt else ()))
        dead = [error for error in told if grant_is_dead(error)] if reason in REFRESHES else []
        # Written over another's entry or over a failure, this is still a pair that Veeam gave: the table's only
        # way to `active` is through an attempt, and there was one: ours.
        state = move(State.ROTATING, Event.ACCEPTED)
        return self._answered("Rotated", f"generation {generation}", now).replace(
            state=state,
            reason=reason,
            since=now,
            pair=pair,
            generation=generation,
            session=session,
            attempt=None,
            failures=(),
            last_error=dead[-1] if dead else None,
            last_rotation_at=now,
            rejected=None,
            failing_since=None,
        )

    def deferred(self, failure: Failure, reason: Reason, now: datetime, *, passing: bool = False) -> "Credential":
        """End the attempt without a verdict. The state is as it was before.

        So is what a person was told to do, if there is nothing to do about this failure (`passing`), or if it is to sign in.
        """
        entry, told, shown = self.attempt, self.last_error, failure
        if entry is not None and told is not None and entry.purpose is not Purpose.SIGN_IN:
            before = entry.before
            if before is State.NEEDS_SIGN_IN or (passing and (before is State.BLOCKED or grant_is_dead(told))):
                shown = told
                reason = reason if before is State.ACTIVE else entry.before_reason
        moved = self._moved(Event.DEFERRED, reason, now)._failing(failure, now)._tried("Failed", failure.text, now)
        failures = (*self.failures, failure)[-FAILURES_KEPT:] if failure.answered else self.failures
        return moved.replace(attempt=None, failures=failures, last_error=shown, tried_at=now)

    def concluded(self, event: Event, reason: Reason, failure: Failure | None, now: datetime) -> "Credential":
        """End the attempt with a verdict (`GRANT_REJECTED`, `REFUSED`) or, for a keep-alive, without a new pair."""
        text = failure.text if failure else ""
        refused = event is Event.REFUSED and failure is not None
        moved = self._moved(event, reason, now)._failing(failure if refused else None, now)
        failures = (*self.failures, failure)[-FAILURES_KEPT:] if refused else ()
        answered = moved._tried if event is Event.DEFERRED else moved._answered
        return answered("Failed" if failure else "Done", text, now).replace(attempt=None, failures=failures, last_error=failure)

    def _failing(self, failure: Failure | None, now: datetime) -> "Credential":
        """Note since when the server fails it."""
        if failure is None or not failure.answered or failure.rung not in AT_VEEAM:
            return self
        return self.replace(failing_since=min(self.failing_since or now, now))  # the clock may have been set back since

    def disproven(self, generation: int, failure: Failure, reason: Reason, now: datetime) -> "Credential":
        """Note that this generation's access token doesn't do what it must: nobody is to read it, nor one after it unproved."""
        findings = self.findings.disproved(reason, again=self.distrusted)
        noted = self.replace(disproved=max(self.disproved, generation), findings=findings)
        if self.state is not State.ACTIVE or self.generation != generation:
            return noted  # whatever goes on meanwhile ends as it ends
        return noted._moved(Event.DISPROVED, reason, now).replace(last_error=failure)

    def revoked(self, now: datetime) -> "Credential":
        """Take it out of service: no secret stays."""
        moved = self._moved(Event.REVOKED, Reason.REVOKED, now)
        return moved._answered("Revoked", "", now).replace(
            assertion=None,
            pair=None,
            attempt=None,
            failures=(),
            session="",
            generation=self.generation + 1,
            findings=self.findings.elsewhere(),
        )

    def rejected_again(self, now: datetime) -> "Credential":
        """Note that Veeam rejected all that there is."""
        since = min(self.rejected.since, now) if self.rejected else now  # the clock may have been set back since
        return self.replace(rejected=Rejected(since=since, at=now))

    def asked(self, request: Handled) -> "Credential":
        """Note that an operator wants a rotation now."""
        return self.replace(requested=request.id, handled=keep_handled(self.handled, request))

    def _tried(self, outcome: str, text: str, now: datetime) -> "Credential":
        """As `_answered`, unless something else than a rotation was tried: then what was asked for is yet to come."""
        return self._answered(outcome, text, now) if self.attempt and self.attempt.purpose is Purpose.ROTATION else self

    def _answered(self, outcome: str, text: str, now: datetime) -> "Credential":
        """Complete the outcome of the request that asked for this rotation, if one did."""
        if not self.requested:
            return self
        entry = Handled(id=self.requested, action="rotate", at=now, outcome=outcome, text=text)
        return self.replace(requested="", handled=keep_handled(self.handled, entry))
