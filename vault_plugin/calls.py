"""What is known of the call that this thread makes: how far it has come, until when it may be sent, whose connection it takes.

The connections note it while they work, and whoever tells of a failure reads it: so whether a request may have been seen is a
fact, and never guessed from an error's name.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum


class Stage(IntEnum):
    """How far a call has come. Nothing of the request has left before `SENT`."""

    PREPARED = 0
    NAME = 1
    """The name of the server, or of the proxy, is looked up."""
    CONNECT = 2
    """The addresses of that name are tried."""
    PROXY = 3
    """The proxy is asked for a way to the server."""
    TLS = 4
    SENT = 5


@dataclass
class Call:
    """One call. Times are monotonic seconds.

    `owner` names whose connection it may go over. Without one it has a connection of its own, which is closed after it.
    """

    owner: str = ""
    #: A request that couldn't be sent by then isn't sent at all: whoever asked counts on it.
    send_by: float = math.inf
    until: float = math.inf
    stage: Stage = Stage.PREPARED
    #: The proxy that it goes through, as host and port: its user and password are nobody's business.
    proxy: str = ""
    #: With what the proxy refused the way there.
    proxy_status: int = 0

    @property
    def sent(self) -> bool:
        """Tell whether the other side may have seen the request."""
        return self.stage is Stage.SENT


_CURRENT: ContextVar[Call | None] = ContextVar("call", default=None)


def current() -> Call:
    """Return this thread's call."""
    return _CURRENT.get() or Call()


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Make this the thread's call."""
    token = _CURRENT.set(call)
    try:
        yield
    finally:
        _CURRENT.reset(token)
