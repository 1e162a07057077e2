"""One VB365 server's token endpoint: WebApiThrottle's fixed windows, outages, and refresh tokens that work once.

The windows are those of ``tests/simulators/veeam.py``: second, minute, hour in that order; a window begins at its first
request and its end is inclusive; a refused request is counted only by the rules before the one that refused it.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto

from bench.freshness.agenda import CLEAR, Spells
from vault_plugin.core.tenants import Throttle

SECOND = timedelta(seconds=1)


class Kind(Enum):
    """How the endpoint takes a request."""

    PAIR = auto()
    REJECTED = auto()
    """A verdict: this refresh token was used before."""
    FAULTY = auto()
    """An answered 5xx."""
    THROTTLED = auto()
    HANGS = auto()
    """No answer before the caller's timeout."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint answers; `number` is that of the new refresh token."""

    kind: Kind
    number: int = 0
    retry_after: timedelta | None = None


@dataclass(slots=True)
class Window:
    """A fixed window, and how many requests it has admitted."""

    length: timedelta
    limit: int
    began: timedelta
    count: int = 0


@dataclass
class Endpoint:
    """Asked in the order of arrival, all by one address."""

    throttle: Throttle
    hangs: Spells = CLEAR
    #: For these it answers 5xx for ever.
    failing: frozenset[str] = frozenset()
    #: Requests that were refused by the throttle.
    refused: int = 0
    asked: int = 0
    _windows: list[Window] = field(init=False)
    #: The newest refresh token that each tenant has used, and the newest that was given.
    _used: dict[str, int] = field(default_factory=dict)
    _given: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._windows = [Window(length, limit, -length - SECOND) for length, limit in self.throttle.windows()]

    def ask(self, now: timedelta, name: str, refresh_token: int | None) -> Answer:
        """Answer a refresh, or an exchange where there is no refresh token."""
        self.asked += 1
        answer = self._throttled(now)
        if self.hangs.over(now) is not None:
            return Answer(Kind.HANGS)
        if answer is not None:
            self.refused += 1
            return answer
        if name in self.failing:
            return Answer(Kind.FAULTY)
        if refresh_token is not None:
            if refresh_token <= self._used.get(name, 0):
                return Answer(Kind.REJECTED)
            self._used[name] = refresh_token
        self._given[name] = number = self._given.get(name, 1) + 1
        return Answer(Kind.PAIR, number)

    def _throttled(self, now: timedelta) -> Answer | None:
        for window in self._windows:
            if window.began + window.length < now:
                window.began, window.count = now, 0
            if window.count >= window.limit:
                left = 1 if window.length == SECOND else max(0, round((window.length - (now - window.began)).total_seconds()))
                return Answer(Kind.THROTTLED, retry_after=left * SECOND)
            window.count += 1
        return None
