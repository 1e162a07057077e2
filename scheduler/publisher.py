"""Writes what others read: the token, once it is proved, and the status, off the rotation's path."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog

from scheduler.held import WRITE, Held, HeldBack
from scheduler.metrics import Metrics
from scheduler.planned import Memory
from scheduler.timers import Timers
from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.deleted import is_deleted
from vault_plugin.core.errors import AuthorizationServerUnavailable, DocumentMalformed, Error, StoreError
from vault_plugin.core.handled import Handled
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import credential_of, facts_of, spec_of
from vault_plugin.core.lifecycle.prove import proof_due, prove
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.lifecycle.status import (
    SHOWN,
    SignInSeen,
    outcome_of,
    seen,
    seen_gone,
    troubled,
    write_status,
    write_told,
)
from vault_plugin.core.ports import World
from vault_plugin.core.published import Prompt, RequestStatus, Status, Token
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import State
from vault_plugin.core.tenants import ServerSpec, TenantSpec

log = structlog.get_logger()

STATUS_RETRY = timedelta(seconds=10)
PUBLISH_RETRY = timedelta(seconds=2)
PROOF_RETRY = timedelta(seconds=30)
WRITERS = 2


class Publisher:
    """Thread-safe. `delay_of(server)` is the lane's present delay, which a status tells."""

    def __init__(
        self,
        world: World,
        timers: Timers,
        metrics: Metrics,
        memory: Memory,
        delay_of: Callable[[str], timedelta],
        held: HeldBack | None = None,
    ) -> None:
        """Begin with nothing to write. What can't be read or written alone is told to `held`, and told in status."""
        self._world = world
        self.held = held or HeldBack(world.store.answers, world.clock)
        #: Requests that were refused and perhaps stand nowhere: a deleted credential can't hold them.
        self._refused: dict[str, tuple[RequestStatus, ...]] = {}
        #: Requests that wait for somebody, by tenant and id: they stand nowhere but in the mailbox.
        self._waiting: dict[str, dict[str, RequestStatus]] = {}
        self._timers = timers
        self._metrics = metrics
        self._memory = memory
        self._delay_of = delay_of
        #: Told of a refresh that was refused where the exchange after it was accepted: its session was lost.
        self.on_session_lost: Callable[[str, Step], None] = lambda _name, _done: None
        self._sign_ins: dict[str, SignInSeen] = {}
        #: Whose status is to be written, with the credential if it was just written (it needs no reading then).
        self._to_tell: dict[str, Credential | None] = {}
        #: Whose is being written: another thread with something newer waits for it, else the older would stand.
        self._telling: set[str] = set()
        #: The generation that was told last: a revocation may overtake the rotation that ended just before it.
        self._told: dict[str, int] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="status")

    def publish(self, name: str, credential: Credential | None = None, done: Step | None = None) -> Credential | None:
        """Prove the newest token if a proof is due, and publish it unless something as new stands there.

        Returns the credential that stands now, or what was given on Vault's trouble: then it is tried again by itself.
        """
        world = self._world
        if done is not None and done.refused and done.called is Rung.EXCHANGE:
            self.on_session_lost(name, done)
        try:
            held = credential or credential_of(world.store.read(Credential, name), world.clock.now())
            proved = prove(world, name, held, done)
            written = publish(world, name, proved)
        except StoreError as error:
            self._not_published(name, error)
            return credential
        if proved.proved > held.proved:
            verified = proved.findings.unverified < proved.proved and proved.findings.unproved is None
            log.info("proved", tenant=name, generation=proved.proved, verified=verified, **_probed(proved))
        old, new = held.findings.organization_name, proved.findings.organization_name
        if old and new != old:
            log.warning("organization_renamed", tenant=name, old=old, new=new)
        if proved.state is State.BLOCKED and held.state is State.ACTIVE and proved.last_error is not None:
            log.warning("not_proved", tenant=name, reason=proved.reason.value, error=proved.last_error.text)
        if written:
            self._metrics.published.inc()
            log.info("published", tenant=name, generation=proved.generation)
        if proved.distrusted and proof_due(proved, facts_of(world, proved), world.clock.now(), world.policy):
            log.warning("not_published", tenant=name, reason="ProofUnanswered")
            self._publish_at(world.clock.now() + PROOF_RETRY, name)
        self._memory.update(name, published=proved.generation)
        return proved

    def _not_published(self, name: str, error: StoreError) -> None:
        """Try again: soon in an outage, and as seldom as an object is tried that is held back."""
        log.warning("not_published", tenant=name, reason=error.reason, error=str(error))
        alone = self.held.takes(error, f"{Token.kind}/{name}")
        if not isinstance(error, DocumentMalformed):
            wait = max(PUBLISH_RETRY, self.held.left(error.path)) if alone else PUBLISH_RETRY
            self._publish_at(self._world.clock.now() + wait, name)

    def publish_soon(self, name: str) -> None:
        """Publish what somebody deleted."""
        self._publish_at(self._world.clock.now(), name)

    def publish_missing(self) -> None:
        """Publish what an outage left unpublished, without waiting for it; what a crash left so is seen when first read."""
        for name, planned in self._memory.seen():
            if 0 <= planned.published < planned.generation and not self.held.left(f"{Token.kind}/{name}"):
                self._publish_at(self._world.clock.now(), name)

    def _publish_at(self, when: datetime, name: str) -> None:
        """Publish on threads of its own: a proof may wait for a server that hangs."""
        self._timers.at(when, f"publish:{name}", self._publish_again, "publish", name)

    def _publish_again(self, name: str) -> None:
        if not self._ended.is_set():
            self.publish(name)

    def saw(self, name: str, sign_in: SignIn | None, trouble: AuthorizationServerUnavailable | None = None) -> bool:
        """Take in a sign-in that was read or written, with its newest poll's trouble: the next status tells it.

        Returns whether that is news.
        """
        known, told = self._sign_ins.get(name), troubled(seen(sign_in), trouble)
        self._sign_ins[name] = told
        return told != known

    def saw_gone(self, name: str) -> None:
        """Take in that somebody deleted the sign-in's document: it has ended as if it were cancelled."""
        known = self._sign_ins.get(name)
        try:
            self._sign_ins[name] = seen_gone(self._world, name, known)
        except StoreError:
            self._sign_ins[name] = known or SignInSeen()

    def refused(self, name: str, handled: Handled) -> None:
        """Take in the outcome of a request that was refused: the next status tells it, wherever else it stands."""
        told = self._refused.get(name, ())
        self._refused[name] = (*(old for old in told if old.id != handled.id), outcome_of(handled))[-SHOWN:]

    def waits(self, name: str, handled: Handled) -> None:
        """Tell that a request waits, and for what."""
        self._waiting[name] = {**self._waiting.get(name, {}), handled.id: outcome_of(handled)}
        self.tell(name)

    def answered(self, name: str, request_id: str) -> None:
        """Take in that a request doesn't wait any more: the next status tells its outcome from where it stands."""
        waiting = {other: told for other, told in self._waiting.get(name, {}).items() if other != request_id}
        self._waiting[name] = waiting
        if not waiting:
            self._waiting.pop(name, None)

    def tell(self, name: str, credential: Credential | None = None) -> None:
        """Write the status soon; several wishes become one write, and the last of them is what stands.

        A `credential` that was just written needs no reading; one that was read may be old by now.
        """
        with self._lock:
            waits = name in self._to_tell or name in self._telling
            self._to_tell[name] = credential
        if not waits:
            self._writers.submit(self._tell, name)

    def _tell_held(self, name: str, held: Held) -> None:
        """Write the status of a tenant that is held back with a document; best effort."""
        text = held.text if held.path in held.text else f"{held.path}: {held.text}"
        now, told = self._world.clock.now(), self._refused.get(name, ())
        status = Status(
            tenant=name,
            state=State.BLOCKED,
            reason=held.reason,
            text=text,
            remedy=held.remedy,
            requests=told,
            updated_at=now,
        )
        try:
            write_told(self._world, name, status)
        except StoreError as trouble:
            self.held.takes(trouble, f"{Status.kind}/{name}", WRITE)
            log.warning("status_not_written", tenant=name, reason=trouble.reason)

    def end(self) -> None:
        """Begin no publication again: whoever leads next does."""
        self._ended.set()

    def stop(self) -> None:
        """Begin no status more and wait for those under way; whoever leads next tells what is recent."""
        self._writers.shutdown(wait=True, cancel_futures=True)

    def _tell(self, name: str) -> None:
        with self._lock:
            credential = self._to_tell.pop(name, None)
            self._telling.add(name)
        self._tell_now(name, credential)
        with self._lock:
            self._telling.discard(name)
            again = name in self._to_tell
        if again:
            with contextlib.suppress(RuntimeError):  # stopped meanwhile: whoever leads next tells what is recent
                self._writers.submit(self._tell, name)

    def _tell_now(self, name: str, credential: Credential | None) -> None:
        world = self._world
        try:
            if credential is None or credential.generation < self._told.get(name, 0):
                credential = credential_of(world.store.read(Credential, name), world.clock.now())
            held, self._told[name] = credential, credential.generation
            sign_in = self._sign_in(name)
            refused = (*self._refused.get(name, ()), *self._waiting.get(name, {}).values())
            if refused:
                known = {entry.id for entry in refused}
                others = tuple(entry for entry in sign_in.requests if entry.id not in known)
                sign_in = SignInSeen(sign_in.newest, (*others, *refused))
            spec = spec_of(world, name, held)
            server = spec.server if spec else held.binding.server if held.binding else ""
            unread = self.held.trouble(f"{ServerSpec.kind}/{server}")
            needs = held.state is not State.REVOKED and not is_deleted(held)
            if unread is not None and needs and world.specs.server(server) is None:
                self._tell_held(name, unread)
                return
            delay = self._delay_of(held.binding.server) if held.binding else timedelta(0)
            looked_at = self._memory.get(name).looked_at
            write_status(world, name, held, sign_in, delay, self._beside(name, server), looked_at=looked_at)
        except StoreError as error:
            self._not_told(name, error)
        except Error as error:
            log.warning("status_not_written", tenant=name, reason=error.reason)
            self._timers.at(world.clock.now() + STATUS_RETRY, f"status:{name}", self.tell, "vault", name)
        except Exception:
            log.exception("status_broke", tenant=name)

    def _sign_in(self, name: str) -> SignInSeen:
        """Return what is to be told of the sign-in; nothing of one that can't be read alone."""
        if name not in self._sign_ins:
            path = f"{SignIn.kind}/{name}"
            try:
                stored = self._world.store.read(SignIn, name)
            except StoreError as error:
                if not self.held.takes(error, path):
                    raise
                return SignInSeen()
            if stored.gone:
                self.saw_gone(name)
            else:
                self.saw(name, stored.document)
        return self._sign_ins[name]

    def _beside(self, name: str, server: str) -> tuple[str, str]:
        """Return what is held back beside the credential: text and remedy."""
        if not self.held.any():
            return "", ""
        paths = [f"{model.kind}/{name}" for model in (Credential, SignIn, Token, Prompt, TenantSpec)]
        found = [held for path in (*paths, f"{ServerSpec.kind}/{server}") if (held := self.held.trouble(path))]
        texts = [held.text if held.path in held.text else f"{held.path}: {held.text}" for held in found]
        return "; ".join(texts), found[0].remedy if found else ""

    def _not_told(self, name: str, error: StoreError) -> None:
        """Tell what is held back, if that is why; else try again."""
        now, alone = self._world.clock.now(), self.held.takes(error, f"{Credential.kind}/{name}")
        trouble = self.held.trouble(error.path) if alone and error.path != f"{Status.kind}/{name}" else None
        if trouble is not None:
            self._tell_held(name, trouble)
            return
        log.warning("status_not_written", tenant=name, reason=error.reason, error=str(error))
        wait = max(STATUS_RETRY, self.held.left(error.path)) if alone else STATUS_RETRY
        self._timers.at(now + wait, f"status:{name}", self.tell, "vault", name)


def _probed(credential: Credential) -> dict[str, str]:
    """Return what was seen of the old token, for the log."""
    return {f"old_after_{probe.rung}": "lives" if probe.old_alive else "dies" for probe in credential.probes}
