"""A proxy's trouble is told as the proxy's, and nothing was sent then."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulators.proxy import TunnelProxy
from tests.simulators.raw import RawServer, Says, answer
from tests.simulators.sockets import hang_up
from tests.simulators.tls import Authority
from vault_plugin.core.errors import AuthorizationServerUnavailable, BackupServerUnavailable
from vault_plugin.core.ports import Approved
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding, ServerSpec
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.veeam.client import VeeamClient

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BODY = json.dumps({"access_token": "a", "refresh_token": "r", "token_type": "bearer", "expires_in": 3600}).encode()
USER = "simtok-proxyuser"
PASSWORD = "simtok-proxypassword"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    """Return how a server is started that stands where a proxy should."""
    made: list[RawServer] = []

    def start(says: Says, tls: ssl.SSLContext | None = None) -> RawServer:
        made.append(RawServer(says, tls))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def microsoft(authority: Authority) -> Iterator[RawServer]:
    server = RawServer(lambda _: [answer(BODY)], authority.shared_context)
    yield server
    server.close()


def poll(server: RawServer, authority: Authority) -> object:
    binding = Binding(authority=server.url, client_id="c", scope="s", organization="o", server="vbr")
    return MicrosoftClient(str(authority.ca_file)).poll(binding, Secret("simtok-d"), NOW)


def trouble(server: RawServer, authority: Authority) -> AuthorizationServerUnavailable:
    with pytest.raises(AuthorizationServerUnavailable) as caught:
        poll(server, authority)
    assert not caught.value.sent
    assert server.asked == []
    told = f"{caught.value} {caught.value.remedy()}"
    assert USER not in told
    assert PASSWORD not in told
    assert "HTTPS_PROXY" in caught.value.remedy()
    return caught.value


def with_password(url: str) -> str:
    return url.replace("://", f"://{USER}:{PASSWORD}@").replace("localhost", "127.0.0.1")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("407 Proxy Authentication Required", "ProxyAuthenticationRequired"),
        ("403 Forbidden", "ProxyRefused"),
        ("502 Bad Gateway", "ProxyRefused"),
        ("503 Service Unavailable", "ProxyRefused"),
        ("302 Found", "ProxyRefused"),
        ("511 Network Authentication Required", "ProxyRefused"),
    ],
)
def test_what_a_proxy_answers_is_the_proxys_word(
    status: str,
    reason: str,
    serve: Callable[..., RawServer],
    microsoft: RawServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its status; nothing of its page, and no password, is shown."""
    proxy = serve(lambda _: [answer(b"<html>simpage</html>", status), None])
    monkeypatch.setenv("HTTPS_PROXY", with_password(proxy.url))
    told = trouble(microsoft, authority)

    assert told.reason == reason
    assert f"the proxy (127.0.0.1:{proxy.port})" in str(told)
    assert f"(status {status[:3]})" in str(told)
    assert "simpage" not in str(told)


def test_a_proxy_that_isnt_there_or_has_no_name_is_told(
    microsoft: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the proxy's trouble, for Veeam too."""
    monkeypatch.setenv("HTTPS_PROXY", with_password("http://127.0.0.1:1"))
    assert trouble(microsoft, authority).reason == "ProxyUnreachable"
    spec = ServerSpec(url=microsoft.url, ca_pem=authority.pem)
    with pytest.raises(BackupServerUnavailable) as caught:
        VeeamClient().refresh(spec, Secret("simtok-r"), timedelta(seconds=10))
    assert caught.value.reason == "ProxyUnreachable"

    true = socket.getaddrinfo

    def unknown(host: str, *args: object, **more: object) -> object:
        if host == "proxy.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return true(host, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("HTTPS_PROXY", with_password("http://proxy.invalid:3128"))
    told = trouble(microsoft, authority)
    assert told.reason == "ProxyNameUnknown"
    assert "proxy.invalid:3128" in str(told)


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "ftp://127.0.0.1:21", "http://"])
def test_a_proxy_of_another_kind_is_told(
    address: str, microsoft: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be used, and nothing was sent."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    assert trouble(microsoft, authority).reason == "ProxyUnusable"


def test_a_proxy_that_hangs_is_told_in_the_time_to_connect(
    serve: Callable[..., RawServer], microsoft: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or one that drips."""
    monkeypatch.setattr("vault_plugin.microsoft.client.CONNECT_TIMEOUT", 1.0)
    for says in ([60.0], [b"HTTP/1.1 200 OK\r\nX: ", *[b"x", 0.2] * 60]):
        monkeypatch.setenv("HTTPS_PROXY", serve(lambda _, says=says: says).url)
        began = time.monotonic()
        assert trouble(microsoft, authority).reason == "ProxyTimeout"
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("says", [[None], [b"SSH-2.0-OpenSSH\r\n\r\n", None]], ids=["hangs up", "no HTTP"])
def test_a_proxy_that_speaks_no_http_is_told(
    says: list[bytes | float | None],
    serve: Callable[..., RawServer],
    microsoft: RawServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It isn't one, perhaps."""
    monkeypatch.setenv("HTTPS_PROXY", serve(lambda _: says).url)
    assert trouble(microsoft, authority).reason == "ProxyAnswerUnusable"


def test_a_proxy_whose_tls_isnt_ours_is_told(
    serve: Callable[..., RawServer],
    microsoft: RawServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """http:// and https:// mistaken for each other, and a certificate that nobody trusts."""
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def refuse() -> None:
            client, _ = plain.accept()
            with client:
                client.recv(65536)
                client.sendall(answer(b"", "400 Bad Request"))
                hang_up(client)

        threading.Thread(target=refuse, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"https://127.0.0.1:{plain.getsockname()[1]}")
        told = trouble(microsoft, authority)
    assert told.reason == "ProxyTlsFailed"
    assert "wrong version number" in str(told)

    secure = serve(lambda _: [answer(b"")], authority.shared_context)
    monkeypatch.setenv("HTTPS_PROXY", secure.url.replace("https://", "http://"))
    assert trouble(microsoft, authority).reason == "ProxyAnswerUnusable"

    foreign = serve(lambda _: [answer(b"")], Authority(tmp_path).context())
    monkeypatch.setenv("HTTPS_PROXY", foreign.url)
    told = trouble(microsoft, authority)
    assert told.reason == "ProxyTlsFailed"
    assert "certificate" in str(told)


@pytest.mark.parametrize("trust", ["ca", "pin", "insecure"])
def test_a_proxy_that_speaks_tls_works(trust: str, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is trusted by the bundle, whatever is trusted behind it; an interim answer before its 200 is read past."""
    context, fingerprint = authority.self_signed()
    server = RawServer(lambda _: [answer(BODY)], authority.shared_context if trust == "ca" else context)
    proxy = TunnelProxy(authority.shared_context)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    spec = ServerSpec(
        url=server.url,
        ca_pem=authority.pem if trust == "ca" else None,
        fingerprint_sha256=fingerprint if trust == "pin" else None,
        insecure=trust == "insecure",
    )
    client = VeeamClient(str(authority.ca_file))
    assert client.refresh(spec, Secret("simtok-r"), timedelta(seconds=10)).access_token.reveal() == "a"
    proxy.close()
    server.close()

    assert proxy.tunnels == [f"localhost:{server.port}"]


@pytest.mark.parametrize(
    "after", [[None], [b"HTTP/1.1 400 Bad Request\r\n\r\n"], [60.0]], ids=["hangs up", "garbage", "silence"]
)
def test_a_way_that_the_proxy_opens_and_breaks_is_told_with_the_proxy(
    after: list[bytes | float | None],
    serve: Callable[..., RawServer],
    microsoft: RawServer,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody can tell which of the two it was."""
    monkeypatch.setattr("vault_plugin.microsoft.client.CONNECT_TIMEOUT", 1.0)
    proxy = serve(lambda _: [b"HTTP/1.1 200 Connection established\r\n\r\n", *after])
    monkeypatch.setenv("HTTPS_PROXY", with_password(proxy.url))
    told = trouble(microsoft, authority)

    # What comes together with the proxy's 200 belongs to its answer; what comes later isn't TLS: both are as they must be.
    assert told.reason in ("TlsFailed", "ConnectTimeout", "ConnectionFailed", "PlainHttpOnPort")
    assert f"through the proxy (127.0.0.1:{proxy.port}): " in str(told)
    assert "Nothing to do" not in told.remedy()


def test_what_stands_behind_the_proxy_is_told_with_the_proxy(
    microsoft: RawServer, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate that isn't trusted, through a tunnel that works: the proxy may have shown its own."""
    proxy = TunnelProxy()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert isinstance(poll(microsoft, authority), Approved)
    microsoft.asked.clear()
    with pytest.raises(AuthorizationServerUnavailable) as caught:
        poll(microsoft, Authority(tmp_path))
    proxy.close()

    assert (caught.value.reason, caught.value.sent) == ("CertificateNotTrusted", False)
    assert "through the proxy" in str(caught.value)
    assert "its own CA is trusted" in caught.value.remedy()
