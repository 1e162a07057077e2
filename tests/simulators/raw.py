"""A server that says exactly what a test writes, byte by byte: what no HTTP library would say."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Asked:
    """One request: which it was on its connection, and its form."""

    number: int
    method: str
    target: str
    form: dict[str, str]


#: What is said to a request: bytes are sent, numbers are seconds of silence. None hangs up.
Says = Callable[[Asked], Iterable[bytes | float | None]]


def answer(body: bytes, status: str = "200 OK", *more: str) -> bytes:
    """Return a whole answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode() + body


class RawServer:
    """Listens on a loopback port; each connection has a thread that answers its requests in turn."""

    def __init__(self, says: Says, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.connections = 0
        self._says, self._tls = says, tls
        self._ended = threading.Event()
        self._open = set[socket.socket]()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more, and cut what is open."""
        self._ended.set()
        for each in (self._listener, *self._open.copy()):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Any) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError):
            if self._tls is not None:
                client = self._tls.wrap_socket(client, server_side=True)
            self._open.add(client)
            with client, client.makefile("rb") as stream:
                number = 0
                while asked := _read(stream, number):
                    self.asked.append(asked)
                    number += 1
                    for piece in self._says(asked):
                        if piece is None:
                            return
                        if isinstance(piece, bytes):
                            client.sendall(piece)
                        elif self._ended.wait(piece):
                            return


def _read(stream: Any, number: int) -> Asked | None:
    method, _, rest = stream.readline().decode("latin-1").strip().partition(" ")
    if not method:
        return None
    headers = http.client.parse_headers(stream)
    body = stream.read(int(headers["Content-Length"] or 0))
    form = {key: values[-1] for key, values in parse_qs(body.decode("latin-1")).items()}
    return Asked(number, method, rest.partition(" ")[0], form)


def eventually(holds: Callable[[], bool], within: float = 10.0) -> bool:
    """Tell whether something becomes so."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
