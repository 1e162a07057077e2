"""Renewals at Microsoft, on threads of their own: a hanging Microsoft holds no server's places."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from vault_plugin.core.lanes import Entry
from vault_plugin.core.ports import Clock
from vault_plugin.core.timing import ZERO

RENEWALS = 8


class Renewals:
    """Who waits for a renewal, each once. Thread-safe."""

    def __init__(
        self,
        clock: Clock,
        may_call: Callable[[], bool],
        renew: Callable[[Entry], object],
        put_off: Callable[[Entry], object],
    ) -> None:
        """`renew` does one; while `may_call()` is false it is `put_off`."""
        self._clock = clock
        #: Until when (monotonic) Microsoft isn't to be asked for a credential. Nothing else waits for that.
        self._held: dict[str, timedelta] = {}
        self._may_call = may_call
        self._renew = renew
        self._put_off = put_off
        self._queued: set[str] = set()
        self._threads = ThreadPoolExecutor(RENEWALS, thread_name_prefix="renewal")

    def hold(self, name: str, wait: timedelta) -> None:
        """Ask Microsoft nothing for this credential before so much time has passed."""
        self._held[name] = self._clock.monotonic() + wait

    def begin_at(self, name: str, now: datetime) -> datetime:
        """Return when to look at a credential whose next rung is Microsoft's: `now`, if that may be asked."""
        left = self._held.get(name, ZERO) - self._clock.monotonic()
        if left <= ZERO:
            self._held.pop(name, None)
            return now
        return now + left

    def put(self, entry: Entry) -> None:
        """Let this one be renewed as soon as a thread is free."""
        if entry.name not in self._queued:
            self._queued.add(entry.name)
            self._threads.submit(self._begin, entry)

    def waits(self, name: str) -> bool:
        """Tell whether it waits for a thread."""
        return name in self._queued

    def _begin(self, entry: Entry) -> None:
        self._queued.discard(entry.name)
        if self._may_call():
            self._renew(entry)
        else:
            self._put_off(entry)

    def stop(self) -> None:
        """Begin no renewal more and wait for those under way."""
        self._threads.shutdown(wait=True, cancel_futures=True)
