"""What an error means for a credential. A person is asked only on Microsoft's verdict on the stored grant."""

from datetime import datetime

from vault_plugin.core.credential import Attempt, Failure, Purpose, Rung
from vault_plugin.core.errors import AuthorizationServerError, BackupServerError, BackupServerUnavailable
from vault_plugin.core.states import Event, Reason

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
        code, trace_id, answered = error.code, error.trace_id, bool(error.error)
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


def verdict(entry: Attempt, rejections: tuple[Failure, ...]) -> tuple[Event, Reason, Failure]:
    """Return what an attempt with no rung left means. A person is asked only on Microsoft's verdict on the grant."""
    last = rejections[-1]
    if entry.renewed or entry.purpose is Purpose.SIGN_IN:
        return Event.REFUSED, Reason.REJECTED_BY_VEEAM, last
    from_microsoft = [failure for failure in rejections if failure.rung is Rung.REASSERT]
    if from_microsoft:
        event, reason = VERDICTS[from_microsoft[-1].verdict]
        return event, reason, from_microsoft[-1]
    return Event.GRANT_REJECTED, Reason.GRANT_REJECTED, last
