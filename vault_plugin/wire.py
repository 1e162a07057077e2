"""One HTTP exchange with a server that is trusted with a secret: bounded in time and size, no redirects, explicit trust.

Microsoft, Veeam and Vault are all spoken to over this wire. requests bounds each read but not their sum, so a server that
sends a byte now and then would hold a thread for as long as it likes; and it lets ``REQUESTS_CA_BUNDLE`` override a session's
trust. Here the trust goes with each request, and the time that is given for an answer is the time of the whole answer: its
head, its body, and every pause between two bytes.
"""

import http.client
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from vault_plugin.answering import CHUNK
from vault_plugin.calls import Call, calling
from vault_plugin.contexts import BundleUnreadable
from vault_plugin.timed import TimedAdapter
from vault_plugin.unanswered import Failure, told
from vault_plugin.unanswered import NoAnswer as NoAnswer  # noqa: PLC0414 - whoever sends over the wire catches it

#: The class of the statuses that say so.
SUCCESS: Final = 2
LARGEST: Final = 2 * 1024 * 1024
#: What a call may come to grief over, by whichever of the libraries below it.
FAILURES: Final = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    BundleUnreadable,
    OSError,
    UnicodeError,
)
HEADERS: Final = {"Accept": "application/json", "User-Agent": "vault-plugin-secrets-vb365"}


@dataclass(frozen=True)
class Reply:
    """Status, headers and the whole body."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


#: Returns the proxies for an address, as requests names them: by scheme.
Proxies = Callable[[str], Mapping[str, str]]


class Session:
    """Connections that are kept. Thread-safe. Keeps no cookies: what one tenant was given isn't another's.

    Without `proxies` the environment's proxies and trust are read, and those once: requests looks them up at each request,
    and in ``.netrc`` for a password to put in the place of our header. With them nothing is read from the environment.
    """

    def __init__(self, adapter: HTTPAdapter | None = None, proxies: Proxies | None = None) -> None:
        """Take an adapter, or make one that pools enough for our threads."""
        self._adapter = adapter or TimedAdapter()
        self._proxies = proxies
        self._environment: dict[tuple[str, str | bool], Mapping[str, Any]] = {}

    def send(
        self, prepared: requests.PreparedRequest, timeout: tuple[float, float], *, verify: str | bool
    ) -> requests.Response:
        """Send a request, and return the answer before its body was read."""
        origin = "/".join((prepared.url or "").split("/", 3)[:3]) + "/"
        if (origin, verify) not in self._environment:
            self._environment[origin, verify] = self._settings(origin, verify)
        return self._adapter.send(prepared, timeout=timeout, **self._environment[origin, verify])

    def _settings(self, origin: str, verify: str | bool) -> Mapping[str, Any]:  # noqa: FBT001 - requests' own word
        if self._proxies is not None:
            return {"verify": verify, "proxies": dict(self._proxies(origin))}
        with requests.Session() as asked:
            return {**asked.merge_environment_settings(origin, {}, True, verify, None), "stream": True}

    def close(self) -> None:
        """Close the connections that are kept."""
        self._adapter.close()


class Incoming:
    """An answer whose body is yet to be read, up to `largest` bytes."""

    def __init__(self, response: requests.Response, largest: int) -> None:
        """Take the answer."""
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.begins = b""
        self._response = response
        self._largest = self._left = largest

    def read(self, size: int = CHUNK) -> bytes:
        """Return what has come of the body, at most `size` bytes of it; nothing at its end.

        Raises:
            NoAnswer: it is larger than it may be.
        """
        if size <= 0:
            return b""
        chunk: bytes = self._response.raw.read1(size, decode_content=True)
        self.begins = self.begins or chunk[:1]
        self._left -= len(chunk)
        if self._left < 0:
            raise NoAnswer(f"the answer is larger than {self._largest >> 20} MiB", "AnswerTooLarge", sent=True)
        return chunk

    def whole(self) -> bytes:
        """Return the rest of the body."""
        return b"".join(iter(self.read, b""))

    def kept(self) -> bytes:
        """Return the rest of the body, also where its end never came, if it is a success that came whole nevertheless.

        What it holds can't be asked for again: a device code is spent, a refresh token is dead.
        """
        came: list[bytes] = []
        try:
            came.extend(iter(self.read, b""))
        except FAILURES:
            if self.status // 100 != SUCCESS or not _is_object(b"".join(came)):
                raise
        return b"".join(came)


def _is_object(content: bytes) -> bool:
    """Tell whether this is a JSON object from its first to its last byte."""
    try:
        return isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return False


@contextmanager
def exchange(  # noqa: PLR0913 - the parts of one HTTP request, by keyword
    session: Session,
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | bytes | None = None,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    verify: str | bool = True,
    connect: float,
    answer: float,
    largest: int = LARGEST,
    owner: str = "",
) -> Iterator[Incoming]:
    """Send one request, with a mapping as a form, and yield its answer: the whole of it comes within `answer` seconds.

    Its addresses, the proxy and TLS have `connect` seconds, and the name as long as half of the whole time isn't over: then
    nothing is sent any more. `owner` says whose connection it may go over; without one, it has one of its own.

    Raises:
        NoAnswer: no connection, no answer in time, or the connection broke; also while the body is read.
    """
    began = time.monotonic()
    until = began + connect + answer
    call = Call(owner, send_by=began + max(connect, (connect + answer) / 2), until=until)
    try:
        with calling(call):
            prepared = requests.PreparedRequest()
            prepared.prepare(method, url, headers={**HEADERS, **(headers or {})}, data=data, params=params)
            response = session.send(prepared, (connect, answer), verify=verify)
        with response:
            yield Incoming(response, largest)
    except FAILURES as error:
        raise told(Failure(call, error, connect, answer)) from None


def send(  # noqa: PLR0913 - the parts of one HTTP request, by keyword
    session: Session,
    method: str,
    url: str,
    *,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    verify: str | bool,
    connect: float,
    total: float,
    owner: str = "",
) -> Reply:
    """Send one request, with `data` as a form, and read the answer within about `total` seconds.

    Raises:
        NoAnswer: no connection, no answer in time, or the connection broke.
    """
    connect = min(connect, total / 2)  # whatever is left of a short time, half of it is for the answer
    asked = exchange(
        session, method, url, data=data, headers=headers, verify=verify, connect=connect, answer=total - connect, owner=owner
    )
    with asked as incoming:
        return Reply(incoming.status, incoming.headers, incoming.kept())
