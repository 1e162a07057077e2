"""The service is killed once at each place, two runs at a time, within five minutes."""

import time

import pytest

from tests.crash.harness import BEST_EFFORT, Harness, table
from tests.openbao import OpenBao
from tests.simulators.tls import Authority

pytestmark = [pytest.mark.vault, pytest.mark.slow]


def test_a_kill_at_any_place_costs_no_sign_in_and_no_consumer_his_token(
    openbao: OpenBao, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill before and after every store write and every HTTP call; print each place with what came of it."""
    began = time.monotonic()
    runs = Harness(openbao, authority).everywhere()
    took = time.monotonic() - began
    with capsys.disabled():
        print(f"\n{table(runs)}\n{len(runs)} places in {took:.0f} s")
    assert not [f"{run.kind}, killed {run.kills}: {run.problems}" for run in runs if run.problems]
    missed = [run.kills for run in runs if not run.reached]
    assert all(BEST_EFFORT in place for kills in missed for place in kills), missed
    assert {run.kind for run in runs if run.asks > 1} <= {"sign-in", "sign-in again"}
    assert took < 300
