"""A quota of Vault's paces the service and stops nothing: it is ready about as soon as the quota admits its requests."""

import time
from datetime import UTC, datetime

import pytest

from bench import documents, loader
from tests.servers.node import VaultServer
from tests.service.deployment import Deployment

pytestmark = [pytest.mark.vault, pytest.mark.slow, pytest.mark.alone]

#: What a start asks of the mount beside one read a credential: LISTs, and the lease's read and write, with its renewals.
BESIDE = 12


def seed(deployment: Deployment, vault: VaultServer, count: int, urgent: str) -> None:
    """Write so many credentials, of which one is due."""
    now = datetime.now(UTC)
    server = documents.server(deployment.veeam_server.url, deployment.ca.read_text()).to_vault()
    loader.load(vault, deployment.mount, [("servers/vbr", server)])
    for name in (urgent, *(f"calm-{number:04}" for number in range(count - 1))):
        loader.load(vault, deployment.mount, documents.tenant(name, "vbr", now, due=name == urgent))


@pytest.mark.parametrize(("count", "rate"), [(240, 20), (1000, 100)])
def test_a_start_under_a_quota_takes_as_long_as_its_requests_need(
    deployment: Deployment, vault: VaultServer, count: int, rate: int
) -> None:
    """Ready within 1.3 times the requests it needs by the quota; what is due is rotated before the rest is read."""
    seed(deployment, vault, count, "urgent")
    vault.api("POST", f"sys/quotas/rate-limit/{deployment.mount}", {"path": deployment.mount, "rate": rate})
    began = time.monotonic()
    deployment.start(ready=False)
    deployment.wait_for("readiness", lambda: deployment.get("/readyz") == 200, 1.3 * (count + BESIDE) / rate + 2)
    took = time.monotonic() - began
    deployment.wait_for("a call for whom is due", lambda: deployment.events("called"), 20)
    called, rest_was_read = deployment.events("called")[0], bool(deployment.events("all_read"))
    vault.api("DELETE", f"sys/quotas/rate-limit/{deployment.mount}")

    print(f"{count} under {rate}/s: ready in {took:.1f} s, {(count + BESIDE) / rate:.1f} s of requests")
    assert called["tenant"] == "urgent"
    assert not rest_was_read
    assert took <= 1.3 * (count + BESIDE) / rate + 2
