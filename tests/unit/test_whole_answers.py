"""An answer that drips, from Microsoft or from Veeam: its whole is bounded in time, not each of its silences."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.simulators.sockets import read_request
from tests.simulators.tls import Authority
from vault_plugin import wire
from vault_plugin.core.errors import BackupServerUnavailable
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.veeam.client import VeeamClient

#: How long a dripping server goes on, and after how long at most a client that was given a second or two has had enough.
DRIPS, ENOUGH = 8.0, 5.0
BEGINNINGS = {"head": b"HTTP/1.1 200 OK\r\nX-Slow: ", "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"}


class Dripping:
    """Answers over TLS with a beginning, and then a byte now and then."""

    def __init__(self, authority: Authority, beginning: bytes) -> None:
        self._context, self._beginning = authority.shared_context, beginning
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # whoever has had enough hangs up
            raw, _ = self._listener.accept()
            with self._context.wrap_socket(raw, server_side=True) as client:
                read_request(client.makefile("rb"))
                client.sendall(self._beginning)
                until = time.monotonic() + DRIPS
                while time.monotonic() < until and not self._closed.wait(0.2):
                    client.sendall(b"x")

    def close(self) -> None:
        self._closed.set()
        self._listener.close()
        self._thread.join()


@pytest.fixture(params=BEGINNINGS)
def dripping(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Dripping]:
    server = Dripping(authority, BEGINNINGS[request.param])
    yield server
    server.close()


def test_the_wire_gives_up_a_dripping_answer(dripping: Dripping, authority: Authority) -> None:
    """As it comes from Microsoft, whose client differs in its times only."""
    begun = time.monotonic()

    with pytest.raises(wire.NoAnswer) as caught:
        wire.send(wire.Session(), "POST", dripping.url, data={"a": "b"}, verify=str(authority.ca_file), connect=0.5, total=2.0)

    assert time.monotonic() - begun < ENOUGH
    assert caught.value.reason == "Timeout"
    assert caught.value.sent


def test_veeams_client_gives_up_a_dripping_answer(dripping: Dripping, authority: Authority) -> None:
    """A lane's thread is free again when the call's own time is over."""
    server, begun = ServerSpec(url=dripping.url, ca_pem=authority.pem), time.monotonic()

    with pytest.raises(BackupServerUnavailable) as caught:
        VeeamClient().refresh(server, Secret("simtok-r"), timedelta(seconds=2))

    assert time.monotonic() - begun < ENOUGH
    assert caught.value.reason == "Timeout"


# --- what came whole is kept, though its end never came ---------------------------------------------------------------

TOKENS = b'{"access_token": "simtok-a", "expires_in": 3599}'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(TOKENS), TOKENS)
LONGER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(TOKENS) + 2, TOKENS)
ENDLESS = {
    "no last chunk": CHUNKED,
    "half a last chunk": CHUNKED + b"0\r\n",
    "a longer length": LONGER,
    "no length": b"HTTP/1.1 200 OK\r\n\r\n" + TOKENS,
    "201": LONGER.replace(b"200 OK", b"201 Created"),
}
LOST = {
    "half the object": LONGER[:-3],
    "half of it in a chunk": CHUNKED[:-6],
    "more than an object": LONGER + b"x",
    "no object": LONGER.replace(TOKENS, b"[" + b" " * (len(TOKENS) - 2) + b"]"),
    "an error": LONGER.replace(b"200 OK", b"502 Bad Gateway"),
}


def once(authority: Authority, content: bytes, *, stays: bool) -> wire.Reply:
    """Ask a server that answers so, and then hangs up or is silent."""
    listener, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            raw, _ = listener.accept()
            with authority.shared_context.wrap_socket(raw, server_side=True) as client:
                read_request(client.makefile("rb"))
                client.sendall(content)
                over.wait(10 if stays else 0)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        return wire.send(
            wire.Session(), "POST", url, data={"a": "b"}, verify=str(authority.ca_file), connect=0.5, total=1.5, owner="acme"
        )
    finally:
        over.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("content", ENDLESS.values(), ids=ENDLESS)
def test_a_success_that_came_whole_is_kept_though_its_end_never_came(
    authority: Authority, content: bytes, *, stays: bool
) -> None:
    """Its tokens can't be asked for again."""
    assert once(authority, content, stays=stays).content == TOKENS


@pytest.mark.parametrize("content", LOST.values(), ids=LOST)
def test_what_did_not_come_whole_is_not_taken(authority: Authority, content: bytes) -> None:
    """Half an object, another kind of value, or an error whose end is missing says nothing."""
    with pytest.raises(wire.NoAnswer) as caught:
        once(authority, content, stays=False)

    assert caught.value.sent
