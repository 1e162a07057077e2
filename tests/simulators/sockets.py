"""What the tests' own servers do with sockets, so that what a client sees doesn't depend on who was faster.

TCP sends a reset in place of an end where a connection is closed with something unread, and a reset takes away what its
receiver hasn't read yet. So a request is read to its end before its connection is closed, whatever is answered.
"""

import contextlib
import http.client
import socket
from typing import BinaryIO

CHUNK = 64 * 1024


class HeldPort:
    """A loopback port that nobody else is given, while something listens there and while nothing does.

    A socket is bound to it and doesn't listen: connections are refused until a server binds to it with SO_REUSEADDR too, as
    servers do, and again when that is gone.
    """

    def __init__(self) -> None:
        """Take a free port."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("127.0.0.1", 0))
        self.number = int(self._socket.getsockname()[1])

    def close(self) -> None:
        """Let others have it."""
        self._socket.close()


def read_request(stream: BinaryIO) -> tuple[str, str]:
    """Read one HTTP request with its body, and return its method and target; both are empty where none came."""
    method, _, rest = stream.readline().decode().strip().partition(" ")
    headers = http.client.parse_headers(stream)
    stream.read(int(headers["Content-Length"] or 0))
    return method, rest.partition(" ")[0]


def hang_up(connection: socket.socket) -> None:
    """End what we send, and read on until the other side has ended too, so that it has seen all of it."""
    with contextlib.suppress(OSError):
        connection.settimeout(60)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(CHUNK):
            pass


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass bytes on until the source ends, and then that it has ended; where one of the two breaks, cut both."""
    try:
        while data := source.recv(CHUNK):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
