"""Connections that are made in a bounded time, and kept for their owners only.

Connecting has one time for the name's addresses, the proxy and TLS together; `answering` bounds what comes back. A connection
is used again only by the owner of the call before (`calls.Call.owner`), and not after an answer whose end could be disputed.
"""

import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from vault_plugin import calls, contexts
from vault_plugin.answering import Timed
from vault_plugin.calls import Stage
from vault_plugin.dialing import addresses_of, dial, shun


class _Connection(HTTPConnection):
    response_class = Timed
    _by = 0.0
    _peer = ("", 0)

    def connect(self) -> None:
        """Connect by one time for all of it, and never later than the request may be sent."""
        call = calls.current()
        if self.proxy is not None:
            call.proxy = f"{self.proxy.host}:{self.proxy.port}"
        self._by = min(time.monotonic() + self._seconds, call.send_by)
        try:
            super().connect()
        except OSError as error:
            judged = isinstance(error, ssl.SSLCertVerificationError)  # a verdict on the host, whichever address it has
            if call.stage is Stage.TLS and self.proxy is None and not judged:
                shun(self._peer)
            raise
        self._check()

    def _new_conn(self) -> socket.socket:
        call = calls.current()
        call.stage = Stage.NAME
        try:
            addresses = addresses_of(self._dns_host.strip("[]"), self.port, call.send_by)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no name in time") from error
        call.stage = Stage.CONNECT
        self._by = min(time.monotonic() + self._seconds, call.send_by)
        try:
            made = dial(addresses, self._by, self.source_address, self.socket_options or ())
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "no connection in time") from error
        except OSError as error:
            raise NewConnectionError(self, "no connection") from error
        call.stage = Stage.TLS if self.proxy is None else Stage.PROXY
        made.settimeout(max(self._by - time.monotonic(), 0.001))
        self._peer = made.getpeername()[:2]
        return made

    def _tunnel(self) -> None:
        call = calls.current()
        try:
            super()._tunnel()
        except OSError as error:
            refused = re.search(r"failed: (\d{3})\b", str(error))  # its only word of the status
            call.proxy_status = int(refused[1]) if refused else 0
            raise
        self._check()
        call.stage = Stage.TLS
        self.sock.settimeout(self._by - time.monotonic())

    @property
    def _seconds(self) -> float:
        return float(self.timeout) if isinstance(self.timeout, int | float) else 0.0

    def _check(self) -> None:
        if time.monotonic() >= self._by:
            raise ConnectTimeoutError(self, "no connection in time")

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's own arguments
        """Send, and where the other side has hung up meanwhile, let what it said before be read: urllib3 does so of a pipe."""
        if self.is_closed:
            self.connect()
        calls.current().stage = Stage.SENT
        try:
            super().request(*args, **kwargs)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError from error

    def getresponse(self) -> Any:  # noqa: ANN401 - urllib3's own response, which isn't http.client's
        """Wait for the answer as long as it may take, from now on."""
        self.timeout = max(min(self._seconds, calls.current().until - time.monotonic()), 0.001)
        return super().getresponse()


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class TimedAdapter(HTTPAdapter):
    """Pools connections whose answers are bounded in time, by their owners.

    `trust` are urllib3's own arguments for a connection's TLS; without any, requests' `verify` says whom to trust. They are
    part of what names a connection in the pools, so that they hold straight and through a proxy alike. A proxy that speaks TLS
    itself is trusted by `bundle`.
    """

    def __init__(
        self,
        trust: Mapping[str, Any] | None = None,
        *,
        bundle: str | bool = True,
        hosts: int = 64,
        each: int = 32,
    ) -> None:
        """Take the trust, for how many hosts (and owners) connections are kept, and how many for each."""
        self._trust = dict(trust or {})
        self._bundle = bundle
        super().__init__(pool_connections=hosts, pool_maxsize=each)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' own arguments
        """Make the pools, of connections of ours."""
        super().init_poolmanager(*args, **kwargs)
        _ours(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - requests' own
        """Make the pools of a proxy, of connections of ours."""
        if proxy not in self.proxy_manager and proxy.lower().startswith("https:"):
            kwargs["proxy_ssl_context"] = contexts.for_proxy(self._bundle)
        return _ours(super().proxy_manager_for(proxy, **kwargs))

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:  # noqa: ANN401, FBT001 - requests' own
        """Leave a connection's trust as it was named, where it was."""

    def add_headers(self, request: requests.PreparedRequest, **_: Any) -> None:  # noqa: ANN401 - requests' own
        """Say so where the connection ends with the answer."""
        if not calls.current().owner:
            request.headers["Connection"] = "close"

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001 - requests' own signature
        cert: Any = None,  # noqa: ANN401 - requests' own
    ) -> Any:  # noqa: ANN401 - requests' own
        """Name a connection by its trust, too."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] != "https":
            return host, {}
        return host, self._trust or {"cert_reqs": "CERT_REQUIRED", "ssl_context": contexts.BUNDLES.trusting(verify)}


def _ours(manager: Any) -> Any:  # noqa: ANN401 - urllib3's pool manager
    """Have connections of ours made, and each found again by its owner only."""
    if manager.pool_classes_by_scheme is not _POOLS:
        manager.pool_classes_by_scheme = _POOLS
        normal = manager.key_fn_by_scheme
        manager.key_fn_by_scheme = {scheme: _owned(key) for scheme, key in normal.items()}
    return manager


def _owned(key: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda context: (calls.current().owner, key(context))


_POOLS: Final = {"http": _Pool, "https": _SecurePool}


class SocketAdapter(HTTPAdapter):
    """Speaks plain HTTP over a unix socket, whatever host an address names."""

    def __init__(self, path: str, *, each: int = 32) -> None:
        """Take the socket's path, and how many connections are kept."""

        class Connection(_Connection):
            def _new_conn(self) -> socket.socket:
                calls.current().stage = Stage.CONNECT
                made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    made.settimeout(self._seconds)
                    made.connect(path)
                except OSError as error:
                    made.close()
                    raise urllib3.exceptions.NewConnectionError(self, f"{path}: {error.strerror}") from error
                return made

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        self._pool = Pool("localhost", maxsize=each)
        super().__init__()

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401 - requests' own
        """Return the socket's connections."""
        return self._pool

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pool.close()
