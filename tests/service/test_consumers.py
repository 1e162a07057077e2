"""How consumers read: a real agent beside them renders a file."""

import time
from pathlib import Path

import pytest

from tests.agent import Agent
from tests.service.deployment import Deployment

pytestmark = [pytest.mark.vault, pytest.mark.slow]


def test_an_agents_file_holds_a_token_that_works_however_often_it_rotates(deployment: Deployment, tmp_path: Path) -> None:
    """Looked at each second, while 20-second tokens rotate and the service is killed in between."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    # An agent looks its own token up: the default policy allows that, and nothing in this mount.
    token = deployment.vault.token_for(f"{deployment.mount}-consumer", no_default_policy=False)
    agent = Agent(tmp_path / "agent", deployment.vault.url, token, f"{deployment.mount}/data/tokens/acme")
    seen: list[int] = []
    refused: list[int] = []

    def rendered(generation: int) -> bool:
        time.sleep(1)
        if held := agent.read():
            seen.append(held[0])
            refused.extend([held[0]] * (not deployment.veeam.accepts(held[1])))
        return seen[-1:] >= [generation]

    try:
        deployment.wait_for("a rotation in the file", lambda: rendered(2), 20)
        deployment.kill()
        deployment.start()
        deployment.wait_for("two more in the file", lambda: rendered(4), 30)
    finally:
        agent.close()

    assert refused == []
    assert seen == sorted(seen)


def test_after_a_removal_an_agents_file_holds_no_token_and_no_word_of_the_templates(
    deployment: Deployment, tmp_path: Path
) -> None:
    """The tombstone has no access token: without the guard of README's template the file would say <no value>."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    token = deployment.vault.token_for(f"{deployment.mount}-consumer", no_default_policy=False)
    agent = Agent(tmp_path / "agent", deployment.vault.url, token, f"{deployment.mount}/data/tokens/acme")
    try:
        deployment.wait_for("a token in the file", agent.read, 20)
        deployment.ask("remove")
        deployment.wait_for("a file without it", lambda: agent.text() == "", 20)
    finally:
        agent.close()

    tombstone = deployment.document("tokens/acme")
    assert tombstone["revoked_at"]
    assert not tombstone.get("access_token")
