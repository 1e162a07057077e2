"""A call is bounded in time as a whole, and what came in time is never thrown away (DESIGN 7)."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.raw import Asked, RawServer, Says, answer
from tests.simulators.tls import Authority
from vault_plugin import answering, dialing, wire
from vault_plugin.core.ports import Approved
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.wire import NoAnswer, Reply, Session

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BODY = b'{"access_token":"a","refresh_token":"r","expires_in":3600}'
TRUE_GETADDRINFO = socket.getaddrinfo


@pytest.fixture(params=["http", "https"])
def serve(request: pytest.FixtureRequest, authority: Authority) -> Iterator[Callable[[Says], RawServer]]:
    """Return how a server is started."""
    made: list[RawServer] = []

    def start(says: Says) -> RawServer:
        made.append(RawServer(says, authority.shared_context if request.param == "https" else None))
        return made[-1]

    yield start
    for each in made:
        each.close()


def ask(url: str, authority: Authority, *, connect: float = 5, total: float = 10) -> Reply:
    session = Session()
    try:
        return wire.send(session, "POST", url, data={"a": "b"}, verify=str(authority.ca_file), connect=connect, total=total)
    finally:
        session.close()


class Dead:
    """An address that swallows everything: somebody listens, and his backlog is full."""

    def __init__(self) -> None:
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        self.address = self._listener.getsockname()
        self._waiting = []
        for _ in range(4):
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(self.address)
            self._waiting.append(caller)
        time.sleep(0.05)

    def close(self) -> None:
        for each in (*self._waiting, self._listener):
            each.close()


@pytest.fixture
def dead() -> Iterator[tuple[str, int]]:
    made = Dead()
    yield made.address
    made.close()


def resolved_to(monkeypatch: pytest.MonkeyPatch, addresses: list[tuple[str, int]]) -> None:
    """Have every name mean these addresses, in this order."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: list(found))


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("many", [1, 8, 30])
def test_addresses_that_swallow_everything_cost_a_moment_each(
    many: int,
    dead: tuple[str, int],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    *,
    secure: bool,
) -> None:
    """The one that answers is found within the one time for all of them, and its answer is taken."""
    server = RawServer(lambda _: [answer(BODY)], authority.shared_context if secure else None)
    resolved_to(monkeypatch, [dead] * many + [("127.0.0.1", server.port)])
    began = time.monotonic()
    assert ask(server.url, authority).content == BODY
    took = time.monotonic() - began
    server.close()

    assert took < 5


def test_microsofts_complete_answer_is_taken_though_eight_addresses_are_dead(
    dead: tuple[str, int], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first try, long before a poll's own time is over."""
    server = RawServer(lambda _: [answer(BODY)], authority.shared_context)
    resolved_to(monkeypatch, [dead] * 8 + [("127.0.0.1", server.port)])
    binding = Binding(authority=server.url, client_id="c", scope="s", organization="o", server="vbr")
    began = time.monotonic()
    result = MicrosoftClient(str(authority.ca_file)).poll(binding, Secret("simtok-d"), NOW)
    took = time.monotonic() - began
    server.close()

    assert isinstance(result, Approved)
    assert took < 5


def test_addresses_that_refuse_cost_nothing(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before one that answers."""
    server = RawServer(lambda _: [answer(BODY)])
    resolved_to(monkeypatch, [("127.0.0.1", 1)] * 20 + [("127.0.0.1", server.port)])
    began = time.monotonic()
    assert ask(server.url, authority).content == BODY
    server.close()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("says", [[None], [b"not TLS\r\n\r\n"], [60.0]], ids=["hangs up", "speaks no TLS", "hangs"])
def test_an_address_that_opens_no_tls_is_tried_last_the_next_time(
    says: list[bytes | float | None], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first to connect, so that it would win each time though another one is well."""
    monkeypatch.setattr(dialing, "_shunned", {})  # another test's port may have been this one
    monkeypatch.setattr(dialing, "STAGGER", 5.0)
    sick, well = RawServer(lambda _: says), RawServer(lambda _: [answer(BODY)], authority.shared_context)
    resolved_to(monkeypatch, [("127.0.0.1", sick.port), ("127.0.0.1", well.port)])
    with pytest.raises(wire.NoAnswer) as caught:
        ask(well.url, authority)
    again = ask(well.url, authority)
    sick.close()
    well.close()

    assert not caught.value.sent
    assert again.content == BODY


def test_a_certificate_that_isnt_trusted_sends_no_call_to_another_address(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is a verdict on the host."""
    monkeypatch.setattr(dialing, "_shunned", {})
    server = RawServer(lambda _: [answer(BODY)], authority.shared_context)
    with pytest.raises(wire.NoAnswer) as caught:
        ask(server.url, Authority(tmp_path))
    server.close()

    assert caught.value.reason == "CertificateNotTrusted"
    assert dialing._shunned == {}


def test_dead_addresses_only_are_one_time_for_all(
    dead: tuple[str, int], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing was sent."""
    resolved_to(monkeypatch, [dead] * 8)
    began = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        ask("http://vbr.example", authority, connect=1)

    assert time.monotonic() - began < 3
    assert (caught.value.reason, caught.value.sent) == ("ConnectTimeout", False)


def test_a_slow_name_isnt_taken_from_the_time_to_connect(
    serve: Callable[[Says], RawServer], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of two name servers is dead, say."""

    def slow(*args: Any, **more: Any) -> Any:
        time.sleep(1.5)
        return TRUE_GETADDRINFO(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    server = serve(lambda _: [answer(BODY)])
    assert ask(server.url, authority, connect=1).content == BODY


def test_a_name_that_takes_too_long_sends_nothing(
    serve: Callable[[Says], RawServer], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a call's time is over: its caller counts on that nothing is sent later. One thread waits, whoever asks."""
    answered = threading.Event()

    def hanging(*args: Any, **more: Any) -> Any:
        answered.wait(30)
        return TRUE_GETADDRINFO(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    server = serve(lambda _: [answer(BODY)])
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(NoAnswer) as caught:
            ask(server.url, authority, connect=0.5, total=1)
        assert time.monotonic() - began < 3
        assert (caught.value.reason, caught.value.sent) == ("ConnectionFailed", False)
    assert sum(thread.name == "name of localhost" for thread in threading.enumerate()) == 1
    answered.set()
    assert server.asked == []


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nX-Slow: "],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"],
        [b"HTTP/1.1 103 Early Hints\r\nX-Slow: "],
        [],
    ],
    ids=["head", "body", "chunk", "interim answer", "status line"],
)
def test_an_answer_that_drips_is_bounded_as_a_whole(
    pieces: list[bytes], serve: Callable[[Says], RawServer], authority: Authority
) -> None:
    """A byte now and then is no answer: http.client alone would wait for as long as it drips."""

    def says(_: Asked) -> Iterator[bytes | float]:
        yield from pieces
        for _second in range(60):
            yield b"x"
            yield 0.2

    server = serve(says)
    began = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        ask(server.url, authority, connect=1, total=2)

    assert time.monotonic() - began < 6
    assert (caught.value.reason, caught.value.sent) == ("Timeout", True)


def test_interim_answers_that_drip_are_bounded_too(serve: Callable[[Says], RawServer], authority: Authority) -> None:
    """Each whole, one after the other."""

    def says(_: Asked) -> Iterator[bytes | float]:
        for _second in range(60):
            yield b"HTTP/1.1 102 Processing\r\n\r\n"
            yield 0.2

    server = serve(says)
    began = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        ask(server.url, authority, connect=1, total=2)

    assert time.monotonic() - began < 6
    assert caught.value.reason == "Timeout"


def late(url: str, authority: Authority, said: threading.Event) -> answering.Timed:
    """Ask, and begin to read when the answer's time is over: the process was stopped meanwhile, say."""
    scheme, _, port = url.rpartition(":")
    made: socket.socket = socket.create_connection(("localhost", int(port)))
    if scheme.startswith("https"):
        trust = ssl.create_default_context(cafile=str(authority.ca_file))
        made = trust.wrap_socket(made, server_hostname="localhost")
    with made:
        made.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert said.wait(10)
        made.settimeout(0.05)
        response = answering.Timed(made, method="GET")
        time.sleep(0.1)
    return response


@pytest.mark.parametrize("length", [60, 50_000])
def test_a_reader_that_is_late_takes_what_came(length: int, serve: Callable[[Says], RawServer], authority: Authority) -> None:
    """The whole answer lies there when the time is over: it is read, and not thrown away."""
    said = threading.Event()

    def says(_: Asked) -> Iterator[bytes | float]:
        yield answer(b"x" * length)
        said.set()

    response = late(serve(says).url, authority, said)
    response.begin()
    assert response.read() == b"x" * length


def test_a_reader_that_is_late_waits_for_nothing_more(serve: Callable[[Says], RawServer], authority: Authority) -> None:
    """What hadn't come by then is no answer, though it would come at once."""
    said = threading.Event()

    def says(_: Asked) -> Iterator[bytes | float]:
        yield answer(BODY)[:-1]
        said.set()
        yield 20

    response = late(serve(says).url, authority, said)
    response.begin()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        response.read()
    assert time.monotonic() - began < 5


def test_a_flood_isnt_read_for_ever_by_a_late_reader(
    serve: Callable[[Says], RawServer], authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is over, and there is always more: only so much is taken, here nothing."""
    monkeypatch.setattr(answering, "LATE", 0)
    said = threading.Event()

    def says(_: Asked) -> Iterator[bytes | float]:
        yield answer(BODY)
        said.set()

    response = late(serve(says).url, authority, said)
    with pytest.raises(TimeoutError):
        response.begin()


@pytest.mark.parametrize("drips", [False, True])
def test_tls_that_is_never_made_is_bounded_by_the_time_to_connect(authority: Authority, *, drips: bool) -> None:
    """The port is open, and nobody shakes hands, or takes for ever; nothing was sent."""
    listener = socket.create_server(("127.0.0.1", 0))

    def slowly() -> None:
        client, _ = listener.accept()
        with client:
            for _ in range(60):
                try:
                    client.sendall(b"\x16\x03\x03\x40\x00"[:5] if _ == 0 else b"x")
                except OSError:
                    return
                time.sleep(0.2)

    if drips:
        threading.Thread(target=slowly, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(NoAnswer) as caught:
        ask(f"https://localhost:{listener.getsockname()[1]}", authority, connect=1)
    took = time.monotonic() - began
    listener.close()

    assert took < 5
    assert not caught.value.sent
    assert drips or caught.value.reason == "ConnectTimeout"
