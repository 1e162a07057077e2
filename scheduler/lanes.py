"""One runner a server: what is due, in which order, when the lane has a place, on bounded threads of its own.

Order: a sign-in's exchange first, then due credentials by expiry. A hanging server delays nobody else.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.lanes import IN_FLIGHT, Call, Lane
from vault_plugin.core.ports import Clock
from vault_plugin.core.tenants import Throttle


@dataclass(frozen=True)
class Entry:
    """A credential that this lane will call for. `expires_at` orders it among the due."""

    name: str
    due_at: datetime
    expires_at: datetime
    urgent: bool = False


@dataclass(frozen=True)
class Ran:
    """What a piece of work did to the lane: whether Veeam was called, and how that ended."""

    called: bool
    outage: bool = False
    retry_after: timedelta | None = None


Work = Callable[[Entry], Ran]
#: Ask for `LaneRunner.tick` at this wall time.
Wake = Callable[[str, datetime], None]


class LaneRunner:
    """Thread-safe. `work` is called on the lane's threads, at most once at a time for one name."""

    def __init__(  # what it needs of its owner, each by name
        self, server: str, throttle: Throttle, clock: Clock, work: Work, wake: Wake, may_call: Callable[[], bool]
    ) -> None:
        """Begin with an empty lane. Nothing begins while `may_call()` is false; whoever makes it true ticks."""
        self.server = server
        self.lane = Lane(throttle)
        self._clock = clock
        self._work = work
        self._wake = wake
        self._may_call = may_call
        self._entries: dict[str, Entry] = {}
        self._running: set[str] = set()
        self._lock = threading.RLock()
        self._pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix=f"lane-{server}")
        self._stopped = False

    def put(self, entry: Entry) -> None:
        """Plan a credential, in place of what was planned for it."""
        with self._lock:
            self._entries[entry.name] = entry
        self._wake(self.server, max(entry.due_at, self._clock.now()))

    def drop(self, name: str) -> None:
        """Plan nothing for this credential."""
        with self._lock:
            self._entries.pop(name, None)

    def due(self) -> int:
        """Return how many are due and wait."""
        with self._lock:
            now = self._clock.now()
            return sum(entry.due_at <= now and entry.name not in self._running for entry in self._entries.values())

    def next_due(self) -> datetime | None:
        """Return when the next credential is due."""
        with self._lock:
            return min((e.due_at for e in self._entries.values() if e.name not in self._running), default=None)

    def remember(self, begun: datetime) -> None:
        """Take a call from a journal into the lane's memory. Its answer's time is unknown: as late as may be."""
        age = self._clock.now() - begun
        now = self._clock.monotonic()
        with self._lock:
            self.lane.remember(now - age, min(now, now - age + timedelta(seconds=35)))

    def tick(self) -> None:
        """Begin what may begin now, and ask to be woken for the rest."""
        with self._lock:
            while not self._stopped and self._may_call():
                now, monotonic = self._clock.now(), self._clock.monotonic()
                waiting = [entry for entry in self._entries.values() if entry.name not in self._running]
                ready = [entry for entry in waiting if entry.due_at <= now]
                if not ready:
                    if waiting:
                        self._wake(self.server, min(entry.due_at for entry in waiting))
                    return
                entry = min(ready, key=lambda e: (not e.urgent, e.expires_at))
                at = self.lane.next_at(monotonic, urgent=entry.urgent)
                if at is None:
                    return  # an answer must come first; it ticks
                if at > monotonic:
                    self._wake(self.server, now + (at - monotonic))
                    return
                call = self.lane.begin(monotonic)
                self._running.add(entry.name)
                del self._entries[entry.name]
                self._pool.submit(self._run, entry, call)

    def _run(self, entry: Entry, call: Call) -> None:
        ran = Ran(called=True, outage=False)
        try:
            ran = self._work(entry)
        finally:
            with self._lock:
                if ran.called:
                    self.lane.end(call, self._clock.monotonic(), outage=ran.outage, retry_after=ran.retry_after)
                else:
                    self.lane.cancel(call)
                self._running.discard(entry.name)
            self.tick()

    def stop(self) -> None:
        """Begin nothing more and wait for what runs."""
        with self._lock:
            self._stopped = True
        self._pool.shutdown(wait=True)
