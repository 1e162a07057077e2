"""A server's lane: which call to its token endpoint may begin next, and when (DESIGN 6).

VB365 counts calls per client in fixed windows that begin at the server's first request of a window. A call occupies a
place from before it is sent until *window + 50 ms after its answer*: only so does a window counted at the server never see
one too many. Calls are measured by the monotonic clock (timedelta since some start); what is due and when tokens expire is
wall time. The module reads neither.

Who goes next stands in `vault_plugin.core.queue`. A server that is away closes its lane: then one looks whether it answers
again, and tries (`vault_plugin.core.outage`).
"""

import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.outage import TRIES, Look, Outage
from vault_plugin.core.queue import Entry, Queue
from vault_plugin.core.rate import Rate
from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import ZERO

__all__ = ["IN_FLIGHT", "SHARED_FOR", "SLACK", "UNSENT_PACE", "Call", "Entry", "Lane", "Look"]

#: Slack for the server's own clock arithmetic (research: WebApiThrottle's window ends inclusively).
SLACK = timedelta(milliseconds=50)
IN_FLIGHT = 2
#: Credentials whose last answers were all errors share every tenth call.
RETRY_SHARE = 10
#: So soon after a call that wasn't sent may the next begin. Not at once: Vault may be away, and nobody's step be sent.
UNSENT_PACE = timedelta(milliseconds=250)
#: For so long the rate is halved after a 429 that our own count doesn't explain: somebody shares our address.
SHARED_FOR = timedelta(hours=1)


@dataclass(eq=False, slots=True)
class Call:
    """A call to the token endpoint, for whom while it is under way, and how the lane was paced without it."""

    entry: Entry | None
    begun: timedelta
    paced_until: timedelta
    retry_at: timedelta
    #: The outage whose end it tries.
    trial: Outage | None = None


class Lane:
    """The places of one server, and who waits for them. Not thread-safe: its owner holds a lock."""

    def __init__(self, throttle: Throttle) -> None:
        """Begin with nothing remembered and nothing planned."""
        self.configure(throttle)
        self.queue = Queue()
        #: While there is one, the lane is closed.
        self.outage: Outage | None = None
        self.shared_until: timedelta | None = None
        #: When calls ended, in order, as far back as a window reaches.
        self._ended: list[timedelta] = []
        self._paced_until = self._unsent_until = self._retry_at = ZERO
        self._newest: Call | None = None

    def configure(self, throttle: Throttle) -> None:
        """Take over what the server admits."""
        self._full, self._half = Rate.of(throttle, 1), Rate.of(throttle, 2)

    def put(self, entry: Entry) -> None:
        """Plan a credential, in place of what was planned for it. One call at a time is made for it."""
        self.queue.put(entry)

    def drop(self, name: str) -> None:
        """Plan nothing for this credential."""
        self.queue.drop(name)

    def waiting(self, now: datetime) -> int:
        """Return how many are due and wait for a place."""
        return sum(1 for _ in self.queue.waiting(now))

    # --- what may begin ----------------------------------------------------------------------------------------------

    def begin(self, now: datetime, monotonic: timedelta) -> Call | None:
        """Occupy a place for the next credential that may be called for now, or return None."""
        if self.outage and not self.outage.answered:
            return None
        for at, entry in self._candidates(now, monotonic):
            if at <= monotonic:
                return self._occupy(entry, monotonic)
        return None

    def look(self, now: datetime, monotonic: timedelta) -> Look | None:
        """Return a look if one is due now: whoever gets it asks the server anonymously, and says what came of it."""
        at = self._look_at(now, monotonic)
        if self.outage is None or at is None or at > monotonic:
            return None
        self.outage.looking = Look(monotonic)
        return self.outage.looking

    def wake_in(self, now: datetime, monotonic: timedelta) -> timedelta | None:
        """Return how long until `begin` or `look` may give something, or None if an answer or a new entry must come first."""
        if self._free_at(monotonic, urgent=True) is None or (self.outage and self.outage.looking):
            return None
        if self.outage and not self.outage.answered:
            look_at = self._look_at(now, monotonic)
            waits = [] if look_at is None else [look_at - monotonic]
        else:
            waits = [at - monotonic for at, _ in self._candidates(now, monotonic)]
        due_at = self.queue.next_due()
        if due_at is not None:
            waits.append(due_at - now)
        return max(min(waits), ZERO) if waits else None

    def closed_for(self, now: datetime, monotonic: timedelta) -> timedelta:
        """Return how long nothing is sent for sure."""
        if self.outage is None:
            return ZERO
        return max(self.outage.look_at(monotonic, self.queue.least_left(now)) - monotonic, ZERO)

    def delay(self, now: datetime, monotonic: timedelta) -> timedelta:
        """Return about how long a credential that becomes due now would wait."""
        return self.waiting(now) * self._rate(monotonic).pace + self.closed_for(now, monotonic)

    def shared(self, now: timedelta) -> bool:
        """Tell whether the rate is halved because somebody seems to share our address."""
        return self.shared_until is not None and now < self.shared_until

    # --- what became of it -------------------------------------------------------------------------------------------

    def end(
        self,
        call: Call,
        now: timedelta,
        *,
        outage: bool,
        throttled: bool = False,
        sent: bool = True,
        retry_after: timedelta | None = None,
    ) -> bool:
        """Note the answer, and tell whether by it the server is known to be back after it was away.

        An outage (no answer, 502 to 504, 52x, 429) closes the lane; the first success opens it. What was never `sent` the
        server can't have counted: it takes no place. A credential that goes unanswered again after others were answered has a
        trouble of its own: it closes nothing more, and waits for the share of those that keep failing.
        """
        if sent:
            bisect.insort(self._ended, now)
        else:
            self._give_turn_back(call)
        if throttled and not self._over(now):
            self.shared_until = now + SHARED_FOR
        name = call.entry.name if call.entry else ""
        alone = outage and self.queue.unanswered(name, throttled=throttled)
        self._leave(call)
        if not outage:
            self.queue.answered(name)
            ended, self.outage = self.outage, None
            return ended is not None and ended.back()
        if self.outage is None and not alone:
            self.outage = call.trial = Outage()
        elif self.outage is None:
            return False
        elif call.trial is self.outage and sent:
            self.outage.tried = (*self.outage.tried, now)[-TRIES:]
        if call.trial is self.outage:
            self.outage.failed(now, retry_after, throttled=throttled)
        else:
            self.outage.late(now, retry_after)
        return False

    def looked(self, look: Look, *, trouble: bool, throttled: bool = False, retry_after: timedelta | None = None) -> bool:
        """Note what a look brought; tell whether by it the server is known to be back after it was away."""
        if self.outage is None or look is not self.outage.looking:
            return False  # another answer was faster
        return self.outage.looked(look, retry_after, trouble=trouble, throttled=throttled)

    def cancel(self, call: Call) -> None:
        """Give the place and the turn back: nothing was sent."""
        self._leave(call)
        self._give_turn_back(call)
        if call.trial and call.trial is self.outage:
            self.outage.trying, self.outage.answered = False, True

    def remember(self, ended: timedelta) -> None:
        """Take a call that was made elsewhere (read from a journal, or a logout) into the memory."""
        bisect.insort(self._ended, ended)

    # --- the places --------------------------------------------------------------------------------------------------

    def _look_at(self, now: datetime, monotonic: timedelta) -> timedelta | None:
        """Return when to look: not before a try could follow. None if nobody waits, or an answer must come first."""
        outage = self.outage
        if outage is None or outage.answered or outage.looking:
            return None
        possible = [at for at, _ in self._candidates(now, monotonic)]
        return max(outage.look_at(monotonic, self.queue.least_left(now)), min(possible)) if possible else None

    def _candidates(self, now: datetime, monotonic: timedelta) -> Iterator[tuple[timedelta, Entry]]:
        """Yield who may be next and when, in order."""
        ready, retry = self.queue.firsts(now)
        if ready is not None and ready.urgent and (at := self._free_at(monotonic, urgent=True)) is not None:
            yield at, ready
        at = self._free_at(monotonic)
        if at is None:
            return
        paced = self._rate(monotonic).pace > ZERO
        if retry is not None and paced:
            yield max(at, self._retry_at), retry
        if ready is not None:
            yield at, ready
        if retry is not None and not paced:
            yield at, retry

    def _occupy(self, entry: Entry, now: timedelta) -> Call:
        rate = self._rate(now)
        del self._ended[: bisect.bisect_right(self._ended, now - rate.longest - SLACK)]
        self._newest = call = Call(entry, now, self._paced_until, self._retry_at, self.outage)
        if self.outage:
            self.outage.trying, self.outage.answered = True, False
        self.queue.take(entry)
        self._paced_until = now + rate.pace
        if self.queue.shares(entry):
            self._retry_at = now + rate.pace * RETRY_SHARE
        return call

    def _leave(self, call: Call) -> None:
        entry, call.entry = call.entry, None
        if entry is not None:
            self.queue.give_back(entry.name)

    def _give_turn_back(self, call: Call) -> None:
        """Pace the lane as if this call hadn't been."""
        if call is self._newest:
            self._unsent_until = call.begun + min(UNSENT_PACE, self._rate(call.begun).pace)
            self._paced_until = max(call.paced_until, self._unsent_until)
            self._retry_at = call.retry_at

    def _free_at(self, now: timedelta, *, urgent: bool = False) -> timedelta | None:
        """Return the earliest time at which a call may begin, or None if an answer must come first."""
        in_flight, rate, outage = len(self.queue.running), self._rate(now), self.outage
        if in_flight >= IN_FLIGHT or (outage and outage.trying):
            return None
        if outage:  # one try at a time: nothing to pace
            at = max(now, self._unsent_until, outage.try_at() + SLACK if rate.windows else ZERO)
        else:
            at = max(now, ZERO if urgent else self._paced_until)
        for length, limit in rate.windows:
            first = bisect.bisect_right(self._ended, at - length - SLACK)
            surplus = in_flight + len(self._ended) - first - limit + 1
            if surplus <= 0:
                continue
            if first + surplus > len(self._ended):
                return None
            at = max(at, self._ended[first + surplus - 1] + length + SLACK)
        return at

    def _over(self, now: timedelta) -> bool:
        """Tell whether our own calls explain a 429: a logout that waited for no place, or what a journal didn't tell."""
        ended = self._ended
        return any(
            len(ended) - bisect.bisect_right(ended, now - length - SLACK) > limit for length, limit in self._full.windows
        )

    def _rate(self, now: timedelta) -> Rate:
        return self._half if self.shared(now) else self._full
