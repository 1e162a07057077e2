"""A server's lane: which call to its token endpoint may begin next, and when (DESIGN 6).

VB365 counts calls per client in fixed windows that begin at the server's first request of a window. A call occupies a
place from before it is sent until *window + 50 ms after its answer*: only so does a window counted at the server never see
one too many. Calls are measured by the monotonic clock (timedelta since some start); what is due and when tokens expire is
wall time. The module reads neither.

Order: a sign-in's exchange first; then, in their tenth of the lane, credentials that keep failing, first come first served;
then the earliest expiry. Whoever went unanswered since the lane was open, a sign-in too, lets the others go before.
"""

import bisect
import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from vault_plugin.core.rate import Rate
from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import ZERO

#: Slack for the server's own clock arithmetic (research: WebApiThrottle's window ends inclusively).
SLACK = timedelta(milliseconds=50)
IN_FLIGHT = 2
#: How long the lane stays closed after the first, second, … failure in a row.
PROBE_AFTER = tuple(timedelta(seconds=s) for s in (5, 10, 20, 30))
RETRY_AFTER_RANGE = (timedelta(seconds=1), timedelta(minutes=5))
#: Credentials whose last answers were all errors share every tenth call.
RETRY_SHARE = 10
#: So soon after a call that wasn't sent may the next begin. Not at once: Vault may be away, and nobody's step be sent.
UNSENT_PACE = timedelta(milliseconds=250)
#: For so long the rate is halved after a 429 that our own count doesn't explain: somebody shares our address.
SHARED_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A credential that this lane will call for. `expires_at` orders it among the due."""

    name: str
    due_at: datetime
    expires_at: datetime
    #: A sign-in's exchange: first of all, and not paced, until it goes unanswered.
    urgent: bool = False
    #: The last three calls were answered with errors: it waits for its share.
    retrying: bool = False


@dataclass(eq=False, slots=True)
class Call:
    """A call to the token endpoint, for whom while it is under way, and how the lane was paced without it."""

    entry: Entry | None
    begun: timedelta
    paced_until: timedelta
    retry_at: timedelta


@dataclass
class _Queue:
    """Entries by a key; those that were replaced or dropped are passed over."""

    items: list[tuple[object, int, Entry]] = field(default_factory=list)
    #: Among equals, who came first.
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def push(self, key: object, entry: Entry) -> None:
        heapq.heappush(self.items, (key, next(self.numbers), entry))

    def first(self, standing: dict[str, Entry]) -> Entry | None:
        while self.items and standing.get(self.items[0][2].name) is not self.items[0][2]:
            heapq.heappop(self.items)
        return self.items[0][2] if self.items else None


class Lane:
    """The places and the queue of one server. Not thread-safe: its owner holds a lock."""

    def __init__(self, throttle: Throttle) -> None:
        """Begin with nothing remembered and nothing planned."""
        self.configure(throttle)
        #: When calls ended, in order, as far back as a window reaches.
        self._ended: list[timedelta] = []
        #: Outages in a row; while there are any, one call at a time probes.
        self.failures = 0
        self.closed_until = ZERO
        self.shared_until: timedelta | None = None
        self._paced_until = ZERO
        self._retry_at = ZERO
        self._newest: Call | None = None
        #: Answers so far; and at which of them a credential went unanswered last.
        self._answers = 0
        self._unanswered: dict[str, int] = {}
        #: Unanswered since the lane was open: others probe first. And those whose trouble is their own.
        self._silent: set[str] = set()
        self._hanging: set[str] = set()
        self._entries: dict[str, Entry] = {}
        self._running: set[str] = set()
        self._later, self._ready, self._retries = _Queue(), _Queue(), _Queue()

    def configure(self, throttle: Throttle) -> None:
        """Take over what the server admits."""
        self._full, self._half = Rate.of(throttle, 1), Rate.of(throttle, 2)

    # --- the queue ---------------------------------------------------------------------------------------------------

    def put(self, entry: Entry) -> None:
        """Plan a credential, in place of what was planned for it. One call at a time is made for it."""
        if self._entries.get(entry.name) == entry:
            return
        self._entries[entry.name] = entry
        if entry.name not in self._running:
            self._later.push(entry.due_at, entry)

    def drop(self, name: str) -> None:
        """Plan nothing for this credential."""
        self._entries.pop(name, None)

    def waiting(self, now: datetime) -> int:
        """Return how many are due and wait for a place."""
        return sum(entry.due_at <= now and entry.name not in self._running for entry in self._entries.values())

    def _ripen(self, now: datetime) -> None:
        """Move what has become due to where it waits."""
        while (entry := self._later.first(self._entries)) is not None and entry.due_at <= now:
            heapq.heappop(self._later.items)
            self._wait(entry)

    def _wait(self, entry: Entry) -> None:
        """Put what is due where it waits: the ones that weren't answered since the lane was open behind the others."""
        if self._shares(entry):
            self._retries.push(entry.due_at, entry)
        else:
            key = (entry.name in self._silent, not entry.urgent, entry.expires_at)
            self._ready.push(key, entry)

    def _shares(self, entry: Entry) -> bool:
        """Tell whether this one waits for the share of those that keep failing."""
        return entry.retrying or entry.name in self._hanging

    # --- the places --------------------------------------------------------------------------------------------------

    def begin(self, now: datetime, monotonic: timedelta) -> Call | None:
        """Occupy a place for the next credential that may be called for now, or return None."""
        self._ripen(now)
        for at, entry in self._candidates(monotonic):
            if at <= monotonic:
                return self._occupy(entry, monotonic)
        return None

    def wake_in(self, now: datetime, monotonic: timedelta) -> timedelta | None:
        """Return how long until `begin` may give a call, or None if an answer or a new entry must come first."""
        if self._free_at(monotonic, urgent=True) is None:
            return None
        self._ripen(now)
        waits = [at - monotonic for at, _ in self._candidates(monotonic)]
        later = self._later.first(self._entries)
        if later is not None:
            waits.append(later.due_at - now)
        return max(min(waits), ZERO) if waits else None

    def delay(self, now: datetime, monotonic: timedelta) -> timedelta:
        """Return about how long a credential that becomes due now would wait."""
        return self.waiting(now) * self._rate(monotonic).pace + max(self.closed_until - monotonic, ZERO)

    def end(
        self,
        call: Call,
        now: timedelta,
        *,
        outage: bool,
        throttled: bool = False,
        retry_after: timedelta | None = None,
    ) -> None:
        """Note the answer. An outage (no answer, 502 to 504, 429) closes the lane; the first success opens it.

        A credential that goes unanswered again after others were answered has a trouble of its own: it closes nothing more,
        and waits for the share of those that keep failing.
        """
        bisect.insort(self._ended, now)
        if throttled and not self._over(now):
            self.shared_until = now + SHARED_FOR
        name = call.entry.name if call.entry else ""
        alone = outage and not throttled and self._answers > self._unanswered.get(name, self._answers)
        if outage:
            self._unanswered[name] = self._answers
        if alone:
            self._hanging.add(name)
        if outage and not alone:
            self._silent.add(name)
        self._leave(call)
        if not outage:
            self._answered(name)
            return
        if alone and not self.failures:
            return
        wait = PROBE_AFTER[min(self.failures, len(PROBE_AFTER) - 1)]
        if retry_after is not None:
            wait = max(RETRY_AFTER_RANGE[0], min(retry_after, RETRY_AFTER_RANGE[1]))
        self.failures += 1
        self.closed_until = now + wait

    def _answered(self, name: str) -> None:
        """Open the lane: it was the lane's trouble that others went unanswered, so that they wait like everybody again."""
        self._answers += 1
        self._unanswered.pop(name, None)
        self._hanging.discard(name)
        self.failures = 0
        self.closed_until = ZERO
        silent, self._silent = self._silent, set()
        for entry in [self._entries[each] for each in silent if each in self._entries and each not in self._running]:
            self._later.push(entry.due_at, entry)

    def _over(self, now: timedelta) -> bool:
        """Tell whether our own calls explain a 429: a logout that waited for no place, or what a journal didn't tell."""
        ended = self._ended
        return any(
            len(ended) - bisect.bisect_right(ended, now - length - SLACK) > limit for length, limit in self._full.windows
        )

    def cancel(self, call: Call) -> None:
        """Give the place and the turn back: nothing was sent."""
        self._leave(call)
        if call is self._newest:
            self._paced_until = max(call.paced_until, call.begun + min(UNSENT_PACE, self._rate(call.begun).pace))
            self._retry_at = call.retry_at

    def remember(self, ended: timedelta) -> None:
        """Take a call that was made elsewhere (read from a journal, or a logout) into the memory."""
        bisect.insort(self._ended, ended)

    def shared(self, now: timedelta) -> bool:
        """Tell whether the rate is halved because somebody seems to share our address."""
        return self.shared_until is not None and now < self.shared_until

    def _candidates(self, now: timedelta) -> Iterator[tuple[timedelta, Entry]]:
        """Yield who may be next and when, in order."""
        ready, retry = self._ready.first(self._entries), self._retries.first(self._entries)
        if ready is not None and ready.urgent and (at := self._free_at(now, urgent=True)) is not None:
            yield at, ready
        at = self._free_at(now)
        if at is None:
            return
        paced = self._rate(now).pace > ZERO
        if retry is not None and paced:
            yield max(at, self._retry_at), retry
        if ready is not None:
            yield at, ready
        if retry is not None and not paced:
            yield at, retry

    def _occupy(self, entry: Entry, now: timedelta) -> Call:
        rate = self._rate(now)
        del self._ended[: bisect.bisect_right(self._ended, now - rate.longest - SLACK)]
        self._newest = call = Call(entry, now, self._paced_until, self._retry_at)
        del self._entries[entry.name]
        self._running.add(entry.name)
        self._paced_until = now + rate.pace
        if self._shares(entry):
            self._retry_at = now + rate.pace * RETRY_SHARE
        return call

    def _leave(self, call: Call) -> None:
        entry, call.entry = call.entry, None
        if entry is None:
            return
        self._running.discard(entry.name)
        again = self._entries.get(entry.name)
        if again is not None:
            self._later.push(again.due_at, again)

    def _free_at(self, now: timedelta, *, urgent: bool = False) -> timedelta | None:
        """Return the earliest time at which a call may begin, or None if an answer must come first."""
        in_flight = len(self._running)
        if in_flight >= (1 if self.failures else IN_FLIGHT):
            return None
        at = max(now, self.closed_until, ZERO if urgent else self._paced_until)
        for length, limit in self._rate(now).windows:
            first = bisect.bisect_right(self._ended, at - length - SLACK)
            surplus = in_flight + len(self._ended) - first - limit + 1
            if surplus <= 0:
                continue
            if first + surplus > len(self._ended):
                return None
            at = max(at, self._ended[first + surplus - 1] + length + SLACK)
        return at

    def _rate(self, now: timedelta) -> Rate:
        return self._half if self.shared(now) else self._full
