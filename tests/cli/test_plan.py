"""``vb365 plan``."""

import json

import pytest

from tests.cli.conftest import Vb365

pytestmark = pytest.mark.vault


def test_a_plan_says_what_a_server_keeps_and_what_would_do(vb365: Vb365, with_server: None) -> None:
    """For the tenants that are, or for so many; numbers as JSON, a sentence for people."""
    fits = json.loads(vb365("plan", "vbr", "--tenants", "150", "--format", "json")[1])[0]
    assert (fits["verdict"], fits["addresses_needed"]) == ("ok", 1)
    assert 180 <= fits["keeps"] <= 200

    _, out, _ = vb365("plan", "--tenants", "400")
    assert "AuthTokenLifeTime" in out
    assert "3 addresses would do" in out

    assert "a token life (AuthTokenLifeTime) of 2h" in out  # 400 tenants need twice what 200 do
    assert ":00" not in out

    assert vb365("plan", "nobody")[0] == 3
    assert "--token-life" in vb365("plan", "vbr", "--token-life", "soon")[2]


def test_a_plan_for_consumers_that_read_too_rarely_says_so(vb365: Vb365, with_server: None) -> None:
    """Nothing is kept then, whatever the throttle; JSON has lengths in seconds."""
    item = json.loads(vb365("plan", "vbr", "--consumer-reread", "5h", "--format", "json")[1])[0]

    assert item["verdict"].startswith("consumers that read every 5h can't be served with 1h tokens")
    assert (item["keeps"], item["at_most"], item["consumer_reread"], item["token_life"]) == (0, 0, 18000, 3600)
    assert item["token_life_needed"] >= 1.5 * 18000
    served = vb365(
        "plan", "vbr", "--consumer-reread", "5h", "--token-life", f"{item['token_life_needed']}s", "--format", "json"
    )
    assert json.loads(served[1])[0]["verdict"] == "ok"
