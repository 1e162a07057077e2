"""What people do without this: refresh shortly before expiry on a tick, and refresh on read. No lanes, no jitter, no backoff.

Both keep the refresh token in one place and know no ladder: an answer that is lost, or a refresh token that is rejected, costs
the sign-in, and a person must sign in again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from bench.freshness.agenda import ZERO, Agenda
from bench.freshness.endpoint import Answer, Endpoint, Kind
from bench.freshness.ledger import Ledger

TICK = timedelta(seconds=60)
EARLY = timedelta(seconds=72)
#: A consumer that refreshes on read does so when less than this is left.
LEEWAY = timedelta(seconds=60)
READS = timedelta(seconds=285)
#: Consumers' clocks drift: those that collide once don't collide for ever.
DRIFT = timedelta(seconds=2)
TIMEOUT = timedelta(seconds=30)
#: How long it takes until somebody who is asked has signed in. Kind: at night it is longer.
PERSON = timedelta(hours=1)


@dataclass(slots=True)
class Kept:
    """A tenant's pair."""

    name: str
    expires: timedelta
    number: int = 1
    busy: bool = False
    #: Lost: waits for a person.
    lost: bool = False


@dataclass
class Plain:
    """What both have in common: one call, no queue."""

    agenda: Agenda
    endpoint: Endpoint
    ledger: Ledger
    life: timedelta
    rnd: random.Random
    down: bool = False
    runs: int = 0

    def kill(self) -> None:
        """Die on the spot: whose answer is awaited has lost it."""
        self.down = True
        self.runs += 1

    def refresh(self, kept: Kept, then: Callable[[], None]) -> None:
        """Refresh; `then` happens after the answer, unless the process has died by then."""
        kept.busy, run, sent = True, self.runs, self.agenda.now
        latency = timedelta(seconds=0.25 * self.rnd.lognormvariate(0, 0.6))

        def arrives() -> None:
            answer = self.endpoint.ask(self.agenda.now, kept.name, kept.number)
            late = answer.kind is Kind.HANGS or latency > TIMEOUT
            self.agenda.at(sent + (TIMEOUT if late else latency), lambda: answered(answer))

        def answered(answer: Answer) -> None:
            kept.busy = False
            if self.runs != run:
                if answer.kind is Kind.PAIR:
                    self._lose(kept)
                return
            if answer.kind is Kind.PAIR:
                kept.number, kept.expires = answer.number, sent + self.life
                self.ledger.published(kept.name, self.agenda.now, kept.expires)
            elif answer.kind is Kind.REJECTED:
                self._lose(kept)
            then()

        self.agenda.at(sent + latency * self.rnd.random(), arrives)

    def _lose(self, kept: Kept) -> None:
        kept.lost = True
        self.ledger.people += 1
        self.agenda.at(self.agenda.now + PERSON, lambda: self._signed_in(kept))

    def _signed_in(self, kept: Kept) -> None:
        answer = self.endpoint.ask(self.agenda.now, kept.name, None)
        if answer.kind is not Kind.PAIR:  # he tries again
            self.agenda.at(self.agenda.now + TICK, lambda: self._signed_in(kept))
            return
        kept.lost, kept.number, kept.expires = False, answer.number, self.agenda.now + self.life
        self.ledger.published(kept.name, self.agenda.now, kept.expires)


@dataclass
class Ticking(Plain):
    """Every 60 s, one after the other, whatever expires within 72 s."""

    tenants: Sequence[Kept] = ()

    def start(self) -> None:
        """Begin to tick."""
        self.down = False
        run = self.runs
        self.agenda.at(self.agenda.now + TICK * self.rnd.random(), lambda: self._tick(run, self.agenda.now))

    def _tick(self, run: int, planned: timedelta) -> None:
        if run != self.runs:
            return
        due = [kept for kept in self.tenants if kept.expires - self.agenda.now <= EARLY and not kept.lost and not kept.busy]

        def go_on() -> None:
            if due:
                self.refresh(due.pop(0), go_on)
            else:  # ticks that were missed meanwhile are one
                missed = max(0, (self.agenda.now - planned) // TICK)
                at = planned + TICK * (missed + 1)
                self.agenda.at(at, lambda: self._tick(run, at))

        go_on()


@dataclass
class OnRead(Plain):
    """Each tenant's consumer reads every 285 s and refreshes what is about to expire."""

    tenants: Sequence[Kept] = ()
    begun: bool = False

    def start(self) -> None:
        """Begin to read; who reads goes on through restarts."""
        self.down = False
        if self.begun:
            return
        self.begun = True
        for kept in self.tenants:
            self._read_later(kept, READS * self.rnd.random())

    def _read_later(self, kept: Kept, wait: timedelta) -> None:
        self.agenda.at(self.agenda.now + wait, lambda: self._read(kept))

    def _read(self, kept: Kept) -> None:
        if kept.expires - self.agenda.now < LEEWAY and not (self.down or kept.busy or kept.lost):
            self.refresh(kept, lambda: None)
        self._read_later(kept, READS + DRIFT * self.rnd.random())


def staggered(tenants: int, earliest: timedelta, life: timedelta, rnd: random.Random) -> list[Kept]:
    """Return tenants whose tokens expire evenly between `earliest` and a life from now, in no order."""
    names = [f"t{number}" for number in range(tenants)]
    rnd.shuffle(names)
    step = (life - earliest) / tenants
    return [Kept(name, max(ZERO, earliest + step * (place + rnd.random()))) for place, name in enumerate(names)]
