"""Takes, keeps and hands over the leader lease."""

import threading
from datetime import datetime, timedelta

import structlog

from scheduler.held import READ, WRITE, HeldBack
from vault_plugin.core.errors import DocumentMalformed, StoreDenied, StoreError, VersionConflict
from vault_plugin.core.lease import LEADER, Leader, Lease
from vault_plugin.core.ports import Clock, Store

log = structlog.get_logger()

PATIENCE = timedelta(seconds=4)
RESTORED = (
    "Nothing, if nobody led for a while. If Vault was restored from a snapshot: refresh tokens in it may be spent, so that "
    "each tenant gets a new session first, by Microsoft's grant."
)
PATH = f"{Leader.kind}/{LEADER}"


class Leadership:
    """Thread-safe. `tick` is called each second; `leads` says whether calls may begin, `holds` whether the plan is good."""

    def __init__(self, store: Store, clock: Clock, instance: str, program_version: str, held: HeldBack | None = None) -> None:
        """Begin as a standby that has seen nothing. What is wrong with the lease alone is told to `held`."""
        self._held = held or HeldBack(store.answers, clock)
        self._store = store
        self._clock = clock
        self._lease = Lease(instance)
        self._program_version = program_version
        self._started_at: datetime = clock.now()
        self._hurries = False
        self._lock = threading.Lock()

    def leads(self) -> bool:
        """Tell whether calls may be begun now."""
        return self._lease.leads(self._clock.monotonic())

    def holds(self) -> bool:
        """Tell whether nobody else has led since we took the lease."""
        return self._lease.holds

    def doubts_before(self) -> datetime | None:
        """Return before when a pair was issued that may come from a restored snapshot; None if nothing is doubted."""
        return self._lease.doubts_before

    def renew_now(self) -> None:
        """Have the next look renew the lease: if Vault was restored from a snapshot, that can't succeed."""
        self._hurries = True

    def holder(self) -> str:
        """Return who was seen to lead last."""
        return self._lease.holder

    def tick(self) -> None:
        """Look at the lease, and take or renew it if it is time to.

        Raises:
            StoreError: Vault's trouble. The hold runs out by itself.
        """
        with self._lock:
            now, without = self._clock.monotonic(), self._lease.without
            if not self._lease.renewal_due(now) and not self._hurries:
                return
            self._hurries = False
            try:
                self._look_and_take(now)
            except StoreError as error:
                self._failed(error, now)
            if without and not self._lease.without:
                log.warning("lease_back", holds=self._lease.holds)

    def _look_and_take(self, now: timedelta) -> None:
        held = self._lease.holds
        if self._lease.version is None or not held or self._lease.without:
            self._lease = self._look(now)
            if held and self._lease.doubts:
                self._lease = self._lease.ended()
            if held and not self._lease.holds:
                log.warning("leadership_lost", to=self._lease.holder)
                return  # what this term knows is of before: it must end, though the lease may be free again
        if self._lease.may_take(now):
            self._write(now)
            if not held and self._lease.holds:
                log.info("leading", instance=self._lease.instance)

    def _look(self, now: timedelta) -> Lease:
        """Read the lease. Only the service writes it: what isn't one stands there by mistake, and is written over."""
        try:
            stored = self._store.read(Leader, LEADER)
        except DocumentMalformed as error:
            if error.version is None:
                raise
            if error.version != self._lease.seen_version:
                log.warning("lease_malformed", version=error.version, error=str(error))
            return self._lease.garbled(error.version, now, newer=error.reason == "NewerSchema")
        self._held.release(PATH, READ)
        return self._lease.observed(stored, now)

    def _failed(self, error: StoreError, now: timedelta) -> None:
        """Take in that the lease couldn't be read or written: if Vault answers otherwise, it is the lease's trouble alone."""
        alone, before = self._held.takes(error, PATH, error.verb or READ), self._lease.without
        self._lease = self._lease.failed(now, answers=alone)
        if self._lease.without and not before:
            remedy = f"Look at Vault's log for {PATH}. If there are two instances, stop all but one until it can be had again."
            log.error("leading_without_lease", instance=self._lease.instance, reason=error.reason, remedy=remedy)
        mine = isinstance(error, StoreDenied) or error.verb == WRITE  # missing rights, or a disk that is full
        if not alone or (mine and (not self._lease.without or self._held.unwritable(but=PATH))):
            raise error

    def remarks(self) -> list[str]:
        """Return what operators must know of the lease beside what is held back."""
        return ["leading without the lease: another instance may lead, too"] if self._lease.without else []

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
        now = self._clock.now()
        document = Leader(
            instance=lease.instance,
            program_version=self._program_version,
            started_at=self._started_at,
            renewed_at=now,
            released=released,
            doubts_before=now if lease.doubts else lease.doubts_before and min(lease.doubts_before, now),
        )
        self._lease = self._lease.tries(document)
        try:
            version = self._store.write(LEADER, document, cas=lease.version, give_up_after=PATIENCE)
        except VersionConflict:
            return  # somebody wrote: the next look says who
        except StoreError as error:
            error.verb = error.verb or WRITE
            raise
        self._held.release(PATH, READ, WRITE)
        self._lease = lease.renewed(version, begun, document)
        if lease.doubts:
            log.warning("refresh_tokens_doubted", before=now.isoformat(), remedy=RESTORED)
