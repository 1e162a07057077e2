"""Who waits for a lane, and in which order. Pure.

A sign-in's exchange first; then the earliest expiry. Credentials that keep failing wait for a share of their own, first come
first served. Whoever went unanswered since the lane was open, a sign-in too, lets the others go before.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta


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


@dataclass
class _Heap:
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


class Queue:
    """The entries of one lane, one a name; for how many of them a call is under way."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self.entries: dict[str, Entry] = {}
        self.running: set[str] = set()
        #: Answers so far; and at which of them a credential went unanswered last.
        self._answers = 0
        self._unanswered: dict[str, int] = {}
        #: Unanswered since the lane was open: others go before. And those whose trouble is their own.
        self._silent: set[str] = set()
        self._hanging: set[str] = set()
        self._later, self._ready, self._retries = _Heap(), _Heap(), _Heap()

    def put(self, entry: Entry) -> None:
        """Plan a credential, in place of what was planned for it. One call at a time is made for it."""
        if self.entries.get(entry.name) == entry:
            return
        self.entries[entry.name] = entry
        if entry.name not in self.running:
            self._later.push(entry.due_at, entry)

    def drop(self, name: str) -> None:
        """Plan nothing for this credential."""
        self.entries.pop(name, None)

    def waiting(self, now: datetime) -> Iterator[Entry]:
        """Yield those that are due, in no order."""
        return (entry for entry in self.entries.values() if entry.due_at <= now and entry.name not in self.running)

    def least_left(self, now: datetime) -> timedelta | None:
        """Return what the earliest token that waits has left of its life; None if nobody waits."""
        return min((entry.expires_at - now for entry in self.waiting(now)), default=None)

    def firsts(self, now: datetime) -> tuple[Entry | None, Entry | None]:
        """Return the first of those that are due, and of those that wait for their share."""
        while (entry := self._later.first(self.entries)) is not None and entry.due_at <= now:
            heapq.heappop(self._later.items)
            if self.shares(entry):
                self._retries.push(entry.due_at, entry)
            else:
                self._ready.push((entry.name in self._silent, not entry.urgent, entry.expires_at), entry)
        return self._ready.first(self.entries), self._retries.first(self.entries)

    def next_due(self) -> datetime | None:
        """Return when somebody becomes due next, who isn't yet."""
        later = self._later.first(self.entries)
        return later.due_at if later else None

    def shares(self, entry: Entry) -> bool:
        """Tell whether this one waits for the share of those that keep failing."""
        return entry.retrying or entry.name in self._hanging

    def take(self, entry: Entry) -> None:
        """Let a call for it be under way."""
        del self.entries[entry.name]
        self.running.add(entry.name)

    def give_back(self, name: str) -> None:
        """Let it wait for what was planned for it meanwhile."""
        self.running.discard(name)
        again = self.entries.get(name)
        if again is not None:
            self._later.push(again.due_at, again)

    def unanswered(self, name: str, *, throttled: bool) -> bool:
        """Note that it got no answer; tell whether that is its own trouble: others were answered since it last got none."""
        alone = not throttled and self._answers > self._unanswered.get(name, self._answers)
        self._unanswered[name] = self._answers
        (self._hanging if alone else self._silent).add(name)
        return alone

    def answered(self, name: str) -> None:
        """Note an answer: it was the lane's trouble that others went unanswered, so that they wait like everybody again."""
        self._answers += 1
        self._unanswered.pop(name, None)
        self._hanging.discard(name)
        silent, self._silent = self._silent, set()
        for entry in [self.entries[each] for each in silent if each in self.entries and each not in self.running]:
            self._later.push(entry.due_at, entry)
