"""``/livez``, ``/readyz`` and ``/metrics``: all that the service listens on."""

import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

#: Returns an empty text if all is well, else what is wrong.
Check = Callable[[], str]
READY = "/readyz"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    allow_reuse_address = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's own signature
        """Probes and scrapes aren't worth a line."""


class Web:
    """The health port. Listens when made; `close` stops it."""

    def __init__(
        self,
        address: tuple[str, int],
        checks: dict[str, Check],
        registry: CollectorRegistry,
        remarks: Callable[[], list[str]] = list,
    ) -> None:
        """Listen at once. `remarks` are lines that follow in the body of ``/readyz``, whatever its status.

        Raises:
            OSError: the address is taken or not ours.
        """
        metrics = make_wsgi_app(registry)

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "")
            if path == "/metrics":
                return metrics(environ, start)  # type: ignore[no-any-return]  # prometheus-client has no annotation
            check = checks.get(path)
            text = "not found" if check is None else check()
            status = "404 Not Found" if check is None else "503 Service Unavailable" if text else "200 OK"
            start(status, [("Content-Type", "text/plain; charset=utf-8")])
            lines = [text or "ok", *(remarks() if path == READY else [])]
            return ["".join(f"{line}\n" for line in lines).encode()]

        self._server = make_server(*address, app, server_class=_Server, handler_class=_Quiet)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
