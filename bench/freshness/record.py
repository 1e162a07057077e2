"""What the policy reads of a credential, without pydantic: a document costs more than everything else in a rotation.

The fields have the names and meanings of `vault_plugin.core.credential`; ``tests/bench/test_record.py`` plays random histories
on both and proves that the policy can't tell them apart.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import cast

from vault_plugin.core.credential import AT_VEEAM, CALLS_KEPT, FAILURES_KEPT, Credential, Purpose, Rung
from vault_plugin.core.findings import Findings
from vault_plugin.core.states import Reason, State


@dataclass(frozen=True, slots=True)
class Pair:
    """An access token's life, and the number of the refresh token that came with it."""

    issued_at: datetime
    expires_at: datetime
    number: int
    refused_at: datetime | None = None
    doubtful: bool = False
    restored: bool = False
    presented: bool = False

    @property
    def life(self) -> timedelta:
        """Return how long the access token lives."""
        return self.expires_at - self.issued_at

    @property
    def doubted(self) -> bool:
        """Tell whether the refresh token may be spent, or may be presented by somebody else."""
        return self.doubtful or self.restored

    @property
    def refresh_goes_last(self) -> bool:
        """Tell whether every other rung goes before a refresh."""
        return self.doubted or self.refused_at is not None


@dataclass(frozen=True, slots=True)
class Grant:
    """Microsoft's assertion."""

    obtained_at: datetime
    expires_at: datetime
    refreshable: bool = True


@dataclass(frozen=True, slots=True)
class Fault:
    """An answer that was no pair."""

    at: datetime
    rung: Rung
    verdict: str = ""
    answered: bool = True
    climbed: bool = False


@dataclass(slots=True)
class Try:
    """The journal entry of an attempt."""

    id: int
    instance: str
    ladder: tuple[Rung, ...]
    generation: int
    lease: timedelta
    purpose: Purpose = Purpose.ROTATION
    climbed: bool = False

    @property
    def rung(self) -> Rung:
        """Return the rung that is being tried."""
        return self.ladder[0]


NOTHING_FOUND = Findings()


@dataclass(slots=True)
class Record:
    """A credential as it stands in Vault. Every method is one write."""

    name: str
    pair: Pair
    assertion: Grant
    since: datetime
    generation: int = 1
    state: State = State.ACTIVE
    reason: Reason = Reason.REFRESHED
    attempt: Try | None = None
    failures: tuple[Fault, ...] = ()
    last_error: Fault | None = None
    tried_at: datetime | None = None
    renewal_begun_at: datetime | None = None
    rejected: None = None
    failing_since: datetime | None = None
    requested: str = ""
    #: Nobody's token dies before its time here.
    findings: Findings = NOTHING_FOUND
    calls: tuple[datetime, ...] = field(default=())

    @property
    def shown(self) -> Credential:
        """Return the record as what the policy takes it for: it reads no field that isn't here."""
        return cast("Credential", self)

    def started(self, attempt: Try, now: datetime, *, veeam_call: bool) -> None:
        """Record an attempt, or the take-over or next rung of one."""
        old = self.attempt
        if old is not None and old.rung is Rung.REFRESH and not old.climbed:
            self.pair = replace(self.pair, doubtful=True)
        if self.pair.doubted and attempt.rung is Rung.REFRESH:
            self.pair = replace(self.pair, presented=True)
        self.state, self.attempt = State.ROTATING, attempt
        if veeam_call:
            self.calls = (*self.calls, now)[-CALLS_KEPT:]
        else:
            self.renewal_begun_at = now

    def accepted(self, pair: Pair, now: datetime) -> None:
        """Store the pair; the attempt ends."""
        self.generation += 1
        self.pair, self.attempt, self.state, self.since = pair, None, State.ACTIVE, now
        self.failures, self.last_error, self.failing_since = (), None, None

    def deferred(self, fault: Fault) -> None:
        """End the attempt without a verdict."""
        self.state, self.attempt, self.last_error, self.tried_at = State.ACTIVE, None, fault, fault.at
        if fault.answered:
            self.failures = (*self.failures, fault)[-FAILURES_KEPT:]
            if fault.rung in AT_VEEAM:
                self.failing_since = self.failing_since or fault.at

    def climbed(self, ladder: tuple[Rung, ...], refused_at: datetime | None = None) -> None:
        """Note what is left to try after a verdict, or with a renewed assertion; and when a refresh was refused."""
        assert self.attempt is not None
        self.attempt.ladder, self.attempt.climbed = ladder, True
        if refused_at is not None:
            self.pair = replace(self.pair, refused_at=self.pair.refused_at or refused_at)

    def kept_alive(self) -> None:
        """End a keep-alive: the assertion is new, nothing else is."""
        self.state, self.attempt, self.failures, self.last_error = State.ACTIVE, None, (), None
