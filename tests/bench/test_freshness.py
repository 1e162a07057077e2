"""The simulation: its parts against independent ones, and the promises on shortened runs of the real core."""

import bisect
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from bench.freshness import plan
from bench.freshness.agenda import CLEAR, DAY, Agenda, Spells, hourly
from bench.freshness.cases import Case, Keeper, Result, merged, run
from bench.freshness.endpoint import Endpoint, Kind
from bench.freshness.ledger import AGAIN, Ledger
from bench.freshness.plot import svg
from bench.freshness.report import table
from tests.simulators.http import Request
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.tenants import Throttle

SECOND = timedelta(seconds=1)
START = datetime(2026, 11, 25, 12, tzinfo=UTC)


def test_events_happen_in_order_and_spells_have_ends() -> None:
    """Those of the same time in the order of asking; a spell's end is outside."""
    agenda, seen = Agenda(), []
    for when, what in ((2, "c"), (1, "a"), (1, "b"), (9, "never")):
        agenda.at(when * SECOND, lambda what=what: seen.append(what))  # type: ignore[misc]
    agenda.run(9 * SECOND)
    assert seen == ["a", "b", "c"]

    spells = Spells([2 * SECOND], [5 * SECOND])
    assert [spells.over(at * SECOND) for at in (1, 2, 5)] == [None, 5 * SECOND, None]
    assert [spells.meets(a * SECOND, b * SECOND) for a, b in ((0, 2), (0, 3), (4, 9), (5, 9))] == [False, True, True, False]


def test_outages_begin_at_least_an_hour_apart() -> None:
    """One in any hour."""
    begins = hourly(timedelta(minutes=10), 10, random.Random(1)).begins
    assert len(begins) > 200
    assert all(timedelta(hours=1) <= late - early for early, late in itertools.pairwise(begins))


@pytest.mark.parametrize("seed", range(5))
def test_the_endpoint_throttles_as_the_tests_simulator_does(seed: int) -> None:
    """The same requests at the same times: the same are refused, with the same Retry-After."""
    rnd, at = random.Random(seed), timedelta(0)
    throttle = Throttle(per_second=1, per_minute=5, per_hour=60)
    endpoint = Endpoint(throttle)
    simulator = VeeamSimulator(lambda: START + at)
    simulator.throttle = {"second": 1, "minute": 5, "hour": 60}
    refused = 0
    for number in range(3000):
        at += rnd.choice([0.1, 0.5, 1, 9, 12, 20, 61]) * SECOND
        answer = endpoint.ask(at, f"t{number}", None)
        expected = simulator._throttled(Request("POST", "/v8/token", {}, {}, b""))
        assert (answer.kind is Kind.THROTTLED) == (expected is not None)
        if expected is not None:
            assert answer.retry_after == int(expected.headers["Retry-After"]) * SECOND
            refused += 1
    assert 100 < refused < 2900


def test_a_refresh_token_works_once_and_an_outage_gives_no_answer() -> None:
    """Of an answer that was lost, the old refresh token is spent."""
    endpoint = Endpoint(Throttle(), Spells([50 * SECOND], [60 * SECOND]), frozenset({"bad"}))
    first = endpoint.ask(0 * SECOND, "t", 1)
    assert first.kind is Kind.PAIR
    assert endpoint.ask(2 * SECOND, "t", 1).kind is Kind.REJECTED
    assert endpoint.ask(4 * SECOND, "t", first.number).kind is Kind.PAIR
    assert endpoint.ask(6 * SECOND, "bad", 1).kind is Kind.FAULTY
    assert endpoint.ask(55 * SECOND, "t", None).kind is Kind.HANGS


def _reads(every: float, phase: float, until: float, vault: Spells) -> Iterator[float]:
    at = phase
    while at < until:
        read = at
        while vault.over(read * SECOND) is not None:
            read += AGAIN / SECOND
        yield read
        at += every


@pytest.mark.parametrize("vault", [CLEAR, Spells([20_000 * SECOND], [20_500 * SECOND])], ids=["vault there", "vault away"])
def test_the_ledger_counts_what_consumers_see(vault: Spells) -> None:
    """Consumers at evenly spread phases that really read, one by one, against the closed form."""
    rnd, until, life = random.Random(3), 60_000.0, 3600.0
    ledger = Ledger(timedelta(0), until * SECOND, vault)
    tokens, at = [(-100.0, life - 100)], -100.0
    ledger.begin("t", -100 * SECOND, (life - 100) * SECOND)
    while (at := at + rnd.uniform(2000, 4200)) < until - 8000:
        if vault.over(at * SECOND) is None:
            tokens.append((at, at + life))
            ledger.published("t", at * SECOND, (at + life) * SECOND)
    tokens.append((until - 3000, until + 600))
    ledger.published("t", (until - 3000) * SECOND, (until + 600) * SECOND)
    ledger.end()
    for reread, gap in ledger.held.items():
        every, total, worst = reread / SECOND, 0.0, 0.0
        for phase in range(200):
            held = tokens[0][1]
            for read in _reads(every, every * phase / 200, until + every, vault):
                new = tokens[bisect.bisect_right(tokens, (read, until * 2)) - 1][1]
                late = max(0.0, read - held) if new > held else 0.0
                held, total, worst = new, total + late, max(worst, late)
        assert gap.total == pytest.approx(total / 200, rel=0.02, abs=1)
        assert gap.worst == pytest.approx(worst, rel=0.02, abs=every / 100 + 1)


@pytest.mark.parametrize("promise", plan.PROMISES, ids=lambda promise: promise.text)
def test_each_promise_is_kept_for_a_day(promise: plan.Promise) -> None:
    """On the case that the full run makes for 30 days; of the 50 servers, one."""
    case = next(
        case
        for case in plan.cases(quick=True)
        if (case.title, case.tenants, case.keeper) == (promise.title, promise.tenants, Keeper.OURS)
    )
    assert promise.kept(run(replace(case, days=1, servers=1)))


def test_the_warning_names_the_remedy() -> None:
    """A longer life or more addresses."""
    assert "tokens will expire" in plan.warning(400)
    assert "AuthTokenLifeTime" in plan.warning(400)
    assert "3 addresses" in plan.warning(400)
    assert "ok" in plan.warning(180)


@pytest.mark.parametrize("keeper", [Keeper.TICK, Keeper.ON_READ])
def test_the_baselines_are_refused_and_stale(keeper: Keeper) -> None:
    """What this service is for: the simulator can tell the difference."""
    result = run(Case("x", 200, 1, keeper, failing=0.05, restarts=True, daily="veeam"))
    assert result.refused > 100
    assert result.held[285 * SECOND][0] > 0.02


def test_a_lost_answer_costs_the_baseline_a_person_and_us_none() -> None:
    """An hourly SIGKILL, refresh tokens that work once."""
    ours = Case("x", 150, 3, restarts=True)
    asked = [run(replace(ours, keeper=keeper)).people for keeper in (Keeper.OURS, Keeper.TICK)]
    assert asked[0] == 0
    assert asked[1] > 0


def test_a_case_always_has_the_same_outcome() -> None:
    """Whoever runs it; another seed gives another."""
    case = Case("x", 50, 0.5, failing=0.1, restarts=True, daily="vault")
    one, two, other = (replace(run(each), cpu=0, case=case) for each in (case, case, replace(case, seed=2)))
    assert one == two
    assert one != other


def test_an_outage_that_the_budget_does_not_cover_is_noticed() -> None:
    """Half an hour in every hour: the simulator doesn't always say yes."""
    result = run(Case("x", 100, 0.5, hourly="veeam", outage=timedelta(minutes=30)))
    assert result.documented[0] > 0


def test_the_life_of_a_token_decides_which_outage_is_borne() -> None:
    """At least what the policy promises, for a few tenants."""
    for minutes in (15, 30):
        search = plan.Search(timedelta(minutes=minutes), 10, "veeam", 0.5)
        longest, rotations, _ = plan.borne(search)
        assert longest >= search.budget > timedelta(0)
        assert rotations > 100


def _small(keeper: Keeper, tenants: int) -> Result:
    return run(Case("small", tenants, 0.2, keeper))


def test_results_are_printed_and_drawn() -> None:
    """A row a case; a line a keeper; several servers are one row."""
    results = [_small(keeper, tenants) for keeper in Keeper for tenants in (5, 20)]
    text = table(results)
    assert text.count("| small |") == 6
    assert text.count("**") == 6
    assert "| small | 15 |" in table([merged([results[0]] * 3, replace(results[0].case, servers=3))])

    picture = ET.fromstring(svg(results))
    lines = picture.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2, 2]


def test_every_promise_has_its_case() -> None:
    """In the full run, too; and a broken one is told."""
    for quick in (True, False):
        titles = {(case.title, case.tenants) for case in plan.cases(quick=quick)}
        assert {(promise.title, promise.tenants) for promise in plan.PROMISES} <= titles
    bad = run(Case("x", 1, 0.1))
    results = [replace(bad, refused=1, expired=1, case=case) for case in plan.cases(quick=False)]
    assert plan.PROMISES[0].text in plan.missed(results)
    assert all(case.days * DAY >= 2 * DAY for case in plan.cases(quick=True))
