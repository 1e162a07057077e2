"""A server's lane: when may the next call to its token endpoint begin?

VB365 counts calls per client in fixed windows that begin at the server's first request of a window. A call occupies a
place from before it is sent until *window + 50 ms after its answer*: only so does a window counted at the server never see
one too many. Times are monotonic (timedelta since some start); the module reads no clock.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import ZERO

#: Slack for the server's own clock arithmetic (research: WebApiThrottle's window ends inclusively).
SLACK = timedelta(milliseconds=50)
IN_FLIGHT = 2
#: How long the lane stays closed after the first, second, … failure in a row.
PROBE_AFTER = tuple(timedelta(seconds=s) for s in (5, 10, 20, 30))
RETRY_AFTER_RANGE = (timedelta(seconds=1), timedelta(minutes=5))


@dataclass(eq=False)
class Call:
    """A call to the token endpoint: when it was begun, and when its answer (or timeout) came."""

    begun: timedelta
    ended: timedelta | None = None


@dataclass
class Lane:
    """The places of one server. Not thread-safe: its owner holds a lock."""

    throttle: Throttle
    calls: list[Call] = field(default_factory=list)
    closed_until: timedelta = ZERO
    #: Outages in a row; while there are any, one call at a time probes.
    failures: int = 0
    paced_until: timedelta = ZERO

    def next_at(self, now: timedelta, *, urgent: bool = False) -> timedelta | None:
        """Return the earliest time at which a call may begin, or None if an answer must come first.

        `urgent`: a sign-in's exchange isn't paced.
        """
        in_flight = sum(call.ended is None for call in self.calls)
        if in_flight >= (1 if self.failures else IN_FLIGHT):
            return None
        at = max(now, self.closed_until, ZERO if urgent else self.paced_until)
        for length, limit in self.throttle.windows():
            occupied = [call for call in self.calls if call.ended is None or call.ended + length + SLACK > at]
            surplus = len(occupied) - limit + 1
            if surplus <= 0:
                continue
            releases = sorted(call.ended + length + SLACK for call in occupied if call.ended is not None)
            if len(releases) < surplus:
                return None
            at = max(at, releases[surplus - 1])
        return at

    def begin(self, now: timedelta) -> Call:
        """Occupy a place."""
        longest = max((length for length, _ in self.throttle.windows()), default=ZERO)
        self.calls = [call for call in self.calls if call.ended is None or call.ended + longest + SLACK > now]
        call = Call(now)
        self.calls.append(call)
        if self.throttle.per_minute:
            self.paced_until = now + timedelta(minutes=1) / self.throttle.per_minute
        return call

    def cancel(self, call: Call) -> None:
        """Give the place back: nothing was sent."""
        self.calls.remove(call)

    def end(self, call: Call, now: timedelta, *, outage: bool, retry_after: timedelta | None = None) -> None:
        """Note the answer. An outage (no answer, 502 to 504, 429) closes the lane; the first success opens it."""
        call.ended = now
        if not outage:
            self.failures = 0
            self.closed_until = ZERO
            return
        wait = PROBE_AFTER[min(self.failures, len(PROBE_AFTER) - 1)]
        if retry_after is not None:
            wait = max(RETRY_AFTER_RANGE[0], min(retry_after, RETRY_AFTER_RANGE[1]))
        self.failures += 1
        self.closed_until = now + wait

    def remember(self, begun: timedelta, ended: timedelta) -> None:
        """Take a call from a journal into the memory, after a start."""
        self.calls.append(Call(begun, ended))
