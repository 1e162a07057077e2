"""Two services beside one Vault: one leads, the other waits, and consumers don't notice who does."""

import copy
import time
from pathlib import Path

import pytest

from tests.openbao import free_port
from tests.service.deployment import Deployment

pytestmark = pytest.mark.vault


def replica(deployment: Deployment, directory: Path) -> Deployment:
    """Return a second service of the same deployment, not started."""
    other = copy.copy(deployment)
    other.directory, other.process, other.port = directory, None, free_port()
    other.settings = deployment.settings | {"VB365_HTTP_ADDR": f"127.0.0.1:{other.port}"}
    return other


def leads(service: Deployment) -> bool:
    """Tell whether it says so in its metrics."""
    service.get("/metrics")
    return "vb365_leader 1.0" in service.printed[-1]


def test_a_standby_takes_over_after_a_stop_and_after_a_kill(deployment: Deployment, tmp_path: Path) -> None:
    """Within a second or two after a clean stop, within the lease after SIGKILL; no pair is lost, none used twice."""
    deployment.veeam.token_life = 600  # nothing becomes due while the test looks
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    (tmp_path / "second").mkdir()
    second = replica(deployment, tmp_path / "second")
    second.start()
    try:
        second.wait_for("a standby", lambda: second.events("standing_by"), 5)
        assert second.get("/readyz") == 200
        assert not leads(second)

        assert deployment.stop() == 0
        second.wait_for("a new leader", lambda: leads(second), 3)
        second.wait_for("its plan", lambda: second.events("ready"), 5)

        deployment.start()
        second.kill()
        killed_at = time.monotonic()
        deployment.wait_for("the old leader again", lambda: leads(deployment), 20)
        assert time.monotonic() - killed_at > 5, "a lease that lives isn't taken"
        generation = deployment.generation()
        assert "rotated" in deployment.ok("rotate", "acme")
        assert deployment.generation() == generation + 1
        assert deployment.accepted()
        assert deployment.presented_again() == []
    finally:
        second.kill()
        deployment.printed.append(second.log())
