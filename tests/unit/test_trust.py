"""A server's trust holds on every way to it: straight, and through the proxy that the environment names."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.simulators.http import Request, Response, Server
from tests.simulators.proxy import TunnelProxy
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.errors import BackupServerUnavailable
from vault_plugin.core.ports import TokenAnswer
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.veeam.client import VeeamClient

ORGANIZATION = "contoso.onmicrosoft.com"
ASSERTION = Secret(json.dumps({"access_token": "simtok-a", "refresh_token": "simtok-r"}))
TIMEOUT = timedelta(seconds=30)


class Watched:
    """A VB365 server with a certificate of nobody's, and every request that reached it."""

    def __init__(self, authority: Authority) -> None:
        self.seen: list[Request] = []
        self._veeam = VeeamSimulator(lambda: datetime.now(UTC))
        context, self.fingerprint = authority.self_signed()
        self.pinned = Server(self._answer, context)
        self.by_ca = Server(self._answer, authority.shared_context)

    def _answer(self, request: Request) -> Response:
        self.seen.append(request)
        return self._veeam(request)

    def close(self) -> None:
        self.pinned.close()
        self.by_ca.close()


@pytest.fixture
def watched(authority: Authority) -> Iterator[Watched]:
    made = Watched(authority)
    yield made
    made.close()


@pytest.fixture(params=["straight", "proxied"])
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[TunnelProxy | None]:
    """Return the proxy that the environment names, or None."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    if request.param == "straight":
        yield None
        return
    made = TunnelProxy()
    monkeypatch.setenv("HTTPS_PROXY", made.url)
    yield made
    made.close()


def call(server: ServerSpec) -> TokenAnswer:
    return VeeamClient().exchange(server, ORGANIZATION, ASSERTION, TIMEOUT)


def test_what_the_server_document_trusts_is_called(watched: Watched, authority: Authority, proxy: TunnelProxy | None) -> None:
    """A pin whatever the name, and a CA."""
    assert isinstance(call(ServerSpec(url=watched.pinned.url, fingerprint_sha256=watched.fingerprint)), TokenAnswer)
    assert isinstance(call(ServerSpec(url=watched.by_ca.url, ca_pem=authority.pem)), TokenAnswer)
    assert len(watched.seen) == 2
    assert proxy is None or proxy.tunnels


@pytest.mark.parametrize("trust", ["another pin", "a foreign CA", "the system's authorities"])
def test_any_other_server_is_sent_nothing(trust: str, watched: Watched, proxy: TunnelProxy | None, tmp_path: Path) -> None:
    """No assertion reaches whoever answers there."""
    server = {
        "another pin": ServerSpec(url=watched.pinned.url, fingerprint_sha256="ab" * 32),
        "a foreign CA": ServerSpec(url=watched.by_ca.url, ca_pem=Authority(tmp_path).pem),
        "the system's authorities": ServerSpec(url=watched.by_ca.url),
    }[trust]
    with pytest.raises(BackupServerUnavailable) as caught:
        call(server)

    assert caught.value.reason == "CertificateNotTrusted"
    assert watched.seen == []
    assert proxy is None or proxy.tunnels
