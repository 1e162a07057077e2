"""Our service on simulated time: the real `Lane`, `next_action` and `backoff`, between a modelled Vault, Veeam and Microsoft.

What `scheduler.lanes.LaneRunner`, `scheduler.rotations.Rotations` and `lifecycle.rotate.step` do with threads and documents is
done here with events and records: a step is begun, the request arrives, its outcome is stored. A restart is a SIGKILL: what was
under way goes on at the server, and nobody stores its answer.
"""

import random
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from bench.freshness.agenda import CLEAR, START, Agenda, Spells
from bench.freshness.endpoint import Answer, Endpoint, Kind
from bench.freshness.ledger import Ledger
from bench.freshness.record import Fault, Grant, Pair, Record, Try
from scheduler.renewals import RENEWALS
from scheduler.rotations import STORE_RETRY
from vault_plugin.core.credential import Purpose, Rung
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.ladder import keeps_failing
from vault_plugin.core.lanes import Call, Lane, Look
from vault_plugin.core.lanes import Entry as Planned
from vault_plugin.core.policy import Action, Do, View, next_action
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy, backoff, call_timeout

#: What a request to Vault takes, and how long one waits for a Vault that is away.
STORE = timedelta(milliseconds=5)
STORE_AWAY = timedelta(seconds=10)
#: The longest pause between two tries to store a pair.
STORE_PAUSE = timedelta(seconds=5)
#: Microsoft's access tokens live 60 to 90 minutes.
GRANT_LIFE = timedelta(minutes=75)
LOOK_TIMEOUT = timedelta(seconds=5)
MICROSOFT_LATENCY = timedelta(seconds=0.6)


@dataclass
class Surroundings:
    """What every instance of the service shares."""

    agenda: Agenda
    records: Mapping[str, Record]
    endpoint: Endpoint
    ledger: Ledger
    tenant: TenantSpec
    server: ServerSpec
    life: timedelta
    rnd: random.Random
    vault: Spells = CLEAR
    microsoft: Spells = CLEAR
    facts: ServerFacts = UNKNOWN
    policy: Policy = field(default_factory=Policy)

    def latency(self) -> timedelta:
        """Return how long the token endpoint takes: lognormal, median 0.25 s, sigma 0.6."""
        return timedelta(seconds=0.25 * self.rnd.lognormvariate(0, 0.6))


class Service:
    """One leading instance for one server."""

    def __init__(self, instance: str, around: Surroundings) -> None:
        """Begin with nothing; `start` reads what stands in Vault."""
        self.instance = instance
        self._around = around
        self._agenda = around.agenda
        self._runs = 0  # how often it was started or killed: events of another life are void
        self._attempts = 0
        self._lane = Lane(around.server.throttle)

    # --- as scheduler.term.Term --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Rebuild the lane's memory from the journals, and plan."""
        around, now = self._around, self._agenda.now
        self._runs += 1
        self._lane = Lane(around.server.throttle)
        self._awake_at: timedelta | None = None
        self._seen: dict[str, tuple[int, timedelta]] = {}
        self._renewing: set[str] = set()
        self._renewals: deque[str] = deque()
        self._renewers = RENEWALS
        longest = around.server.call_timeout
        for record in around.records.values():
            for begun in record.calls:
                at = begun - START
                self._lane.remember(min(now, at + longest))
            self._plan(record)
        self._tick()

    def kill(self) -> None:
        """Die on the spot."""
        self._runs += 1

    def _later(self, when: timedelta, what: Callable[[], None]) -> None:
        """Let it happen unless this process is dead by then."""
        run = self._runs

        def unless_dead() -> None:
            if self._runs == run:
                what()

        self._agenda.at(when, unless_dead)

    # --- as scheduler.lanes.LaneRunner -------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._awake_at = None
        now, wall = self._agenda.now, self._agenda.wall
        while (call := self._lane.begin(wall, now)) is not None:
            self._step(call)
        look = self._lane.look(wall, now)
        if look is not None:
            hangs = self._around.endpoint.hangs.over(now) is not None
            self._later(now + (LOOK_TIMEOUT if hangs else self._around.latency()), lambda: self._looked(look, hangs=hangs))
        wait = self._lane.wake_in(wall, now)
        if wait is not None:
            self._ask(now + wait)

    def _looked(self, look: Look, *, hangs: bool) -> None:
        self._lane.looked(look, trouble=hangs)
        self._tick()

    def _ask(self, when: timedelta) -> None:
        if self._awake_at is None or when < self._awake_at:
            self._awake_at = when
            self._later(when, lambda: self._tick() if self._awake_at == when else None)

    # --- as scheduler.rotations.Rotations ----------------------------------------------------------------------------

    def _decide(self, record: Record) -> Action:
        around, attempt, now = self._around, record.attempt, self._agenda.now
        unchanged_for = timedelta(0)
        if attempt is not None:
            known, seen_at = self._seen.get(record.name, (0, now))
            if known != attempt.id:
                seen_at = now
                self._seen[record.name] = attempt.id, now
            unchanged_for = now - seen_at
        view = View(record.name, around.tenant, "", (), record.shown, self.instance, unchanged_for, around.facts)
        return next_action(view, self._agenda.wall, around.policy)

    def _plan(self, record: Record, wait: timedelta | None = None) -> None:
        action, now = self._decide(record), self._agenda.wall
        at = now if action.do is Do.ATTEMPT else action.at
        if wait is not None:
            at = max(at or now, now + wait)
        if at is None:
            self._lane.drop(record.name)
        else:
            self._lane.put(Planned(record.name, at, record.pair.expires_at, retrying=keeps_failing(record.shown)))

    def _step(self, call: Call) -> None:
        """Begin what is next for a credential whose turn has come."""
        around, planned = self._around, call.entry
        assert planned is not None
        record = around.records[planned.name]
        if record.name in self._renewing:
            self._lane.cancel(call)
        elif around.vault.over(self._agenda.now) is not None:
            self._later(self._agenda.now + STORE_AWAY, lambda: self._store_away(call, planned))
        else:
            action = self._decide(record)
            if action.do is Do.HOLD:
                self._lane.cancel(call)
                self._plan(record)
            elif action.ladder[0] is Rung.REASSERT:
                self._lane.cancel(call)
                self._renewing.add(record.name)
                self._renewals.append(record.name)
                self._renew_next()
            else:
                self._call(call, record, action)

    def _store_away(self, call: Call, planned: Planned) -> None:
        again = Planned(planned.name, self._agenda.wall + STORE_RETRY, planned.expires_at, planned.urgent, planned.retrying)
        self._lane.put(again)
        self._lane.cancel(call)
        self._tick()

    # --- as lifecycle.rotate.step, at Veeam --------------------------------------------------------------------------

    def _begin(self, record: Record, action: Action, timeout: timedelta, *, veeam_call: bool) -> Try:
        policy = self._around.policy
        self._attempts += 1
        lease = policy.lease(timeout)
        number = self._attempts * 2 + (self.instance == "b")
        entry = Try(number, self.instance, action.ladder, record.generation, lease, action.purpose)
        record.started(entry, self._agenda.wall, veeam_call=veeam_call)
        return entry

    def _call(self, call: Call, record: Record, action: Action) -> None:
        around, server = self._around, self._around.server
        sent = self._agenda.now + STORE * 2
        timeout = call_timeout(server.call_timeout, record.pair.expires_at, self._agenda.wall)
        entry = self._begin(record, action, timeout, veeam_call=True)
        latency, run = around.latency(), self._runs
        refresh_token = record.pair.number if entry.rung is Rung.REFRESH else None

        def arrives() -> None:  # also if the process has died: it was sent
            answer = around.endpoint.ask(self._agenda.now, record.name, refresh_token)
            lost = answer.kind is Kind.HANGS or latency > timeout
            if self._runs == run:
                answered = sent + (timeout if lost else latency)
                self._later(
                    self._stored_at(answered),
                    lambda: self._settle(call, record, entry, Answer(Kind.HANGS) if lost else answer, sent),
                )

        self._agenda.at(sent + latency * around.rnd.random(), arrives)

    def _stored_at(self, answered: timedelta) -> timedelta:
        """Return when an answer is stored: it is offered until Vault is back."""
        back = self._around.vault.over(answered)
        return answered + STORE if back is None else back + STORE_PAUSE * self._around.rnd.random()

    def _settle(self, call: Call, record: Record, entry: Try, answer: Answer, sent: timedelta) -> None:
        """Store what came of a call, publish, plan, and give the place back."""
        around, now, wall = self._around, self._agenda.now, self._agenda.wall
        mine = record.attempt is not None and record.attempt.id == entry.id
        if answer.kind is Kind.PAIR:
            if record.generation <= entry.generation:
                expires = sent + around.life
                record.accepted(Pair(START + sent, START + expires, answer.number), wall)
                around.ledger.published(record.name, now + STORE, expires)
        elif mine and answer.kind is Kind.REJECTED:
            assert len(entry.ladder) > 1, "Microsoft's grant lives: there is a rung left"
            record.climbed(entry.ladder[1:], wall if entry.rung is Rung.REFRESH else None)
        elif mine:
            record.deferred(Fault(wall, entry.rung, answered=answer.kind is Kind.FAULTY))
        self._plan(record)
        throttled = answer.kind is Kind.THROTTLED
        outage = throttled or answer.kind is Kind.HANGS
        self._lane.end(call, now, outage=outage, throttled=throttled, retry_after=answer.retry_after)
        self._tick()

    # --- as lifecycle.rotate.step, at Microsoft, on threads of its own -----------------------------------------------

    def _renew_next(self) -> None:
        while self._renewals and self._renewers:
            self._renewers -= 1
            self._renew(self._around.records[self._renewals.popleft()])

    def _renew(self, record: Record) -> None:
        around, now = self._around, self._agenda.now
        if around.vault.over(now) is not None:
            self._later(now + STORE_AWAY, lambda: self._renewed(record, STORE_RETRY))
            return
        action = self._decide(record)
        if action.do is Do.HOLD or action.ladder[0] is not Rung.REASSERT:
            self._later(now + STORE, lambda: self._renewed(record))
            return
        timeout = around.policy.microsoft_timeout
        entry = self._begin(record, action, timeout, veeam_call=False)
        hangs = around.microsoft.over(now) is not None
        answered = self._stored_at(now + (timeout if hangs else MICROSOFT_LATENCY))
        self._later(answered, lambda: self._settle_renewal(record, entry, now, hangs=hangs))

    def _settle_renewal(self, record: Record, entry: Try, sent: timedelta, *, hangs: bool) -> None:
        wall, wait, attempt = self._agenda.wall, None, record.attempt
        mine = attempt is not None and attempt.id == entry.id
        if hangs:
            if mine:
                record.deferred(Fault(wall, Rung.REASSERT, answered=False))
            wait = backoff(wall, record.pair.expires_at, record.pair.life)
        else:
            record.assertion = Grant(START + sent, START + sent + GRANT_LIFE)
            if mine and entry.purpose is Purpose.KEEP_ALIVE:
                record.kept_alive()
            elif mine:
                rest = tuple(rung for rung in entry.ladder[1:] if rung is Rung.REFRESH)
                record.climbed((Rung.EXCHANGE, *rest))
        self._renewed(record, wait)

    def _renewed(self, record: Record, wait: timedelta | None = None) -> None:
        self._renewers += 1
        self._renewing.discard(record.name)
        self._plan(record, wait)
        self._renew_next()
        self._tick()
