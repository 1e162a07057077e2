"""A server's outage, as its lane sees it: when to look whether it is over, and when to try (DESIGN 6). Pure.

A *look* is an anonymous call that no throttle counts. As soon as one brings an answer, a *try* goes: a call to the token
endpoint, for whoever is first. Its success ends the outage. So nothing is sent to the token endpoint of a server that is away,
and all its places are left when it is back; where only the token endpoint is sick, two tries a minute leave the rest of them.
Times are the monotonic clock's.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from vault_plugin.core.timing import ZERO

#: How long after the first, second, ... failure in a row one looks.
LOOK_AFTER: Final = tuple(timedelta(seconds=s) for s in (5, 10, 20, 30))
#: But never later than after this share of the life that the earliest token had left at the failure, and never sooner than so.
SHARE: Final = 8
SOONEST: Final = timedelta(seconds=5)
RETRY_AFTER_RANGE: Final = (timedelta(seconds=1), timedelta(minutes=5))
#: So many tries may fail in so long, where the server counts calls.
TRIES: Final = 2
TRIES_IN: Final = timedelta(minutes=1)


@dataclass(eq=False, slots=True)
class Look:
    """A look that is under way."""

    begun: timedelta


@dataclass(eq=False, slots=True)
class Outage:
    """What happened since the server answered last."""

    #: In a row, looks and tries alike.
    failures: int = 0
    looking: Look | None = None
    #: A look was answered, and no try has begun since: one may.
    answered: bool = False
    #: A try is under way.
    trying: bool = False
    #: The server was away, and didn't only throttle us; and that it is back was told.
    away: bool = False
    told: bool = False
    #: When the last failure was, and how long the server asked us to wait.
    since: timedelta = ZERO
    retry_after: timedelta | None = None
    #: When the tries that failed ended, as far as the server may have counted them.
    tried: tuple[timedelta, ...] = ()

    def failed(self, since: timedelta, retry_after: timedelta | None, *, throttled: bool) -> None:
        """Note trouble of the whole server; `since` then the next look is waited for."""
        self.failures += 1
        self.answered = self.trying = False
        self.since, self.retry_after = since, retry_after
        self.away = self.away or not throttled

    def late(self, ended: timedelta, retry_after: timedelta | None) -> None:
        """Note that a call from before the outage failed, too: it tells nothing new but what the server asks for."""
        if retry_after is not None:
            self.since, self.retry_after, self.answered = ended, retry_after, False

    def looked(self, look: Look, retry_after: timedelta | None, *, trouble: bool, throttled: bool) -> bool:
        """Note what a look brought; tell whether by it the server is known to be back."""
        self.looking = None
        if trouble:
            self.failed(look.begun, retry_after, throttled=throttled)
            return False
        self.answered = True
        return self.back()

    def back(self) -> bool:
        """Tell, once, that a server that was away is back."""
        told, self.told = self.told, self.told or self.away
        return self.away and not told

    def look_at(self, now: timedelta, left: timedelta | None) -> timedelta:
        """Return when to look; `left` is what the earliest token that waits has left of its life `now`."""
        if self.retry_after is not None:
            return self.since + max(RETRY_AFTER_RANGE[0], min(self.retry_after, RETRY_AFTER_RANGE[1]))
        wait = LOOK_AFTER[min(self.failures, len(LOOK_AFTER)) - 1]
        if left is not None:
            wait = min(wait, max(SOONEST, (left + now - self.since) / SHARE))
        return self.since + wait

    def try_at(self) -> timedelta:
        """Return when the next try may go, where the server counts calls."""
        return self.tried[-TRIES] + TRIES_IN if len(self.tried) >= TRIES else ZERO
