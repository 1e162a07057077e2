"""Simulated time: events in order, and the spells in which something is away."""

import bisect
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ZERO = timedelta(0)
#: Wall time when the simulation begins.
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class Agenda:
    """What happens when. `now` is the monotonic clock; the wall clock is `START` later and never stepped here."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.now = ZERO
        self._events: list[tuple[timedelta, int, Callable[[], None]]] = []
        self._number = 0

    @property
    def wall(self) -> datetime:
        """Return the wall time."""
        return START + self.now

    def at(self, when: timedelta, what: Callable[[], None]) -> None:
        """Let it happen at this time; of the same time, what was asked for first."""
        self._number += 1
        heapq.heappush(self._events, (when, self._number, what))

    def run(self, until: timedelta) -> None:
        """Let everything happen that happens before this time."""
        while self._events and self._events[0][0] < until:
            self.now, _, what = heapq.heappop(self._events)
            what()
        self.now = until


@dataclass(frozen=True)
class Spells:
    """When something is away: begin and end of each time, in order."""

    begins: Sequence[timedelta] = ()
    ends: Sequence[timedelta] = ()

    def over(self, at: timedelta) -> timedelta | None:
        """Return when the spell ends that this time falls into, or None."""
        number = bisect.bisect_right(self.begins, at) - 1
        return self.ends[number] if number >= 0 and at < self.ends[number] else None

    def meets(self, begin: timedelta, end: timedelta) -> bool:
        """Tell whether a spell overlaps this time."""
        number = bisect.bisect_left(self.begins, end) - 1
        return number >= 0 and self.ends[number] > begin


CLEAR = Spells()


def daily(length: timedelta, days: float, rnd: random.Random) -> Spells:
    """Return one spell a day, at a random time."""
    begins = [day * DAY + rnd.random() * (DAY - length) for day in range(max(1, round(days)))]
    return Spells(begins, [begin + length for begin in begins])


def hourly(length: timedelta, days: float, rnd: random.Random) -> Spells:
    """Return one spell in any hour: they begin an hour to an hour and ten minutes apart."""
    begins, at = [], timedelta(minutes=60 * rnd.random())
    while at < days * DAY:
        begins.append(at)
        at += timedelta(minutes=60 + 10 * rnd.random())
    return Spells(begins, [begin + length for begin in begins])
