"""Takes, keeps and hands over the leader lease."""

import threading
from datetime import datetime, timedelta

import structlog

from vault_plugin.core.errors import StoreError, VersionConflict
from vault_plugin.core.lease import LEADER, Leader, Lease
from vault_plugin.core.ports import Clock, Store

log = structlog.get_logger()

PATIENCE = timedelta(seconds=4)


class Leadership:
    """Thread-safe. `tick` is called each second; `leads` says whether calls may begin, `holds` whether the plan is good."""

    def __init__(self, store: Store, clock: Clock, instance: str, program_version: str) -> None:
        """Begin as a standby that has seen nothing."""
        self._store = store
        self._clock = clock
        self._lease = Lease(instance)
        self._program_version = program_version
        self._started_at: datetime = clock.now()
        self._lock = threading.Lock()

    def leads(self) -> bool:
        """Tell whether calls may be begun now."""
        return self._lease.leads(self._clock.monotonic())

    def holds(self) -> bool:
        """Tell whether nobody else has led since we took the lease."""
        return self._lease.holds

    def holder(self) -> str:
        """Return who was seen to lead last."""
        return self._lease.holder

    def tick(self) -> None:
        """Look at the lease, and take or renew it if it is time to.

        Raises:
            StoreError: Vault's trouble. The hold runs out by itself.
        """
        with self._lock:
            now, held = self._clock.monotonic(), self._lease.holds
            if not self._lease.renewal_due(now):
                return
            if self._lease.version is None or not held:
                self._lease = self._lease.observed(self._store.read(Leader, LEADER), now)
                if held and not self._lease.holds:
                    log.warning("leadership_lost", to=self._lease.holder)
                    return  # what this term knows is of before: it must end, though the lease may be free again
            if self._lease.may_take(now):
                self._write(now)
                if not held and self._lease.holds:
                    log.info("leading", instance=self._lease.instance)

    def release(self) -> None:
        """Hand over: a standby that looks takes it at once. Best effort."""
        with self._lock:
            if not self._lease.holds:
                return
            try:
                self._write(self._clock.monotonic(), released=True)
            except StoreError as error:
                log.warning("leadership_not_released", reason=error.reason)
            self._lease = Lease(self._lease.instance)

    def _write(self, begun: timedelta, *, released: bool = False) -> None:
        lease, self._lease = self._lease, self._lease.unclear()
        if lease.version is None:
            return
        document = Leader(
            instance=lease.instance,
            program_version=self._program_version,
            started_at=self._started_at,
            renewed_at=self._clock.now(),
            released=released,
        )
        try:
            version = self._store.write(LEADER, document, cas=lease.version, give_up_after=PATIENCE)
        except VersionConflict:
            return  # somebody wrote: the next look says who
        self._lease = lease.renewed(version, begun)
