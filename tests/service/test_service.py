"""The whole product: a real process, a real server, real HTTPS, the real command line."""

import json
import threading
import time

import pytest

from tests.servers.node import fresh_mount
from tests.service.deployment import ORGANIZATION, Deployment
from tests.simulators.http import Fault, Response, Server
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read

pytestmark = pytest.mark.vault


@pytest.mark.alone
def test_from_registration_to_a_consumers_token(deployment: Deployment) -> None:
    """The token stands at most interval + 2 s after the approval; a consumer reads it and nothing else."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    code = deployment.ask_sign_in()
    approved_at = time.monotonic()
    deployment.microsoft.approve(code, f"admin@{ORGANIZATION}")
    deployment.wait_for("a token", deployment.generation, 10)
    assert time.monotonic() - approved_at <= 1 + 2

    assert deployment.accepted()
    consumer = deployment.vault.token_for(f"{deployment.mount}-consumer")
    read = deployment.vault.cli("kv", "get", "-field=access_token", f"{deployment.mount}/tokens/acme", token=consumer)
    assert deployment.veeam.accepts(read.stdout.strip())
    for kind in ("credentials", "sign-ins", "prompts", "status", "tenants"):
        assert deployment.vault.request("GET", f"{deployment.mount}/data/{kind}/acme", token=consumer).status_code == 403
    deployment.wait_for("the end in status", lambda: deployment.status()["sign_in"]["outcome"] == "SignedIn", 5)
    assert not deployment.document("prompts/acme")["user_code"]
    assert deployment.stop() == 0


def test_a_consumer_that_reads_each_second_never_sees_a_dead_token(deployment: Deployment) -> None:
    """Ten tenants, 20-second tokens, half a minute of it here; a kill -9 in the middle."""
    deployment.server()
    names = [f"t{number}" for number in range(10)]
    for name in names:
        deployment.tenant(name)
    deployment.start()
    for name in names:
        deployment.sign_in(name)
    refused: list[str] = []
    over = threading.Event()

    def read() -> None:
        while not over.wait(1.0):
            refused.extend(name for name in names if not deployment.accepted(name))

    reader = threading.Thread(target=read)
    reader.start()
    deployment.wait_for("two rotations of each", lambda: all(deployment.generation(name) > 2 for name in names), 20)
    deployment.kill()
    deployment.start()
    deployment.wait_for("two more", lambda: all(deployment.generation(name) > 4 for name in names), 20)
    over.set()
    reader.join()

    assert refused == []
    assert deployment.presented_again() == []


def test_a_kill_during_a_pending_sign_in_loses_nothing(deployment: Deployment) -> None:
    """The code stays good; the new process polls on."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    code = deployment.ask_sign_in()
    deployment.wait_for("a poll", lambda: deployment.microsoft.presented, 5)
    deployment.kill()
    deployment.microsoft.approve(code)

    deployment.start()

    deployment.wait_for("a token", deployment.generation, 10)
    assert deployment.accepted()
    assert len(deployment.microsoft.codes) == 1


def test_an_operator_who_moves_the_authority_gets_nothing(deployment: Deployment) -> None:
    """Neither at the sign-in nor at a rotation; his host's log stays empty."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    evil = Server(lambda _request: Response(200))
    address = evil.url.replace("http://", "https://")
    deployment.ok("tenant", "set", "acme", "--authority", address)
    deployment.wait_for("a hold", lambda: deployment.status()["reason"] == "ConfigurationChanged", 10)
    assert "authority" in deployment.status()["text"]

    refused = deployment.vb365("sign-in", "acme")
    assert refused.returncode == 6
    assert "VB365_AUTHORITIES" in refused.stderr
    rotated = deployment.vb365("rotate", "acme")
    assert rotated.returncode == 6
    assert evil.log == []
    evil.close()
    deployment.ok("tenant", "set", "acme", "--authority", deployment.microsoft_server.url)
    generation = deployment.generation()
    deployment.wait_for("a rotation", lambda: deployment.generation() > generation, 25)


def test_wild_names_written_by_hand_are_refused_by_the_service(deployment: Deployment) -> None:
    """Reported, and nothing is made of them."""
    for name in ("+", "a*", 'a"b', "ACME"):
        body = {"options": {"cas": 0}, "data": {"server": "vbr"}}
        deployment.vault.api("POST", f"{deployment.mount}/data/tenants/{name}", body)
        assert deployment.vb365("tenant", "set", name, "--server", "vbr").returncode == 2
    deployment.start()

    deployment.wait_for("a report", lambda: len(deployment.events("name_refused")) == 4, 5)
    assert deployment.vault.request("LIST", f"{deployment.mount}/metadata/status").status_code == 404


def test_requests_that_are_none_are_dropped_by_path_only(deployment: Deployment) -> None:
    """Unknown tenant, wrong schema, too large."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    for path, data in {
        "acme/bad": {"action": "rotate", "evil": "simtok"},
        "acme/huge": {"action": "rotate", "reason": "x" * 70000},
        "nobody/1": {"action": "rotate"},
    }.items():
        deployment.vault.api("POST", f"{deployment.mount}/data/requests/{path}", {"options": {"cas": 0}, "data": data})

    deployment.wait_for("three drops", lambda: len(deployment.events("request_dropped")) == 3, 10)
    listing = f"{deployment.mount}/metadata/requests"
    deployment.wait_for("an empty mailbox", lambda: deployment.vault.request("LIST", listing).status_code == 404, 10)


def test_a_sealed_vault_is_survived_without_a_person(deployment: Deployment, tmp_path: object) -> None:
    """/readyz says why; after the unseal the work goes on."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    deployment.vault.seal()
    try:
        deployment.wait_for("not ready", lambda: deployment.get("/readyz") == 503, 15)
        assert deployment.get("/livez") == 200
    finally:
        deployment.vault.unseal()
    deployment.wait_for("ready again", lambda: deployment.get("/readyz") == 200, 30)
    generation = deployment.generation()
    deployment.wait_for("a rotation", lambda: deployment.generation() > generation, 30)
    assert deployment.accepted()


def test_a_request_whose_writer_vault_has_verified_is_taken(deployment: Deployment) -> None:
    """The sign-in of somebody whom Vault knows; the status shows the id that says who it was."""
    connection = Connection(read({"VAULT_ADDR": deployment.vault.url, "VAULT_TOKEN": deployment.vault.token}))
    registration.apply(connection, registration.Plan(mount=deployment.mount, verified=True))
    connection.close()
    alice = deployment.vault.person(f"alice-{deployment.mount}", f"{deployment.mount}-operator")
    deployment.server()
    deployment.tenant()
    deployment.start()

    done = deployment.vb365("sign-in", "acme", "--no-wait", token=alice.token)

    assert (done.returncode, done.stderr) == (0, "")
    taken = [entry["id"] for entry in deployment.status()["requests"] if entry["action"] == "sign-in"]
    assert [each.split(".")[0] for each in taken] == [alice.entity]


def test_a_veeam_in_trouble_costs_nothing_but_time(deployment: Deployment) -> None:
    """503: the operator is told; the next try succeeds by itself."""
    deployment.veeam.token_life = 60
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    deployment.veeam_server.faults.add(Fault("/token", times=1, response=Response(503)))
    done = deployment.vb365("rotate", "acme")
    assert done.returncode == 6
    assert "503" in done.stderr

    deployment.wait_for("a rotation", lambda: deployment.generation() == 2, 40)
    assert deployment.document("status/acme")["state"] == "active"


def test_a_declined_sign_in_ends_with_a_plain_word(deployment: Deployment) -> None:
    """Exit status 6, and what to do."""
    deployment.server()
    deployment.tenant()
    deployment.start()

    def decline() -> None:
        deployment.wait_for("a code", deployment.microsoft.pending, 10)
        deployment.microsoft.decline(deployment.microsoft.pending()[0].user_code)

    person = threading.Thread(target=decline)
    person.start()
    done = deployment.vb365("sign-in", "acme", "--reason", "test")
    person.join()

    assert done.returncode == 6
    assert "declined" in done.stderr
    assert "vb365 sign-in acme" in done.stderr


def test_cancelling_by_the_command_line(deployment: Deployment) -> None:
    """The code is gone, Microsoft isn't asked any more."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.ask_sign_in()

    assert "cancelled" in deployment.ok("cancel", "acme")

    deployment.wait_for("the end", lambda: deployment.status()["sign_in"]["outcome"] == "Cancelled", 5)
    polls = len(deployment.microsoft.presented)
    time.sleep(2.5)
    assert len(deployment.microsoft.presented) == polls
    assert deployment.vb365("cancel", "acme").returncode == 3


def test_removing_a_tenant_ends_its_session_and_its_secrets(deployment: Deployment) -> None:
    """The token is refused by Veeam, and nothing readable is left."""
    deployment.veeam.token_life = 600
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    token = deployment.document("tokens/acme")["access_token"]
    assert deployment.vb365("tenant", "remove", "acme").returncode == 2

    assert "administrator" in deployment.ok("tenant", "remove", "acme", "--yes")

    assert not deployment.veeam.accepts(token)
    for kind in ("tokens", "credentials", "sign-ins"):
        for version in (1, 2, 3, 4, 5):
            answer = deployment.vault.request("GET", f"{deployment.mount}/data/{kind}/acme?version={version}")
            assert "simtok" not in answer.text
    assert deployment.vb365("tenant", "show", "acme").returncode == 3
    assert deployment.vb365("token", "acme").returncode == 3


def test_a_tenant_whose_document_is_gone_can_still_be_removed(deployment: Deployment) -> None:
    """As its status says."""
    deployment.veeam.token_life = 600
    deployment.server()
    deployment.tenant()
    deployment.start(VB365_LIST_INTERVAL="1s")
    deployment.sign_in()
    deployment.vault.api("DELETE", f"{deployment.mount}/metadata/tenants/acme")
    deployment.wait_for("a word", lambda: deployment.status()["reason"] == "TenantRemoved", 10)
    assert "vb365 tenant remove acme" in deployment.ok("status", "acme")

    assert "removed" in deployment.ok("tenant", "remove", "acme", "--yes")

    assert deployment.document("credentials/acme")["state"] == "revoked"
    assert "acme" not in deployment.ok("status")


def test_status_and_token_for_people_and_programs(deployment: Deployment) -> None:
    """Tables mask the token; JSON and --field print it."""
    deployment.server()
    deployment.tenant()
    deployment.start()
    deployment.sign_in()
    deployment.wait_for("a status", lambda: deployment.status().get("state") == "active", 5)

    assert "active" in deployment.ok("status")
    assert json.loads(deployment.ok("status", "--format", "json"))[0]["tenant"] == "acme"
    assert "simtok" not in deployment.vb365("token", "acme").stdout
    assert deployment.veeam.accepts(deployment.vb365("token", "acme", "--field", "access_token").stdout.strip())
    assert "rotated" in deployment.ok("rotate", "acme")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VB365_TYPO": "1"}, "VB365_TYPO"),
        ({"VB365_HTTP_ADDR": "nowhere"}, "VB365_HTTP_ADDR"),
        ({"VB365_VAULT_AUTH": "kubernetes"}, "VB365_VAULT_ROLE"),
        ({"VB365_AUTHORITIES": "http://sim"}, "VB365_AUTHORITIES"),
        ({"VAULT_MFA": "1"}, "VAULT_MFA"),
    ],
)
def test_a_wrong_setting_is_a_clear_error_at_start(deployment: Deployment, settings: dict[str, str], words: str) -> None:
    """Exit status 2, the setting's name, what to do."""
    deployment.start(ready=False, **settings)
    assert deployment.process is not None

    assert deployment.process.wait(20) == 2
    assert words in deployment.log()
    assert "What to do" in deployment.log()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"VAULT_ADDR": "http://127.0.0.1:1"}, "VAULT_ADDR"),
        ({"VB365_VAULT_ROLE_ID": "nobody"}, "VB365_VAULT_SECRET_ID_FILE"),
        ({"VB365_MOUNT": fresh_mount()}, "permission denied"),
    ],
    ids=["vault is away", "wrong role id", "another mount"],
)
def test_trouble_with_vault_at_start_is_said_and_tried_again(
    deployment: Deployment, settings: dict[str, str], words: str
) -> None:
    """The process stays up, live and not ready; the log names the remedy."""
    deployment.start(ready=False, **settings)

    deployment.wait_for("a word", lambda: words in deployment.log(), 15)
    assert deployment.get("/readyz") == 503
    assert deployment.get("/livez") == 200
    assert deployment.stop() == 0


def test_a_refused_login_is_tried_once_and_a_new_file_helps(deployment: Deployment) -> None:
    """The process stays up and isn't ready; a restart loop, or a loop of its own, would lock the role for every replica."""
    file = deployment.directory / "secret-id"
    good = file.read_text()
    file.write_text("0193b5a0-0000-4000-8000-000000000000")
    deployment.start(ready=False)
    deployment.wait_for("the refusal", lambda: deployment.events("vault_trouble"), 15)
    time.sleep(5)
    assert deployment.get("/readyz") == 503
    assert deployment.get("/livez") == 200
    assert deployment.metric(f'vb365_vault_requests_total{{kind="POST approle-{deployment.mount}/login"}}') == 1

    file.write_text(good)
    deployment.wait_for("readiness", lambda: deployment.get("/readyz") == 200, 15)
    assert deployment.stop() == 0
