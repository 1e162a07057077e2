"""The leader lease: one instance calls, the others wait (DESIGN 9). It saves work; rotation is safe without it.

Nobody compares clocks of two machines. The holder rewrites the document; a standby that has seen the *same version* for
long enough on its own monotonic clock takes it. The holder counts from before its write was sent and stops earlier.

The lease is one document, and its trouble must not be everyone's: one that can't be read as ours is written over, and where
Vault answers everything else but errors for this path, for long enough, an instance leads without it until it can be had.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import ClassVar

from vault_plugin.core.documents import Document, Timestamp
from vault_plugin.core.ports import Stored
from vault_plugin.core.timing import ZERO

#: Name of the one document: ``service/leader``.
LEADER = "leader"
RENEW_EVERY = timedelta(seconds=5)
LEADS_FOR = timedelta(seconds=10)
TAKEN_AFTER = timedelta(seconds=15)
WITHOUT_AFTER = timedelta(seconds=60)
#: A heartbeat of somebody else's that is older means that nobody has led for long, or that a snapshot was restored.
DOUBTED_AFTER = timedelta(minutes=5)


class Leader(Document):
    """``service/leader``: who leads, for operators to read and for instances to agree by."""

    kind: ClassVar[str] = "service"

    instance: str
    program_version: str = ""
    started_at: Timestamp
    renewed_at: Timestamp
    #: The holder stopped cleanly: whoever sees this may take it at once.
    released: bool = False
    #: Pairs that were issued before this come from a restored snapshot, perhaps; every leader hands it on.
    doubts_before: Timestamp | None = None


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
    #: Since when Vault has answered, but for this path errors only.
    failing_since: timedelta | None = None
    #: For so long that we lead without it.
    without: bool = False
    #: The `renewed_at` of the newest renewal of ours that is known to have been written, and of those that were tried since.
    wrote: frozenset[datetime] = frozenset()
    #: What stands there is older than what was seen before: Vault was restored from a snapshot.
    restored: bool = False
    #: What stands there is the heartbeat of somebody who hasn't led for long; or it comes from a snapshot.
    old: bool = False
    #: What the document said last of pairs that are doubted.
    doubts_before: datetime | None = None

    @property
    def holds(self) -> bool:
        """Tell whether nobody else was seen to hold it since we took it."""
        return self.renewed_at is not None or self.without

    def leads(self, now: timedelta) -> bool:
        """Tell whether a call may be begun."""
        return self.without or (self.renewed_at is not None and now - self.renewed_at < LEADS_FOR)

    def renewal_due(self, now: timedelta) -> bool:
        """Tell whether it is time to write again."""
        return self.renewed_at is None or self.version is None or now - self.renewed_at >= RENEW_EVERY

    def observed(self, stored: Stored[Leader], now: timedelta) -> "Lease":
        """Take in what stands there. Somebody else's name ends our hold; without the lease, anybody's write does."""
        document = stored.document
        fresh = stored.version != self.seen_version
        ours = document is not None and document.instance == self.instance
        back = document is not None and self.seen_version is not None and stored.version < self.seen_version
        old = stored.age is not None and stored.age > DOUBTED_AFTER and document is not None and not self._mine(document)
        told = document.doubts_before if document else None
        return replace(
            self,
            version=stored.version,
            seen_version=stored.version,
            seen_at=now if fresh else self.seen_at,
            holder=document.instance if document else "",
            free=document is None or document.released,
            renewed_at=self.renewed_at if ours else None,
            failing_since=None if fresh else self.failing_since,
            without=self.without and not fresh,
            restored=self.restored or back,
            old=old,
            doubts_before=max(filter(None, (told, self.doubts_before)), default=None),
        )

    @property
    def doubts(self) -> bool:
        """Tell whether whoever takes the lease now must doubt what stands in the store: it may come from a snapshot."""
        return self.restored or self.old

    def _mine(self, document: Leader) -> bool:
        """Tell whether this process wrote it: the instance's name alone proves nothing, for a clone bears it too."""
        return document.instance == self.instance and document.renewed_at in self.wrote

    def ended(self) -> "Lease":
        """Give up the hold: what the holder knows is of a Vault that is no more."""
        return replace(self, renewed_at=None, version=None, without=False)

    def garbled(self, version: int, now: timedelta, *, newer: bool) -> "Lease":
        """Take in that what stands there isn't ours to read. It is free, but a `newer` program may be leading and renew it."""
        return replace(self.observed(Stored(version, None), now), free=not newer)

    def failed(self, now: timedelta, *, answers: bool) -> "Lease":
        """Take in an error; `answers` tells whether Vault answers anything else. If not, nothing is known of the lease."""
        if not answers:
            return replace(self, failing_since=self.failing_since if self.without else None)
        since = now if self.failing_since is None else self.failing_since
        return replace(self, failing_since=since, without=now - since >= WITHOUT_AFTER)

    def may_take(self, now: timedelta) -> bool:
        """Tell whether the lease is ours, free, or was seen unchanged for long enough."""
        return self.free or self.holder == self.instance or now - self.seen_at >= TAKEN_AFTER

    def unclear(self) -> "Lease":
        """Forget the version: a write's outcome is unknown, or somebody wrote."""
        return replace(self, version=None)

    def tries(self, document: Leader) -> "Lease":
        """Note a write that is tried: its outcome may stay unknown, and it may land late."""
        return replace(self, wrote=self.wrote | {document.renewed_at})

    def renewed(self, version: int, begun: timedelta, wrote: Leader) -> "Lease":
        """Note our own write, and when it was begun."""
        return replace(
            self,
            wrote=frozenset({wrote.renewed_at}),
            restored=False,
            old=False,
            doubts_before=wrote.doubts_before,
            version=version,
            seen_version=version,
            seen_at=begun,
            holder=self.instance,
            renewed_at=begun,
            failing_since=None,
            without=False,
        )
