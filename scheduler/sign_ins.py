"""Polls every pending sign-in at its own next time: a date job each, no thread each."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from scheduler.held import HeldBack
from scheduler.metrics import Metrics
from scheduler.publisher import Publisher
from scheduler.rotations import Rotations
from scheduler.timers import Timers
from vault_plugin.core.errors import AuthorizationServerUnavailable, StoreError, VersionConflict
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.ports import Stored, World
from vault_plugin.core.published import Prompt
from vault_plugin.core.sign_in import LastPoll, SignIn, SignInState
from vault_plugin.core.states import Reason

log = structlog.get_logger()

STORE_RETRY = timedelta(seconds=2)


class SignIns:
    """Thread-safe: one job a tenant at a time."""

    def __init__(  # noqa: PLR0913 - the parts of a term
        self,
        world: World,
        timers: Timers,
        metrics: Metrics,
        rotations: Rotations,
        publisher: Publisher,
        may_call: Callable[[], bool],
        *,
        held: HeldBack | None = None,
    ) -> None:
        """`rotations` is told of Microsoft's answers. Nothing is polled while `may_call()` is false.

        What can't be read or written alone is told to `held`.
        """
        self._held = held or HeldBack(world.store.answers, world.clock)
        self._world = world
        self._timers = timers
        self._metrics = metrics
        self._rotations = rotations
        self._publisher = publisher
        self._may_call = may_call
        #: What this process knows of the newest polls, by tenant.
        self._last: dict[str, LastPoll] = {}
        #: Why the newest poll brought no verdict, by tenant.
        self._trouble: dict[str, AuthorizationServerUnavailable] = {}
        #: Who is being polled: another thread leaves it to that one to plan the next poll.
        self._polling: set[str] = set()
        self._pending: set[str] = set()
        self._lock = threading.Lock()

    def load(self, name: str, *, news: bool = True) -> None:
        """Take a sign-in up where it stands: after a start, and after a request.

        `news`: something has happened, so that operators are told also of one that is over.

        Raises:
            StoreError: Vault's trouble.
        """
        stored = self._show(name)
        sign_in = stored.document
        if stored.gone:
            self._gone(name)
        elif news or (sign_in is not None and sign_in.state is not SignInState.ENDED):
            if name not in self._last and sign_in is not None and (last := signing_in.taken_up(self._world, sign_in)):
                self._last[name] = last
            self._follow(name, sign_in)
        else:
            self._publisher.saw(name, sign_in)

    def _show(self, name: str, *, anew: bool = False) -> Stored[SignIn]:
        """Let the prompt say what stands, and clear away what an ended sign-in left; `anew`: somebody deleted the prompt."""
        stored = self._world.store.read(SignIn, name)
        sign_in = stored.document
        try:
            if sign_in is None and (stored.gone or anew):
                signing_in.hide(self._world, name)
            elif sign_in is not None and sign_in.untidy:
                signing_in.tidy(self._world, name, stored.version, sign_in)
            elif sign_in is not None and (anew or sign_in.state is not SignInState.ENDED):
                signing_in.show(self._world, name, sign_in)
        except StoreError as error:
            if not error.path.startswith(f"{Prompt.kind}/") or not self._held.takes(error):
                raise  # else the sign-in goes on, though its prompt can't be written
        return stored

    def show_again(self, name: str) -> None:
        """Write the prompt that somebody deleted.

        Raises:
            StoreError: Vault's trouble.
        """
        self._show(name, anew=True)

    def begun(self, name: str) -> None:
        """Follow a sign-in that this process has just begun or joined."""
        self._timers.at(self._world.clock.now(), f"follow:{name}", self._load, "mail", name)

    def _load(self, name: str) -> None:
        try:
            self.load(name)
        except StoreError as error:
            log.warning("sign_in_not_read", tenant=name, reason=error.reason)
            self._timers.at(self._again_at(name, error), f"follow:{name}", self._load, "mail", name)

    def _again_at(self, name: str, error: StoreError) -> datetime:
        """Return when to try again: soon in an outage, and as seldom as an object is tried that is held back."""
        alone = self._held.takes(error, f"{SignIn.kind}/{name}")
        return self._world.clock.now() + (max(STORE_RETRY, self._held.left(error.path)) if alone else STORE_RETRY)

    def _poll(self, name: str) -> None:
        with self._lock:
            if name in self._polling:
                return
            self._polling.add(name)
        try:
            self._poll_once(name)
        finally:
            self._polling.discard(name)

    def _poll_once(self, name: str) -> None:
        if not self._may_call():
            self._at(name, self._world.clock.now() + STORE_RETRY)
            return
        try:
            polled = signing_in.poll(self._world, name, self._last.get(name))
        except VersionConflict:
            self._at(name, self._world.clock.now())
            return
        except StoreError as error:
            log.warning("poll_put_off", tenant=name, reason=error.reason)
            self._at(name, self._again_at(name, error))
            return
        if polled.gone:
            self._gone(name)
            return
        if polled.last is not None:
            self._last[name] = polled.last
        else:
            self._last.pop(name, None)
        if polled.asked:
            self._met(name, polled.error)
        if polled.error is not None:
            log.warning("poll_unanswered", tenant=name, reason=polled.error.reason, error=str(polled.error))
        self._follow(name, polled.sign_in)

    def _met(self, name: str, error: AuthorizationServerUnavailable | None) -> None:
        """Keep a poll's trouble as it was met first: with another trace id each time it is the same, and no news."""
        old = self._trouble.pop(name, None)
        if error is not None:
            same = old is not None and (str(old), old.code) == (str(error), error.code)
            self._trouble[name] = old if old is not None and same else error

    def _follow(self, name: str, sign_in: SignIn | None) -> None:
        """Plan what comes next for this sign-in."""
        news = self._publisher.saw(name, sign_in, self._trouble.get(name))
        if sign_in is None:
            return
        if sign_in.state is SignInState.PENDING:
            self._pending.add(name)
            now = self._world.clock.now()
            self._at(name, signing_in.poll_at(self._world, sign_in, self._last.get(name), now))
        else:
            self._over(name, sign_in)
        self._metrics.pending_sign_ins.set(len(self._pending))
        if news:
            self._publisher.tell(name)

    def _over(self, name: str, sign_in: SignIn) -> None:
        waited = name in self._pending
        self._pending.discard(name)
        self._last.pop(name, None)
        self._trouble.pop(name, None)
        if sign_in.state is SignInState.APPROVED:
            log.info("sign_in_approved", tenant=name, sign_in=sign_in.id)
            self._rotations.sign_in_approved(name, sign_in.binding.server)
        else:
            self._world.identities.release(name)
        if waited and sign_in.state is SignInState.ENDED:
            log.info("sign_in_ended", tenant=name, sign_in=sign_in.id, outcome=sign_in.outcome, text=sign_in.text)
        if waited:
            self._hide(name)

    def _gone(self, name: str) -> None:
        """End a sign-in whose document somebody deleted: as if it were cancelled."""
        if name in self._pending:
            log.warning("sign_in_ended", tenant=name, outcome=Reason.CANCELLED, text="its document was deleted")
        self._world.identities.release(name)
        self._pending.discard(name)
        self._last.pop(name, None)
        self._trouble.pop(name, None)
        self._metrics.pending_sign_ins.set(len(self._pending))
        self._publisher.saw_gone(name)
        self._publisher.tell(name)
        self._hide(name)

    def _hide(self, name: str) -> None:
        """Empty the prompt, however often it takes."""
        try:
            self._show(name)
        except StoreError:
            self._timers.at(self._world.clock.now() + STORE_RETRY, f"prompt:{name}", self._hide, "vault", name)

    def _at(self, name: str, when: datetime) -> None:
        self._timers.at(when, f"poll:{name}", self._poll, "microsoft", name)
