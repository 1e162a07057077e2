"""What an error means for a credential. A person is asked only on Microsoft's verdict on the stored grant."""

from dataclasses import dataclass
from datetime import datetime

from vault_plugin.core.credential import Assertion, Attempt, Credential, Failure, Purpose, Rung, grant_is_dead
from vault_plugin.core.errors import AuthorizationServerError, BackupServerError, BackupServerUnavailable, Error
from vault_plugin.core.facts import ServerFacts
from vault_plugin.core.states import Event, Reason, State
from vault_plugin.core.tenants import Binding
from vault_plugin.core.timing import Policy

#: The reason of an answer that says nothing but "later", whoever gives it.
THROTTLED = "Throttled"
#: Errors that judge what was sent; everything else says nothing about it.
VERDICTS = {
    "TokenRejected": (Event.REFUSED, Reason.REJECTED_BY_VEEAM),
    "GrantRejected": (Event.GRANT_REJECTED, Reason.GRANT_REJECTED),
    "TenantAdminRequired": (Event.REFUSED, Reason.BLOCKED_BY_TENANT_POLICY),
    "ClientRejected": (Event.REFUSED, Reason.MISCONFIGURED),
}


def failure_of(error: AuthorizationServerError | BackupServerError, rung: Rung, now: datetime) -> Failure:
    """Return what is stored of an error: no body, no token."""
    if isinstance(error, AuthorizationServerError):
        code, trace_id, answered = error.code, error.trace_id, bool(error.error) and error.reason != THROTTLED
    else:
        code, trace_id, answered = error.status, "", not isinstance(error, BackupServerUnavailable)
    return Failure(
        at=now,
        rung=rung,
        reason=error.reason,
        text=str(error),
        remedy=error.remedy(),
        code=code,
        trace_id=trace_id,
        answered=answered,
        verdict=type(error).__name__ if type(error).__name__ in VERDICTS else "",
    )


def looked_at(error: Error) -> bool:
    """Tell whether what was sent may have been looked at: not where nothing left us, nor where it was one call too many."""
    return error.reason != THROTTLED and (not isinstance(error, BackupServerUnavailable) or error.sent)


REJECTS_EVERYONE = (
    "It rejects every tenant: look at the VB365 server itself (its REST service, its certificate, tenant authentication). "
    "It is probed once a minute, and everything goes on by itself when it accepts again."
)
WHEN_WELL = (
    "VB365 rejects every tenant now. What stands is kept, and this sign-in isn't. When VB365 is well, and a sign-in is still "
    "needed: vb365 sign-in NAME."
)
NEVER_ACCEPTED = (
    "VB365 accepts other tenants and has never accepted this grant. Check there that the organization's name has exactly this "
    "case and that tenant authentication is enabled. If the account lacks the rights, sign in with another: vb365 sign-in NAME."
)
OFFERED = (
    "It is tried again by itself. No grant of Microsoft's stands: if VB365 is well otherwise, a person can end this at once "
    "by signing in: vb365 sign-in NAME."
)


@dataclass(frozen=True)
class Judged:
    """What an attempt with no rung left means. `Event.DEFERRED`: the state stays, and it is tried again."""

    event: Event
    reason: Reason
    #: What is shown of it.
    failure: Failure


def judge(
    name: str, rejections: tuple[Failure, ...], entry: Attempt, credential: Credential, facts: ServerFacts, now: datetime
) -> Judged:
    """Return what an attempt with no rung left means; `credential` has the newest rejection noted.

    While a grant of Microsoft's stands, alive or unjudged, Veeam's word never leads to a person. Where none stands it does
    so only if no pair stands either, or if the refusal of its refresh token is confirmed (DESIGN 5.2).
    """
    last = rejections[-1]
    from_microsoft = [failure for failure in rejections if failure.rung is Rung.REASSERT]
    dead = any(grant_is_dead(failure) for failure in (credential.last_error, *from_microsoft))
    if from_microsoft and not dead:
        event, reason = VERDICTS[from_microsoft[-1].verdict]
        return Judged(event, reason, from_microsoft[-1])
    if entry.renewed or entry.purpose is Purpose.SIGN_IN or (not dead and _stands(credential.assertion, now)):
        return _rejected(name, last, credential, facts)
    shown = from_microsoft[-1] if from_microsoft else last
    pair = credential.pair
    if pair is None or pair.confirmed:
        return Judged(Event.GRANT_REJECTED, Reason.GRANT_REJECTED, shown)
    if pair.refusals > 1:
        shown = shown.replace(remedy=OFFERED)
    if entry.before is State.ACTIVE and pair.expires_at <= now:
        return Judged(Event.REFUSED, Reason.REJECTED_BY_VEEAM, shown)
    return Judged(Event.DEFERRED, Reason.RETRYING if entry.before is State.ACTIVE else entry.before_reason, shown)


def _stands(assertion: Assertion | None, now: datetime) -> bool:
    return assertion is not None and (assertion.refreshable or assertion.expires_at > now)


def _rejected(name: str, last: Failure, credential: Credential, facts: ServerFacts) -> Judged:
    """Tell a tenant that the server rejects from a server that rejects everybody."""
    if facts.learn(name, credential).rejects_everyone:
        return Judged(Event.REFUSED, Reason.SERVER_REJECTS_EVERYONE, last.replace(remedy=REJECTS_EVERYONE))
    signed_in_at = credential.assertion.signed_in_at if credential.assertion else None
    accepted_at = credential.last_rotation_at
    never = signed_in_at is not None and (accepted_at is None or accepted_at < signed_in_at)
    others = facts.accepted_at is not None and facts.accepted_at != accepted_at
    shown = last.replace(remedy=NEVER_ACCEPTED) if never and others else last
    return Judged(Event.REFUSED, Reason.REJECTED_BY_VEEAM, shown)


def buries(credential: Credential, binding: Binding) -> bool:
    """Tell whether the grant that stands is dead, so that a sign-in's of this binding is kept though Veeam rejects it now."""
    same = credential.binding is not None and credential.binding.token_for == binding.token_for
    return same and grant_is_dead(credential.last_error)


def confirmed(error: Error, credential: Credential, now: datetime, policy: Policy) -> bool:
    """Tell whether a verdict counts: some of Microsoft's count only when seen twice over minutes."""
    if not isinstance(error, AuthorizationServerError) or not error.confirm:
        return True
    return any(failure.code == error.code and failure.at <= now - policy.confirm_after for failure in credential.failures)
