"""What an error means for a credential. A person is asked only on Microsoft's verdict on the stored grant."""

from datetime import datetime, timedelta

from vault_plugin.core.credential import Attempt, Credential, Failure, Purpose, Rung
from vault_plugin.core.errors import AuthorizationServerError, BackupServerError, BackupServerUnavailable, Error
from vault_plugin.core.facts import ServerFacts
from vault_plugin.core.states import Event, Reason
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


#: So many rejections, on a server that has never accepted a renewed assertion, lead to a person after all.
REJECTIONS = 3
REJECTS_EVERYONE = (
    "It rejects every tenant: look at the VB365 server itself (its REST service, its certificate, tenant authentication)."
)


def verdict(
    name: str, rejections: tuple[Failure, ...], entry: Attempt, credential: Credential, facts: ServerFacts, policy: Policy
) -> tuple[Event, Reason, Failure]:
    """Return what an attempt with no rung left means. A person is asked only on Microsoft's verdict on the grant.

    The one exception: a server where nobody's renewed assertion was ever accepted, and that goes on rejecting this one
    for half an hour after the token has expired. There a new sign-in may bring what a renewal doesn't.
    """
    last = rejections[-1]
    if entry.renewed or entry.purpose is Purpose.SIGN_IN:
        hopeless = entry.renewed and not facts.reasserted and _rejected_for(credential, last) >= policy.reject_for
        if hopeless:
            return Event.GRANT_REJECTED, Reason.GRANT_REJECTED, last
        if facts.rejects_others_than(name):
            return Event.REFUSED, Reason.SERVER_REJECTS_EVERYONE, last.replace(remedy=REJECTS_EVERYONE)
        return Event.REFUSED, Reason.REJECTED_BY_VEEAM, last
    from_microsoft = [failure for failure in rejections if failure.rung is Rung.REASSERT]
    if from_microsoft:
        event, reason = VERDICTS[from_microsoft[-1].verdict]
        return event, reason, from_microsoft[-1]
    return Event.GRANT_REJECTED, Reason.GRANT_REJECTED, last


def _rejected_for(credential: Credential, last: Failure) -> timedelta:
    """Return over how long Veeam has rejected us since the token expired; nothing before the third time."""
    failures = [*credential.failures, last][-REJECTIONS:]
    expired_at = credential.pair.expires_at if credential.pair else failures[0].at
    counted = [failure.at for failure in failures if failure.verdict == last.verdict and failure.at >= expired_at]
    return last.at - counted[0] if len(counted) == REJECTIONS else timedelta(0)


def confirmed(error: Error, credential: Credential, now: datetime, policy: Policy) -> bool:
    """Tell whether a verdict counts: some of Microsoft's count only when seen twice over minutes."""
    if not isinstance(error, AuthorizationServerError) or not error.confirm:
        return True
    return any(failure.code == error.code and failure.at <= now - policy.confirm_after for failure in credential.failures)
