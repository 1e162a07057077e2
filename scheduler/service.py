"""The composition root: what the service is made of, its timers, how it starts and how it stops."""

import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from scheduler.clocks import SystemClock, new_id
from scheduler.mail import Mail
from scheduler.metrics import Metrics
from scheduler.rotations import Rotations
from scheduler.settings import Settings
from scheduler.sign_ins import SignIns
from scheduler.specs import SpecCache
from scheduler.timers import Timers
from scheduler.web import Web
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import ConfigurationError, Error, StoreDenied, StoreError
from vault_plugin.core.names import is_name
from vault_plugin.core.ports import World
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import VaultSettings
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.mailbox import Mailbox
from vault_plugin.vault.store import KvStore
from vault_plugin.veeam.client import VeeamClient

log = structlog.get_logger()

LONGEST_RETRY = 60.0
#: A sweep that hasn't run for so many intervals means that the service is stuck.
SWEEPS_MISSED = 4


class Service:
    """One service process. `run` returns when `stop` was called."""

    def __init__(self, settings: Settings, vault: VaultSettings, instance: str, ca_bundle: str | None) -> None:
        """Put everything together; nothing is sent, nothing listens."""
        self._settings = settings
        self._metrics = metrics = Metrics()
        self._clock = clock = SystemClock()
        connection = Connection(vault, lambda kind: metrics.vault_requests.labels(kind).inc())
        auth = LoginSettings(
            method=settings.vault_auth,
            mount=settings.vault_auth_mount,
            role=settings.vault_role,
            role_id=settings.vault_role_id,
            secret_id_file=settings.vault_secret_id_file,
            jwt_file=settings.vault_jwt_file,
        )
        self._login = Login(connection, auth)
        self._store = store = KvStore(connection, self._login, settings.mount, self._report)
        self._specs = specs = SpecCache(store, clock)
        self._timers = timers = Timers()
        self._world = world = World(
            store=store,
            specs=specs,
            microsoft=MicrosoftClient(ca_bundle),
            veeam=VeeamClient(ca_bundle),
            clock=clock,
            policy=Policy(),
            allowed=settings.allowed,
            instance=instance,
            new_id=new_id,
        )
        self._rotations = Rotations(world, timers, metrics)
        self._sign_ins = SignIns(world, timers, metrics, self._rotations.sign_in_approved, self._rotations.tell)
        self._mail = Mail(world, Mailbox(store), specs, timers, metrics, self._effect)
        self._stopping = threading.Event()
        self._troubles: dict[str, str] = {"start": "starting"}
        self._ready = False
        self._swept_at = clock.monotonic()

    # --- life --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            ConfigurationError: something is set that can't work.
        """
        checks = {"/livez": self._live, "/readyz": lambda: next(iter(self._troubles.values()), "")}
        try:
            web = Web(self._settings.http, checks, self._metrics.registry)
        except OSError as error:
            msg = f"can't listen on VB365_HTTP_ADDR={self._settings.http_addr}: {error.strerror}"
            raise ConfigurationError(msg) from None
        log.info("listening", address=self._settings.http_addr, mount=self._settings.mount)
        try:
            self._timers.start()
            if self._until_done():
                self._ready = True
                self._every()
                log.info("ready", credentials=len(self._rotations.names()))
                self._stopping.wait()
        finally:
            self._end()
            web.close()

    def stop(self) -> None:
        """End `run`. May be called from a signal handler."""
        self._store.patience.stop(self._settings.stop_grace)
        self._stopping.set()

    def _until_done(self) -> bool:
        """Load until Vault lets us; tell whether it did before the stop."""
        pause = 1.0
        while not self._stopping.is_set():
            if self._guarded("start", self._load):
                return True
            self._stopping.wait(pause)
            pause = min(pause * 2, LONGEST_RETRY)
        return False

    def _load(self) -> None:
        """LIST, then one read for each document; soonest expiry first comes from the lanes."""
        self._login.ensure(self._clock.monotonic())
        self._specs.list_again(ServerSpec)
        self._specs.list_again(TenantSpec)
        for name in filter(is_name, self._store.names(Credential)):
            self._rotations.load(name, at_start=True)
        for name in filter(is_name, self._store.names(SignIn)):
            self._sign_ins.load(name)
        for name in self._specs.names(TenantSpec):
            self._rotations.tell(name)

    def _every(self) -> None:
        settings, every = self._settings, self._timers.every
        every(settings.mailbox_interval, "mailbox", lambda: self._round("mailbox", self._mail.collect), "vault")
        every(settings.list_interval, "list", lambda: self._round("list", self._list), "vault")
        every(settings.sweep_interval, "sweep", self._sweep, "timers")
        every(timedelta(seconds=10), "login", lambda: self._round("login", self._log_in), "vault")
        self._timers.at(self._clock.now(), "first-sweep", self._sweep, "timers")

    def _end(self) -> None:
        log.info("stopping")
        self._rotations.stop()
        self._timers.stop()
        try:
            self._login.revoke()
        except Error as error:
            log.warning("token_not_revoked", reason=error.reason)
        log.info("stopped")

    # --- rounds ------------------------------------------------------------------------------------------------------

    def _round(self, what: str, action: Callable[[], None]) -> None:
        if not self._stopping.is_set():
            self._guarded(what, action)

    def _guarded(self, what: str, action: Callable[[], None]) -> bool:
        """Do it; keep what went wrong for /readyz and the log. Vault's trouble touches nothing else."""
        try:
            action()
        except (StoreError, ConfigurationError) as error:
            if self._troubles.get(what) != str(error):
                log.warning("vault_trouble", round=what, reason=error.reason, error=str(error), remedy=error.remedy())
            self._troubles[what] = str(error)
            self._metrics.vault_up.set(isinstance(error, StoreDenied))
            return False
        except Exception:
            log.exception("round_broke", round=what)
            return False
        if self._troubles.pop(what, "") and self._ready:
            log.info("vault_back", round=what)
        self._metrics.vault_up.set(1)
        return True

    def _log_in(self) -> None:
        self._login.ensure(self._clock.monotonic())

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

    def _sweep(self) -> None:
        self._rotations.sweep()
        self._swept_at = self._clock.monotonic()
        self._metrics.last_sweep.set_to_current_time()

    def _effect(self, name: str, action: str) -> None:
        """A request had its effect: take up what follows from it."""
        if action in ("sign-in", "cancel", "revoke", "remove"):
            self._sign_ins.begun(name)
        try:
            self._rotations.load(name)
        except StoreError as error:
            log.warning("not_planned", tenant=name, reason=error.reason)
        self._rotations.tell(name)

    def _live(self) -> str:
        late = self._clock.monotonic() - self._swept_at > self._settings.sweep_interval * SWEEPS_MISSED
        return "the sweep hasn't run" if self._ready and late else ""

    def _report(self, event: str, **fields: object) -> None:
        self._metrics.vault_events.labels(event).inc()
        log.info(event, **fields)
