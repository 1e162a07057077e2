"""Serve an app over real HTTP or HTTPS on a free loopback port, with faults on command.

An app is a function from `Request` to `Response`. Faults are answered before it (the app sees nothing) or after it (the app
has acted, and its answer is lost).
"""

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    client: str = "127.0.0.1"

    def form(self) -> dict[str, str]:
        """Return the form, or the members of a JSON object."""
        if "json" in self.headers.get("content-type", ""):
            return {key: str(value) for key, value in json.loads(self.body).items()}
        return {key: values[-1] for key, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}


@dataclass(frozen=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


def json_response(status: int, content: object, **headers: str) -> Response:
    """Return a JSON answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, json.dumps(content).encode(), {"Content-Type": "application/json", **named})


@dataclass
class Fault:
    """What goes wrong with the next `times` requests whose path contains `route`. `times` None: until cleared."""

    route: str
    times: int | None = 1
    hang: float = 0.0
    response: Response | None = None
    drop: str = ""  # "before" or "after" the app has acted
    #: What happens elsewhere while the request is here, before it is served.
    meanwhile: Callable[[], object] = bool


App = Callable[[Request], Response]


class Faults:
    """The faults that wait, in the order of their making. Thread-safe."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Let something go wrong."""
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        """Let everything go well again."""
        with self._lock:
            self._faults.clear()

    def take(self, path: str) -> Fault | None:
        """Return the fault for this request, and count it."""
        with self._lock:
            for fault in self._faults:
                if fault.route.lower() in path.lower():
                    if fault.times is not None:
                        fault.times -= 1
                        if fault.times <= 0:
                            self._faults.remove(fault)
                    return fault
        return None


class Dropped(Exception):
    """The connection is closed without an answer."""


def fault_of(content: dict[str, Any]) -> Fault:
    """Read a fault as `POST /_sim/fault` takes it: route, times (null: until cleared), hang, drop, status, body, retry_after.

    Raises:
        ValueError: a key isn't known, or a value isn't of its kind.
    """
    unknown = set(content) - {"route", "times", "hang", "drop", "status", "body", "retry_after"}
    if unknown or content.get("drop", "") not in ("", "before", "after"):
        raise ValueError(f"not known: {', '.join(sorted(unknown)) or content['drop']}")
    response = None
    if "status" in content:
        body = content.get("body", "")
        headers = {"Retry-After": str(content["retry_after"])} if "retry_after" in content else {}
        text = body if isinstance(body, str) else json.dumps(body)
        response = Response(int(content["status"]), text.encode(), headers)
    times = content.get("times", 1)
    return Fault(
        str(content.get("route", "/")),
        times=None if times is None else int(times),
        hang=float(content.get("hang", 0)),
        response=response,
        drop=content.get("drop", ""),
    )


def _control(request: Request, faults: Faults) -> Response | None:
    """Answer what is asked of the faults themselves."""
    if request.method == "POST" and request.path == "/_sim/clear":
        faults.clear()
        return json_response(200, {})
    if request.method == "POST" and request.path == "/_sim/fault":
        try:
            faults.add(fault_of(json.loads(request.body)))
        except (ValueError, TypeError, AttributeError) as error:
            return json_response(400, {"error": str(error)})
        return json_response(200, {})
    return None


def with_faults(app: App, faults: Faults, stop: threading.Event) -> App:
    """Return the app with its faults."""

    def faulty(request: Request) -> Response:
        control = _control(request, faults)
        if control is not None:
            return control
        fault = None if request.path.startswith("/_sim/") else faults.take(request.path)
        if fault is None:
            return app(request)
        fault.meanwhile()
        if fault.hang:
            stop.wait(fault.hang)
        if fault.drop == "before":
            raise Dropped
        if fault.response is not None:
            return fault.response
        response = app(request)
        if fault.drop == "after":
            raise Dropped
        return response

    return faulty


class Server:
    """A server on a loopback port, on daemon threads."""

    def __init__(self, app: App, tls: ssl.SSLContext | None = None, port: int = 0, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.log: list[tuple[str, str, int]] = []
        #: How many connections were ever made, counted when their handshakes are done.
        self.connections = 0
        self._stop = stop = threading.Event()
        served = with_faults(app, self.faults, stop)
        log = self.log
        opened = self._opened = set[socket.socket]()
        counted = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60
            #: One segment an answer: a small one behind a small one waits for the other side's acknowledgement.
            wbufsize = -1
            disable_nagle_algorithm = True

            def setup(self) -> None:
                # The handshake belongs to the connection's own thread: a silent client must not block the listener.
                self.request.settimeout(30)
                if tls is not None:
                    self.request = tls.wrap_socket(self.request, server_side=True)
                super().setup()
                opened.add(self.connection)
                with counted:
                    server.connections += 1
                if stop.is_set():  # closed during the handshake, unseen by `close`
                    self.connection.shutdown(socket.SHUT_RDWR)

            def finish(self) -> None:
                opened.discard(self.connection)
                super().finish()

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                request = Request(
                    self.command,
                    parts.path,
                    {key: values[-1] for key, values in parse_qs(parts.query).items()},
                    {name.lower(): value for name, value in self.headers.items()},
                    self.rfile.read(length),
                    self.client_address[0],
                )
                try:
                    response = served(request)
                except Dropped:
                    log.append((request.method, request.path, 0))
                    self.close_connection = True
                    self.connection.close()
                    return
                log.append((request.method, request.path, response.status))
                self.send_response_only(response.status)
                own = {"Server": self.version_string(), "Date": self.date_time_string()}
                for name, value in (own | response.headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            do_GET = do_POST = do_PUT = do_DELETE = do_LIST = _serve  # noqa: N815 - http.server's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's own
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # clients that go away are part of the game

        self._server = Quiet(("127.0.0.1", port), Handler)
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(0.05), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop at once, even while a handler hangs; connections that clients keep are cut."""
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._opened.copy():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
