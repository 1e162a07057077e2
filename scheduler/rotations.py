"""Keeps every credential planned in its server's lane, does what is due, publishes, and tells operators."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from scheduler.lanes import Entry, LaneRunner, Ran
from scheduler.metrics import Metrics
from scheduler.timers import Timers
from vault_plugin.core.capacity import demand, rate
from vault_plugin.core.credential import Credential, Purpose, Rung
from vault_plugin.core.errors import (
    AuthorizationServerError,
    BackupServerError,
    BackupServerUnavailable,
    ConfigurationError,
    Error,
    StoreError,
)
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.lifecycle.gather import Seen, credential_of, view_of
from vault_plugin.core.lifecycle.publish import publish, write_status
from vault_plugin.core.lifecycle.rotate import Step, step
from vault_plugin.core.policy import Do, next_action
from vault_plugin.core.ports import World
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import backoff

log = structlog.get_logger()

STORE_RETRY = timedelta(seconds=5)
STATUS_RETRY = timedelta(seconds=10)
PUBLISH_RETRY = timedelta(seconds=2)
NO_EXPIRY = timedelta(days=1)


@dataclass(frozen=True)
class Planned:
    """What is kept in memory of a credential between two reads: no secret."""

    server: str
    generation: int = -1
    published: int = -1
    attempt_id: str = ""
    attempt_seen_at: timedelta = timedelta(0)
    sign_in_waits: bool = False
    #: Calls a second that this credential asks of its lane.
    demand: float = 0.0


class Rotations:
    """Thread-safe."""

    def __init__(self, world: World, timers: Timers, metrics: Metrics, may_call: Callable[[], bool]) -> None:
        """Begin with nothing planned. No call is begun while `may_call()` is false."""
        self._world = world
        self._timers = timers
        self._metrics = metrics
        self._may_call = may_call
        self._lanes: dict[str, LaneRunner] = {}
        self._planned: dict[str, Planned] = {}
        self._lock = threading.RLock()

    # --- planning ----------------------------------------------------------------------------------------------------

    def load(self, name: str, *, at_start: bool = False) -> None:
        """Read a credential and plan what is next for it. At the start its calls go into the lane's memory.

        Raises:
            StoreError: Vault's trouble.
        """
        world = self._world
        credential = credential_of(world.store.read(Credential, name), world.clock.now())
        if at_start and credential.binding is not None:
            lane = self._lane(credential.binding.server)
            for begun in credential.calls:
                lane.remember(begun)
        self._plan(name, credential)

    def sign_in_approved(self, name: str, server: str) -> None:
        """Exchange a sign-in's assertion as soon as the lane has a place."""
        self._update(name, server, sign_in_waits=True)
        now = self._world.clock.now()
        self._lane(server).put(Entry(name, now, now, urgent=True))

    def poke(self, name: str) -> None:
        """Look at a credential again at once: something that it depends on changed."""
        planned = self._planned.get(name)
        now = self._world.clock.now()
        if planned is not None and planned.server:
            self._lane(planned.server).put(Entry(name, now, now, urgent=planned.sign_in_waits))
        else:
            self.tell(name)

    def names(self) -> list[str]:
        """Return every name that is planned."""
        with self._lock:
            return list(self._planned)

    def unpublished(self) -> list[str]:
        """Return the names whose newest generation isn't known to be published."""
        with self._lock:
            return [name for name, planned in self._planned.items() if planned.published < planned.generation]

    def _plan(self, name: str, credential: Credential, not_before: datetime | None = None) -> None:
        world = self._world
        now, monotonic = world.clock.now(), world.clock.monotonic()
        server = credential.binding.server if credential.binding else ""
        attempt_id = credential.attempt.id if credential.attempt else ""
        old = self._planned.get(name, Planned(server))
        seen_at = old.attempt_seen_at if old.attempt_id == attempt_id else monotonic
        self._update(name, server, generation=credential.generation, attempt_id=attempt_id, attempt_seen_at=seen_at)
        view = view_of(world, name, credential, Seen(attempt_id, monotonic - seen_at))
        action = next_action(view, now, world.policy)
        if credential.pair is not None and view.tenant is not None:
            wanted = demand(credential.pair.life, view.tenant.consumer_reread, world.policy)
            self._update(name, server, demand=wanted)
        at = now if action.do is Do.ATTEMPT else action.at
        if not_before is not None:
            at = max(at or not_before, not_before)
        self._metrics.credential(name, credential, at.timestamp() if at else None)
        if not server:
            return
        if at is None:
            self._lane(server).drop(name)
            return
        expires_at = credential.pair.expires_at if credential.pair else now + NO_EXPIRY
        self._lane(server).put(Entry(name, at, expires_at))

    def _update(self, name: str, server: str, **changes: object) -> None:
        with self._lock:
            old = self._planned.get(name, Planned(server))
            self._planned[name] = replace(old, server=server or old.server, **changes)  # type: ignore[arg-type]  # fields by name

    def _lane(self, server: str) -> LaneRunner:
        with self._lock:
            spec = self._world.specs.server(server)
            if server not in self._lanes:
                throttle = spec.throttle if spec else Throttle()
                self._lanes[server] = LaneRunner(server, throttle, self._world.clock, self._work, self._wake, self._may_call)
            elif spec is not None:
                self._lanes[server].lane.throttle = spec.throttle
            return self._lanes[server]

    def _wake(self, server: str, when: datetime) -> None:
        """Plan the lane's next tick, unless an earlier one is planned."""
        job = f"lane:{server}"
        with self._lock:
            planned = self._timers.planned(job)
            if planned is None or when < planned:
                self._timers.at(when, job, self._tick, "lanes", server)

    def _tick(self, server: str) -> None:
        self._lane(server).tick()

    # --- working -----------------------------------------------------------------------------------------------------

    def _work(self, entry: Entry) -> Ran:
        """Do one step for one credential, on a thread of its lane."""
        name, world = entry.name, self._world
        planned = self._planned.get(name, Planned(""))
        waited = max(world.clock.now() - entry.due_at, timedelta(0)).total_seconds()
        try:
            done = self._step(name, planned)
        except (StoreError, ConfigurationError) as error:
            log.warning("step_failed", tenant=name, reason=error.reason, error=str(error), remedy=error.remedy())
            retry_at = world.clock.now() + STORE_RETRY
            self._lane(planned.server).put(Entry(name, retry_at, entry.expires_at, entry.urgent))
            return Ran(called=False)
        except Exception:
            log.exception("step_broke", tenant=name)
            self._lane(planned.server).put(Entry(name, world.clock.now() + NO_EXPIRY / 288, entry.expires_at))
            return Ran(called=True)
        if done.called is not None:
            self._metrics.lane_wait.labels(planned.server).observe(waited)
        self._after(name, planned, done)
        return _ran(done)

    def _step(self, name: str, planned: Planned) -> Step:
        world = self._world
        seen = Seen(planned.attempt_id, world.clock.monotonic() - planned.attempt_seen_at)
        if planned.sign_in_waits:
            done = signing_in.complete(world, name, seen)
            if done is None or (done.credential.attempt is None and done.called is not None):
                sign_in = world.store.read(SignIn, name).document
                waits = sign_in is not None and sign_in.assertion is not None
                self._update(name, planned.server, sign_in_waits=waits)
            if done is not None:
                return done
        done = step(world, name, seen)
        if done.action.do is Do.ATTEMPT and done.action.purpose is Purpose.SIGN_IN and done.called is None:
            return signing_in.complete(world, name, seen) or done
        return done

    def _after(self, name: str, planned: Planned, done: Step) -> None:
        """Publish, plan and tell."""
        now = self._world.clock.now()
        credential, error = done.credential, done.error
        if done.called is not None:
            self._report(name, done)
        not_before = None
        if isinstance(error, AuthorizationServerError) and error.retryable:
            pair = credential.pair
            wait = backoff(now, pair.expires_at, pair.life) if pair else timedelta(seconds=30)
            not_before = now + max(wait, error.retry_after or timedelta(0))
        if done.superseded:
            self.load(name)
            return
        self._plan(name, credential, not_before)
        if planned.sign_in_waits and self._planned[name].sign_in_waits:
            at = done.action.at or now + self._world.policy.exchange_retry_after
            self._lane(planned.server).put(Entry(name, at, at, urgent=True))
        if credential.generation > planned.published:
            self.publish(name, credential)
        self.tell(name)

    def _report(self, name: str, done: Step) -> None:
        outcome = "superseded" if done.superseded else "failed" if done.error else "accepted"
        rung = done.called.value if done.called else ""
        self._metrics.rotations.labels(rung, outcome).inc()
        fields = {"tenant": name, "rung": rung, "why": done.action.reason.value, "outcome": outcome}
        if done.error is None:
            log.info("called", **fields, state=done.credential.state.value, generation=done.credential.generation)
        else:
            trace = getattr(done.error, "trace_id", "")
            log.warning("called", **fields, reason=done.error.reason, error=str(done.error), trace_id=trace)

    # --- publishing --------------------------------------------------------------------------------------------------

    def publish(self, name: str, credential: Credential | None = None) -> None:
        """Publish the stored pair if nothing as new stands there; on Vault's trouble the sweep tries again."""
        world = self._world
        try:
            held = credential or credential_of(world.store.read(Credential, name), world.clock.now())
            written = publish(world, name, held)
        except StoreError as error:
            log.warning("not_published", tenant=name, reason=error.reason)
            self._timers.at(world.clock.now() + PUBLISH_RETRY, f"publish:{name}", self.publish, "vault", name)
            return
        if written:
            self._metrics.published.inc()
            log.info("published", tenant=name, generation=held.generation)
        self._update(name, "", published=held.generation)

    def tell(self, name: str) -> None:
        """Write the status, off the rotation's path."""
        self._timers.at(self._world.clock.now(), f"status:{name}", self._tell, "vault", name)

    def _tell(self, name: str) -> None:
        world = self._world
        try:
            credential = credential_of(world.store.read(Credential, name), world.clock.now())
            write_status(world, name, credential, world.store.read(SignIn, name).document)
        except Error as error:
            log.warning("status_not_written", tenant=name, reason=error.reason)
            self._timers.at(world.clock.now() + STATUS_RETRY, f"status:{name}", self._tell, "vault", name)

    # --- looking after -----------------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Wake every lane that has something due, and publish what a crash or an outage left unpublished."""
        for name in self.unpublished():
            self.publish(name)
        now = self._world.clock.now()
        wanted: dict[str, float] = defaultdict(float)
        with self._lock:
            lanes = list(self._lanes.values())
            for planned in self._planned.values():
                wanted[planned.server] += planned.demand
        for lane in lanes:
            self._metrics.lane_capacity.labels(lane.server).set(wanted[lane.server] / rate(lane.lane.throttle))
            self._metrics.lane_due.labels(lane.server).set(lane.due())
            self._metrics.lane_closed.labels(lane.server).set(lane.lane.failures > 0)
            due_at = lane.next_due()
            if due_at is not None:
                self._wake(lane.server, max(due_at, now))

    def stop(self) -> None:
        """Begin no call more and wait for those under way."""
        with self._lock:
            lanes = list(self._lanes.values())
        for lane in lanes:
            lane.stop()


def _ran(done: Step) -> Ran:
    """Return what a step meant for the lane: only answers and silence of Veeam count."""
    if done.called is None or done.called is Rung.REASSERT:
        return Ran(called=False)
    error = done.error
    outage = isinstance(error, BackupServerUnavailable)
    return Ran(True, outage, error.retry_after if isinstance(error, BackupServerError) else None)
