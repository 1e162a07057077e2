"""Which published token of a server is to be proved next, and what follows from the answers (DESIGN 6, "Proof").

What was true at the last rotation may not be true now: a server that restarts may forget its sessions. One dead token may be
its consumer's own doing, so a second one, of another tenant, is asked before everybody's is taken for dead. Pure: `now` is
the monotonic clock's, times of issue are wall time.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

#: So many proofs are begun on a server in so long, and a tenant's report is looked at once in so long.
A_WINDOW: Final = 6
WINDOW: Final = timedelta(minutes=1)
#: After an answer that says nothing of the token.
AGAIN_AFTER: Final = timedelta(seconds=15)
#: A doubt that nobody answers is given up.
GIVEN_UP_AFTER: Final = timedelta(minutes=10)


class Verdict(StrEnum):
    """What a call with a token said of it."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """Nothing: no answer, or none of the server's own. It is asked again."""
    GONE = "gone"
    """There is nothing of this tenant's to ask with."""
    UNSERVED = "unserved"
    """The server doesn't serve the question, and never did: nobody's token can be proved there."""


@dataclass(frozen=True)
class Shown:
    """A token that consumers read now, and when it was issued by the clock as it is now."""

    name: str
    issued_at: datetime


@dataclass(frozen=True)
class Found:
    """What follows from an answer: whether this tenant is due, and until when everybody's sessions were lost."""

    dead: bool = False
    lost_before: datetime | None = None
    #: Whose reports are answered by that, too, in their order.
    reported: tuple[str, ...] = ()


NOTHING: Final = Found()


@dataclass(frozen=True)
class _Doubt:
    """Sessions that were begun before `before` may be lost; what was issued by `witness` would know."""

    before: datetime
    witness: datetime
    began: timedelta
    #: Who was found dead already, who gave no answer, and who can't be asked.
    dead: frozenset[str] = frozenset()
    asked: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


@dataclass
class Proofs:
    """The doubts and reports of one server. Not thread-safe: its owner holds a lock, and one proof is under way at a time."""

    _doubt: _Doubt | None = None
    #: Reported and not yet looked at: since when, and before when its session was begun.
    _reports: dict[str, tuple[timedelta, datetime]] = field(default_factory=dict)
    _looked_at: dict[str, timedelta] = field(default_factory=dict)
    _begun: deque[timedelta] = field(default_factory=deque)
    _not_before: timedelta = timedelta(0)

    def doubt(self, before: datetime, witness: datetime, now: timedelta) -> None:
        """Doubt the sessions that were begun before this; a token issued by `witness` is asked. What is doubted goes on."""
        old = self._doubt
        self._doubt = replace(old, before=max(old.before, before), began=now) if old else _Doubt(before, witness, now)
        self._not_before = timedelta(0)

    def set_back(self, by: timedelta) -> None:
        """Note that the wall clock was set back: what was noted before is of a clock that was ahead."""
        self._reports = {name: (since, at - by) for name, (since, at) in self._reports.items()}
        if self._doubt is not None:
            self._doubt = replace(self._doubt, before=self._doubt.before - by, witness=self._doubt.witness - by)

    def room_for(self, name: str, now: timedelta) -> bool:
        """Tell whether this tenant's report may be taken: it lies while its turn is further away than a window."""
        looked_at = self._looked_at.get(name)
        return len(self._reports) < A_WINDOW and (looked_at is None or now - looked_at >= WINDOW)

    def report(self, name: str, at: datetime, now: timedelta, *, known: bool = False) -> None:
        """Take a consumer's word that this tenant's token is dead; where that is `known`, it needs no proof."""
        self._looked_at = {who: when for who, when in self._looked_at.items() if now - when < WINDOW} | {name: now}
        if not known:
            self._reports[name] = (now, at)

    def again(self, name: str, at: datetime, now: timedelta) -> None:
        """Prove a token once more, later: that it is dead couldn't be noted."""
        self._reports.setdefault(name, (now, at))
        self._not_before = now + AGAIN_AFTER

    def next(self, shown: Iterable[Shown], now: timedelta) -> str | None:
        """Return whose token to prove now, if any, and count that. `shown` are the server's published tokens."""
        known = {each.name: each for each in shown}
        self._reports = {
            who: (since, at) for who, (since, at) in self._reports.items() if who in known and now - since < GIVEN_UP_AFTER
        }
        name = self._witness(known, now) or next(iter(self._reports), None)
        if name is None or self._free_in(now) > timedelta(0):
            return None
        self._begun.append(now)
        return name

    def _witness(self, known: dict[str, Shown], now: timedelta) -> str | None:
        """Return whom to ask: the newest that was issued by then, else the oldest after it. Without anybody the doubt ends."""
        doubt = self._doubt
        if doubt is None:
            return None
        others = [each for each in known.values() if each.name not in doubt.dead | doubt.gone and each.issued_at < doubt.before]
        if not others or now - doubt.began >= GIVEN_UP_AFTER:
            self._doubt = None
            return None

        def order(each: Shown) -> tuple[bool, bool, bool, timedelta]:
            later = each.issued_at > doubt.witness
            return each.name in doubt.asked, later, each.name in self._reports, abs(each.issued_at - doubt.witness)

        return min(others, key=order).name

    def wake_in(self, now: timedelta) -> timedelta | None:
        """Return how long until `next` may have somebody, or None if nothing is to be proved."""
        return self._free_in(now) if self._doubt or self._reports else None

    def _free_in(self, now: timedelta) -> timedelta:
        while self._begun and now - self._begun[0] >= WINDOW:
            self._begun.popleft()
        full = self._begun[0] + WINDOW - now if len(self._begun) >= A_WINDOW else timedelta(0)
        return max(full, self._not_before - now, timedelta(0))

    def answered(self, token: Shown, verdict: Verdict, now: timedelta) -> Found:
        """Take in what a proof said, and return what follows from it."""
        name, doubt = token.name, self._doubt
        if verdict is Verdict.UNKNOWN:
            self._unanswered(name, now)
            return NOTHING
        _, reported_at = self._reports.pop(name, (now, token.issued_at))
        if verdict is Verdict.DEAD:
            return self._dead(token, max(reported_at, doubt.before if doubt else reported_at), now)
        if verdict is Verdict.UNSERVED:
            self._doubt, self._reports = None, {}
        elif doubt is not None and verdict is Verdict.GONE:
            self._doubt = replace(doubt, gone=doubt.gone | {name})
        elif doubt is not None and token.issued_at < doubt.before:
            self._doubt = None
        return NOTHING

    def _unanswered(self, name: str, now: timedelta) -> None:
        """Ask again later, the others first."""
        self._not_before = now + AGAIN_AFTER
        if name in self._reports:
            self._reports[name] = self._reports.pop(name)
        if self._doubt is not None:
            self._doubt = replace(self._doubt, asked=self._doubt.asked | {name})

    def _dead(self, token: Shown, before: datetime, now: timedelta) -> Found:
        """Look for a second witness; it is the first one's if there is one already."""
        doubt = self._doubt or _Doubt(before, token.issued_at, now)
        dead = doubt.dead | {token.name}
        if len(dead) == 1:
            self._doubt = replace(doubt, before=before, witness=token.issued_at, began=now, dead=dead)
            return Found(dead=True)
        reported = tuple(self._reports)
        self._doubt, self._reports = None, {}
        return Found(dead=True, lost_before=before, reported=reported)
