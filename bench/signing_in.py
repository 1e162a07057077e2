"""From a person's approval to a token that a consumer can read."""

import time
from datetime import datetime
from uuid import uuid4

from bench import documents
from bench.report import Table, spread
from bench.stage import LOOK, Measured, Stage
from tests.service.deployment import ORGANIZATION
from vault_plugin.core.tenants import TenantSpec


def measure(stage: Stage, people: int) -> list[Table]:
    """Sign in so many tenants, one after the other; Microsoft asks to be polled each second."""
    deployment = stage.deployment()
    deployment.veeam.token_life = int(documents.LIFE.total_seconds())
    server = documents.server(deployment.veeam_server.url, deployment.ca.read_text())
    _write(deployment, "servers/vbr", server.to_vault())
    names = [f"person-{number}" for number in range(people)]
    spec = TenantSpec(server="vbr", organization=ORGANIZATION, authority=deployment.microsoft_server.url)
    for name in names:
        _write(deployment, f"tenants/{name}", spec.to_vault())
    deployment.start_timed()
    waited = [_sign_in(deployment, name) for name in names]
    own = [_own_part(deployment, name) for name in names]
    deployment.stop()
    table = Table("Sign-in", ("what", "times", "seconds"))
    table.add("from the person's approval to the readable token, polled each second", str(people), spread(waited, 2))
    table.add("of it, from Microsoft's answer to the published token", str(people), spread(own, 3))
    return [table]


def _write(deployment: Measured, path: str, content: dict[str, object]) -> None:
    body = {"options": {"cas": 0}, "data": content}
    deployment.vault.api("POST", f"{deployment.mount}/data/{path}", body)


def _sign_in(deployment: Measured, name: str) -> float:
    _write(deployment, f"requests/{name}/{uuid4()}", {"action": "sign-in", "reason": "bench", "claimed_by": "bench"})
    deployment.wait_for("a code", lambda: deployment.document(f"prompts/{name}").get("user_code"), 20)
    code = deployment.document(f"prompts/{name}")["user_code"]
    deployment.microsoft.approve(code, f"admin@{ORGANIZATION}")
    began = time.monotonic()
    while not deployment.generation(name):
        if time.monotonic() - began > 30:
            raise RuntimeError(f"no token: {deployment.log()[-2000:]}")
        time.sleep(LOOK)
    return time.monotonic() - began


def _own_part(deployment: Measured, name: str) -> float:
    """Return what the service itself took, by its log."""
    approved, published = (
        next(datetime.fromisoformat(line["timestamp"]) for line in deployment.events(event) if line["tenant"] == name)
        for event in ("sign_in_approved", "published")
    )
    return (published - approved).total_seconds()
