"""A sign-in: the pending device authorization (RFC 8628) of one tenant, a record of its own with its own id.

A late answer of an old sign-in can't overwrite a newer one: both stand in the same document, and `cas` decides.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar, Final

from vault_plugin.core.credential import Assertion
from vault_plugin.core.documents import Document, Duration, Timestamp
from vault_plugin.core.errors import IllegalTransition
from vault_plugin.core.handled import Handled
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import Binding
from vault_plugin.core.timing import ZERO, lasts

#: RFC 8628 section 3.5: added to the interval by every slow_down, for good.
SLOW_DOWN: Final = timedelta(seconds=5)
LIFE_RANGE: Final = (timedelta(seconds=30), timedelta(hours=1))
#: Never sooner than asked: the longest interval is that of a code which is asked about only when it expires.
INTERVAL_RANGE: Final = (timedelta(seconds=1), LIFE_RANGE[1])
#: So long is waited at most after polls that nobody answered (RFC 8628 section 3.5: exponential backoff).
LONGEST_PAUSE: Final = timedelta(seconds=60)


class SignInState(StrEnum):
    """How far a sign-in has come."""

    PENDING = "pending"
    """The code is shown; Microsoft is asked at each interval."""
    APPROVED = "approved"
    """Microsoft's answer is stored; Veeam has not accepted it yet."""
    ENDED = "ended"
    """Over; `outcome` says how."""


TABLE: Final = {
    SignInState.PENDING: {SignInState.PENDING, SignInState.APPROVED, SignInState.ENDED},
    SignInState.APPROVED: {SignInState.ENDED},
    # A poll that was claimed when cancel came is finished first: what it brought is kept.
    SignInState.ENDED: {SignInState.APPROVED},
}


@dataclass(frozen=True)
class LastPoll:
    """What the process that made the newest poll knows of it, and nobody else does. Lost with the process."""

    sign_in_id: str
    #: When the next one may be made, on the monotonic clock: the interval counts from Microsoft's answer.
    next_at: timedelta
    #: The interval that Microsoft wants by now.
    interval: timedelta
    #: An answer was lost that may have been the approval.
    doubt: bool = False
    #: So many polls in a row nobody answered.
    unanswered: int = 0
    #: The code had expired when it was made.
    final: bool = False


class SignIn(Document):
    """``sign-ins/NAME``: read and written by the service only."""

    kind: ClassVar[str] = "sign-ins"

    id: str
    state: SignInState = SignInState.PENDING
    binding: Binding
    expected_account: str | None = None
    #: The credential's generation when it was asked for: revoked later, this sign-in brings nothing back.
    asked_at_generation: int = 0
    claimed_by: str = ""
    why: str = ""
    device_code: Secret | None = None
    user_code: Secret | None = None
    verification_uri: str = ""
    message: Secret | None = None
    interval: Duration
    #: When the next poll may be made by whoever knows nothing of the answer to the newest.
    next_poll_at: Timestamp
    started_at: Timestamp
    expires_at: Timestamp
    #: A poll was claimed before the newest one whose answer nobody knows. Then a code that Microsoft doesn't know any more
    #: may have been approved.
    doubt: bool = False
    #: Who made the newest poll, and its number.
    polled_by: str = ""
    polls: int = 0
    assertion: Assertion | None = None
    #: What was asked for and Microsoft didn't grant: told also when the assertion has left this record.
    lacks: tuple[str, ...] = ()
    outcome: Reason | None = None
    text: str = ""
    remedy: str = ""
    code: int | None = None
    trace_id: str = ""
    ended_at: Timestamp | None = None
    #: Ended, but the prompt may still show the code, and an older version may still hold secrets: a crash fell between.
    untidy: bool = False
    handled: tuple[Handled, ...] = ()

    def waits(self, now: datetime) -> bool:
        """Tell whether a code can still be entered, or an approval that Veeam hasn't judged can still be exchanged."""
        if self.assertion is not None:
            return now < self.assertion.expires_at
        return self.state is SignInState.PENDING and now < self.expires_at

    def poll_at(self, now: datetime, call: timedelta) -> datetime:
        """Return when Microsoft may be asked next: `now`, if it may be at once. `call` is how long a poll may take.

        For who knows nothing of the newest poll's answer: it may have come as late as the call lasts.
        """
        wait = self.interval + call if self.polls else self.interval
        return self.next_poll_at if lasts(self.next_poll_at, wait, now) else now

    def knows(self, last: LastPoll | None, instance: str) -> LastPoll | None:
        """Return what this instance knows of the newest poll, if it was its own."""
        mine = last is not None and last.sign_in_id == self.id and self.polled_by in ("", instance)
        return last if mine else None

    def pause(self, now: datetime, wait: timedelta) -> timedelta:
        """Return how long to wait after an answer, or after none: the last poll comes when the code expires.

        None comes so shortly before it that the last one would be too early.
        """
        left = max(self.expires_at - now, ZERO)
        return left if left < wait + self.interval else wait

    def claimed(self, last: LastPoll | None, *, instance: str, now: datetime, call: timedelta) -> "SignIn":
        """Claim the next poll, which may take as long as `call`; `last` is what the claimer knows of the one before."""
        self._check(SignInState.PENDING)
        interval = max(self.interval, last.interval) if last else self.interval
        again_at = now + call + interval
        return self.replace(
            interval=interval,
            next_poll_at=min(again_at, self.expires_at) if now < self.expires_at else again_at,
            polls=self.polls + 1,
            polled_by=instance,
            doubt=last.doubt if last else self.polls > 0,
        )

    def slowed(self) -> "SignIn":
        """Obey a slow_down."""
        return self.replace(interval=self.interval + SLOW_DOWN)

    def approved(self, assertion: Assertion, tenant_id: str) -> "SignIn":
        """Store Microsoft's answer; the device code is spent."""
        self._check(SignInState.APPROVED)
        binding = self.binding.replace(tenant_id=tenant_id)
        approved = self.replace(
            state=SignInState.APPROVED, assertion=assertion, device_code=None, outcome=None, binding=binding
        )
        return approved.replace(lacks=assertion.lacks)

    def ended(
        self,
        outcome: Reason,
        now: datetime,
        text: str = "",
        remedy: str = "",
        *,
        code: int | None = None,
        trace_id: str = "",
    ) -> "SignIn":
        """End it. The assertion leaves this record: by now it is the credential's, or dropped."""
        self._check(SignInState.ENDED)
        return self.replace(
            state=SignInState.ENDED,
            outcome=outcome,
            text=text,
            remedy=remedy,
            code=code,
            trace_id=trace_id,
            ended_at=now,
            untidy=True,
            device_code=None,
            user_code=None,
            message=None,
            assertion=None,
        )

    def _check(self, state: SignInState) -> None:
        if state not in TABLE[self.state]:
            msg = f"sign-in {self.state} can't become {state}"
            raise IllegalTransition(msg)


def grown(interval: timedelta, unanswered: int) -> timedelta:
    """Return the pause after so many polls in a row that nobody answered."""
    return max(interval, min(interval * (1 << min(unanswered, 10)), LONGEST_PAUSE))


def clamp(value: timedelta, limits: tuple[timedelta, timedelta]) -> timedelta:
    """Return the value, or the nearer limit."""
    return max(limits[0], min(value, limits[1]))
