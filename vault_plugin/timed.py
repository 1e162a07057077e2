"""Connections whose answers are bounded in time: by socket timeouts that shrink as the time that is left does.

A socket's own timeout is for each silence; here it is for the whole answer, from the first byte of its head to the last of its
body. A connection's timeout, as requests and urllib3 set it, means just that.
"""

import io
import socket
import ssl
import time
from collections.abc import Mapping
from http.client import HTTPResponse
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CHUNK: Final = 64 * 1024


class _Reading(io.RawIOBase):
    """What a socket receives until a deadline, whatever the pauses between two bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until it is closed itself
        seconds = sock.gettimeout()
        self._until = None if seconds is None else time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                msg = "no whole answer in time"
                raise TimeoutError(msg)
            self._socket.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answering:
    """Stands for a socket where http.client wants only to read an answer from it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self._socket), CHUNK)


class _Timed(HTTPResponse):
    """An answer that is over when the socket's timeout has passed once since its reading began."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's own
        super().__init__(_Answering(sock), *args, **kwargs)  # type: ignore[arg-type]  # it only calls makefile


class _Connection(HTTPConnection):
    response_class = _Timed


class _SecureConnection(HTTPSConnection):
    response_class = _Timed

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's own arguments
        """Send, and where the other side has hung up meanwhile, let what it said before be read: urllib3 does so of a pipe."""
        try:
            super().request(*args, **kwargs)
        except ssl.SSLEOFError as error:
            raise BrokenPipeError from error


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class TimedAdapter(HTTPAdapter):
    """Pools connections whose answers are bounded in time.

    `trust` are urllib3's own arguments for a connection's TLS; where there are some, they take the place of requests' own.
    They are part of what names a connection in the pools, so that they hold straight and through a proxy alike.
    """

    def __init__(self, trust: Mapping[str, Any] | None = None, *, hosts: int = 64, each: int = 32) -> None:
        """Take the trust, for how many hosts connections are kept, and how many for each."""
        self._trust = dict(trust or {})
        super().__init__(pool_connections=hosts, pool_maxsize=each)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' own arguments
        """Make the pools, of connections of ours."""
        super().init_poolmanager(*args, **kwargs)
        _bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - requests' own
        """Make the pools of a proxy, of connections of ours."""
        return _bound(super().proxy_manager_for(proxy, **kwargs))

    def cert_verify(self, conn: Any, url: str, verify: bool | str, cert: Any) -> None:  # noqa: ANN401, FBT001 - requests' own
        """Leave a connection's trust as it was named, where it was."""
        if not self._trust:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # requests has none

    def build_connection_pool_key_attributes(
        self,
        request: requests.PreparedRequest,
        verify: bool | str,  # noqa: FBT001 - requests' own signature
        cert: Any = None,  # noqa: ANN401 - requests' own
    ) -> Any:  # noqa: ANN401 - requests' own
        """Name a connection by its trust, too."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, (self._trust or pool) if host["scheme"] == "https" else {}


def _bound(manager: Any) -> Any:  # noqa: ANN401 - urllib3's pool manager
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager


class SocketAdapter(HTTPAdapter):
    """Speaks plain HTTP over a unix socket, whatever host an address names."""

    def __init__(self, path: str, *, each: int = 32) -> None:
        """Take the socket's path, and how many connections are kept."""

        class Connection(_Connection):
            def _new_conn(self) -> socket.socket:
                made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    made.settimeout(self.timeout)
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
