"""The simulators' own control: whoever tries the product can let things go wrong."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests

from tests.simulators.http import Server
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.veeam import VeeamSimulator


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def veeam() -> Iterator[Server]:
    server = Server(VeeamSimulator(now))
    yield server
    server.close()


def post(server: Server, path: str, content: object, timeout: float = 10) -> requests.Response:
    return requests.post(f"{server.url}{path}", json=content, timeout=timeout)


def test_an_answer_is_played_so_many_times(veeam: Server) -> None:
    """With its Retry-After; then the server answers itself again."""
    wanted = {"route": "/health", "times": 2, "status": 429, "body": "too many", "retry_after": 7}
    assert post(veeam, "/_sim/fault", wanted).status_code == 200

    answers = [requests.get(f"{veeam.url}/v8/health", timeout=10) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert (answers[0].headers["Retry-After"], answers[0].text) == ("7", "too many")


def test_a_server_hangs_and_drops_until_it_is_cleared(veeam: Server) -> None:
    """`times` null; the control itself is never at fault."""
    post(veeam, "/_sim/fault", {"route": "/", "times": None, "hang": 30})
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{veeam.url}/v8/health", timeout=0.3)
    post(veeam, "/_sim/clear", {})
    post(veeam, "/_sim/fault", {"route": "/token", "drop": "after"})
    with pytest.raises(requests.exceptions.ConnectionError):
        post(veeam, "/v8/token", {"grant_type": "password"})
    assert requests.get(f"{veeam.url}/v8/health", timeout=10).status_code == 200


@pytest.mark.parametrize("content", [{"rout": "/"}, {"route": "/", "drop": "never"}, {"status": "odd"}, []])
def test_a_fault_that_is_none_is_refused(veeam: Server, content: object) -> None:
    """A typo isn't silence."""
    assert post(veeam, "/_sim/fault", content).status_code == 400


def test_what_the_servers_do_can_be_set(veeam: Server) -> None:
    """Sets are lists in JSON; a verb is a setting that is done once."""
    wanted = {"refresh_life": 60, "assertion_once": True, "revoke_all": True, "organizations": ["a.b"]}
    assert post(veeam, "/_sim/set", wanted).status_code == 200
    assert post(veeam, "/_sim/set", {"sessions": 1}).status_code == 400

    simulator = MicrosoftSimulator(now)
    microsoft = Server(simulator)
    assert post(microsoft, "/_sim/set", {"unknown_tenants": ["a.b"]}).status_code == 200
    asked = requests.post(f"{microsoft.url}/a.b/oauth2/v2.0/devicecode", data={"client_id": "c", "scope": "s"}, timeout=10)
    microsoft.close()
    assert asked.json()["error_codes"] == [90002]
