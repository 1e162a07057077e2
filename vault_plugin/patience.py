"""How waiting ends when the process stops: what may be given up at once, pairs that aren't stored after a grace."""

import threading
import time
from datetime import timedelta


class Patience:
    """Thread-safe."""

    def __init__(self) -> None:
        """Begin without a stop in sight."""
        self._stopping = threading.Event()
        self._until: float | None = None

    def stop(self, grace: timedelta) -> None:
        """End waiting: at once where giving up is allowed, else after `grace`."""
        self._until = time.monotonic() + grace.total_seconds()
        self._stopping.set()

    def wait(self, pause: timedelta, *, may_give_up: bool) -> bool:
        """Wait, and tell whether to go on."""
        if may_give_up or not self._stopping.is_set():
            stopped = self._stopping.wait(pause.total_seconds())
            if not stopped:
                return True
        if may_give_up or self._until is None:
            return False
        left = self._until - time.monotonic()
        time.sleep(max(0.0, min(pause.total_seconds(), 1.0, left)))
        return left > 0
