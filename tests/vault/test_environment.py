"""Vault's environment variables mean here what they mean to Vault's own client, or are an error that names them."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from tests.simulators.http import Request, Response, Server, json_response
from tests.simulators.proxy import TunnelProxy
from tests.simulators.tls import Authority
from vault_plugin.core.errors import ConfigurationError, StoreUnavailable
from vault_plugin.vault.answer import Answer, NoAnswer
from vault_plugin.vault.answers import error_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import DEFAULT_ADDRESS, read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.proxies import proxy_for
from vault_plugin.vault.store import KvStore

PROXY = "http://proxy.example:3128"


def seal_status(request: Request) -> Response:
    """Answer as Vault does to anything: an object that proves nothing."""
    return json_response(200, {"data": {"asked": request.path, "token": request.headers.get("x-vault-token", "")}})


@pytest.fixture
def served(authority: Authority) -> Iterator[Server]:
    server = Server(seal_status, authority.shared_context)
    yield server
    server.close()


def ask(**environment: str) -> Answer:
    """Send one request with these variables set."""
    connection = Connection(read(environment))
    try:
        return connection.get("/v1/sys/seal-status")  # type: ignore[no-any-return]  # hvac has no annotation
    finally:
        connection.close()


def trouble(**environment: str) -> StoreUnavailable:
    """Return the error that a request with these variables set comes to."""
    with pytest.raises(NoAnswer) as caught:
        ask(**environment)
    error = error_of(caught.value, "asking")
    assert isinstance(error, StoreUnavailable)
    return error


def test_bao_wins_over_vault_and_all_supported_variables_are_read() -> None:
    """One place reads them."""
    settings = read(
        {
            "VAULT_ADDR": "https://vault:8200/", "BAO_ADDR": "https://bao:8200", "VAULT_NAMESPACE": "admin/emea/",
            "VAULT_CACERT": "/ca.pem", "VAULT_SKIP_VERIFY": "true", "VAULT_CLIENT_TIMEOUT": "60s", "VAULT_TLS_SERVER_NAME": "v",
            "VAULT_TOKEN": "t", "VAULT_FORMAT": "json", "VAULT_SERVICE_HOST": "10.0.0.1", "VAULT_PORT_8200_TCP": "tcp://x",
        }
    )  # fmt: skip

    assert settings.address == "https://bao:8200"
    assert (settings.namespace, settings.ca_cert, settings.skip_verify) == ("admin/emea", "/ca.pem", True)
    assert (settings.answer_timeout, settings.tls_server_name) == (timedelta(seconds=60), "v")
    assert settings.token is not None
    assert read({}).address == DEFAULT_ADDRESS
    assert read({"VAULT_AGENT_ADDR": "http://127.0.0.1:8100", "VAULT_ADDR": "https://vault:8200"}).address.endswith(":8100")


@pytest.mark.parametrize(
    "environment",
    [{"VAULT_MFA": "1"}, {"BAO_WRAP_TTL": "1"}, {"VAULT_SRV_LOOKUP": "true"}, {"VAULT_RATE_LIMIT": "20"},
     {"VAULT_SKIP_VERIFY": "perhaps"}, {"VAULT_ADDR": "vault:8200"}, {"VAULT_ADDR": "https://vault:99999"},
     {"VAULT_ADDR": "https://va\u00fclt:8200"}, {"VAULT_ADDR": "https://vault:8200/ui?x"}, {"VAULT_ADDR": "unix://"},
     {"VAULT_CLIENT_TIMEOUT": "soon"}, {"VAULT_PROXY_ADDR": "socks5://127.0.0.1:1080"}, {"VAULT_PROXY_ADDR": "http://"}, {"VAULT_TLS_SERVER_NAME": "a..b"}],
)  # fmt: skip
def test_what_vaults_client_obeys_and_we_dont_is_an_error_and_not_silence(environment: dict[str, str]) -> None:
    """It names the variable."""
    with pytest.raises(ConfigurationError, match=next(iter(environment))):
        read(environment)


@pytest.mark.parametrize("name", ["VAULT_FOO", "VAULT_BINARY", "BAO_K8S_POD_NAME", "VAULT_MAX_RETRIES", "VAULT_LOG_LEVEL"])
def test_what_isnt_for_vaults_client_is_ignored(name: str) -> None:
    """As Vault's own client ignores it; so is what switches nothing on."""
    assert read({name: "1", "VAULT_SRV_LOOKUP": "false"}) == read({})


@pytest.mark.parametrize("value", ["s.ab\ncd", "s.ab cd", "s.ab\u200bcd", "s.\u00fc", "s.ab\x00cd", "\ufeffs.ab"])
@pytest.mark.parametrize("variable", ["VAULT_TOKEN", "BAO_TOKEN", "VAULT_NAMESPACE"])
def test_a_stray_character_is_an_error_that_names_its_variable(variable: str, value: str) -> None:
    """Never a traceback, and nothing of the value is shown."""
    with pytest.raises(ConfigurationError, match=variable) as caught:
        read({variable: value})

    assert caught.value.reason == "StrayCharacter"
    assert "s.ab" not in str(caught.value)


def test_blanks_around_a_token_are_no_part_of_it() -> None:
    """A file's last line break, for one."""
    token = read({"VAULT_TOKEN": " s.abc\r\n"}).token
    assert token is not None
    assert token.reveal() == "s.abc"
    assert read({"VAULT_TOKEN": " \n"}).token is None


# --- proxies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "always", "environment", "proxied"),
    [
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY}, True),
        ("https://vault.example:8200", "", {"https_proxy": PROXY}, True),
        ("https://vault.example:8200", "", {"HTTP_PROXY": PROXY}, False),
        ("http://vault.example:8200", "", {"HTTP_PROXY": PROXY}, True),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "vault.example"}, False),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "no_proxy": "other, .example"}, False),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "example"}, False),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "ault.example"}, True),
        ("https://example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": ".example"}, True),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "vault.example:8200"}, False),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "vault.example:443"}, True),
        ("https://vault.example", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "vault.example:443"}, False),
        ("https://vault.example:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "*"}, False),
        ("https://10.1.2.3:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8"}, False),
        ("https://10.1.2.3:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3"}, False),
        ("https://10.1.2.3:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3:8200"}, False),
        ("https://10.1.2.30:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "10.1.2.3"}, True),
        ("https://[fd00::7]:8200", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "fd00::/8"}, False),
        ("https://127.0.0.1:8200", "", {"HTTPS_PROXY": PROXY}, False),
        ("https://localhost:8200", "", {"HTTPS_PROXY": PROXY}, False),
        ("https://vault.example:8200", PROXY, {"NO_PROXY": "*"}, True),
        ("https://localhost:8200", PROXY, {}, True),
        ("unix:///run/agent.sock", PROXY, {}, False),
    ],
)
def test_a_proxy_is_chosen_as_vaults_own_client_chooses_it(
    address: str, always: str, environment: dict[str, str], *, proxied: bool
) -> None:
    """Go's httpproxy, and Vault's own two variables, which except nothing."""
    assert proxy_for(address, always, environment) == ({address.partition(":")[0]: PROXY} if proxied else {})


def test_requests_go_through_the_proxy_that_is_set(served: Server, authority: Authority) -> None:
    """VAULT_PROXY_ADDR before VAULT_HTTP_PROXY; the trust holds through it."""
    proxy = TunnelProxy()
    trusted = {"VAULT_ADDR": served.url, "VAULT_CACERT": str(authority.ca_file)}
    assert ask(**trusted, HTTPS_PROXY=proxy.url).status == 200
    assert proxy.tunnels == []

    assert ask(**trusted, VAULT_HTTP_PROXY="http://127.0.0.1:1", VAULT_PROXY_ADDR=proxy.url).status == 200
    assert ask(**trusted, VAULT_HTTP_PROXY=proxy.url).status == 200
    assert proxy.tunnels == [f"localhost:{served.port}"] * 2
    assert trouble(VAULT_ADDR=served.url, VAULT_PROXY_ADDR=proxy.url).reason == "CertificateNotTrusted"
    for address in (served.url, "http://vault.example:8200"):
        error = trouble(VAULT_ADDR=address, VAULT_PROXY_ADDR="http://127.0.0.1:1")
        assert (error.reason, "VAULT_PROXY_ADDR" in error.remedy()) == ("ProxyUnreachable", True)
    proxy.close()


# --- sockets and agents ----------------------------------------------------------------------------------------------


def test_an_agent_on_a_unix_socket_adds_the_token(tmp_path: Path) -> None:
    """``VB365_VAULT_AUTH=none``: no token of ours is sent, and none is needed."""
    path = tmp_path / "agent.sock"
    heads: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while head := client.recv(65536):
                    heads.append(head)
                    body = b'{"request_id":"1","data":{"ttl":100,"renewable":true,"keys":["acme"]}}'
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    threading.Thread(target=serve, daemon=True).start()
    connection = Connection(read({"VAULT_ADDR": f"unix://{path}"}))
    login = Login(connection, LoginSettings("none"))
    login.ensure(timedelta(0))

    assert list(KvStore(connection, login, "vb365").keys("tenants")) == ["acme"]
    connection.close()
    listener.close()
    assert [head.split(b" ")[1] for head in heads] == [b"/v1/auth/token/lookup-self", b"/v1/vb365/metadata/tenants?list=true"]
    assert not any(b"x-vault-token" in head.lower() for head in heads)
    assert all(b"x-vault-request: true" in head.lower() for head in heads)


def test_a_socket_that_isnt_there_is_said(tmp_path: Path) -> None:
    """Not a traceback."""
    assert trouble(VAULT_ADDR=f"unix://{tmp_path}/none.sock").reason == "VaultUnreachable"


# --- trust -----------------------------------------------------------------------------------------------------------


def test_a_folder_of_plain_pem_files_is_trusted(served: Server, authority: Authority, tmp_path: Path) -> None:
    """Whatever they are called, and whatever else is there: OpenSSL alone wants names that are hashes."""
    (tmp_path / "below").mkdir()
    (tmp_path / "README").write_text("no certificate")
    (tmp_path / "another.crt").write_bytes(trustme.CA().cert_pem.bytes())
    assert trouble(VAULT_ADDR=served.url, VAULT_CAPATH=str(tmp_path)).reason == "CertificateNotTrusted"
    (tmp_path / "below" / "ours.pem").write_text(authority.pem)
    assert "hunter2" not in repr(read({"VAULT_ADDR": served.url, "VAULT_PROXY_ADDR": "http://svc:hunter2@proxy:3128"}))

    assert ask(VAULT_ADDR=served.url, VAULT_CAPATH=str(tmp_path)).status == 200
    assert ask(VAULT_ADDR=served.url, VAULT_CACERT_BYTES=authority.pem, VAULT_CACERT=str(tmp_path / "none")).status == 200


@pytest.mark.parametrize(
    "variables",
    [{"VAULT_CACERT": "none.pem"}, {"VAULT_CACERT": "note.txt"}, {"VAULT_CAPATH": "empty"}, {"VAULT_CAPATH": "none"},
     {"VAULT_CACERT": "latin.pem"}, {"VAULT_CACERT_BYTES": "x"}, {"VAULT_CLIENT_CERT": "note.txt"},
     {"VAULT_CLIENT_CERT": "note.txt", "VAULT_CLIENT_KEY": "note.txt"}],
)  # fmt: skip
def test_a_file_that_cant_be_used_is_an_error_that_names_its_variable(variables: dict[str, str], tmp_path: Path) -> None:
    """Before anything is sent."""
    (tmp_path / "note.txt").write_text("no certificate")
    (tmp_path / "latin.pem").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").mkdir()
    environment = {name: value if name.endswith("BYTES") else str(tmp_path / value) for name, value in variables.items()}
    with pytest.raises(ConfigurationError, match=next(iter(variables))):
        Connection(read({"VAULT_ADDR": "https://localhost:1", **environment}))


def test_a_ca_that_is_renewed_is_taken_up(served: Server, authority: Authority, tmp_path: Path) -> None:
    """Certificates are renewed under a service that runs on; a file that is half written changes nothing."""
    ca = tmp_path / "ca.pem"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    connection = Connection(read({"VAULT_ADDR": served.url, "VAULT_CACERT": str(ca)}))
    with pytest.raises(NoAnswer, match="isn't trusted"):
        connection.get("/v1/sys/seal-status")
    ca.write_text(authority.pem)
    assert connection.get("/v1/sys/seal-status").status == 200

    ca.write_text("half a certif")
    assert connection.get("/v1/sys/seal-status").status == 200
    connection.close()


def test_the_trust_holds_where_plain_http_leads_to_https(served: Server, authority: Authority) -> None:
    """A balancer that sends on to the active node."""
    front = Server(lambda request: Response(307, b"", {"Location": f"{served.url}{request.path}"}))
    assert ask(VAULT_ADDR=front.url, VAULT_CACERT=str(authority.ca_file)).status == 200
    assert trouble(VAULT_ADDR=front.url).reason == "CertificateNotTrusted"
    front.close()


def test_tls_trouble_says_what_it_is(served: Server, authority: Authority) -> None:
    """Unknown CA, another name, an expired certificate, plain HTTP on the port, and TLS on a plain one."""
    trusted = {"VAULT_CACERT": str(authority.ca_file)}
    assert trouble(VAULT_ADDR=served.url).reason == "CertificateNotTrusted"
    assert "VAULT_CACERT" in trouble(VAULT_ADDR=served.url).remedy()

    another = trouble(VAULT_ADDR=served.url, VAULT_TLS_SERVER_NAME="vault.example", **trusted)
    assert (another.reason, "VAULT_TLS_SERVER_NAME" in another.remedy()) == ("CertificateNameMismatch", True)

    expired = Server(seal_status, authority.context(expired=True))
    assert trouble(VAULT_ADDR=expired.url, **trusted).reason == "CertificateExpired"
    expired.close()

    plain = Server(seal_status)
    wrong = trouble(VAULT_ADDR=plain.url.replace("http:", "https:"), **trusted)
    assert (wrong.reason, "http://" in wrong.remedy()) == ("PlainHttpOnPort", True)
    plain.close()


def test_a_client_certificate_that_is_wanted_is_shown_or_told(authority: Authority, tmp_path: Path) -> None:
    """TLS 1.3 says so only after the request was sent."""
    clients = trustme.CA()
    context = authority.context()
    clients.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = Server(seal_status, context)
    trusted = {"VAULT_ADDR": server.url, "VAULT_CACERT": str(authority.ca_file)}
    error = trouble(**trusted)
    assert (error.reason, "VAULT_CLIENT_CERT" in error.remedy()) == ("ClientCertificateWanted", True)

    leaf = clients.issue_cert("service@example")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    shown = {"VAULT_CLIENT_CERT": str(tmp_path / "cert.pem"), "VAULT_CLIENT_KEY": str(tmp_path / "key.pem")}
    assert ask(**trusted, **shown).status == 200
    server.close()


def test_nothing_is_verified_where_that_is_asked_for(served: Server) -> None:
    """VAULT_SKIP_VERIFY, the name included."""
    assert ask(VAULT_ADDR=served.url, VAULT_SKIP_VERIFY="true", VAULT_TLS_SERVER_NAME="vault.example").status == 200
