"""One term as leader: everything that calls Microsoft and Veeam, with a plan in memory that lasts as long as the term."""

from collections.abc import Callable
from datetime import timedelta
from typing import ClassVar

import structlog

from scheduler.health import Health
from scheduler.mail import Mail
from scheduler.rotations import Rotations
from scheduler.settings import Settings
from scheduler.sign_ins import SignIns
from scheduler.specs import SpecCache
from scheduler.timers import Timers
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreError
from vault_plugin.core.names import is_name
from vault_plugin.core.ports import World
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.vault.mailbox import Mailbox

log = structlog.get_logger()

#: Bulkheads: what waits for one side can't starve the others. Threads of each.
EXECUTORS = {"lanes": 2, "microsoft": 16, "vault": 4, "timers": 2}
#: A sweep that hasn't run for so many intervals means that the service is stuck.
SWEEPS_MISSED = 4


class Term:
    """`load` until it succeeds, then `begin`; `end` waits for what runs."""

    #: Rounds that only a leader makes.
    ROUNDS: ClassVar = ("mailbox", "list")

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
        self._world = world
        self._specs = specs
        self._leads = leads
        self.timers = timers = Timers(EXECUTORS)
        self._rotations = Rotations(world, timers, metrics, leads)
        self._sign_ins = SignIns(world, timers, metrics, self._rotations, leads)
        self._mail = Mail(world, mailbox, specs, timers, metrics, self._effect)
        self._swept_at: timedelta | None = None

    def load(self) -> None:
        """LIST, then one read for each document; soonest expiry first comes from the lanes.

        Raises:
            StoreError: Vault's trouble; it may be called again.
        """
        self._specs.list_again(ServerSpec)
        self._specs.list_again(TenantSpec)
        for name in filter(is_name, self._world.store.names(Credential)):
            self._rotations.load(name, at_start=True)
        for name in filter(is_name, self._world.store.names(SignIn)):
            self._sign_ins.load(name)
        for name in self._specs.names(TenantSpec):
            self._rotations.tell(name)

    def begin(self) -> None:
        """Start the timers: from now on what is due is done."""
        settings, every = self._settings, self.timers.every
        every(settings.mailbox_interval, "mailbox", lambda: self._round("mailbox", self._mail.collect), "vault")
        every(settings.list_interval, "list", lambda: self._round("list", self._list), "vault")
        every(settings.sweep_interval, "sweep", self.sweep, "timers")
        self.timers.at(self._world.clock.now(), "first-sweep", self.sweep, "timers")
        self._swept_at = self._world.clock.monotonic()
        self.timers.start()
        log.info("ready", credentials=len(self._rotations.names()))

    def end(self) -> None:
        """Begin no call more and wait for those under way."""
        self._rotations.stop()
        self.timers.stop()

    def sweep(self) -> None:
        """Wake every lane that has something due, and publish what an outage left unpublished."""
        self._rotations.sweep()
        self._swept_at = self._world.clock.monotonic()
        self._metrics.last_sweep.set_to_current_time()

    def clock_stepped(self, step: timedelta) -> None:
        """Move along with the wall clock."""
        self.timers.shift(step)
        if self._swept_at is not None:
            self.sweep()

    def stuck(self) -> bool:
        """Tell whether the sweep hasn't run when it should."""
        if self._swept_at is None:
            return False
        return self._world.clock.monotonic() - self._swept_at > self._settings.sweep_interval * SWEEPS_MISSED

    def _round(self, what: str, action: Callable[[], None]) -> None:
        if self._leads():
            self._health.guarded(what, action)

    def _list(self) -> None:
        """Find what other clients wrote: new and vanished names, and every document again within ten minutes."""
        settings = self._settings
        changed: set[str] = set()
        servers_changed = False
        for model in (ServerSpec, TenantSpec):
            names = self._specs.list_again(model)
            rounds = max(1, int(settings.reread_after / settings.list_interval))
            most = len(self._specs.names(model)) // rounds + 1
            names |= self._specs.read_again(model, settings.reread_after / 2, most)
            servers_changed |= model is ServerSpec and bool(names)
            changed |= names if model is TenantSpec else set()
        for name in {*self._rotations.names(), *changed} if servers_changed else changed:
            self._rotations.poke(name)

    def _effect(self, name: str, action: str) -> None:
        """A request had its effect: take up what follows from it."""
        if action in ("sign-in", "cancel", "revoke", "remove"):
            self._sign_ins.begun(name)
        try:
            self._rotations.load(name)
        except StoreError as error:
            log.warning("not_planned", tenant=name, reason=error.reason)
        self._rotations.tell(name)
