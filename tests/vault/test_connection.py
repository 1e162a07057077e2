"""What goes to Vault and how its answers are taken: headers, namespaces, time, size, throttles, and other people's answers."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.servers.hashicorp import HashiCorpProxy
from tests.servers.node import VaultServer, fresh_mount
from tests.simulators.http import Request, Response, Server, json_response
from vault_plugin.core.errors import ConfigurationError, StoreError, StoreUnavailable
from vault_plugin.core.tenants import TenantSpec
from vault_plugin.vault import registration
from vault_plugin.vault.answer import Answer, NoAnswer
from vault_plugin.vault.answers import Outcome, error_of, outcome_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.pacing import pause_of
from vault_plugin.vault.store import KvStore

Handler = Callable[[Request], Response]


def connected(url: str, **environment: str) -> Connection:
    return Connection(read({"VAULT_ADDR": url, "VAULT_TOKEN": "simtok", **environment}))


def store_of(connection: Connection) -> KvStore:
    return KvStore(connection, Login(connection, LoginSettings()), "m")


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Server]]:
    made: list[Server] = []

    def start(handler: Handler) -> Server:
        made.append(Server(handler))
        return made[-1]

    yield start
    for server in made:
        server.close()


# --- headers ---------------------------------------------------------------------------------------------------------


def test_the_wish_to_forward_goes_only_with_an_index_that_the_server_gave(serve: Callable[[Handler], Server]) -> None:
    """And is dropped for good where it is refused; the request is sent again at once, a write too."""
    seen: list[tuple[str, str, bytes]] = []
    said: list[str] = []

    def vault(request: Request) -> Response:
        headers = request.headers
        seen.append((headers.get("x-vault-index", ""), headers.get("x-vault-inconsistent", ""), request.body))
        if "x-vault-inconsistent" in headers:
            text = "forwarding via header X-Vault-Inconsistent=forward-active-node disabled in configuration"
            return json_response(400, {"errors": [text]})
        return json_response(200, {"request_id": "1", "data": {"version": 1}}, X_Vault_Index="opaque")

    connection = Connection(read({"VAULT_ADDR": serve(vault).url}), on_event=said.append)
    for _ in range(3):
        assert connection.kv.create_or_update_secret("a", {"n": 1}, cas=0, mount_point="m").status == 200
    connection.close()

    assert [(index, wish) for index, wish, _ in seen] == [
        ("", ""), ("opaque", "forward-active-node"), ("opaque", ""), ("opaque", ""),
    ]  # fmt: skip
    assert len({body for *_, body in seen}) == 1
    assert said == ["forwarding_refused"]


def test_an_index_that_a_server_cant_read_is_dropped(serve: Callable[[Handler], Server]) -> None:
    """Another cluster behind the same address, say."""
    indexes: list[str] = []

    def vault(request: Request) -> Response:
        indexes.append(request.headers.get("x-vault-index", ""))
        if indexes[-1]:
            return json_response(400, {"errors": ['failed to decode "X-Vault-Index" header']})
        return json_response(200, {"request_id": "1", "data": {"keys": []}}, X_Vault_Index="opaque")

    connection = connected(serve(vault).url)
    assert [connection.list("/v1/m/metadata/a").status for _ in range(2)] == [200, 200]
    connection.close()
    assert indexes == ["", "opaque", ""]


# --- namespaces ------------------------------------------------------------------------------------------------------


@pytest.mark.vault
def test_a_namespace_that_is_ignored_is_refused_before_anything_is_written(vault: VaultServer) -> None:
    """HashiCorp's community edition would serve the root namespace, and everything would be registered there."""
    rules = HashiCorpProxy(vault.url)
    mount = fresh_mount()
    connection = Connection(read({"VAULT_ADDR": rules.url, "VAULT_TOKEN": vault.token, "VAULT_NAMESPACE": "team"}))
    with pytest.raises(ConfigurationError, match="namespace") as caught:
        registration.apply(connection, registration.Plan(mount=mount))
    connection.close()
    rules.close()

    assert caught.value.reason == "NamespaceIgnored"
    assert "VAULT_NAMESPACE" in caught.value.remedy()
    assert vault.request("GET", f"sys/mounts/{mount}").status_code == 400
    assert vault.request("GET", f"sys/policies/acl/{mount}-service").status_code == 404


def test_only_vaults_own_word_lets_a_namespace_pass(serve: Callable[[Handler], Server]) -> None:
    """A load balancer's page in place of sys/health says nothing: it is asked again, and nothing else is sent meanwhile."""
    asked: list[str] = []

    def vault(request: Request) -> Response:
        asked.append(request.path)
        if len(asked) == 1:
            return Response(502, b"<html>")
        if request.path == "/v1/sys/health":
            return json_response(200, {"initialized": True, "enterprise": False})
        return json_response(200, {"request_id": "1", "data": {"version": 1}})

    connection = connected(serve(vault).url, VAULT_NAMESPACE="team")
    with pytest.raises(ConfigurationError, match="namespace"):
        store_of(connection).write("acme", TenantSpec(server="vbr"), cas=0)
    connection.close()
    assert asked == ["/v1/sys/health"] * 2


def test_a_namespace_that_isnt_there_is_told(serve: Callable[[Handler], Server]) -> None:
    """Not taken for a missing mount, and never for an empty one."""

    def vault(request: Request) -> Response:
        if request.path == "/v1/sys/health":
            assert "x-vault-namespace" not in request.headers
            return json_response(200, {"initialized": True})
        return json_response(404, {"errors": ["namespace not found"]})

    connection = connected(serve(vault).url, VAULT_NAMESPACE="team")
    with pytest.raises(StoreUnavailable) as caught:
        store_of(connection).names(TenantSpec)
    connection.close()
    assert caught.value.reason == "NoSuchNamespace"
    assert "VAULT_NAMESPACE" in caught.value.remedy()


# --- absence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lookup", [404, 200, 405])
def test_an_empty_list_is_believed_only_from_a_vault(serve: Callable[[Handler], Server], lookup: int) -> None:
    """Any web server answers 404; with an empty object of errors, some do."""

    def web(request: Request) -> Response:
        if request.path.endswith("lookup-self"):
            return json_response(lookup, {"errors": []})
        return json_response(404, {"errors": []})

    connection = connected(f"{serve(web).url}/vault")
    with pytest.raises(StoreError) as caught:
        store_of(connection).names(TenantSpec)
    connection.close()
    assert "VAULT_ADDR" in caught.value.remedy()


@pytest.mark.vault
def test_a_path_behind_vaults_address_is_an_error(vault: VaultServer, mount: str) -> None:
    """A real Vault answers what isn't its API with an empty 404, too."""
    connection = Connection(read({"VAULT_ADDR": f"{vault.url}/vault", "VAULT_TOKEN": vault.token}))
    store = KvStore(connection, Login(connection, LoginSettings()), mount)
    with pytest.raises(StoreError) as caught:
        store.names(TenantSpec)
    connection.close()
    assert "VAULT_ADDR" in caught.value.remedy()


# --- time and size ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drips", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"])
def test_an_answer_that_drips_holds_nobody_longer_than_an_answer_may_take(drips: bytes) -> None:
    """In its head or in its body: a byte now and then is no answer."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            client.recv(65536)
            client.sendall(drips)
            for _ in range(60):
                try:
                    client.sendall(b"x")
                except OSError:
                    return
                time.sleep(0.25)

    threading.Thread(target=serve, daemon=True).start()
    connection = connected(f"http://127.0.0.1:{listener.getsockname()[1]}", VAULT_CLIENT_TIMEOUT="1s")
    began = time.monotonic()
    with pytest.raises(NoAnswer, match="no whole answer") as caught:
        connection.get("/v1/m/data/a")
    took = time.monotonic() - began
    connection.close()
    listener.close()

    assert caught.value.reason == "Timeout"
    assert 0.9 < took < 6


def test_a_long_list_is_read_as_a_stream(serve: Callable[[Handler], Server]) -> None:
    """Larger than any document may be."""
    keys = [f"{number:0100}" for number in range(40_000)]
    connection = connected(serve(lambda _: json_response(200, {"request_id": "1", "data": {"keys": keys}})).url)
    assert list(store_of(connection).keys("tenants")) == keys
    connection.close()


@pytest.mark.parametrize("body", [b'{"data":{"keys":["a",', b'{"data":{"keys":["a"]', b'{"data":{"keys":"a"}}', b'{"data":{}}'])
def test_half_a_list_is_none(serve: Callable[[Handler], Server], body: bytes) -> None:
    """What broke off isn't taken for the whole."""
    connection = connected(serve(lambda _: Response(200, body)).url)
    with pytest.raises(StoreUnavailable) as caught:
        store_of(connection).keys("tenants")
    connection.close()
    assert caught.value.reason == "VaultAnswerUnusable"


# --- throttles -------------------------------------------------------------------------------------------------------


def test_a_throttle_paces_and_is_no_outage(serve: Callable[[Handler], Server]) -> None:
    """After the pause the same request goes again, without any backing off."""
    came: list[float] = []

    def vault(_: Request) -> Response:
        came.append(time.monotonic())
        if len(came) in (1, 3):
            return json_response(429, {"errors": ["rate limit quota exceeded"]}, Retry_After="0")
        return json_response(200, {"request_id": "1", "data": {"keys": ["a"]}})

    connection = connected(serve(vault).url)
    assert [list(store_of(connection).keys("tenants")) for _ in range(2)] == [["a"], ["a"]]
    connection.close()

    pauses = [later - sooner for sooner, later in itertools.pairwise(came)]
    assert len(came) == 4
    assert pauses[0] >= 0.99
    assert pauses[2] >= 0.99


@pytest.mark.parametrize(
    ("said", "seconds"), [("0", 1), ("", 1), ("7", 7), ("600", 30), ("-5", 1), ("soon", 1), ("nan", 1), ("inf", 1), ("1e99", 1)]
)
def test_a_throttles_pause_has_bounds(said: str, seconds: float) -> None:
    """At least a second, at most half a minute; a second where it says nothing that can be read."""
    assert pause_of(answer(429, {"errors": ["quota"]}, retry_after=said)).total_seconds() == seconds


# --- classes ---------------------------------------------------------------------------------------------------------


def answer(status: int, body: object, *, own: bool = True, retry_after: str = "") -> Answer:
    content = body if isinstance(body, dict) else {}
    call = None
    return Answer(status, tuple(content.get("errors", ())), content, call, own=own, retry_after=retry_after)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "text", "outcome", "reason", "remedy"),
    [
        (503, "Vault is sealed", Outcome.UNCLEAR, "VaultSealed", "unseal"),
        (500, "JSON string value exceeds allowed length", Outcome.FAULT, "VaultRefusesDocument", "smaller"),
        (500, "JSON input exceeds allowed nesting depth", Outcome.FAULT, "VaultRefusesDocument", "smaller"),
        (500, "JSON object exceeds allowed entry count", Outcome.FAULT, "VaultRefusesDocument", "smaller"),
        (500, "duplicate key 'a' in object", Outcome.FAULT, "VaultRefusesDocument", "smaller"),
        (500, "put failed due to value being too large; got 9 bytes", Outcome.FAULT, "VaultRefusesDocument", "smaller"),
        (400, "refused JSON input due to high complexity: exceeded", Outcome.FAULT, "VaultRefusesDocument", "smaller"),
        (413, "http: request body too large", Outcome.FAULT, "Vault413", "smaller"),
        (500, "local node not active but active cluster node not found", Outcome.UNCLEAR, "VaultHasNoLeader", "Nothing to do"),
        (500, "leadership lost while committing log", Outcome.UNCLEAR, "VaultHasNoLeader", "Nothing to do"),
        (500, "node is not the leader", Outcome.UNCLEAR, "VaultHasNoLeader", "Nothing to do"),
        (404, 'no handler for route "none/data/a". route entry not found.', Outcome.MISSING, "NoSuchMount", "--mount"),
        (429, 'request path "m/data/a": rate limit quota exceeded', Outcome.PACED, "VaultThrottled", "quota"),
        (500, "could not find version data", Outcome.UNCLEAR, "Vault500", "isn't known"),
        (405, "unsupported operation", Outcome.FAULT, "Vault405", "isn't known"),
        (502, "", Outcome.UNCLEAR, "Vault502", "isn't known"),
    ],
)
def test_the_remedy_follows_from_the_cause(status: int, text: str, outcome: Outcome, reason: str, remedy: str) -> None:
    """Where the cause isn't known it says so, and shows Vault's own text."""
    given = answer(status, {"errors": [text] if text else []})
    error = error_of(given, "asking")

    assert (outcome_of(given), error.reason) == (outcome, reason)
    assert remedy in error.remedy()
    assert (text or str(status)) in str(error)
    assert reason == "VaultSealed" or "nseal" not in error.remedy()


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 405, 406, 413, 418, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"<html>WAF</html>", b"", b"[]", b'{"message":"blocked"}', b'"errors"'])
def test_an_answer_that_isnt_vaults_is_told_as_such(serve: Callable[[Handler], Server], status: int, body: bytes) -> None:
    """For every status: no remedy that would be Vault's, no verdict on our token, nothing of the page."""
    page = Response(status, body, {"Content-Type": "text/html; charset=utf-8", "Server": "waf/1"})
    connection = connected(serve(lambda _: page).url)
    given = connection.get("/v1/m/data/a")
    connection.close()
    error = error_of(given, "asking")

    assert not given.own
    assert outcome_of(given) not in (Outcome.OK, Outcome.ASK_SELF, Outcome.MISSING, Outcome.LOST)
    assert error.reason == "VaultAnswerUnusable"
    assert f"status {status}, text/html by" in str(error)
    assert "blocked" not in str(error)
    assert "before Vault" in error.remedy()


def test_plain_http_to_a_port_for_tls_is_told() -> None:
    """Go's server says so in words of its own, without any JSON."""
    words = b"Client sent an HTTP request to an HTTPS server.\n"
    server = Server(lambda _: Response(400, words))
    connection = connected(server.url)
    error = error_of(connection.get("/v1/m/data/a"), "asking")
    connection.close()
    server.close()
    assert (error.reason, "https://" in error.remedy()) == ("TlsWanted", True)


def test_deep_json_is_no_traceback(serve: Callable[[Handler], Server]) -> None:
    """A page that nests is a page."""
    connection = connected(serve(lambda _: Response(200, b"[" * 100_000)).url)
    assert not connection.get("/v1/m/data/a").own
    assert not connection.list("/v1/m/metadata/a").own
    connection.close()
    assert json.loads("[]") == []
