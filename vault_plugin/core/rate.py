"""What a throttle lets a lane do, worked out once."""

from dataclasses import dataclass
from datetime import timedelta

from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import ZERO


@dataclass(frozen=True, slots=True)
class Rate:
    """What a lane may do: so many calls in each window, and the mean time between two calls at that rate."""

    windows: tuple[tuple[timedelta, int], ...]
    pace: timedelta
    longest: timedelta

    @classmethod
    def of(cls, throttle: Throttle, slower: int) -> "Rate":
        """Return the rate of this throttle, so many times slower."""
        windows = tuple((length * slower, limit) for length, limit in throttle.windows())
        pace = max((length / limit for length, limit in windows), default=ZERO)
        return cls(windows, pace, max((length for length, _ in windows), default=ZERO))
