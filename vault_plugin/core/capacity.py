"""How many tenants a server's token endpoint can keep fresh. Told beforehand, not discovered (DESIGN 6)."""

import math
from dataclasses import dataclass
from datetime import timedelta

from vault_plugin.core.lanes import SLACK
from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import Policy, overlap

#: What an answer takes, on average: its call occupies a place for that long beside the window.
LATENCY = timedelta(seconds=0.3)
LONGEST_LIFE = timedelta(hours=24)


@dataclass(frozen=True)
class Capacity:
    """What one address of ours can keep at one server, and what would do where that is too little."""

    #: Tenants that keep the whole promise: an outage of ten minutes isn't noticed.
    comfortable: float
    #: Tenants that are still served when nothing else fails.
    most: float
    #: The shortest token life, in whole minutes, with which these tenants keep the whole promise; None: none does.
    life_needed: timedelta | None
    #: How many addresses would do with the present token life.
    addresses: int


def rate(throttle: Throttle) -> float:
    """Return the calls a second that the lane can make; infinite without a throttle."""
    rates = (limit / (length + SLACK + LATENCY).total_seconds() for length, limit in throttle.windows())
    return min(rates, default=math.inf)


def demand(life: timedelta, reread: timedelta, policy: Policy) -> float:
    """Return the calls a second that one credential asks for."""
    return 1 / _interval(life, reread, policy)


def capacity(throttle: Throttle, life: timedelta, reread: timedelta, tenants: int, policy: Policy) -> Capacity:
    """Return what a lane with this throttle can keep, and what these tenants would need."""
    calls = rate(throttle)
    comfortable = calls * _interval(life, reread, policy)
    minutes = range(5, int(LONGEST_LIFE.total_seconds() // 60) + 1)
    lives = (timedelta(minutes=m) for m in minutes)
    return Capacity(
        comfortable=comfortable,
        most=calls * max((life - reread - policy.margin).total_seconds(), 0.0),
        life_needed=next((each for each in lives if calls * _interval(each, reread, policy) >= tenants), None),
        addresses=max(1, math.ceil(tenants / comfortable)),
    )


def _interval(life: timedelta, reread: timedelta, policy: Policy) -> float:
    """Return the mean time between two rotations of one credential, in seconds."""
    return (life - overlap(life, reread, policy) - life * policy.jitter_share / 2).total_seconds()
