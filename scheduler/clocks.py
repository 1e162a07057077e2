"""The three clocks, and ids that sort by time."""

import secrets
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID


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


def new_id() -> str:
    """Return a UUID of version 7 (RFC 9562 section 5.7): ids sort by the time of their making."""
    stamp = time.time_ns() // 1_000_000
    value = (stamp & (1 << 48) - 1) << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(UUID(int=value))
