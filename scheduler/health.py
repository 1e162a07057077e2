"""What is going wrong now, by round: for ``/readyz`` and the log. Vault's trouble touches nothing else."""

import threading
from collections.abc import Callable

import structlog

from scheduler.held import HeldBack
from scheduler.metrics import Metrics
from vault_plugin.core.errors import ConfigurationError, StoreDenied, StoreError

log = structlog.get_logger()

STARTING = "starting"


class Health:
    """Thread-safe: each round has its own entry."""

    def __init__(self, metrics: Metrics, held: HeldBack) -> None:
        """Begin as not ready. What is `held` back alone makes nothing unready."""
        self.metrics = metrics
        self.held = held
        self._troubles: dict[str, str] = {STARTING: "starting"}
        #: Rounds that Vault doesn't answer.
        self._unanswered: set[str] = set()
        self._lock = threading.Lock()

    def trouble(self) -> str:
        """Return what is wrong, or an empty text."""
        return next(iter(self._troubles.copy().values()), "")

    def started(self) -> None:
        """End the start."""
        self.forget(STARTING)

    def forget(self, *rounds: str) -> None:
        """Drop what was wrong with rounds that aren't made any more."""
        for what in rounds:
            self._troubles.pop(what, None)
            self._answered(what, answered=True)

    def guarded(self, what: str, action: Callable[[], None]) -> bool:
        """Do it and tell whether it was done; keep what went wrong and say it once."""
        try:
            action()
        except (StoreError, ConfigurationError) as error:
            if self._troubles.get(what) != str(error):
                log.warning("vault_trouble", round=what, reason=error.reason, error=str(error), remedy=error.remedy())
            self._troubles[what] = str(error)
            self._answered(what, answered=isinstance(error, StoreDenied))
            return False
        except Exception as error:
            broken = f"{what} broke: {type(error).__name__}; the log has the rest"
            if self._troubles.get(what) != broken:
                log.exception("round_broke", round=what)
            self._troubles[what] = broken
            return False
        if self._troubles.pop(what, ""):
            log.info("vault_back", round=what)
        self._answered(what, answered=True)
        return True

    def _answered(self, what: str, *, answered: bool) -> None:
        """Vault is up when no round lacks an answer: a round that had nothing to ask proves nothing for the others."""
        with self._lock:
            (self._unanswered.discard if answered else self._unanswered.add)(what)
            self.metrics.vault_up.set(not self._unanswered)
