"""Writes what others read: the token, once it is proved, and the status, off the rotation's path."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import structlog

from scheduler.metrics import Metrics
from scheduler.planned import Memory
from scheduler.timers import Timers
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import DocumentMalformed, Error, StoreError
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import credential_of, facts_of
from vault_plugin.core.lifecycle.latest import replaces_always, write_latest
from vault_plugin.core.lifecycle.prove import proof_due, prove
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.lifecycle.status import PATIENCE, SignInSeen, seen, write_status
from vault_plugin.core.ports import World
from vault_plugin.core.published import Status
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import Reason, State

log = structlog.get_logger()

STATUS_RETRY = timedelta(seconds=10)
PUBLISH_RETRY = timedelta(seconds=2)
PROOF_RETRY = timedelta(seconds=30)
WRITERS = 2


class Publisher:
    """Thread-safe. `delay_of(server)` is the lane's present delay, which a status tells."""

    def __init__(
        self, world: World, timers: Timers, metrics: Metrics, memory: Memory, delay_of: Callable[[str], timedelta]
    ) -> None:
        """Begin with nothing to write."""
        self._world = world
        self._timers = timers
        self._metrics = metrics
        self._memory = memory
        self._delay_of = delay_of
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
        try:
            held = credential or credential_of(world.store.read(Credential, name), world.clock.now())
            proved = prove(world, name, held, done)
            written = publish(world, name, proved)
        except DocumentMalformed as error:
            log.warning("not_published", tenant=name, reason=error.reason, error=str(error))
            return credential
        except StoreError as error:
            log.warning("not_published", tenant=name, reason=error.reason)
            self._publish_at(world.clock.now() + PUBLISH_RETRY, name)
            return credential
        if proved.proved > held.proved:
            log.info("proved", tenant=name, generation=proved.proved, **_probed(proved))
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

    def publish_missing(self) -> None:
        """Publish what an outage left unpublished, without waiting for it; what a crash left so is seen when first read."""
        for name, planned in self._memory.seen():
            if 0 <= planned.published < planned.generation:
                self._publish_at(self._world.clock.now(), name)

    def _publish_at(self, when: datetime, name: str) -> None:
        """Publish on threads of its own: a proof may wait for a server that hangs."""
        self._timers.at(when, f"publish:{name}", self._publish_again, "publish", name)

    def _publish_again(self, name: str) -> None:
        if not self._ended.is_set():
            self.publish(name)

    def saw(self, name: str, sign_in: SignIn | None) -> None:
        """Take in a sign-in that was read or written: the next status tells it."""
        self._sign_ins[name] = seen(sign_in)

    def tell(self, name: str, credential: Credential | None = None) -> None:
        """Write the status soon; several wishes become one write, and the last of them is what stands.

        A `credential` that was just written needs no reading; one that was read may be old by now.
        """
        with self._lock:
            waits = name in self._to_tell or name in self._telling
            self._to_tell[name] = credential
        if not waits:
            self._writers.submit(self._tell, name)

    def tell_malformed(self, name: str, error: DocumentMalformed) -> None:
        """Write the status of a tenant whose documents can't be read; best effort."""
        world = self._world
        status = Status(
            tenant=name,
            state=State.BLOCKED,
            reason=Reason.DOCUMENT_MALFORMED,
            text=str(error),
            remedy=error.remedy(),
            updated_at=world.clock.now(),
        )
        try:
            write_latest(world, name, status, replaces_always, patience=PATIENCE)
        except StoreError as trouble:
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
            if name not in self._sign_ins:
                self.saw(name, world.store.read(SignIn, name).document)
            delay = self._delay_of(held.binding.server) if held.binding else timedelta(0)
            write_status(world, name, held, self._sign_ins[name], delay)
        except DocumentMalformed as error:
            self.tell_malformed(name, error)
        except Error as error:
            log.warning("status_not_written", tenant=name, reason=error.reason)
            self._timers.at(world.clock.now() + STATUS_RETRY, f"status:{name}", self.tell, "vault", name)
        except Exception:
            log.exception("status_broke", tenant=name)


def _probed(credential: Credential) -> dict[str, str]:
    """Return what was seen of the old token, for the log."""
    return {f"old_after_{probe.rung}": "lives" if probe.old_alive else "dies" for probe in credential.probes}
