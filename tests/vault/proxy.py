"""A proxy before the server that loses answers, delays requests and repeats them, on command."""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import requests

from tests.simulators.http import Dropped, Request, Response, Server


@dataclass
class Trick:
    """What to do with the next request whose method and path match; with `lasting`, with each until it is removed."""

    method: str
    path: str
    kind: str  # "lose": forward, drop the answer; "late": drop now, forward later; "twice": forward twice; "answer": don't forward
    delay: float = 0.0
    response: Response | None = None
    lasting: bool = False


class LossyProxy:
    """Forwards to a real server. `tricks` are used up in order; `seen` lists what came.

    While `away` nothing comes through; `delay` is how many seconds each request is held up before it is forwarded.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.tricks: list[Trick] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.away = False
        self.delay = 0.0
        self._late: list[threading.Thread] = []
        self._server = Server(self._handle)
        self.url = self._server.url

    def close(self) -> None:
        for thread in self._late:
            thread.join(10)
        self._server.close()

    def _handle(self, request: Request) -> Response:
        self.seen.append((request.method, request.path, request.body))
        if self.away:
            raise Dropped
        time.sleep(self.delay)
        trick = next((t for t in self.tricks if t.method == request.method and t.path in request.path), None)
        if trick is None:
            return self._forward(request)
        if not trick.lasting:
            self.tricks.remove(trick)
        return TRICKS[trick.kind](self, request, trick)

    def _forward(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        query = "&".join(f"{name}={value}" for name, value in request.query.items())
        try:
            answer = requests.request(
                request.method, f"{self.target}{request.path}{'?' + query if query else ''}",
                data=request.body, headers=headers, timeout=15, allow_redirects=False,
            )  # fmt: skip
        except requests.RequestException:
            raise Dropped from None
        kept = {name: value for name, value in answer.headers.items() if name.lower() in {"content-type", "date", "location"}}
        return Response(answer.status_code, answer.content, kept)

    def _lose(self, request: Request, trick: Trick) -> Response:
        self._forward(request)
        raise Dropped

    def _later(self, request: Request, trick: Trick) -> Response:
        def send() -> None:
            time.sleep(trick.delay)
            with contextlib.suppress(Dropped):  # nobody waits for its answer
                self._forward(request)

        thread = threading.Thread(target=send)
        self._late.append(thread)
        thread.start()
        raise Dropped

    def _twice(self, request: Request, trick: Trick) -> Response:
        self._forward(request)
        return self._forward(request)

    def _answer(self, request: Request, trick: Trick) -> Response:
        assert trick.response is not None
        return trick.response


TRICKS: dict[str, Callable[[LossyProxy, Request, Trick], Response]] = {
    "lose": LossyProxy._lose,
    "late": LossyProxy._later,
    "twice": LossyProxy._twice,
    "answer": LossyProxy._answer,
}
