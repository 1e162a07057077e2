"""One term as leader: everything that calls Microsoft and Veeam, with a plan in memory that lasts as long as the term."""

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import structlog

from scheduler.health import Health
from scheduler.held import WRITE
from scheduler.lanes import Lanes
from scheduler.mail import Mail
from scheduler.planned import Memory
from scheduler.proofs import Proving
from scheduler.publisher import Publisher
from scheduler.reading import Reading
from scheduler.rotations import Rotations
from scheduler.settings import Settings
from scheduler.sign_ins import SignIns
from scheduler.specs import SpecCache
from scheduler.timers import Timers
from vault_plugin.core.capacity import rate
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreError, StoreUnavailable
from vault_plugin.core.ports import World
from vault_plugin.core.published import Request
from vault_plugin.core.tenants import TenantSpec
from vault_plugin.vault.mailbox import REPORTS, Mailbox

log = structlog.get_logger()

#: Bulkheads: what waits for one side can't starve the others. Threads of each.
EXECUTORS = {"lanes": 2, "microsoft": 16, "logout": 4, "mail": 4, "publish": 4, "proofs": 4, "vault": 4, "timers": 2}
READERS = 8
#: A sweep that hasn't run for so many intervals means that the service is stuck.
SWEEPS_MISSED = 4
ROUND_RETRY = timedelta(seconds=5)
#: How often to look whether the time of something that is held back has come.
HELD_INTERVAL = timedelta(seconds=1)
#: A status may be out of date if the process before died so shortly after a change.
RECENT = timedelta(minutes=2)
#: What a tenant's document is taken to say until it is read.
ASSUMED = TenantSpec(server="assumed")


class Term:
    """`load` until it succeeds, then `begin`; `end` waits for what runs."""

    #: Rounds that only a leader makes.
    ROUNDS: ClassVar = ("mailbox", "list", "catch-up", "held")

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
        self._memory = memory = Memory(world.policy.turn_every)
        self._world = world = replace(world, facts=memory.facts, turn=memory.turn, identities=memory.identities, versions={})
        self._specs = specs
        self._leads = leads
        self._ended = threading.Event()
        self.timers = timers = Timers(EXECUTORS)
        self._lanes = lanes = Lanes(specs.server, world.clock, timers, leads, world.veeam.alive)
        self._held = held = health.held
        self._publisher = Publisher(world, timers, metrics, memory, lambda server: lanes.of(server).delay(), held)
        self._rotations = Rotations(world, metrics, memory, lanes, self._publisher)
        self._sign_ins = SignIns(world, timers, metrics, self._rotations, self._publisher, leads, held=held)
        self._mail = Mail(
            world,
            mailbox,
            specs,
            timers,
            metrics,
            self._effect,
            held=held,
            refused=self._publisher.refused,
            waits=self._publisher.waits,
            answered=self._publisher.answered,
            may_call=leads,
        )
        self._mailbox = mailbox
        self._proving = proving = Proving(
            world,
            mailbox,
            timers,
            metrics,
            memory,
            self._rotations,
            publisher=self._publisher,
            is_ours=self._mail.is_ours,
            leads=leads,
        )
        lanes.on_recovery, self._publisher.on_session_lost = proving.recovered, proving.session_lost
        self._reading = Reading(world, specs, memory, self._rotations, self._sign_ins, self._publisher)
        held.on_change(self._reading.changed)
        self._swept_at: timedelta | None = None

    def load(self) -> None:
        """Read what must be known to begin: see `Reading.begin`.

        Raises:
            StoreError: Vault's trouble; it may be called again.
        """
        self._reading.begin()

    def begin(self) -> None:
        """Start the timers: from now on what is due is done."""
        settings, every = self._settings, self.timers.every
        every(settings.mailbox_interval, "mailbox", lambda: self._round("mailbox", self._collect), "vault")
        every(settings.list_interval, "list", self._list_round, "vault")
        every(settings.sweep_interval, "sweep", self.sweep, "timers")
        every(HELD_INTERVAL, "held", lambda: self._round("held", self._reading.try_held), "vault")
        self.wake()
        self._proving.begin()
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
        self._proving.clock_stepped(step)
        self._memory.clock_stepped(step, self._world.clock.now())
        if self._swept_at is not None:
            for name in self._memory.names():
                self._rotations.poke(name)
            self.wake()

    def wake(self) -> None:
        """Sweep soon, on a thread of this term's own: whoever leads again must not wait for it."""
        self.timers.at(self._world.clock.now(), "wake", self.sweep, "timers")

    def not_stored(self, path: str, reason: str) -> None:
        """Look, on another thread than the one that offers it, whether Vault refuses this write alone."""
        if not self._ended.is_set() and not self._held.left(path):
            self.timers.at(self._world.clock.now(), f"not-stored:{path}", self._not_stored, "vault", path, reason)

    def _not_stored(self, path: str, reason: str) -> None:
        self._held.takes(StoreUnavailable(f"writing {path}: Vault doesn't take it; it is kept", reason=reason), path, WRITE)

    def stuck(self) -> bool:
        """Tell whether the sweep hasn't run when it should."""
        if self._swept_at is None:
            return False
        return self._world.clock.monotonic() - self._swept_at > self._settings.sweep_interval * SWEEPS_MISSED

    def _round(self, what: str, action: Callable[[], None]) -> bool:
        return self._leads() and self._health.guarded(what, action)

    def _collect(self) -> None:
        """Look into what others write to, where the mount's root shows that there is anything."""
        kinds = self._mailbox.kinds()
        if Request.kind in kinds:
            self._mail.collect()
        if REPORTS in kinds:
            self._proving.collect()

    def _list_round(self) -> None:
        """Look at what other clients wrote; after trouble again soon, not a whole interval later."""
        settings = self._settings
        rounds = max(1, int(settings.reread_after / settings.list_interval))
        if not self._round("list", lambda: self._reading.again(settings.reread_after / 2, rounds)):
            self.timers.at(self._world.clock.now() + ROUND_RETRY, "list-again", self._list_round, "vault")

    def _catch_up(self) -> None:
        """Read what wasn't needed to begin, until all of it was read."""
        if self._ended.is_set():
            return
        if not self._round("catch-up", lambda: self._reading.the_rest(self._ended.is_set)):
            self.timers.at(self._world.clock.now() + ROUND_RETRY, "catch-up", self._catch_up, "vault")

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
            if not self._held.takes(error, f"{Credential.kind}/{name}"):
                self.timers.at(self._world.clock.now() + ROUND_RETRY, f"effect:{name}", self._effect, "mail", name, "")
        else:
            self._reading.remembered(name)
            self._publisher.tell(name)
