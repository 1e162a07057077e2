"""Two services beside one Vault: one leads, the other waits, and consumers don't notice who does."""

import time
from pathlib import Path

import pytest

from tests.service.deployment import Deployment

pytestmark = pytest.mark.vault


def test_a_standby_takes_over_after_a_stop_and_after_a_kill(deployment: Deployment, tmp_path: Path) -> None:
    """Long before the lease is over after a clean stop, within it after SIGKILL; no pair is lost, none used twice."""
    deployment.veeam.token_life = 600  # nothing becomes due while the test looks
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    second = deployment.replica(tmp_path / "second")
    second.start()
    try:
        second.wait_for("a standby", lambda: second.events("standing_by"), 5)
        assert second.get("/readyz") == 200
        assert not second.leads()

        assert deployment.stop() == 0
        second.wait_for("a new leader", second.leads, 3)
        second.wait_for("its plan", lambda: second.events("ready"), 5)

        deployment.start()
        second.kill()
        killed_at = time.monotonic()
        deployment.wait_for("the old leader again", deployment.leads, 20)
        assert time.monotonic() - killed_at > 5, "a lease that lives isn't taken"
        generation = deployment.generation()
        assert "rotated" in deployment.ok("rotate", "acme")
        assert deployment.generation() == generation + 1
        assert deployment.accepted()
        assert deployment.presented_again() == []
    finally:
        second.kill()
        deployment.printed.append(second.log())
