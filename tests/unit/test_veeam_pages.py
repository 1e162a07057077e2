"""A page with success in the place of VB365's answer, and answers that can't be used, over real HTTPS."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.simulators.http import Fault, Response, Server
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.errors import BackupServerFaulty, BackupServerUnavailable, EndpointRefused
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.veeam.client import PAGES, VeeamClient

TOKEN, TIMEOUT = Secret("simtok-token"), timedelta(seconds=10)
HTML = {"Content-Type": "text/html"}
PAGE = Response(200, b"\xef\xbb\xbf\r\n<!DOCTYPE html><html>Down for maintenance</html>", HTML)
FOREIGN = [PAGE, Response(203, b"Back soon"), Response(200, b'{"status": "maintenance"}'), Response(200, b"null")]


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    server = Server(VeeamSimulator(lambda: datetime.now(UTC)), authority.shared_context)
    yield server
    server.close()


@pytest.fixture
def spec(server: Server, authority: Authority) -> Iterator[ServerSpec]:
    yield ServerSpec(url=server.url, ca_pem=authority.pem)
    server.faults.clear()


@pytest.mark.parametrize("answer", FOREIGN, ids=str)
def test_a_page_in_the_place_of_tokens_is_told_as_somebody_elses(answer: Response, spec: ServerSpec, server: Server) -> None:
    """With what to do about it; so is one in the place of an organization."""
    client = VeeamClient()
    server.faults.add(Fault("/token", response=answer))
    with pytest.raises(BackupServerFaulty, match="in front of VB365 answered") as pair:
        client.refresh(spec, TOKEN, TIMEOUT)
    server.faults.add(Fault("/Organization", response=answer))
    with pytest.raises(BackupServerFaulty, match="in front of VB365 answered") as proof:
        client.organization(spec, TOKEN)

    assert pair.value.reason == proof.value.reason == "GatewayAnswered"
    assert "gateway or proxy" in pair.value.remedy()


@pytest.mark.parametrize("answer", FOREIGN, ids=str)
def test_a_page_doesnt_say_that_veeam_is_back(answer: Response, spec: ServerSpec, server: Server) -> None:
    """Its lane stays closed. Where nothing else ever comes, it says nothing: the token endpoint is tried."""
    client = VeeamClient()
    server.faults.add(Fault("/ServiceInstance", times=None, response=answer))
    for _ in range(PAGES):
        with pytest.raises(BackupServerUnavailable) as caught:
            client.alive(spec)
        assert caught.value.reason == "GatewayAnswered"
    client.alive(spec)

    server.faults.clear()
    client.alive(spec)
    server.faults.add(Fault("/ServiceInstance", times=None, response=answer))
    with pytest.raises(BackupServerUnavailable):
        client.alive(spec)


@pytest.mark.parametrize("body", [b'{"installationId": "0", "version": "8.0.0.1"}', b"{}", b""])
def test_veeams_own_answer_says_so(body: bytes, spec: ServerSpec, server: Server) -> None:
    """And an empty one says nothing else."""
    server.faults.add(Fault("/ServiceInstance", response=Response(200, body)))
    VeeamClient().alive(spec)


def test_a_page_is_no_version_that_is_served(spec: ServerSpec, server: Server) -> None:
    """A portal answers 200 to every path."""
    server.faults.add(Fault("/ServiceInstance", times=None, response=PAGE))
    server.faults.add(Fault("/token", response=Response(404)))
    with pytest.raises(EndpointRefused, match="no version of VB365's API is known there"):
        VeeamClient().refresh(spec, TOKEN, TIMEOUT)


def test_a_page_ends_no_session(spec: ServerSpec, server: Server) -> None:
    """A logout that a portal answered isn't one."""
    server.faults.add(Fault("/token/logout", response=PAGE))
    with pytest.raises(BackupServerFaulty, match="in front of VB365 answered"):
        VeeamClient().logout(spec, TOKEN)
    server.faults.add(Fault("/token/logout", response=Response(200)))
    VeeamClient().logout(spec, TOKEN)


PAIR = {"access_token": "simtok-a", "refresh_token": "simtok-r", "token_type": "bearer", "expires_in": 900}


@pytest.mark.parametrize(
    "token", ["a\r\nX-Evil: 1", "a\nb", "a\x00b", "a\x7f", "\ttoken", "token ", "tok\u00e9n", "\u202etoken"]
)
def test_a_token_that_no_header_can_hold_is_none(token: str, spec: ServerSpec, server: Server) -> None:
    """Consumers would send it as it is."""
    server.faults.add(Fault("/token", response=Response(200, json.dumps(PAIR | {"access_token": token}).encode())))
    with pytest.raises(BackupServerFaulty, match="without a usable token pair") as caught:
        VeeamClient().refresh(spec, TOKEN, TIMEOUT)
    assert caught.value.reason == "AnswerUnusable"


@pytest.mark.parametrize(("kind", "shown"), [("BEARER", "Bearer"), ("MAC", "MAC"), ("Bearer\r\nX: 1", "Bearer"), (7, "Bearer")])
def test_a_kind_that_no_header_can_hold_is_the_usual_one(kind: object, shown: str, spec: ServerSpec, server: Server) -> None:
    """It stands before the token."""
    server.faults.add(Fault("/token", response=Response(200, json.dumps(PAIR | {"token_type": kind}).encode())))
    assert VeeamClient().refresh(spec, TOKEN, TIMEOUT).token_type == shown
