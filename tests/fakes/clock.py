"""A clock that a test moves."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Implements `vault_plugin.core.ports.Clock`."""

    def __init__(self, start: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)) -> None:
        self._now = self._others = start
        self._elapsed = timedelta(seconds=1000)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> timedelta:
        return self._elapsed

    def boottime(self) -> timedelta:
        return self._elapsed

    def advance(self, by: timedelta | float) -> None:
        """Let time pass."""
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        self._now += step
        self._others += step
        self._elapsed += step

    def set(self, by: timedelta) -> None:
        """Set the wall clock on, or back: nothing else moves with it."""
        self._now += by

    def others(self) -> datetime:
        """Return the wall time of the other machines, whose clocks nobody sets."""
        return self._others
