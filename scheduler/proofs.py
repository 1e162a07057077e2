"""Looks at published tokens where there is reason to doubt them, and has dead ones replaced (DESIGN 6, "Proof")."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

import structlog

from scheduler.metrics import Metrics
from scheduler.planned import Memory, Planned
from scheduler.publisher import Publisher
from scheduler.rotations import Rotations
from scheduler.timers import Timers
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreError
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import credential_of
from vault_plugin.core.lifecycle.prove import examine, found_dead
from vault_plugin.core.names import is_name
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.ports import World
from vault_plugin.core.proofs import Found, Proofs, Shown, Verdict
from vault_plugin.core.states import State
from vault_plugin.core.timing import by_clock
from vault_plugin.vault.mailbox import A_ROUND, Mailbox

log = structlog.get_logger()

PROOFS: Final = "proofs"
#: So many reports of a round may be for names of which nothing is known: each costs a look.
STRANGERS: Final = 5
#: A lease that lapsed may be renewed: then it goes on.
AGAIN: Final = timedelta(seconds=5)
#: A revocation that the process before left half done has ended a session: it is to be finished, and nothing replaced.
AFTER_START: Final = timedelta(seconds=10)


class Proving:
    """Thread-safe. One proof a server is under way at a time, on threads of its own: one that hangs delays no other server."""

    def __init__(  # noqa: PLR0913 - the parts of a term
        self,
        world: World,
        mailbox: Mailbox,
        timers: Timers,
        metrics: Metrics,
        memory: Memory,
        rotations: Rotations,
        *,
        publisher: Publisher,
        is_ours: Callable[[str], bool],
        leads: Callable[[], bool],
    ) -> None:
        """Doubt nothing yet. `is_ours(name)` tells whether there is such a tenant, or was."""
        self._world = world
        self._mailbox = mailbox
        self._timers = timers
        self._metrics = metrics
        self._memory = memory
        self._rotations = rotations
        self._publisher = publisher
        self._is_ours = is_ours
        self._leads = leads
        self._servers: dict[str, Proofs] = defaultdict(Proofs)
        self._under_way: set[str] = set()
        #: Dead tokens of which the times don't tell it any more, as they were seen.
        self._unnoted: dict[str, Planned] = {}
        self._lock = threading.Lock()

    # --- reasons to doubt --------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Doubt every server once, soon: nobody looked at it since the last term ended. Letters that wait go first."""
        self._timers.at(self._world.clock.now() + AFTER_START, "doubt-all", self._doubt_all, PROOFS)

    def _doubt_all(self) -> None:
        now = self._world.clock.now()
        for server in {planned.server for _, planned in self._memory.seen() if planned.server}:
            issued = [shown.issued_at for shown in self._shown(server)]
            if issued:  # that the oldest one lives tells that nothing was lost since
                self._doubt(server, now, min(issued))

    def recovered(self, server: str, before: datetime) -> None:
        """Doubt what was issued before: an outage of this server is over."""
        self._doubt(server, before, before)

    def session_lost(self, name: str, done: Step) -> None:
        """Doubt what was issued before this: a refresh was refused, and the exchange after it accepted."""
        old, new, binding = done.before, done.credential.pair, done.credential.binding
        if old is not None and new is not None and binding is not None:
            log.warning("session_lost", tenant=name, server=binding.server)
            self._doubt(binding.server, new.issued_at, self._issued(name, done.credential.generation - 1, old))

    def clock_stepped(self, step: timedelta) -> None:
        """Move along with the wall clock. What a loss that lies in the future by now made due is noted as dead by itself."""
        if step >= timedelta(0):
            return
        now = self._world.clock.now()
        with self._lock:
            for proofs in self._servers.values():
                proofs.set_back(-step)
        for name, planned in self._memory.seen():
            lost = self._memory.facts(planned.server).lost_before
            if lost is not None and lost > now and planned.issued_at is not None and planned.issued_at < lost:
                self._unnoted[name] = planned
        self._timers.at(now, "note-dead", self._note_all, PROOFS)

    def _note_all(self) -> None:
        while self._unnoted:
            self._note_dead(*self._unnoted.popitem())

    def _note_dead(self, name: str, lost: Planned, *, first: bool = False) -> None:
        """Note that this token is dead where the times don't tell it, and have it replaced."""
        try:
            if not self._is_dead(lost):
                credential = credential_of(self._world.store.read(Credential, name), self._world.clock.now())
                if credential.generation != lost.generation:
                    return  # it was replaced meanwhile
                found_dead(self._world, name, credential, None)
                self._rotations.load(name)
        except StoreError as error:
            self._not_noted(lost.server, name, error)
            return
        self._rotations.poke(name, first=first)
        self._publisher.tell(name)

    def _not_noted(self, server: str, name: str, error: StoreError) -> None:
        log.warning("death_not_stored", tenant=name, reason=error.reason, error=str(error))
        with self._lock:
            self._servers[server].again(name, self._world.clock.now(), self._world.clock.monotonic())

    def _doubt(self, server: str, before: datetime, witness: datetime) -> None:
        with self._lock:
            self._servers[server].doubt(before, witness, self._world.clock.monotonic())
        self._plan(server)

    def collect(self) -> None:
        """Take the reports whose turn has come, and delete what is none.

        Raises:
            StoreError: Vault's trouble.
        """
        taken = strangers = 0
        for name in self._mailbox.reports():
            planned = self._memory.get(name)
            known = is_name(name) and bool(planned.server)
            strangers += not known
            if taken >= A_ROUND:
                return
            if not (self._may_take(name, planned) if known else strangers <= STRANGERS):
                continue
            if not known and is_name(name) and self._is_ours(name):
                known = True
            if not self._mailbox.take(name):
                continue
            taken += 1
            self._metrics.reports.labels("taken" if known else "dropped").inc()
            if known:
                self._reported(name, planned)
            else:
                log.warning("report_dropped", path=repr(f"reports/{name}"))

    def _may_take(self, name: str, planned: Planned) -> bool:
        with self._lock:
            return self._servers[planned.server].room_for(name, self._world.clock.monotonic())

    def _reported(self, name: str, planned: Planned) -> None:
        """Have a reported token proved; one that is known to be dead goes first in its lane."""
        if not planned.server:
            return  # a tenant without a token
        log.info("reported", tenant=name)
        now, monotonic = self._world.clock.now(), self._world.clock.monotonic()
        dead = self._is_dead(planned)
        with self._lock:
            self._servers[planned.server].report(name, now, monotonic, known=dead)
        if dead:
            self._rotations.poke(name, first=True)
        else:
            self._plan(planned.server)

    # --- proving -----------------------------------------------------------------------------------------------------

    def _plan(self, server: str) -> None:
        with self._lock:
            wait = self._servers[server].wake_in(self._world.clock.monotonic())
        if wait is not None:
            self._timers.at(self._world.clock.now() + wait, f"prove:{server}", self._work, PROOFS, server)

    @contextmanager
    def _alone(self, server: str) -> Iterator[bool]:
        with self._lock:
            free = server not in self._under_way
            self._under_way.add(server)
        try:
            yield free
        finally:
            if free:
                self._under_way.discard(server)

    def _work(self, server: str) -> None:
        """Prove one token of this server, and plan the next proof."""
        if not self._leads():
            self._timers.at(self._world.clock.now() + AGAIN, f"prove:{server}", self._work, PROOFS, server)
            return
        with self._alone(server) as alone:
            if not alone:
                return  # whoever is at it plans the next
            self._prove_one(server)
        self._plan(server)

    def _prove_one(self, server: str) -> None:
        with self._lock:
            name = self._servers[server].next(self._shown(server), self._world.clock.monotonic())
        if name is None:
            return
        token, verdict = Shown(name, self._world.clock.now()), Verdict.UNKNOWN
        credential: Credential | None = None
        try:
            credential = credential_of(self._world.store.read(Credential, name), self._world.clock.now())
            if credential.pair is not None:
                token = Shown(name, self._issued(name, credential.generation, credential.pair))
            verdict = examine(self._world, name, credential)
        except StoreError as error:
            log.warning("not_proved", tenant=name, reason=error.reason, error=str(error))
        except Exception:
            log.exception("proof_broke", tenant=name)
        self._metrics.proofs.labels(verdict.value).inc()
        log.info("looked_at", tenant=name, server=server, verdict=verdict.value)
        with self._lock:
            found = self._servers[server].answered(token, verdict, self._world.clock.monotonic())
        if credential is not None and verdict is Verdict.ALIVE:
            self._memory.update(name, looked_at=self._world.clock.now())
            self._publisher.tell(name)
        if credential is not None and found.dead:
            self._replace(server, name, credential, found)

    def _replace(self, server: str, name: str, credential: Credential, found: Found) -> None:
        """Note that a token is dead, and have it replaced first of all; then everybody's, if it is the second one."""
        try:
            found_dead(self._world, name, credential, found.lost_before)
            self._rotations.load(name)
        except StoreError as error:
            self._not_noted(server, name, error)
            return
        log.warning("token_dead", tenant=name, server=server)
        self._rotations.poke(name, first=True)
        self._publisher.tell(name)
        if found.lost_before is None:
            return
        log.warning("sessions_lost", server=server, before=found.lost_before.isoformat())
        now, others = (
            self._world.clock.now(),
            [each for each in self._memory.seen() if each[0] != name and each[1].server == server],
        )
        for each, planned in sorted(others, key=lambda other: not self._is_dead(other[1])):  # these need no write
            issued = _issued(planned, now)
            if self._is_dead(planned) or (issued is not None and issued < found.lost_before):
                self._note_dead(each, planned, first=each in found.reported)

    def _shown(self, server: str) -> list[Shown]:
        """Return this server's published tokens that aren't known to be dead."""
        now = self._world.clock.now()
        return [
            Shown(name, issued)
            for name, planned in self._memory.seen()
            if planned.server == server
            and (issued := _issued(planned, now)) is not None
            and planned.expires_at is not None
            and planned.expires_at - planned.set_back > now
            and planned.state is not State.REVOKED
            and (planned.published < 0 or planned.published >= planned.generation)
            and not self._is_dead(planned)
        ]

    def _issued(self, name: str, generation: int, pair: TokenPair) -> datetime:
        """Return when this pair was issued, by the clock as it is now."""
        planned = self._memory.get(name)
        set_back = planned.set_back if planned.generation == generation else timedelta(0)
        return by_clock(pair.issued_at, pair.expires_at, set_back, self._world.clock.now())

    def _is_dead(self, planned: Planned) -> bool:
        lost = self._memory.facts(planned.server).by(self._world.clock.now()).lost_before
        return planned.dead or (lost is not None and planned.issued_at is not None and planned.issued_at < lost)


def _issued(planned: Planned, now: datetime) -> datetime | None:
    if planned.issued_at is None or planned.expires_at is None:
        return None
    return by_clock(planned.issued_at, planned.expires_at, planned.set_back, now)
