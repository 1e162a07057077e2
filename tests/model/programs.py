"""Runs the real verbs one port call at a time, without threads.

A verb is deterministic given the answers of its ports. So a replica in the middle of one is the list of the answers that it
has had. To go on, the verb runs again from its start and is fed these; at the first call without an answer it is suspended.
The write rule is `KvStore`'s own: what is modelled of Vault is one HTTP request.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, cast
from uuid import uuid4

from tests.model.documents import BASE, INSTANCES, INSTANT, NAME, SERVER, TENANT, TOKEN_LIFE, Documents, at, number_of, secret
from tests.model.variants import Variant
from vault_plugin.core.credential import Assertion, Credential
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import (
    AuthorizationServerUnavailable,
    BackupServerUnavailable,
    Error,
    GrantRejected,
    TokenRejected,
    VersionConflict,
)
from vault_plugin.core.facts import ServerFacts
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import Seen, credential_of
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.ports import D, Stored, TokenAnswer, World
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Allowed, Binding, ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy
from vault_plugin.vault import store as vault_store
from vault_plugin.vault.answer import Answer
from vault_plugin.vault.answer import Call as Sent
from vault_plugin.vault.answers import CAS_MISMATCH
from vault_plugin.vault.store import KvStore

#: An answer of a port, as a value: its kind, and numbers.
Reply = tuple[Any, ...]
#: The instant at which the clocks were read before a call, and what the call was answered.
Heard = tuple[int, Reply]


class Call(NamedTuple):
    """A call of a port that waits for its answer."""

    kind: str
    path: str = ""
    #: The document that is written, the pair or the grant that is presented.
    number: int = -1
    cas: int = -1


class Suspended(BaseException):
    """The verb has come to a call that has no answer yet."""

    def __init__(self, call: Call) -> None:
        """Take the call."""
        super().__init__(call)
        self.call = call


class Job(NamedTuple):
    """A verb with its arguments."""

    verb: str
    replica: int
    #: Ids drawn by this replica before.
    serial: int
    #: The journal entry that was seen, and since when.
    seen: tuple[str, int]
    #: The credential that is to be published.
    document: int = -1
    #: The version of `tokens/` that this process wrote last.
    token_version: int = -1


@dataclass(frozen=True)
class Run:
    """How far a verb comes: to a call, or to its end."""

    call: Call | None
    drawn: int
    #: What `KvStore` reported since the last answer.
    reported: tuple[str, ...] = ()
    #: `KvStore` said, since the last answer, that somebody else wrote.
    lost: bool = False
    raised: str = ""
    #: The credential with which a step ended.
    credential: int = -1
    superseded: bool = False
    token_version: int = -1


def dumps(content: object) -> bytes:
    return json.dumps(content).encode()


class _Tape:
    """The answers so far, and what was noted since the last one."""

    def __init__(self) -> None:
        self.job = Job("", 0, 0, ("", 0))
        self.heard: tuple[Heard, ...] = ()
        self.now = self.place = self.drawn = 0
        self.reported: list[str] = []
        self.lost = False

    def rewind(self, job: Job, heard: tuple[Heard, ...], now: int) -> None:
        self.job, self.heard, self.now = job, heard, now
        self.place = self.drawn = 0
        self.reported, self.lost = [], False

    def ask(self, call: Call) -> Reply:
        if self.place == len(self.heard):
            raise Suspended(call)
        reply = self.heard[self.place][1]
        self.place += 1
        self.reported, self.lost = [], False
        return reply

    def instant(self) -> int:
        return self.heard[self.place][0] if self.place < len(self.heard) else self.now

    def new_id(self) -> str:
        self.drawn += 1
        return f"{'PQ'[self.job.replica]}{self.job.serial + self.drawn}"


class _Clock:
    """Implements `vault_plugin.core.ports.Clock`, and the `time` of the store."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def now(self) -> datetime:
        return at(self._tape.instant())

    def boottime(self) -> timedelta:
        return self._tape.instant() * INSTANT

    monotonic = boottime


class _Seconds:
    """What the store knows as `time`."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def monotonic(self) -> float:
        return self._tape.instant() * INSTANT.total_seconds()


class _Specs:
    """Implements `vault_plugin.core.ports.Specs` for one tenant."""

    def tenant(self, name: str) -> TenantSpec:
        return TENANT

    def server(self, name: str) -> ServerSpec:
        return SERVER

    def problem(self, name: str) -> str:
        return ""


class _Connection:
    """What `KvStore` needs of a connection, and of hvac's KV v2: one request to the modelled Vault."""

    token = Secret("simtok-vault")
    proved = True

    def __init__(self, tape: _Tape, documents: Documents) -> None:
        self._tape, self._documents = tape, documents
        self.kv = self
        self.patience = _Patience()

    def read_secret_version(self, path: str, *, mount_point: str, raise_on_deleted_version: bool) -> Answer:
        return self._asked(Call("read", path), None)

    def create_or_update_secret(self, path: str, secret: dict[str, Any], *, cas: int, mount_point: str) -> Answer:
        return self.again(Sent("POST", path, {}, {}, dumps({"options": {"cas": cas}, "data": secret}), False, None, False))

    def again(self, sent: Sent) -> Answer:
        assert sent.body is not None
        text = sent.body.decode()
        whole = json.loads(text)
        number = self._documents.number(sent.path, whole["data"], text)
        return self._asked(Call("write", sent.path, number, whole["options"]["cas"]), sent)

    def _asked(self, call: Call, sent: Sent | None) -> Answer:
        reply = self._tape.ask(call)
        made = partial(Answer, call=sent or Sent("GET", call.path, {}, {}, None, False, None, False))
        if reply[0] == "unclear":
            return made(503, (), {})
        if reply[0] == "conflict":
            return made(400, (CAS_MISMATCH,), {})
        if reply[0] == "written":
            return made(200, (), {"data": {"version": reply[1]}})
        _, version, number = reply
        return made(200, (), {"data": {"data": self._documents.content(number), "metadata": {"version": version}}})


class _Patience:
    """Waits without waiting: time passes where the explorer lets it pass."""

    def wait(self, pause: timedelta, *, may_give_up: bool) -> bool:
        return True


@dataclass(frozen=True)
class _Known:
    """Stands for a model of which every document was parsed before."""

    kind: str
    documents: Documents

    def from_vault(self, path: str, data: dict[str, Any]) -> Document:
        return self.documents.parsed(data)


class _Store(KvStore):
    """The real store; documents are parsed once, and its verdict "somebody else wrote" is noted."""

    def __init__(self, tape: _Tape, documents: Documents) -> None:
        nobody = cast("Any", None)
        connection = cast("Any", _Connection(tape, documents))
        super().__init__(connection, nobody, "vb365", self._note)
        self._tape, self._documents = tape, documents

    def _note(self, event: str, **fields: object) -> None:
        self._tape.reported.append(event)

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        known = cast("type[D]", _Known(model.kind, self._documents))
        return super().read(known, name, patient=patient)

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        try:
            return super().write(name, document, cas=cas, give_up_after=give_up_after)
        except VersionConflict:
            self._tape.lost = True
            raise


class _Microsoft:
    """Implements what a rotation needs of `vault_plugin.core.ports.AuthorizationServer`."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def refresh(self, binding: Binding, assertion: Assertion, now: datetime) -> Assertion:
        reply = self._tape.ask(Call("reassert", number=number_of(assertion.json_text)))
        if reply[0] == "silence":
            raise AuthorizationServerUnavailable("no answer in time")
        if reply[0] == "rejected":
            raise GrantRejected("the grant was revoked", error="invalid_grant", code=50173)
        expires_at = now + timedelta(hours=1)
        return assertion.replace(json_text=secret("grant", reply[1]), obtained_at=now, expires_at=expires_at)


class _Veeam:
    """Implements what a rotation needs of `vault_plugin.core.ports.BackupServer`."""

    def __init__(self, tape: _Tape) -> None:
        self._tape = tape

    def exchange(self, server: ServerSpec, organization: str, assertion: Secret, timeout: timedelta) -> TokenAnswer:
        return self._pair(Call("exchange", number=number_of(assertion)))

    def refresh(self, server: ServerSpec, refresh_token: Secret, timeout: timedelta) -> TokenAnswer:
        return self._pair(Call("refresh", number=number_of(refresh_token)))

    def logout(self, server: ServerSpec, access_token: Secret) -> None:
        self._tape.ask(Call("logout", number=number_of(access_token)))

    def _pair(self, call: Call) -> TokenAnswer:
        reply = self._tape.ask(call)
        if reply[0] == "silence":
            raise BackupServerUnavailable("no answer in time")
        if reply[0] == "rejected":
            raise TokenRejected("rejected", status=400)
        return TokenAnswer(secret("access", reply[1]), secret("refresh", reply[1]), "Bearer", TOKEN_LIFE)


class Programs:
    """The verbs of two replicas, each run remembered: the same answers always lead to the same place."""

    def __init__(self, documents: Documents, variant: Variant) -> None:
        self.documents = documents
        self._variant = variant
        self._tape = tape = _Tape()
        self._seconds = _Seconds(tape)
        self._runs: dict[tuple[Job, tuple[Heard, ...], int], Run] = {}
        store = _Store(tape, documents)
        self._worlds = [self._world(store, instance) for instance in INSTANCES]

    def _world(self, store: KvStore, instance: str) -> World:
        tape = self._tape
        veeam, microsoft = cast("Any", _Veeam(tape)), cast("Any", _Microsoft(tape))
        clock, others, doubts_before = _Clock(tape), self._variant.others, BASE if self._variant.restored else None
        return World(
            store=store,
            specs=_Specs(),
            microsoft=microsoft,
            veeam=veeam,
            clock=clock,
            policy=Policy(confirm_refusal_after=INSTANT),
            allowed=Allowed(),
            instance=instance,
            new_id=tape.new_id,
            facts=lambda _server: ServerFacts(accepted_at=clock.now() if others else None),
            doubts_before=lambda: doubts_before,
        )

    @contextmanager
    def playing(self) -> Iterator[None]:
        """Let the store have the model's time and ids."""
        store = cast("Any", vault_store)
        store.time, store.uuid4 = self._seconds, self._tape.new_id
        try:
            yield
        finally:
            store.time, store.uuid4 = time, uuid4

    def run(self, job: Job, heard: tuple[Heard, ...], now: int) -> Run:
        """Return how far the verb comes with these answers, if its clocks show `now` after the last of them."""
        key = (job, heard, now)
        known = self._runs.get(key)
        if known is None:
            known = self._runs[key] = self._play(job, heard, now)
        return known

    def _play(self, job: Job, heard: tuple[Heard, ...], now: int) -> Run:
        tape, world = self._tape, self._worlds[job.replica]
        tape.rewind(job, heard, now)
        world.versions.clear()
        if job.token_version >= 0:
            world.versions["tokens", NAME] = (job.token_version, 0)  # a replica's verbs come one after another
        call, raised, credential, superseded = None, "", -1, False
        try:
            done = VERBS[job.verb](world, job, self.documents)
        except Suspended as suspended:
            call = suspended.call
        except Error as error:
            raised = type(error).__name__
        else:
            credential, superseded = self.documents.of(done.credential), done.superseded
        return Run(
            call,
            tape.drawn,
            tuple(tape.reported),
            tape.lost,
            raised,
            credential,
            superseded,
            world.versions.get(("tokens", NAME), (-1, 0))[0],
        )


def _step(world: World, job: Job, documents: Documents) -> Any:
    attempt_id, since = job.seen
    return step(world, NAME, Seen(attempt_id, world.clock.monotonic() - since * INSTANT))


@dataclass(frozen=True)
class _Published:
    credential: Credential
    superseded: bool = False


def _publish(world: World, job: Job, documents: Documents) -> _Published:
    """Publish what a step ended with, as `scheduler.rotations` does."""
    held = cast("Credential", documents.document(job.document))
    publish(world, NAME, held)
    return _Published(held)


def _sweep(world: World, job: Job, documents: Documents) -> _Published:
    """Publish what stands, as the sweep does."""
    held = credential_of(world.store.read(Credential, NAME), world.clock.now())
    publish(world, NAME, held)
    return _Published(held)


VERBS: Final[dict[str, Callable[[World, Job, Documents], Step | _Published]]] = {
    "step": _step,
    "publish": _publish,
    "sweep": _sweep,
}
