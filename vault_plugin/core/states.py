"""The states of a credential, as a table.

Two rules. Everything that affects states stands in this file. This file does not know why something happened: who
calls it brings an event, and an event that is not in the table raises and changes nothing.

Freshness (fresh, due, expired) is computed from the time and never stored. A pending sign-in is another record
(``sign_in.py``): asking a person again never disturbs a token that still works.
"""

from enum import StrEnum
from typing import Final

from vault_plugin.core.errors import IllegalTransition


class State(StrEnum):
    """What is known of a credential."""

    NEEDS_SIGN_IN = "needs_sign_in"
    """Microsoft's grant is dead or there is none; a person must sign in."""
    ACTIVE = "active"
    """Vault holds a pair that Veeam accepted."""
    BLOCKED = "blocked"
    """What is stored is good or unjudged; an admin must change something."""
    ROTATING = "rotating"
    """An attempt is recorded; its outcome may be unknown."""
    REVOKED = "revoked"
    """Offboarded; final until somebody signs in anew."""


class Event(StrEnum):
    """What happened to a credential."""

    STARTED = "started"
    """An attempt was recorded (also: taken over, or climbed to the next rung)."""
    ACCEPTED = "accepted"
    """Veeam gave a pair."""
    DEFERRED = "deferred"
    """The attempt ended without a verdict; what is stored is as good as before."""
    GRANT_REJECTED = "grant_rejected"
    """Microsoft's verdict on the stored grant, or there is no grant."""
    REFUSED = "refused"
    """Veeam's verdict on a fresh assertion, or Microsoft says that an admin must act."""
    DISPROVED = "disproved"
    """The new token was tried and doesn't do what it must."""
    REVOKED = "revoked"
    """An operator took the credential out of service."""


#: Stands for the state before the attempt, which the attempt's journal holds.
BEFORE: Final = None

TABLE: Final[dict[State, dict[Event, State | None]]] = {
    State.NEEDS_SIGN_IN: {
        Event.STARTED: State.ROTATING,
        Event.REVOKED: State.REVOKED,
    },
    State.ACTIVE: {
        Event.STARTED: State.ROTATING,
        Event.DISPROVED: State.BLOCKED,
        Event.REVOKED: State.REVOKED,
    },
    State.BLOCKED: {
        Event.STARTED: State.ROTATING,
        Event.REVOKED: State.REVOKED,
    },
    State.ROTATING: {
        Event.STARTED: State.ROTATING,
        Event.ACCEPTED: State.ACTIVE,
        Event.DEFERRED: BEFORE,
        Event.GRANT_REJECTED: State.NEEDS_SIGN_IN,
        Event.REFUSED: State.BLOCKED,
        Event.REVOKED: State.REVOKED,
    },
    State.REVOKED: {
        Event.STARTED: State.ROTATING,
        Event.REVOKED: State.REVOKED,
    },
}


def move(state: State, event: Event, before: State | None = None) -> State:
    """Return the state after `event`. `before` is the state in which the attempt began, where there is one.

    Raises:
        IllegalTransition: the table doesn't know this event in this state.
    """
    if event not in TABLE[state]:
        msg = f"{event} in state {state}"
        raise IllegalTransition(msg)
    after = TABLE[state][event] or before
    if after is None:
        msg = f"{event} in state {state} without the state before"
        raise IllegalTransition(msg)
    return after


class Reason(StrEnum):
    """Why a credential is in its state, or why nothing is done now. Machine-readable; stable."""

    NEVER_SIGNED_IN = "NeverSignedIn"
    GRANT_REJECTED = "GrantRejected"
    SIGNED_IN = "SignedIn"
    REFRESHED = "Refreshed"
    REEXCHANGED = "Reexchanged"
    REASSERTED = "Reasserted"
    KEPT_ALIVE = "KeptAlive"
    RETRYING = "Retrying"
    REJECTED_BY_VEEAM = "RejectedByVeeam"
    SERVER_REJECTS_EVERYONE = "ServerRejectsEveryone"
    NOT_PROVED = "NotProved"
    WRONG_ORGANIZATION = "WrongOrganization"
    BLOCKED_BY_TENANT_POLICY = "BlockedByTenantPolicy"
    MISCONFIGURED = "Misconfigured"
    REVOKED = "Revoked"
    ROTATION_STARTED = "RotationStarted"
    # Why something is done now, or not.
    DUE = "Due"
    NOT_DUE = "NotDue"
    REQUESTED = "Requested"
    CLIMBED = "Climbed"
    TAKEN_OVER = "TakenOver"
    IN_FLIGHT = "InFlight"
    BACKING_OFF = "BackingOff"
    PAUSED = "Paused"
    TENANT_REMOVED = "TenantRemoved"
    CONFIGURATION_CHANGED = "ConfigurationChanged"
    CONFIGURATION_REFUSED = "ConfigurationRefused"
    DOCUMENT_MALFORMED = "DocumentMalformed"
    DOCUMENT_UNREADABLE = "DocumentUnreadable"
    DOCUMENT_DELETED = "DocumentDeleted"
    SILENT_RETRY = "SilentRetry"
    PROBING = "Probing"
    SERVER_RECOVERED = "ServerRecovered"
    KEEP_ALIVE = "KeepAlive"
    # How a sign-in ended.
    APPROVED = "Approved"
    DECLINED = "Declined"
    EXPIRED = "Expired"
    CANCELLED = "Cancelled"
    APPROVAL_LOST = "ApprovalLost"
    WRONG_ACCOUNT = "WrongAccount"
    WRONG_TENANT = "WrongTenant"
    SIGNED_IN_ELSEWHERE = "SignedInElsewhere"
