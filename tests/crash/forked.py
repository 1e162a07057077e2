"""Processes forked from one that has imported the service already: a start costs no imports, and a kill is a kill."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from scheduler.__main__ import main
from tests.crash.victim import Record, watch

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.crash.forked", "pytest"])


class Forked:
    """The victim as a process of its own; used as `subprocess.Popen` is."""

    def __init__(self, record: Path, last: str, environment: Mapping[str, str], log: Path) -> None:
        """Start it with this environment, and its output appended to the log."""
        self._process = _CONTEXT.Process(target=_play, args=(str(record), last, dict(environment), str(log)), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid or 0

    def poll(self) -> int | None:
        """Return its exit status, negative for a signal, or None while it lives."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit status."""
        self._process.join(timeout)
        status = self._process.exitcode
        if status is None:
            raise TimeoutError
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, if it lives."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)


def _play(record: str, last: str, environment: dict[str, str], log: str) -> None:
    os.environ.clear()
    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    watch(Record(record, last))
    sys.exit(main())
