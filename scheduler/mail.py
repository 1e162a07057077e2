"""Empties the mailbox: one tenant's requests in the order of Vault's own time, one at a time."""

from collections.abc import Callable
from typing import Final

import structlog

from scheduler.codes import Codes
from scheduler.held import WRITE, HeldBack
from scheduler.metrics import Metrics
from scheduler.specs import SpecCache
from scheduler.timers import Timers
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import AuthorizationServerUnavailable, StoreError, VersionConflict
from vault_plugin.core.handled import Handled
from vault_plugin.core.lifecycle.requests import Asked, given_up, handle, has_outcome
from vault_plugin.core.ports import Letter, World
from vault_plugin.core.published import Request, Status
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.vault.mailbox import Mailbox, Received

log = structlog.get_logger()

#: Whose threads a request waits on: only what calls Veeam waits for it. What calls Microsoft is taken over by `Codes`.
MAIL: Final = "mail"
CALLS: Final[dict[str, str]] = {"revoke": "logout", "remove": "logout"}

#: What makes a request for a code that waits pointless.
ENDING: Final = frozenset({"cancel", "revoke", "remove"})
#: Told of a request that had its effect: tenant, action.
Effect = Callable[[str, str], None]
#: Told of a request that was refused: perhaps nothing but a status tells it.
Refused = Callable[[str, Handled], None]


class Mail:
    """Thread-safe: `collect` finds letters, a job a tenant handles them."""

    def __init__(  # noqa: PLR0913 - the parts of a term
        self,
        world: World,
        mailbox: Mailbox,
        specs: SpecCache,
        timers: Timers,
        metrics: Metrics,
        effect: Effect,
        *,
        held: HeldBack | None = None,
        refused: Refused = lambda _name, _handled: None,
        waits: Refused = lambda _name, _handled: None,
        answered: Effect = lambda _name, _id: None,
        may_call: Callable[[], bool] = lambda: True,
    ) -> None:
        """`effect(name, action)` is called after each request that had an effect, `refused` before it of one that had none.

        `waits` is told of requests for a code that wait for Microsoft, and why; `answered(name, id)` when one doesn't any more.
        Nothing is asked while `may_call()` is false.
        """
        self._codes = Codes(world.clock, timers, may_call, self._handle, self._decided, waits)
        self._answered = answered
        self._held = held or HeldBack(world.store.answers, world.clock)
        self._refused = refused
        self._world = world
        self._mailbox = mailbox
        self._specs = specs
        self._timers = timers
        self._metrics = metrics
        self._effect = effect
        #: Letters that were found and are yet to be handled, by tenant.
        self._waiting: dict[str, list[Letter]] = {}

    def collect(self) -> None:
        """Look into the mailbox once.

        Raises:
            StoreError: Vault's trouble.
        """
        for name, letters in self._mailbox.waiting(self._waiting, lambda: self._specs.names(TenantSpec), self._codes):
            self._waiting[name] = letters
            self._go_on(name, MAIL)

    def _go_on(self, name: str, executor: str) -> None:
        self._timers.at(self._world.clock.now(), f"mail:{name}", self._work, executor, name, executor)

    def _work(self, name: str, executor: str) -> None:
        """Handle a tenant's letters on a thread of this executor, up to one that needs another's."""
        elsewhere = ""
        try:
            elsewhere = self._handle_all(name, executor)
        except VersionConflict:
            pass  # somebody wrote first: the next round decides anew
        except StoreError as error:
            log.warning("request_put_off", tenant=name, reason=error.reason, error=str(error))
        except Exception:
            log.exception("request_broke", tenant=name)
        if elsewhere:
            self._go_on(name, elsewhere)
        else:
            del self._waiting[name]

    def _handle_all(self, name: str, executor: str) -> str:
        """Handle the oldest letters in order; return the executor that the next one needs, or an empty text."""
        for one in self._mailbox.oldest(self._waiting[name]):
            if one.letter in self._codes:
                continue
            needed = CALLS.get(one.request.action, MAIL) if one.request else MAIL
            if needed not in (MAIL, executor):
                return needed
            try:
                if one.request and one.request.action == "sign-in" and self.is_ours(name):
                    self._codes.take(one)
                else:
                    self._handle(one)
            except VersionConflict:
                raise
            except StoreError as error:  # one letter's trouble isn't the next one's
                if not self._held.takes(error, f"{Request.kind}/{name}/{one.letter.id}", WRITE):
                    raise
                log.warning("request_held_back", tenant=name, id=one.letter.id, reason=error.reason, error=str(error))
        return ""

    def _handle(self, received: Received, error: AuthorizationServerUnavailable | None = None) -> None:
        """Let a letter have its effect; with an error, by giving up what it asks for."""
        letter, request = received.letter, received.request
        if request is None or not self.is_ours(letter.name):
            self._drop(letter, received.problem or "for an unknown tenant")
            return
        self._reread(letter.name)
        asked = Asked(letter.name, letter.id, received.created_at, request, self._codes.ids(letter.name) - {letter.id})
        handled = handle(self._world, asked) if error is None else given_up(self._world, asked, error)
        self._answered(letter.name, letter.id)
        if request.action in ENDING:
            self._codes.look_again(letter.name)
        log.info(
            "request",
            tenant=letter.name,
            id=letter.id,
            action=handled.action,
            outcome=handled.outcome,
            text=handled.text,
        )
        if handled.outcome == "Refused":
            self._refused(letter.name, handled)
        try:
            self._delete(letter)
            self._metrics.requests.labels(handled.action, handled.outcome).inc()
        finally:  # what it did stands, though the letter may lie there yet
            self._effect(letter.name, handled.action)

    def _decided(self, received: Received) -> bool:
        """Tell whether an outcome of this letter stands."""
        return has_outcome(self._world, received.letter.name, received.letter.id)

    def _drop(self, letter: Letter, problem: str) -> None:
        """Delete what is no request; log its path and nothing of it."""
        log.warning("request_dropped", path=f"requests/{letter.name}/{letter.id}", problem=problem)
        self._delete(letter)
        self._metrics.requests_dropped.inc()

    def _delete(self, letter: Letter) -> None:
        self._mailbox.delete(letter)
        self._held.release(f"{Request.kind}/{letter.name}/{letter.id}", WRITE)

    def is_ours(self, name: str) -> bool:
        """Tell whether there is such a tenant, or was. What can't be read is no sign that there was none."""
        path = f"{TenantSpec.kind}/{name}"
        with self._held.apart(path):
            if self._specs.tenant(name) is not None or self._specs.load(TenantSpec, name):
                return True
        return self._held.holds(path) or any(self._stood(model, name) for model in (Credential, SignIn, Status))

    def _stood(self, model: type[Credential | SignIn | Status], name: str) -> bool:
        with self._held.apart(f"{model.kind}/{name}"):
            return self._world.store.read(model, name).version > 0
        return True

    def _reread(self, name: str) -> None:
        """A request speaks of the documents as they are now."""
        self._specs.load(TenantSpec, name)
        with self._held.apart(f"{TenantSpec.kind}/{name}"):  # what doesn't need it is done without
            tenant = self._specs.tenant(name)
            if tenant is not None:
                self._specs.load(ServerSpec, tenant.server)
