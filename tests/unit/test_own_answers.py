"""A secret-bearing answer reaches its own caller only, whatever stands before, behind or instead of it (DESIGN 7)."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.simulators.proxy import TunnelProxy
from tests.simulators.raw import Asked, RawServer, Says, answer
from tests.simulators.tls import Authority
from vault_plugin.core.errors import AuthorizationServerUnavailable, BackupServerUnavailable, Error
from vault_plugin.core.ports import Approved
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding, ServerSpec
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.vault.answer import NoAnswer
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.veeam.client import VeeamClient
from vault_plugin.wire import Session, send

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TIMEOUT = timedelta(seconds=10)
EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nContent-Length: 5\r\n\r\n"
INTERIM = {
    "early hints": [EARLY],
    "three early hints, each by itself": [EARLY, 0.05, EARLY, 0.05, EARLY, 0.05],
    "processing": [b"HTTP/1.1 102 Processing\r\n\r\n", 0.05],
    "continue": [b"HTTP/1.1 100 Continue\r\n\r\n"],
    "continue, then hints": [b"HTTP/1.1 100 Continue\r\n\r\n" + EARLY],
    "one that nobody knows": [b"HTTP/1.1 199 What\r\nX: y\r\n\r\n", 0.05],
    "a status line in two pieces": [EARLY[:9], 0.05, EARLY[9:]],
}


@pytest.fixture(params=["http", "https", "through a proxy"])
def serve(
    request: pytest.FixtureRequest, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Says], RawServer]]:
    """Return how a server is started, on each way to it."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    made: list[RawServer | TunnelProxy] = []
    if request.param == "through a proxy":
        proxy = TunnelProxy()
        made.append(proxy)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    def start(says: Says) -> RawServer:
        server = RawServer(says, None if request.param == "http" else authority.shared_context)
        made.append(server)
        return server

    yield start
    for each in made:
        each.close()


def tokens(asked: Asked) -> bytes:
    """Return tokens that name whoever they are for."""
    owner = asked.form.get("device_code") or asked.form.get("refresh_token", "nobody").removeprefix("r-")
    return json.dumps(
        {"access_token": f"a-{owner}", "refresh_token": f"r-{owner}", "token_type": "bearer", "expires_in": 3600}
    ).encode()


def polled(client: MicrosoftClient, server: RawServer, code: str) -> str:
    """Return whose token a poll brought."""
    binding = Binding(authority=server.url, client_id="c", scope="s", organization="o", server="vbr")
    result = client.poll(binding, Secret(code), NOW)
    assert isinstance(result, Approved)
    return str(json.loads(result.assertion.json_text.reveal())["access_token"])


def refreshed(client: VeeamClient, server: RawServer, authority: Authority, owner: str) -> str:
    spec = ServerSpec(url=server.url, ca_pem=authority.pem)
    return client.refresh(spec, Secret(f"r-{owner}"), TIMEOUT).access_token.reveal()


@pytest.mark.parametrize("before", INTERIM.values(), ids=INTERIM)
def test_an_interim_answer_is_read_past(
    before: list[bytes | float], serve: Callable[[Says], RawServer], authority: Authority
) -> None:
    """Each tenant gets its own tokens, at the first try."""
    server = serve(lambda asked: [*before, answer(tokens(asked))])
    client = MicrosoftClient(str(authority.ca_file))

    assert [polled(client, server, code) for code in ("one", "two", "three")] == ["a-one", "a-two", "a-three"]
    assert len(server.asked) == 3


@pytest.mark.parametrize("before", INTERIM.values(), ids=INTERIM)
def test_an_interim_answer_of_veeams_is_read_past_and_ends_its_connection(
    before: list[bytes | float], authority: Authority
) -> None:
    """Where connections are kept, one that an interim answer came over isn't."""
    server = RawServer(lambda asked: [*before, answer(tokens(asked))], authority.shared_context)
    client = VeeamClient()
    got = [refreshed(client, server, authority, owner) for owner in ("c", "d", "c", "d")]
    server.close()

    assert got == ["a-c", "a-d", "a-c", "a-d"]
    assert [asked.number for asked in server.asked] == [0, 0, 0, 0]


def test_endless_interim_answers_are_no_answer(serve: Callable[[Says], RawServer], authority: Authority) -> None:
    """And the poll may have been seen."""
    server = serve(lambda _: [EARLY] * 1000)
    with pytest.raises(AuthorizationServerUnavailable) as caught:
        polled(MicrosoftClient(str(authority.ca_file)), server, "one")

    assert (caught.value.reason, caught.value.sent) == ("AnswerBroken", True)


@pytest.mark.parametrize(
    "behind",
    [
        [answer(b'{"access_token":"a-forged"}')],
        [0.1, answer(b'{"access_token":"a-forged"}')],
        [b"more than was announced"],
    ],
    ids=["a second answer", "a second answer, later", "a body longer than its length"],
)
def test_what_comes_behind_an_answer_is_nobodys(
    behind: list[bytes | float], serve: Callable[[Says], RawServer], authority: Authority
) -> None:
    """At Microsoft each call has a connection of its own."""
    server = serve(lambda asked: [answer(tokens(asked)), *behind])
    client = MicrosoftClient(str(authority.ca_file))

    assert [polled(client, server, code) for code in ("one", "two")] == ["a-one", "a-two"]
    assert [asked.number for asked in server.asked] == [0, 0]


def test_a_late_answer_is_nobodys(authority: Authority) -> None:
    """Its caller has given up; the next one isn't given it."""
    server = RawServer(
        lambda asked: [1.5, answer(tokens(asked))] if "c" in asked.form["refresh_token"] else [answer(tokens(asked))],
        authority.shared_context,
    )
    client = VeeamClient()
    spec = ServerSpec(url=server.url, ca_pem=authority.pem)
    with pytest.raises(BackupServerUnavailable) as caught:
        client.refresh(spec, Secret("r-c"), timedelta(seconds=1))
    assert caught.value.reason == "Timeout"
    assert refreshed(client, server, authority, "d") == "a-d"
    server.close()


def test_another_protocol_is_no_answer_of_anybodys(serve: Callable[[Says], RawServer], authority: Authority) -> None:
    """101 was never asked for."""
    server = serve(
        lambda asked: (
            [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + answer(b'{"access_token":"a-forged"}')]
            if asked.form["device_code"] == "one"
            else [answer(tokens(asked))]
        )
    )
    client = MicrosoftClient(str(authority.ca_file))
    with pytest.raises(Error) as caught:
        polled(client, server, "one")
    assert caught.value.reason == "AnswerBroken"
    assert polled(client, server, "two") == "a-two"


def test_a_connection_that_is_kept_is_one_tenants(authority: Authority) -> None:
    """Whoever presents what came over it finds it again; nobody else does, and no call of another kind."""
    server = RawServer(lambda asked: [answer(tokens(asked) if asked.form else b'{"name":"Contoso"}')], authority.shared_context)
    client = VeeamClient()
    spec = ServerSpec(url=server.url, ca_pem=authority.pem)
    for owner in ("c", "d", "c", "d", "d"):
        assert refreshed(client, server, authority, owner) == f"a-{owner}"
    client.organization(spec, Secret("a-c"))
    server.close()

    over = [(asked.form.get("refresh_token", asked.target), asked.number) for asked in server.asked]
    assert over == [("r-c", 0), ("r-d", 0), ("r-c", 1), ("r-d", 1), ("r-d", 2), ("/v8/Organization", 0)]
    assert server.connections == 3


# --- Vault: one server, trusted with all -----------------------------------------------------------------------------


def kept(key: str) -> bytes:
    return answer(json.dumps({"request_id": "1", "data": {"of": key}}).encode())


@pytest.mark.parametrize(
    ("says", "connections"),
    [
        (lambda key: [EARLY, kept(key)], 3),
        (lambda key: [EARLY, 0.05, EARLY, kept(key)], 3),
        (lambda key: [kept(key) + kept("forged")], 3),
        (lambda key: [kept(key) + b"x"], 3),
        (lambda key: [kept(key).replace(b"\r\n", b"\r\nContent-Length: 9\r\n", 1)], 3),
        (lambda key: [kept(key)], 1),
    ],
    ids=["early hints", "two of them", "a second answer", "a byte more", "two lengths", "nothing wrong"],
)
def test_answers_of_vaults_are_never_shifted(says: Callable[[str], list[bytes | float]], connections: int) -> None:
    """Its connections are kept, but not one whose last answer can't be told from the next."""
    server = RawServer(lambda asked: says(asked.target[-1]))
    connection = Connection(read({"VAULT_ADDR": server.url, "VAULT_TOKEN": "simtok"}))
    for key in "abc":
        try:
            assert connection.get(f"/v1/m/data/{key}").data == {"of": key}
        except NoAnswer as error:
            assert error.reason == "AnswerBroken"
    connection.close()
    server.close()

    assert server.connections == connections


def test_an_empty_answer_with_a_body_ends_the_connection() -> None:
    """204 has none; a server that sends one all the same would give it to the next caller."""
    said = iter([b"HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n", answer(b'{"of":"b"}')])
    server = RawServer(lambda _: [next(said)])
    session = Session()
    asked = [send(session, "GET", server.url, verify=True, connect=5, total=10, owner="one").status for _ in range(2)]
    session.close()
    server.close()

    assert asked == [204, 200]
    assert server.connections == 2
