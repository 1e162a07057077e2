"""Cases and their results. A case is a value: it can be sent to another process, and run again with the same outcome."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

from bench.freshness import agenda as times
from bench.freshness.agenda import CLEAR, DAY, START, Agenda, Spells
from bench.freshness.baselines import Kept, OnRead, Ticking, staggered
from bench.freshness.endpoint import Endpoint
from bench.freshness.ledger import REREADS, Ledger
from bench.freshness.record import Grant, Pair, Record
from bench.freshness.service import GRANT_LIFE, Service, Surroundings
from vault_plugin.core.credential import Probe, Rung
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy, overlap

HOUR = timedelta(hours=1)
DOWN = timedelta(seconds=30)
MINUTES_10 = timedelta(minutes=10)


class Keeper(Enum):
    """Who keeps the tokens fresh."""

    OURS = "this service"
    TICK = "72 s before expiry, every 60 s"
    ON_READ = "refresh on read"


@dataclass(frozen=True)
class Case:
    """What is simulated. `daily` and `hourly` name who is away: "veeam" (hanging), "microsoft" (hanging) or "vault"."""

    title: str
    tenants: int
    days: float = 30
    keeper: Keeper = Keeper.OURS
    life: timedelta = HOUR
    reread: timedelta = timedelta(minutes=5)
    #: The share of tenants that get an answered 5xx for ever.
    failing: float = 0
    #: SIGKILL every hour, and 30 s until the next process begins.
    restarts: bool = False
    daily: str = ""
    hourly: str = ""
    outage: timedelta = MINUTES_10
    #: Two instances that both believe that they lead, on one address.
    leaders: int = 1
    #: A refresh kills the old access token here: every rotation is a new session, and most need Microsoft.
    new_sessions: bool = False
    seed: int = 1
    #: So many servers of this kind, each with so many tenants.
    servers: int = 1


@dataclass(frozen=True)
class Result:
    """What came of it. Shares are of the time of all tenants that the server doesn't always refuse."""

    case: Case
    #: No valid token stands in Vault.
    expired: float
    worst: float
    #: A consumer holds an expired token: (share, worst in seconds) for each interval of re-reading.
    held: dict[timedelta, tuple[float, float]]
    refused: int
    people: int
    least_left: float
    mean_left: float
    lane_use: float
    rotations: int
    cpu: float

    @property
    def documented(self) -> tuple[float, float]:
        """Return what consumers at the documented interval see."""
        return self.held[REREADS[2]]


def run(case: Case) -> Result:
    """Simulate one server of this case."""
    began = time.process_time()
    rnd = random.Random(case.seed)
    until, clock = case.days * DAY, Agenda()
    weather = {name: _spells(case, name, rnd) for name in ("veeam", "microsoft", "vault")}
    failing = frozenset(f"t{number}" for number in range(round(case.tenants * case.failing)))
    server = ServerSpec(url="https://veeam.invalid")
    endpoint = Endpoint(server.throttle, weather["veeam"], failing)
    ours = case.keeper is Keeper.OURS
    ledger = Ledger(case.life * 2, until, weather["vault"], failing, own_reads=case.keeper is Keeper.ON_READ)
    policy = Policy()
    earliest = overlap(case.life, case.reread, policy) if ours else timedelta(minutes=2)
    tenants = staggered(case.tenants, earliest, case.life, rnd)
    for kept in tenants:
        ledger.begin(kept.name, kept.expires - case.life, kept.expires)
    keepers: Sequence[Service | Ticking | OnRead]
    if ours:
        around = Surroundings(
            agenda=clock,
            records={kept.name: _record(kept, case, rnd) for kept in tenants},
            endpoint=endpoint,
            ledger=ledger,
            tenant=TenantSpec(server="veeam", consumer_reread=case.reread),
            server=server,
            life=case.life,
            rnd=rnd,
            vault=weather["vault"],
            microsoft=weather["microsoft"],
            facts=_facts(case),
            policy=policy,
        )
        keepers = [Service(instance, around) for instance in "ab"[: case.leaders]]
    else:
        plain = Ticking if case.keeper is Keeper.TICK else OnRead
        keepers = [plain(clock, endpoint, ledger, case.life, rnd, tenants=tenants)]
    for keeper in keepers:
        keeper.start()
    if case.restarts:
        _restart_hourly(clock, keepers, until, rnd)
    clock.run(until)
    ledger.end()
    return _result(case, ledger, endpoint, until, time.process_time() - began)


def _spells(case: Case, name: str, rnd: random.Random) -> Spells:
    if case.daily == name:
        return times.daily(case.outage, case.days, rnd)
    return times.hourly(case.outage, case.days, rnd) if case.hourly == name else CLEAR


def _record(kept: Kept, case: Case, rnd: random.Random) -> Record:
    """Return a credential that has been rotated before; the assertions were obtained at any time in the last three days."""
    issued = START + kept.expires - case.life
    obtained = START - timedelta(days=3) * rnd.random()
    return Record(kept.name, Pair(issued, START + kept.expires, kept.number), Grant(obtained, obtained + GRANT_LIFE), issued)


def _facts(case: Case) -> ServerFacts:
    if not case.new_sessions:
        return UNKNOWN
    probes = {Rung.REFRESH: False, Rung.EXCHANGE: True}
    return ServerFacts(probes={rung: Probe(at=START, rung=rung, old_alive=alive) for rung, alive in probes.items()})


def _restart_hourly(clock: Agenda, keepers: Sequence[Service | Ticking | OnRead], until: timedelta, rnd: random.Random) -> None:
    """Kill every keeper once an hour, at a minute of its own."""
    for keeper in keepers:
        at = HOUR * rnd.random()
        while at < until:
            clock.at(at, keeper.kill)
            clock.at(at + DOWN, keeper.start)
            at += HOUR


def _result(case: Case, ledger: Ledger, endpoint: Endpoint, until: timedelta, cpu: float) -> Result:
    length, limit = endpoint.throttle.windows()[1]
    return Result(
        case=case,
        expired=ledger.share(ledger.stored, case.tenants),
        worst=ledger.stored.worst,
        held={reread: (ledger.share(gap, case.tenants), gap.worst) for reread, gap in ledger.held.items()},
        refused=endpoint.refused,
        people=ledger.people,
        least_left=ledger.least_left,
        mean_left=ledger.sum_left / max(1, ledger.counted),
        lane_use=(endpoint.asked - endpoint.refused) * (length / limit) / until,
        rotations=ledger.rotations,
        cpu=cpu,
    )


def merged(results: Sequence[Result], case: Case) -> Result:
    """Return the result of several servers of the same kind: means of shares, worst of gaps, sums of counts."""
    count = len(results)
    return Result(
        case=case,
        expired=sum(r.expired for r in results) / count,
        worst=max(r.worst for r in results),
        held={each: (sum(r.held[each][0] for r in results) / count, max(r.held[each][1] for r in results)) for each in REREADS},
        refused=sum(r.refused for r in results),
        people=sum(r.people for r in results),
        least_left=min(r.least_left for r in results),
        mean_left=sum(r.mean_left for r in results) / count,
        lane_use=sum(r.lane_use for r in results) / count,
        rotations=sum(r.rotations for r in results),
        cpu=sum(r.cpu for r in results),
    )
