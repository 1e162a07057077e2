"""What a piece of work did to its lane."""

from dataclasses import dataclass
from datetime import timedelta

from vault_plugin.core.credential import AT_VEEAM
from vault_plugin.core.errors import BackupServerError, BackupServerUnavailable
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.verdicts import THROTTLED


@dataclass(frozen=True)
class Ran:
    """What a piece of work did to the lane: whether Veeam was called, and how that ended."""

    called: bool
    outage: bool = False
    throttled: bool = False
    #: False: the request never left us.
    sent: bool = True
    retry_after: timedelta | None = None
    #: A session was ended at Veeam, too: that is a call like any other.
    logged_out: bool = False


def ran_of(done: Step) -> Ran:
    """Return what a step meant for the lane: only answers and silence of Veeam count."""
    if done.called not in AT_VEEAM:
        return Ran(called=False)
    error = done.error
    return Ran(
        called=True,
        outage=isinstance(error, BackupServerUnavailable),
        throttled=error is not None and error.reason == THROTTLED,
        sent=not isinstance(error, BackupServerUnavailable) or error.sent,
        retry_after=error.retry_after if isinstance(error, BackupServerError) else None,
        logged_out=done.logged_out,
    )
