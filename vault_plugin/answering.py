"""An HTTP answer: bounded in time as a whole, and the one that was asked for.

A socket's own timeout is for each silence; here it is for all of the answer, from the first byte of its head to the last of its
body. What came in time is never thrown away: a reader that is late takes what is there.
"""

import http.client
import io
import socket
import ssl
import time
from typing import Any, Final

from vault_plugin import calls

CHUNK: Final = 64 * 1024
#: A reader that is late still takes what came: more than a kernel keeps, so that a flood isn't read for ever.
LATE: Final = 8 * 1024 * 1024
#: So many interim answers are borne before the one that was asked for.
INTERIM: Final = 100
SWITCHED: Final = 101
BODILESS: Final = frozenset({204, 304})


class _Reading(io.RawIOBase):
    """What a socket receives until a deadline, whatever the pauses between two bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._raw = sock.makefile("rb", buffering=0)  # keeps the socket open until it is closed itself
        seconds = sock.gettimeout()
        self._until = None if seconds is None else time.monotonic() + seconds
        self._late = LATE
        self._over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        if self._over:
            return 0
        if self._until is None:
            return self._raw.readinto(buffer)
        left = self._until - time.monotonic()
        self._socket.settimeout(max(left, 0))
        try:
            count = self._raw.readinto(buffer) if self._late > 0 else None
        except ssl.SSLWantReadError:
            count = None
        if count is None:
            msg = "no whole answer in time"
            raise TimeoutError(msg)
        self._late -= 0 if left > 0 else count
        return count

    def end(self) -> None:
        """Receive nothing more."""
        self._over = True

    def cut(self) -> None:
        """Let nobody use the connection again."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it is gone already

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answering:
    """Stands for a socket where http.client wants only to read an answer from it."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        return io.BufferedReader(_Reading(self._socket), CHUNK)


class Timed(http.client.HTTPResponse):
    """An answer that is over when the socket's timeout has passed once since its reading began.

    It is the answer that was asked for, and not an interim one (RFC 9110 section 15.2): http.client skips only 100, and takes
    a 103 for all that comes, so that the real answer would be the next caller's.
    """

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - http.client's own
        super().__init__(_Answering(sock), *args, **kwargs)  # type: ignore[arg-type]  # it only calls makefile
        self._interim = 0

    def _read_status(self) -> tuple[str, int, str]:
        """Read past interim answers. 101 was never asked for: what follows is no HTTP."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]  # private, and urllib3's tunnel calls it
            if status >= 200:  # noqa: PLR2004 - a final answer
                return version, status, reason
            self._interim += 1
            if status == SWITCHED or self._interim > INTERIM:
                raise http.client.BadStatusLine(str(status))
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        """Read the head. The connection ends with this answer if it has no owner, or if the answer's end could be disputed."""
        if self.headers is not None:
            return
        super().begin()
        if not calls.current().owner or self._interim or self._disputed():
            self.will_close = True

    def _disputed(self) -> bool:
        """Tell whether two readers could see its end in two places (RFC 9112 section 6.3)."""
        lengths = self.headers.get_all("Content-Length") or []
        coded = bool(self.headers.get_all("Transfer-Encoding"))
        if self.status in BODILESS:
            return coded or any(length.strip() != "0" for length in lengths)
        return len(lengths) > 1 or (coded and bool(lengths))

    def _close_conn(self) -> None:
        """Close what was read from; where more has come than the answer, nobody may read on there."""
        buffered: Any = self.fp
        buffered.raw.end()
        if self.headers is not None and buffered.peek(1):
            buffered.raw.cut()
        super()._close_conn()  # type: ignore[misc]  # private; where http.client ends an answer
