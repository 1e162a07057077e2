"""What is kept in memory of each credential between two reads: no secret, and little of the rest."""

import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from scheduler.identities import Identities
from vault_plugin.core.credential import Credential
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.states import Reason, State
from vault_plugin.core.timing import ZERO
from vault_plugin.core.turns import Waiting, turn_at


@dataclass(frozen=True, slots=True)
class Planned:
    """One credential as it was seen last."""

    server: str = ""
    generation: int = -1
    published: int = -1
    state: State | None = None
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    #: The token is known to be dead.
    dead: bool = False
    #: When it was last found to work, after it was published.
    looked_at: datetime | None = None
    next_at: datetime | None = None
    #: The journal entry that stands, and since when (monotonic) this very entry was seen.
    attempt_id: str = ""
    attempt_seen_at: timedelta = ZERO
    #: By how much the wall clock was set back since this generation was stored.
    set_back: timedelta = ZERO
    sign_in_waits: bool = False
    #: It waits for its turn to probe a server that rejects everybody, was called for last then, and was asked for.
    waits_turn: bool = False
    #: The server has answered with anything but a pair since it accepted something of it.
    failing: bool = False
    called_at: datetime | None = None
    accepted: bool = False
    requested: bool = False
    #: Calls a second that this credential asks of its lane.
    demand: float = 0.0


#: Why somebody waits for its turn at a server that rejects everybody, or has it.
TURNS = frozenset({Reason.SERVER_REJECTS_EVERYONE, Reason.REJECTED_BY_VEEAM, Reason.PROBING, Reason.SERVER_RECOVERED})


class Mood(NamedTuple):
    """How a server treats everybody: whether it rejects all that it had accepted, and since when it doesn't any more."""

    rejects: bool
    recovered_at: datetime | None


class Memory:
    """Thread-safe. Lasts as long as a term of leadership; Vault is the only truth."""

    def __init__(self, turn_every: timedelta = timedelta(minutes=1)) -> None:
        """Begin empty. A server that rejects everybody is probed so often."""
        self._turn_every = turn_every
        self._planned: dict[str, Planned] = {}
        self._facts: dict[str, ServerFacts] = {}
        #: Which Microsoft identity each has.
        self.identities = Identities()
        self._lock = threading.Lock()

    def get(self, name: str) -> Planned:
        """Return what is known of this credential."""
        return self._planned.get(name, Planned())

    def update(self, name: str, **changes: object) -> Planned:
        """Change what is known, and return it."""
        if changes.get("sign_in_waits") is False:
            self.identities.release(name)
        with self._lock:
            planned = replace(self._planned.get(name, Planned()), **changes)  # type: ignore[arg-type]  # fields by name
            self._planned[name] = planned
            return planned

    def saw(self, name: str, credential: Credential, monotonic: timedelta) -> Planned:
        """Take in a credential that was read or written."""
        server = credential.binding.server if credential.binding else ""
        attempt_id = credential.attempt.id if credential.attempt else ""
        old = self.get(name)
        self.identities.saw(name, credential)
        if server:
            with self._lock:
                self._facts[server] = self._facts.get(server, UNKNOWN).learn(name, credential)
        return self.update(
            name,
            server=server or old.server,
            generation=credential.generation,
            state=credential.state,
            issued_at=credential.pair.issued_at if credential.pair else None,
            expires_at=credential.pair.expires_at if credential.pair else None,
            dead=credential.findings.dead == credential.generation > 0,
            attempt_id=attempt_id,
            attempt_seen_at=old.attempt_seen_at if old.attempt_id == attempt_id else monotonic,
            set_back=old.set_back if old.generation == credential.generation else ZERO,
            called_at=credential.calls[-1] if credential.calls else None,
            accepted=credential.pair is not None,
            requested=bool(credential.requested),
            failing=credential.failing_since is not None,
        )

    def clock_stepped(self, step: timedelta, now: datetime) -> None:
        """Note that what is stored is of a clock that was set since: by `step`, negative if back."""
        for name, planned in self.seen():
            self.update(name, set_back=max(planned.set_back - step, ZERO))
        with self._lock:
            self._facts = {server: facts.by(now) for server, facts in self._facts.items()}

    def turn(self, name: str, credential: Credential, now: datetime) -> datetime | None:
        """Return when this tenant's turn comes to probe its server; None unless that rejects everybody."""
        server = credential.binding.server if credential.binding else ""
        facts = self.facts(server).by(now)
        if not facts.rejects_everyone:
            return None
        called_at = credential.calls[-1] if credential.calls else None
        expires_at = credential.pair.expires_at if credential.pair else None
        one = Waiting(name, called_at, expires_at, accepted=credential.pair is not None, requested=bool(credential.requested))
        here = [(other, planned) for other, planned in self.seen() if planned.server == server]
        others = [
            Waiting(other, planned.called_at, planned.expires_at, planned.accepted, planned.requested)
            for other, planned in here
            if planned.waits_turn
        ]
        calls = [planned.called_at for _, planned in here if planned.called_at is not None and planned.called_at <= now]
        return turn_at(one, others, self._turn_every, facts.accepted_at, max(calls, default=None), now)

    def mood_of(self, name: str) -> Mood:
        """Return how this tenant's server treats everybody."""
        facts = self.facts(self.get(name).server)
        return Mood(facts.rejects_everyone, facts.recovered_at)

    def waiting(self, server: str) -> list[tuple[str, Planned]]:
        """Return who waits for this server to accept anything again."""
        here = [(name, planned) for name, planned in self.seen() if planned.server == server]
        return [(name, planned) for name, planned in here if planned.waits_turn or planned.failing]

    def facts(self, server: str) -> ServerFacts:
        """Return what is known of a server."""
        return self._facts.get(server, UNKNOWN)

    def seen(self) -> list[tuple[str, Planned]]:
        """Return every credential that is known."""
        with self._lock:
            return list(self._planned.items())

    def names(self) -> list[str]:
        """Return the names of all credentials that are known."""
        with self._lock:
            return list(self._planned)
