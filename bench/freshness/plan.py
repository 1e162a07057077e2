"""Which cases are run, what must come of them, and which outage tokens of each life bear."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bench.freshness.cases import HOUR, Case, Keeper, Result, run
from vault_plugin.core.capacity import capacity
from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import Policy, budget_left

REREAD = timedelta(minutes=5)
MINUTE = timedelta(minutes=1)
LONGEST_OUTAGE = 30
#: The best possible share of time with a valid token: five calls a minute for tokens of an hour.
BEST = 300
WITHIN = 0.97

NOTHING = "nothing fails"
ALL = "5 % fail for ever, restarts, 10 min hang a day"
TWO = "two leaders on one address"
FLEET = "50 servers, " + ALL


@dataclass(frozen=True)
class Promise:
    """What a case must show."""

    text: str
    title: str
    tenants: int
    kept: Callable[[Result], bool]


def _clean(result: Result) -> bool:
    return result.refused == 0 and result.held[timedelta(seconds=285)] == (0, 0)


def _fresh(result: Result) -> bool:
    return result.documented == (0, 0) and result.people == 0


def _best(result: Result) -> bool:
    return 1 - result.expired >= BEST / result.case.tenants * WITHIN


OUTAGES = {
    "veeam": "Veeam hangs for 10 min in every hour",
    "vault": "Vault is away for 10 min in every hour",
    "microsoft": "Microsoft hangs for 10 min in every hour",
}
NEW_SESSIONS = "the same, and every rotation needs a new session"

PROMISES = (
    Promise("200 under all of it: 0 refused, 0 expired at consumers every 285 s", ALL, 200, _clean),
    Promise("270 while nothing fails: 0 refused, 0 expired at consumers every 285 s", NOTHING, 270, _clean),
    Promise("400: within 3 % of the best possible 75 %", NOTHING, 400, _best),
    Promise("two leaders: refused, but 0 expired", TWO, 200, lambda result: result.refused > 0 and _fresh(result)),
    *(Promise(f"{title}: 0 expired at the documented interval", title, 200, _fresh) for title in OUTAGES.values()),
    Promise("Microsoft's outages where all depends on it: 0 expired", NEW_SESSIONS, 200, _fresh),
    Promise("10,000 tenants on 50 servers: 0 refused, 0 expired at consumers every 285 s", FLEET, 200, _clean),
)


def cases(*, quick: bool) -> list[Case]:
    """Return every case of the table."""
    days = 2 if quick else 30
    everything = Case(ALL, 200, days, failing=0.05, restarts=True, daily="veeam")
    clean = Case(NOTHING, 200, days)
    ours = [
        clean,
        replace(clean, tenants=270),
        replace(clean, tenants=400),
        everything,
        replace(everything, tenants=270),
        Case(TWO, 200, days, leaders=2),
        *(Case(title, 200, days, hourly=who) for who, title in OUTAGES.items()),
        Case(NEW_SESSIONS, 200, days, hourly="microsoft", new_sessions=True),
        replace(everything, title=FLEET, days=2, servers=5 if quick else 50),
    ]
    plain = [clean, replace(clean, tenants=270), replace(clean, tenants=400), everything]
    return [*ours, *(replace(case, keeper=keeper) for keeper in (Keeper.TICK, Keeper.ON_READ) for case in plain)]


def missed(results: Sequence[Result]) -> list[str]:
    """Return the promises that weren't kept."""
    found = {(result.case.title, result.case.tenants): result for result in results if result.case.keeper is Keeper.OURS}
    return [promise.text for promise in PROMISES if not promise.kept(found[promise.title, promise.tenants])]


def plotted(*, quick: bool) -> list[Case]:
    """Return the cases of the plot: keepers against the number of tenants, while nothing fails."""
    numbers = range(50, 501, 150 if quick else 50)
    return [Case(NOTHING, tenants, 2, keeper=keeper) for keeper in Keeper for tenants in numbers]


@dataclass(frozen=True)
class Search:
    """Which outage, one in any hour, do tokens of this life bear at so many tenants?"""

    life: timedelta
    tenants: int
    who: str
    days: float

    @property
    def budget(self) -> timedelta:
        """Return the budget that status shows while nobody waits in the lane."""
        return budget_left(self.life, REREAD, Policy())


def searches(*, quick: bool) -> list[Search]:
    """Return the lives of the table, with as many tenants as rotate at full overlap, and half of them."""
    found = []
    for minutes in (15, 30, 60):
        life = minutes * MINUTE
        most = int(capacity(Throttle(), life, REREAD, 1, Policy()).comfortable)
        days = 0.5 if quick else 1
        found += [Search(life, tenants, who, days) for who in ("veeam", "vault") for tenants in (most // 2, most)]
    return found


def borne(search: Search) -> tuple[timedelta, int, float]:
    """Return the longest outage, in whole minutes, of which no consumer at the documented interval notices anything."""
    rotations, cpu = 0, 0.0
    for minutes in range(1, LONGEST_OUTAGE + 1):
        case = Case("", search.tenants, search.days, life=search.life, hourly=search.who, outage=minutes * MINUTE)
        result = run(case)
        rotations, cpu = rotations + result.rotations, cpu + result.cpu
        if result.documented != (0, 0):
            return (minutes - 1) * MINUTE, rotations, cpu
    return LONGEST_OUTAGE * MINUTE, rotations, cpu


def warning(tenants: int) -> str:
    """Return what `core.capacity` says of so many tenants on one address with 60-minute tokens."""
    found = capacity(Throttle(), HOUR, REREAD, tenants, Policy())
    if tenants <= found.comfortable:
        return f"{tenants} tenants: ok, one address keeps {int(found.comfortable)}"
    late = "tokens will expire" if tenants > found.most else "a long outage may be noticed"
    return (
        f"{tenants} tenants: {late}; one address keeps {int(found.comfortable)}, at most {int(found.most)}. "
        f"A token life (AuthTokenLifeTime) of {found.life_needed} or {found.addresses} addresses would do"
    )
