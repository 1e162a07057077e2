"""The three clocks."""

import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """Implements `vault_plugin.core.ports.Clock`."""

    def now(self) -> datetime:
        """Return the wall time, aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> timedelta:
        """Return the monotonic time."""
        return timedelta(seconds=time.monotonic())

    def boottime(self) -> timedelta:
        """Return the time since boot, suspension included, where the system tells it."""
        boot = getattr(time, "CLOCK_BOOTTIME", None)
        return timedelta(seconds=time.clock_gettime(boot)) if boot is not None else self.monotonic()
