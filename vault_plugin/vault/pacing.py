"""A throttle of Vault's paces us: everybody waits as long as it asks, then goes on with what is left.

It is no outage and needs no backing off: a quota of 20 requests a second admits 20 in the next second, too.
"""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from vault_plugin.patience import Patience
from vault_plugin.vault.answer import Answer, NoAnswer
from vault_plugin.vault.answers import error_of

THROTTLED: Final = 429
SHORTEST, LONGEST = timedelta(seconds=1), timedelta(seconds=30)
#: So long a request that may be repeated is repeated, before its caller is told.
REPEATED_FOR: Final = timedelta(seconds=60)


def pause_of(answer: Answer) -> timedelta:
    """Return how long a throttle asks to wait: its ``Retry-After`` in seconds, within bounds; else a second."""
    try:
        asked = timedelta(seconds=float(answer.retry_after))
    except (ValueError, OverflowError):
        return SHORTEST
    return min(max(asked, SHORTEST), LONGEST)


class Pacer:
    """Holds back the requests of one connection. Thread-safe."""

    def __init__(self) -> None:
        """Begin unthrottled."""
        self._until = 0.0
        self._lock = threading.Lock()

    def heard(self, answer: Answer) -> None:
        """Take in an answer: a quota's 429 holds back everybody; a standby that lags (no text) only who asked it."""
        if answer.status == THROTTLED and (answer.errors or not answer.own):
            with self._lock:
                self._until = max(self._until, time.monotonic() + pause_of(answer).total_seconds())

    def wait(self, patience: Patience) -> None:
        """Wait until requests may go on, or the process stops."""
        while (left := self._until - time.monotonic()) > 0:
            if not patience.wait(timedelta(seconds=left), may_give_up=True):
                return


def patiently(send: Callable[[], Answer], patience: Patience) -> Answer:
    """Send until the answer is no throttle's, waiting for a minute at most; then return the throttle's."""
    waited = timedelta(0)
    while (answer := send()).status == THROTTLED:
        pause = pause_of(answer)
        waited += pause
        if waited > REPEATED_FOR or not patience.wait(pause, may_give_up=True):
            break
    return answer


def answered(send: Callable[[], Answer], doing: str, patience: Patience) -> Answer:
    """Send patiently, and return the answer, whatever its status.

    Raises:
        StoreError: there was none.
    """
    try:
        return patiently(send, patience)
    except NoAnswer as error:
        raise error_of(error, doing) from None
