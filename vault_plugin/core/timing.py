"""When: overlap, due time, backoff. Pure functions of stored facts and the time (DESIGN 6)."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

ZERO = timedelta(0)


class Timed(Protocol):
    """What has a life: a pair, or what is kept in memory of one."""

    @property
    def issued_at(self) -> datetime:
        """Return when it began."""

    @property
    def expires_at(self) -> datetime:
        """Return when it ends."""


@dataclass(frozen=True)
class Policy:
    """The numbers of DESIGN 5 and 6."""

    outage_budget: timedelta = timedelta(minutes=10)
    margin: timedelta = timedelta(minutes=1)
    jitter_share: float = 0.05
    keep_alive_after: timedelta = timedelta(days=3)
    silent_retry_after: timedelta = timedelta(days=1)
    blocked_retry_after: timedelta = timedelta(minutes=15)
    blocked_hourly_after: timedelta = timedelta(hours=2)
    #: Added to the sum of an attempt's timeouts.
    deadline_margin: timedelta = timedelta(seconds=5)
    #: A verdict that counts only when seen twice must be seen again after this.
    confirm_after: timedelta = timedelta(minutes=2)
    microsoft_timeout: timedelta = timedelta(seconds=35)
    #: What the first write of an attempt may take.
    store_timeout: timedelta = timedelta(seconds=13)
    #: A token of each server is proved at least so often.
    proof_after: timedelta = timedelta(days=1)
    #: A refusal of a refresh token counts only if it is repeated so much later, and others were accepted meanwhile.
    confirm_refusal_after: timedelta = timedelta(minutes=5)
    #: A server that rejects everybody is called so often, each time for another tenant.
    turn_every: timedelta = timedelta(minutes=1)
    #: After a sign-in's exchange failed without a verdict: after none, one, two, three answered errors.
    exchange_retry_after: tuple[timedelta, ...] = tuple(timedelta(seconds=s) for s in (5, 5, 20, 120))

    def lease(self, timeout: timedelta) -> timedelta:
        """Return how long an attempt may take whose call has this timeout."""
        return self.store_timeout + timeout + self.deadline_margin


def overlap(life: timedelta, reread: timedelta, policy: Policy, *, late: bool = False) -> timedelta:
    """Return how long before expiry the successor is wanted (DESIGN 6, "Overlap").

    `late`: a rotation kills the old token at once, so that consumers gain nothing by an early one.
    """
    least = policy.outage_budget + policy.margin
    wanted = least if late else max(life / 3, reread + least)
    return min(wanted, life * 2 / 3)


def budget_left(
    life: timedelta, reread: timedelta, policy: Policy, delay: timedelta = ZERO, *, late: bool = False
) -> timedelta:
    """Return how long an outage a consumer doesn't notice; negative if its re-reading alone is too slow."""
    kept = ZERO if late else reread
    return overlap(life, reread, policy, late=late) - kept - policy.margin - delay


def jitter(name: str, generation: int, life: timedelta, policy: Policy) -> timedelta:
    """Return this generation's share of the jitter: the same for the same question."""
    digest = hashlib.sha256(f"{name}/{generation}".encode()).digest()
    share = int.from_bytes(digest[:4]) / 2**32
    return life * policy.jitter_share * share


def due_at(name: str, generation: int, pair: Timed, reread: timedelta, policy: Policy, *, late: bool = False) -> datetime:
    """Return when the pair is to be rotated."""
    life = pair.expires_at - pair.issued_at
    return pair.expires_at - overlap(life, reread, policy, late=late) - jitter(name, generation, life, policy)


def backoff(now: datetime, expires_at: datetime, life: timedelta) -> timedelta:
    """Return how long after an answered error at `now` the next try is due. No counter: a restart forgets nothing."""
    floor = min(timedelta(seconds=5), life / 60)
    ceiling = timedelta(minutes=5) if now < expires_at else timedelta(minutes=15)
    return max(floor, min(abs(expires_at - now) / 8, ceiling))


def lasts(until: datetime, wait: timedelta, now: datetime) -> bool:
    """Tell whether a wait still lasts whose end follows from stored facts; `now` was read after them.

    An end that is further away than the whole wait was stored before the wall clock was set back: nobody knows what is left
    of it, so it is over.
    """
    return ZERO < until - now <= wait


def by_clock(issued_at: datetime, expires_at: datetime, set_back: timedelta, now: datetime) -> datetime:
    """Return when a pair was issued by the clock as it is now, which was set back by so much since.

    What seems to come from the future all the same was issued before a step that nobody noted: it is as old as it can be.
    """
    at = issued_at - set_back
    return at if at <= now else now - (expires_at - issued_at)


def call_timeout(configured: timedelta, expires_at: datetime | None, now: datetime) -> timedelta:
    """Return the total timeout of a call: at most a quarter of the remaining life while that is positive, at least 1 s."""
    if expires_at is None or expires_at <= now:
        return configured
    return max(min(configured, (expires_at - now) / 4), timedelta(seconds=1))
