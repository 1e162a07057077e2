"""The composition root: what the service is made of, how it starts, leads, waits and stops."""

import importlib.metadata
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from scheduler.clocks import SystemClock
from scheduler.health import Health
from scheduler.held import HeldBack, Watched
from scheduler.leadership import PATH as LEASE_PATH
from scheduler.leadership import Leadership
from scheduler.metrics import Metrics
from scheduler.places import not_stored
from scheduler.settings import Settings
from scheduler.specs import SpecCache
from scheduler.term import Term
from scheduler.timers import Timers
from scheduler.web import Web
from vault_plugin.core.errors import ConfigurationError, Error
from vault_plugin.core.ports import World
from vault_plugin.core.timing import Policy
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import VaultSettings
from vault_plugin.vault.ids import new_id
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.mailbox import Mailbox
from vault_plugin.vault.store import KvStore
from vault_plugin.veeam.client import VeeamClient

log = structlog.get_logger()

FIRST_RETRY, LONGEST_RETRY = timedelta(seconds=1), timedelta(seconds=10)
LEASE_INTERVAL = timedelta(seconds=1)
LOOK = 0.1
#: What the store reports of a write that isn't taken, or perhaps not.
NOT_STORED = frozenset({"write_unclear", "write_refused", "write_denied"})
#: A wall clock that moved so much more or less than the monotonic one was set.
CLOCK_STEP = timedelta(seconds=2)


class Service:
    """One service process. `run` returns when `stop` was called."""

    def __init__(self, settings: Settings, vault: VaultSettings, instance: str, ca_bundle: str | None) -> None:
        """Put everything together; nothing is sent, nothing listens."""
        self._settings = settings
        self._metrics = metrics = Metrics()
        self._clock = clock = SystemClock()
        connection = Connection(
            vault,
            lambda kind: metrics.vault_requests.labels(kind).inc(),
            lambda seconds, date: metrics.vault_answered(seconds, date, clock.now()),
            self._report,
        )
        auth = LoginSettings(
            method=settings.vault_auth,
            mount=settings.vault_auth_mount,
            role=settings.vault_role,
            role_id=settings.vault_role_id,
            secret_id_file=settings.vault_secret_id_file,
            jwt_file=settings.vault_jwt_file,
        )
        self._login = Login(connection, auth)
        self._store = KvStore(connection, self._login, settings.mount, self._report)
        self._held = held = HeldBack(self._store.answers, clock)
        self._watched = store = Watched(self._store, held)
        #: All but the specs: a standby keeps none, so that a term begins with nothing known (ADR 0008).
        self._world = partial(
            World,
            store=store,
            microsoft=MicrosoftClient(ca_bundle),
            veeam=VeeamClient(ca_bundle, lambda url, date: metrics.told_time(url, date, clock.now())),
            clock=clock,
            policy=Policy(),
            allowed=settings.allowed,
            instance=instance,
            new_id=new_id,
            mount=settings.mount,
        )
        version = importlib.metadata.version("vault-plugin-secrets-vb365")
        self._leadership = Leadership(store, clock, instance, version, held)
        store.on_restore(self._leadership.renew_now)
        self._health = Health(metrics, held)
        self._timers = Timers({"lease": 1, "login": 1})
        self._term: Term | None = None
        self._stopping = threading.Event()
        self._clock_offset = clock.now().timestamp() - clock.monotonic().total_seconds()

    def run(self) -> None:
        """Serve until stopped.

        Raises:
            ConfigurationError: something is set that can't work.
        """
        checks = {"/livez": self._live, "/readyz": self._health.trouble}
        try:
            web = Web(self._settings.http, checks, self._metrics.registry, self._remarks)
        except OSError as error:
            msg = f"can't listen on VB365_HTTP_ADDR={self._settings.http_addr}: {error.strerror}"
            raise ConfigurationError(msg) from None
        log.info("listening", address=self._settings.http_addr, mount=self._settings.mount)
        if doubt := self._login.doubt():
            log.warning("audience_differs", remedy=doubt)
        try:
            if self._until_done("join", self._join):
                self._timers.every(LEASE_INTERVAL, "lease", self._keep_lease, "lease")
                self._timers.every(timedelta(seconds=10), "login", lambda: self._round("login", self._log_in), "login")
                self._timers.start()
                self._serve()
        finally:
            self._end()
            web.close()

    def stop(self) -> None:
        """End `run`. May be called from any thread, and more than once."""
        self._store.patience.stop(self._settings.stop_grace)
        self._stopping.set()

    def _serve(self) -> None:
        """Lead when we hold the lease, else stand by."""
        while not self._stopping.is_set():
            if not self._leadership.holds():
                log.info("standing_by", leader=self._leadership.holder())
                self._health.started()
                self._wait_while(lambda: not self._leadership.holds())
            else:
                self._lead()

    def _lead(self) -> None:
        mailbox = Mailbox(self._store, self._held)
        specs = SpecCache(self._watched, self._clock, self._held)
        world = self._world(specs=specs, doubts_before=self._leadership.doubts_before)
        term = self._term = Term(self._settings, world, specs, mailbox, self._health, self._leadership.leads)
        try:
            if self._until_done("load", term.load):
                term.begin()
                self._health.started()
                self._wait_while(self._leadership.holds)
        finally:
            self._term = None
            if self._stopping.is_set():
                self._leadership.release()  # nothing begins from now on; what is under way may take its time
            term.end()
            self._health.forget("load", *Term.ROUNDS)
            self._held.forget(but=LEASE_PATH)

    def _end(self) -> None:
        log.info("stopping")
        self._timers.stop()
        self._leadership.release()
        try:
            self._login.revoke()
        except Error as error:
            log.warning("token_not_revoked", reason=error.reason)
        log.info("stopped")

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _until_done(self, what: str, action: Callable[[], None]) -> bool:
        """Try until Vault lets us; tell whether it did before the stop."""
        pause = FIRST_RETRY
        while not self._stopping.is_set():
            done = self._health.guarded(what, action)
            self._watch_clock()  # what is planned after this must not be moved by a step from before
            if done:
                return True
            self._wait(pause)
            pause = min(pause * 2, LONGEST_RETRY)
        return False

    def _wait(self, pause: timedelta) -> None:
        until = self._clock.monotonic() + pause
        self._wait_while(lambda: self._clock.monotonic() < until)

    def _wait_while(self, holds: Callable[[], bool]) -> None:
        """Wait until it isn't so, or until the stop; watch the clocks meanwhile."""
        while holds() and not self._stopping.wait(LOOK):
            self._watch_clock()

    def _watch_clock(self) -> None:
        """Move every timer along when somebody sets the wall clock: APScheduler keeps wall times (DESIGN 6)."""
        offset = self._clock.now().timestamp() - self._clock.monotonic().total_seconds()
        step = timedelta(seconds=offset - self._clock_offset)
        if abs(step) <= CLOCK_STEP:
            return
        self._clock_offset = offset
        log.warning("clock_stepped", seconds=round(step.total_seconds(), 1))
        self._metrics.clock_steps.inc()
        self._timers.shift(step)
        if self._term is not None:
            self._term.clock_stepped(step)

    # --- rounds ------------------------------------------------------------------------------------------------------

    def _round(self, what: str, action: Callable[[], None]) -> None:
        if not self._stopping.is_set():
            self._health.guarded(what, action)

    def _join(self) -> None:
        self._log_in()
        self._leadership.tick()

    def _log_in(self) -> None:
        self._login.ensure(self._clock.monotonic())

    def _keep_lease(self) -> None:
        led = self._leadership.leads()
        self._round("lease", self._leadership.tick)
        leads = self._leadership.leads()
        self._metrics.leader.set(leads)
        term = self._term
        if leads and not led and term is not None:
            term.wake()

    def _live(self) -> str:
        term = self._term
        return "the sweep hasn't run" if term is not None and term.stuck() else ""

    def _remarks(self) -> list[str]:
        """Return what ``/readyz`` says beside whether we are ready."""
        return [*self._leadership.remarks(), *self._held.lines()]

    def _report(self, event: str, **fields: object) -> None:
        self._metrics.vault_events.labels(event).inc()
        term = self._term
        if event in NOT_STORED and not_stored() and term is not None:
            term.not_stored(str(fields.get("path", "")), str(fields.get("reason", "")))
        log.info(event, **fields)
