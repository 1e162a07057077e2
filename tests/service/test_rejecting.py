"""A VB365 that refuses everybody: nobody is asked, it is probed by turns, and all go on when it is well."""

import itertools
import time
from collections import Counter

import pytest

from tests.service.deployment import Deployment

pytestmark = [pytest.mark.vault, pytest.mark.slow]

NAMES = ("t0", "t1", "t2", "t3")
TURN = 2.0


def test_nobody_is_asked_and_everybody_goes_on(deployment: Deployment) -> None:
    """Each of four tenants has its turns, one call each; the first acceptance wakes the others."""
    deployment.program = "tests.service.hasty"
    deployment.veeam.token_life = 45
    deployment.start()
    deployment.server()
    for name in NAMES:
        deployment.tenant(name)
        deployment.sign_in(name)
    deployment.veeam.sick = True

    def told() -> set[str]:
        return {deployment.status(name)["reason"] for name in NAMES}

    deployment.wait_for("everybody to wait for a turn", lambda: told() == {"ServerRejectsEveryone"}, 40)
    begun, before = time.monotonic(), len(deployment.veeam.presented)
    deployment.wait_for("two rounds", lambda: len(deployment.veeam.presented) >= before + 2 * len(NAMES), 30)
    turns = deployment.veeam.presented[before : before + 2 * len(NAMES)]
    assert time.monotonic() - begun >= (2 * len(NAMES) - 1) * TURN - 0.5, "one probe a turn"
    assert {turn.grant for turn in turns} == {"assertion"}
    assert set(Counter(turn.sha256 for turn in turns).values()) == {2}, "each time another tenant"
    waits = [(later.at - earlier.at).total_seconds() for earlier, later in itertools.pairwise(turns)]
    assert min(waits) >= TURN - 0.1, waits
    assert all(deployment.status(name)["state"] != "needs_sign_in" for name in NAMES)

    generations = {name: deployment.generation(name) for name in NAMES}
    deployment.veeam.sick = False
    deployment.wait_for("all", lambda: all(deployment.generation(name) > generations[name] for name in NAMES), 10)

    good = Counter(p.sha256 for p in deployment.veeam.presented if p.grant == "refresh_token" and p.outcome == "ok")
    assert max(good.values(), default=0) <= 1
    assert deployment.events("server_rejects_everyone")
    assert deployment.events("server_recovered")
