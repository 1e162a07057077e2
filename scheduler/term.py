"""One term as leader: everything that calls Microsoft and Veeam, with a plan in memory that lasts as long as the term."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar

import structlog

from scheduler.health import Health
from scheduler.lanes import Lanes
from scheduler.mail import Mail
from scheduler.planned import Memory
from scheduler.publisher import Publisher
from scheduler.rotations import Rotations
from scheduler.settings import Settings
from scheduler.sign_ins import SignIns
from scheduler.specs import SpecCache
from scheduler.timers import Timers
from vault_plugin.core.capacity import rate
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import DocumentMalformed, StoreError
from vault_plugin.core.names import is_name
from vault_plugin.core.ports import World
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import State
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.vault.mailbox import Mailbox

log = structlog.get_logger()

#: Bulkheads: what waits for one side can't starve the others. Threads of each.
EXECUTORS = {"lanes": 2, "microsoft": 16, "logout": 4, "mail": 4, "publish": 4, "vault": 4, "timers": 2}
READERS = 8
#: A sweep that hasn't run for so many intervals means that the service is stuck.
SWEEPS_MISSED = 4
ROUND_RETRY = timedelta(seconds=5)
#: A status may be out of date if the process before died so shortly after a change.
RECENT = timedelta(minutes=2)
#: What a tenant's document is taken to say until it is read.
ASSUMED = TenantSpec(server="assumed")


class Term:
    """`load` until it succeeds, then `begin`; `end` waits for what runs."""

    #: Rounds that only a leader makes.
    ROUNDS: ClassVar = ("mailbox", "list", "catch-up")

    def __init__(
        self,
        settings: Settings,
        world: World,
        specs: SpecCache,
        mailbox: Mailbox,
        health: Health,
        leads: Callable[[], bool],
    ) -> None:
        """Plan nothing yet. While `leads()` is false, no call is begun."""
        self._settings = settings
        self._metrics = metrics = health.metrics
        self._health = health
        self._memory = memory = Memory()
        self._world = world = replace(world, facts=memory.facts, versions={})
        self._specs = specs
        self._leads = leads
        self._ended = threading.Event()
        self.timers = timers = Timers(EXECUTORS)
        self._lanes = lanes = Lanes(specs.server, world.clock, timers, leads)
        self._publisher = Publisher(world, timers, metrics, memory, lambda server: lanes.of(server).delay())
        self._rotations = Rotations(world, metrics, memory, lanes, self._publisher)
        self._sign_ins = SignIns(world, timers, metrics, self._rotations, self._publisher, leads)
        self._mail = Mail(world, mailbox, specs, timers, metrics, self._effect)
        self._swept_at: timedelta | None = None
        #: Whose journal is in the lanes' memory already: a repeated start must not put it there twice.
        self._loaded: set[str] = set()
        #: What is yet to be read after the beginning, the most urgent last.
        self._rest: list[str] | None = None
        self._sign_ins_listed: set[str] = set()

    def load(self) -> None:
        """LIST, then one read for each credential: what is due can begin. The rest is read while it does.

        Raises:
            StoreError: Vault's trouble; it may be called again.
        """
        self._specs.list_again(ServerSpec)
        tenants = self._specs.list_names(TenantSpec)
        names = list(filter(is_name, self._world.store.names(Credential)))

        def load(name: str) -> None:
            with self._held_back(name):
                self._rotations.load(name, assumed=ASSUMED if name in tenants else None, remember=True)
            self._loaded.add(name)

        with ThreadPoolExecutor(READERS, thread_name_prefix="load") as readers:
            for _ in readers.map(load, [name for name in names if name not in self._loaded]):
                pass

    def begin(self) -> None:
        """Start the timers: from now on what is due is done."""
        settings, every = self._settings, self.timers.every
        every(settings.mailbox_interval, "mailbox", lambda: self._round("mailbox", self._mail.collect), "vault")
        every(settings.list_interval, "list", self._list_round, "vault")
        every(settings.sweep_interval, "sweep", self.sweep, "timers")
        self.wake()
        self.timers.at(self._world.clock.now(), "catch-up", self._catch_up, "vault")
        self._swept_at = self._world.clock.monotonic()
        self._metrics.follow(self._memory.seen)
        self.timers.start()
        log.info("ready", credentials=len(self._memory.names()))

    def end(self) -> None:
        """Begin no call more and wait for those under way."""
        self._ended.set()
        self._metrics.forget()
        self._publisher.end()
        self._lanes.stop()
        self._rotations.stop()
        self.timers.stop()
        self._publisher.stop()
        self._metrics.forget()  # what was under way has shown something again

    def sweep(self) -> None:
        """Begin whatever is due, and publish what an outage left unpublished."""
        self._lanes.tick()
        self._publisher.publish_missing()
        wanted: dict[str, float] = defaultdict(float)
        for _, planned in self._memory.seen():
            wanted[planned.server] += planned.demand
        for lane in self._lanes.all():
            server, state = self._world.specs.server(lane.name), lane.state()
            if server is not None:
                self._metrics.lane_capacity.labels(lane.name).set(wanted[lane.name] / rate(server.throttle))
            self._metrics.lane(lane.name, state)
        self._swept_at = self._world.clock.monotonic()
        self._metrics.last_sweep.set_to_current_time()

    def clock_stepped(self, step: timedelta) -> None:
        """Move along with the wall clock."""
        self.timers.shift(step)
        self._memory.clock_stepped(step)
        if self._swept_at is not None:
            for name in self._memory.names():
                self._rotations.poke(name)
            self.wake()

    def wake(self) -> None:
        """Sweep soon, on a thread of this term's own: whoever leads again must not wait for it."""
        self.timers.at(self._world.clock.now(), "wake", self.sweep, "timers")

    def stuck(self) -> bool:
        """Tell whether the sweep hasn't run when it should."""
        if self._swept_at is None:
            return False
        return self._world.clock.monotonic() - self._swept_at > self._settings.sweep_interval * SWEEPS_MISSED

    def _round(self, what: str, action: Callable[[], None]) -> bool:
        return self._leads() and self._health.guarded(what, action)

    def _list_round(self) -> None:
        """Look at what other clients wrote; after trouble again soon, not a whole interval later."""
        if not self._round("list", self._list):
            self.timers.at(self._world.clock.now() + ROUND_RETRY, "list-again", self._list_round, "vault")

    def _catch_up(self) -> None:
        """Read what wasn't needed to begin, until all of it was read."""
        if self._ended.is_set():
            return
        if not self._round("catch-up", self._read_the_rest):
            self.timers.at(self._world.clock.now() + ROUND_RETRY, "catch-up", self._catch_up, "vault")

    def _read_the_rest(self) -> None:
        """Read sign-ins and tenants' documents; first of those without a token, then of those that rotated last."""
        if self._rest is None:
            self._sign_ins_listed = set(filter(is_name, self._world.store.names(SignIn)))
            names = {*self._sign_ins_listed, *self._specs.names(TenantSpec), *self._memory.names()}
            self._rest = sorted(names, key=self._urgency, reverse=True)
        while self._rest and not self._ended.is_set():
            name = self._rest[-1]
            with self._held_back(name):
                self._take_up(name)
            self._rest.pop()
        if not self._rest:
            log.info("all_read", credentials=len(self._memory.names()))

    @contextmanager
    def _held_back(self, name: str) -> Iterator[None]:
        """Leave a tenant whose documents can't be read alone, and say so: it must not hold up the others."""
        try:
            yield
        except DocumentMalformed as error:
            log.warning("document_malformed", tenant=name, reason=error.reason, error=str(error), remedy=error.remedy())
            self._publisher.tell_malformed(name, error)
        except StoreError:
            raise
        except Exception:
            log.exception("tenant_broke", tenant=name)

    def _urgency(self, name: str) -> tuple[bool, float]:
        planned = self._memory.get(name)
        return planned.state is State.ACTIVE, -planned.expires_at.timestamp() if planned.expires_at else 0.0

    def _take_up(self, name: str) -> None:
        """Read a tenant's documents, publish what a crash left unpublished, and tell where the status may be out of date."""
        if name in self._sign_ins_listed:
            self._sign_ins.load(name, news=False)
        self._specs.load(TenantSpec, name)
        credential = self._rotations.load(name)
        if credential.generation:
            self._publisher.publish(name, credential)
        recent = self._world.clock.now() - _changed_at(credential) < RECENT
        if recent or credential.state is not State.ACTIVE:
            self._publisher.tell(name)

    def _look_again(self, name: str) -> None:
        """Read a tenant's documents again, plan anew, and tell what changed."""
        before = self._memory.get(name)
        changed = self._specs.load(TenantSpec, name)
        credential = self._rotations.load(name)
        if changed or (before.state, before.generation) != (credential.state, credential.generation):
            self._publisher.tell(name)

    def _list(self) -> None:
        """Find what other clients wrote: new and vanished names, and every document again within ten minutes."""
        settings = self._settings
        rounds = max(1, int(settings.reread_after / settings.list_interval))
        servers = self._specs.list_again(ServerSpec)
        servers |= {name for name in self._specs.names(ServerSpec) if self._specs.load(ServerSpec, name)}
        for name in self._specs.list_again(TenantSpec):
            self._rotations.poke(name)
        for name in self._specs.oldest(TenantSpec, settings.reread_after / 2, rounds):
            with self._held_back(name):
                self._look_again(name)
        for name, planned in self._memory.seen() if servers else ():
            if planned.server in servers:
                self._rotations.poke(name)

    def _effect(self, name: str, action: str) -> None:
        """A request had its effect: take up what follows from it."""
        if action in ("revoke", "remove"):
            self._rotations.logged_out(name)
        if action in ("sign-in", "cancel", "revoke", "remove"):
            self._sign_ins.begun(name)
        try:
            self._rotations.load(name)
        except StoreError as error:
            log.warning("not_planned", tenant=name, reason=error.reason)
        else:
            self._publisher.tell(name)


def _changed_at(credential: Credential) -> datetime:
    """Return when something last happened to a credential that its status tells."""
    times = [credential.since, credential.last_rotation_at]
    times += [credential.assertion.obtained_at if credential.assertion else None]
    times += [credential.last_error.at if credential.last_error else None]
    return max(at for at in times if at is not None)
