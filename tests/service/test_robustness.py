"""What must not hold up the others: bad documents, strays in the mailbox, signals at any moment, an admin's change."""

import signal
import time

import pytest

from tests.service.deployment import ORGANIZATION, Deployment
from tests.simulators.sockets import HeldPort
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read

pytestmark = pytest.mark.vault


def test_one_bad_credential_holds_up_nobody_else(deployment: Deployment) -> None:
    """Its status says what is wrong; the others are rotated, and the service is ready."""
    deployment.server()
    deployment.tenant()
    deployment.tenant("evil")
    deployment.start()
    deployment.sign_in()
    deployment.kill()
    body = {"options": {"cas": 0}, "data": {"schema": 2, "since": "2026-11-25T12:00:00Z"}}
    deployment.vault.api("POST", f"{deployment.mount}/data/credentials/evil", body)

    deployment.start()

    generation = deployment.generation()
    deployment.wait_for("a rotation", lambda: deployment.generation() > generation, 25)
    deployment.wait_for("a word", lambda: deployment.status("evil").get("reason") == "DocumentMalformed", 10)
    assert "credentials/evil" in deployment.status("evil")["text"]
    assert deployment.document("credentials/evil") == body["data"], "what can't be read isn't touched"


def test_strays_in_the_mailbox_take_nobodys_place(deployment: Deployment) -> None:
    """A group's operator may write folders in folders, and ids that aren't ours; they are cleared away."""
    deployment.server()
    deployment.tenant()
    connection = Connection(read({"VAULT_ADDR": deployment.vault.url, "VAULT_TOKEN": deployment.vault.token}))
    registration.apply(connection, registration.Plan(mount=deployment.mount, groups=("emea",)))
    connection.close()
    group = deployment.vault.token_for(f"{deployment.mount}-operator-emea")
    operator = deployment.vault.token_for(f"{deployment.mount}-operator")
    stray = {"options": {"cas": 0}, "data": {"action": "rotate"}}
    for number in range(25):
        for folder in range(5):
            path = f"{deployment.mount}/data/requests/emea-{number}/{folder}/z"
            deployment.vault.api("POST", path, stray, token=group)
    for number in range(8):
        deployment.vault.api("POST", f"{deployment.mount}/data/requests/acme/bad_id_{number}", stray, token=operator)
    deployment.start()

    deployment.ask_sign_in()

    def cleared() -> bool:
        return deployment.vault.request("LIST", f"{deployment.mount}/metadata/requests").status_code == 404

    deployment.wait_for("an empty mailbox", cleared, 30)


def test_signals_in_quick_succession_stop_it_once(deployment: Deployment) -> None:
    """A handler that was interrupted by a signal would wait for itself."""
    deployment.start()
    for _ in range(20):
        deployment.signal(signal.SIGTERM)
        deployment.signal(signal.SIGINT)
        time.sleep(0.005)

    assert deployment.stop() == 0
    assert deployment.events("stopped")


def test_a_pause_of_the_whole_process_stops_nothing(deployment: Deployment) -> None:
    """A machine that is suspended, a debugger: it goes on afterwards."""
    deployment.start()
    assert deployment.process is not None
    deployment.signal(signal.SIGSTOP)
    time.sleep(1)
    deployment.signal(signal.SIGCONT)
    deployment.wait_for("an answer", lambda: deployment.get("/readyz") == 200, 10)
    time.sleep(0.5)

    assert deployment.process.poll() is None
    assert not deployment.events("stopping")
    assert deployment.stop() == 0


def test_a_server_that_an_admin_corrects_is_taken_up_by_itself(deployment: Deployment) -> None:
    """Within the interval at which documents are listed: no tenant need be touched."""
    nobody = HeldPort()
    deployment.ok("server", "set", "vbr", "--url", f"https://localhost:{nobody.number}", "--ca-file", str(deployment.ca))
    deployment.tenant()
    deployment.start(VB365_LIST_INTERVAL="1s")
    deployment.microsoft.approve(deployment.ask_sign_in(), f"admin@{ORGANIZATION}")
    deployment.wait_for("an error", lambda: deployment.status().get("last_error"), 15)

    deployment.server()

    deployment.wait_for("a token", deployment.generation, 40)
    assert deployment.accepted()
    nobody.close()
