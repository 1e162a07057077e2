"""The service is killed once at each place, two runs at a time."""

import time

import pytest

from tests.crash.harness import BEST_EFFORT, Harness, table
from tests.crash.kinds import KINDS
from tests.servers.node import VaultServer
from tests.simulators.tls import Authority

pytestmark = [pytest.mark.vault, pytest.mark.slow]

TWICE = (
    ("refresh", "after Veeam refresh #1", "after Veeam exchange #1"),
    ("refresh", "after write credentials #3", "after write tokens #1"),
    ("exchange", "after Veeam exchange #1", "after Veeam exchange #1"),
    ("reassert", "after Microsoft refresh #1", "after Microsoft refresh #1"),
    ("reassert", "after Veeam exchange #1", "before write credentials #2"),
    ("sign-in", "after Veeam exchange #1", "after Veeam exchange #1"),
    ("sign-in", "after write sign-ins #3", "before write credentials #2"),
    ("revoke", "after Veeam logout #1", "after write credentials #1"),
)


@pytest.mark.alone
def test_a_kill_at_any_place_costs_no_sign_in_and_no_consumer_his_token(
    vault: VaultServer, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill before and after every store write and every HTTP call; print each place with what came of it."""
    began = time.monotonic()
    runs = Harness(vault, authority).everywhere()
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{table(runs)}\n{len(runs)} places in {took:.0f} s")
    assert not [f"{run.kind}, killed {run.kills}: {run.problems}" for run in runs if run.problems]
    missed = [run.kills for run in runs if not run.reached]
    assert all(any(one in place for one in BEST_EFFORT) for kills in missed for place in kills), missed
    assert {run.kind for run in runs if run.asks > 1} <= {"sign-in", "sign-in again"}


@pytest.mark.parametrize("case", TWICE, ids=" ".join)
def test_a_second_kill_while_the_first_is_made_good_costs_nothing_more(
    case: tuple[str, str, str], vault: VaultServer, authority: Authority
) -> None:
    """The take-over is killed like any other attempt."""
    kind, *kills = case
    run = Harness(vault, authority).run(KINDS[kind], *kills)
    assert run.reached
    assert run.problems == []
    assert run.asks == 1
