"""What is going wrong now, by round: for ``/readyz`` and the log. Vault's trouble touches nothing else."""

from collections.abc import Callable

import structlog

from scheduler.metrics import Metrics
from vault_plugin.core.errors import ConfigurationError, StoreDenied, StoreError

log = structlog.get_logger()

STARTING = "starting"


class Health:
    """Thread-safe: each round has its own entry."""

    def __init__(self, metrics: Metrics) -> None:
        """Begin as not ready."""
        self.metrics = metrics
        self._troubles: dict[str, str] = {STARTING: "starting"}

    def trouble(self) -> str:
        """Return what is wrong, or an empty text."""
        return next(iter(self._troubles.copy().values()), "")

    def started(self) -> None:
        """End the start."""
        self._troubles.pop(STARTING, None)

    def guarded(self, what: str, action: Callable[[], None]) -> bool:
        """Do it and tell whether it was done; keep what went wrong and say it once."""
        try:
            action()
        except (StoreError, ConfigurationError) as error:
            if self._troubles.get(what) != str(error):
                log.warning("vault_trouble", round=what, reason=error.reason, error=str(error), remedy=error.remedy())
            self._troubles[what] = str(error)
            self.metrics.vault_up.set(isinstance(error, StoreDenied))
            return False
        except Exception as error:
            broken = f"{what} broke: {type(error).__name__}; the log has the rest"
            if self._troubles.get(what) != broken:
                log.exception("round_broke", round=what)
            self._troubles[what] = broken
            return False
        if self._troubles.pop(what, ""):
            log.info("vault_back", round=what)
        self.metrics.vault_up.set(1)
        return True
