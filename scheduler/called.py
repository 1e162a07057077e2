"""What the log and the metrics tell of a call that a step made."""

import structlog

from scheduler.metrics import Metrics
from vault_plugin.core.lifecycle.attempt import Step

log = structlog.get_logger()


def report(metrics: Metrics, name: str, done: Step) -> None:
    """Tell of a call that was made."""
    outcome = "superseded" if done.superseded else "failed" if done.error else "accepted"
    rung = done.called.value if done.called else ""
    metrics.rotations.labels(rung, outcome).inc()
    fields = {"tenant": name, "rung": rung, "why": done.action.reason.value, "outcome": outcome}
    if done.error is None:
        log.info("called", **fields, state=done.credential.state.value, generation=done.credential.generation)
    else:
        trace = getattr(done.error, "trace_id", "")
        log.warning("called", **fields, reason=done.error.reason, error=str(done.error), trace_id=trace)
