"""The leader lease: one instance calls, the others wait (DESIGN 9). It saves work; rotation is safe without it.

Nobody compares clocks of two machines. The holder rewrites the document; a standby that has seen the *same version* for
long enough on its own monotonic clock takes it. The holder counts from before its write was sent and stops earlier.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import ClassVar

from vault_plugin.core.documents import Document, Timestamp
from vault_plugin.core.ports import Stored
from vault_plugin.core.timing import ZERO

#: Name of the one document: ``service/leader``.
LEADER = "leader"
RENEW_EVERY = timedelta(seconds=5)
LEADS_FOR = timedelta(seconds=10)
TAKEN_AFTER = timedelta(seconds=15)


class Leader(Document):
    """``service/leader``: who leads, for operators to read and for instances to agree by."""

    kind: ClassVar[str] = "service"

    instance: str
    program_version: str = ""
    started_at: Timestamp
    renewed_at: Timestamp
    #: The holder stopped cleanly: whoever sees this may take it at once.
    released: bool = False


@dataclass(frozen=True)
class Lease:
    """What one instance knows of the lease. Times are its own monotonic clock's."""

    instance: str
    #: Version seen last; None if it must be read (again).
    version: int | None = None
    seen_version: int | None = None
    seen_at: timedelta = ZERO
    holder: str = ""
    free: bool = False
    #: When the newest renewal of ours was begun; None while somebody else holds the lease.
    renewed_at: timedelta | None = None

    @property
    def holds(self) -> bool:
        """Tell whether nobody else was seen to hold it since we took it."""
        return self.renewed_at is not None

    def leads(self, now: timedelta) -> bool:
        """Tell whether a call may be begun."""
        return self.renewed_at is not None and now - self.renewed_at < LEADS_FOR

    def renewal_due(self, now: timedelta) -> bool:
        """Tell whether it is time to write again."""
        return self.renewed_at is None or self.version is None or now - self.renewed_at >= RENEW_EVERY

    def observed(self, stored: Stored[Leader], now: timedelta) -> "Lease":
        """Take in what stands there. Somebody else's name ends our hold."""
        document = stored.document
        fresh = stored.version != self.seen_version
        ours = document is not None and document.instance == self.instance
        return replace(
            self,
            version=stored.version,
            seen_version=stored.version,
            seen_at=now if fresh else self.seen_at,
            holder=document.instance if document else "",
            free=document is None or document.released,
            renewed_at=self.renewed_at if ours else None,
        )

    def may_take(self, now: timedelta) -> bool:
        """Tell whether the lease is ours, free, or was seen unchanged for long enough."""
        return self.free or self.holder == self.instance or now - self.seen_at >= TAKEN_AFTER

    def unclear(self) -> "Lease":
        """Forget the version: a write's outcome is unknown, or somebody wrote."""
        return replace(self, version=None)

    def renewed(self, version: int, begun: timedelta) -> "Lease":
        """Note our own write, and when it was begun."""
        return replace(self, version=version, seen_version=version, seen_at=begun, holder=self.instance, renewed_at=begun)
