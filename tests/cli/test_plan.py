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

    assert vb365("plan", "nobody")[0] == 3
    assert "--token-life" in vb365("plan", "vbr", "--token-life", "soon")[2]
