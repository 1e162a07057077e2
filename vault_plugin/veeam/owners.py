"""Whose connection a token call takes: that of whoever presents the refresh token which came over it.

So a connection belongs to one tenant, whichever that is: an answer that comes too late, or twice, is at worst its own.
"""

import hashlib
import itertools
import threading
from collections import OrderedDict
from typing import Final

#: More than connections are kept for; whoever is forgotten gets a new one.
REMEMBERED: Final = 1024


class Owners:
    """Finds owners by their refresh tokens, of which only hashes are kept. Thread-safe."""

    def __init__(self) -> None:
        """Know nobody."""
        self._known: OrderedDict[bytes, str] = OrderedDict()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def take(self, refresh_token: str) -> str:
        """Return the owner to whom this token was given, and forget it; or a new owner."""
        with self._lock:
            return self._known.pop(_digest(refresh_token), "") or f"tenant {next(self._numbers)}"

    def give(self, owner: str, refresh_token: str) -> None:
        """Note what an owner was given."""
        with self._lock:
            self._known[_digest(refresh_token)] = owner
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="replace")).digest()
