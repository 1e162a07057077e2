"""Deleted is not absent: what an undelete can mend isn't written over, and what the service can make again, it does."""

import pytest

from tests.service.deployment import ORGANIZATION, Deployment

pytestmark = pytest.mark.vault

QUICK = {"VB365_LIST_INTERVAL": "1s", "VB365_REREAD_AFTER": "4s"}


def version(deployment: Deployment, path: str) -> int:
    answer = deployment.vault.api("GET", f"{deployment.mount}/metadata/{path}")
    return int(answer["data"]["current_version"])


def delete(deployment: Deployment, path: str) -> int:
    """``kv delete``; return the version that is deleted."""
    deployment.vault.api("DELETE", f"{deployment.mount}/data/{path}")
    return version(deployment, path)


def undelete(deployment: Deployment, path: str, number: int) -> None:
    deployment.vault.api("POST", f"{deployment.mount}/undelete/{path}", {"versions": [number]})


def destroy(deployment: Deployment, path: str) -> int:
    number = version(deployment, path)
    deployment.vault.api("POST", f"{deployment.mount}/destroy/{path}", {"versions": [number]})
    return number


def begun(deployment: Deployment, **settings: str) -> None:
    deployment.server()
    deployment.tenant()
    deployment.start(ready=True, **QUICK | settings)
    deployment.sign_in()


def told(deployment: Deployment) -> None:
    deployment.wait_for("a word", lambda: deployment.status().get("reason") == "DocumentDeleted", 20)


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped meanwhile"])
def test_a_deleted_credential_is_not_written_over_and_goes_on_when_it_is_undeleted(
    deployment: Deployment, *, stopped: bool
) -> None:
    """Status says how; the rotation that is due is not done meanwhile, nor by whoever starts then."""
    begun(deployment)
    if stopped:
        deployment.kill()
    number = delete(deployment, "credentials/acme")
    if stopped:
        deployment.start(ready=True, **QUICK)

    told(deployment)

    status = deployment.status()
    assert status["state"] == "blocked"
    assert f"vault kv undelete -mount={deployment.mount} -versions={number} credentials/acme" in status["remedy"]
    assert deployment.get("/readyz") == 200
    assert "held back: credentials/acme: DocumentDeleted" in deployment.printed[-1]
    asked = deployment.vb365("rotate", "acme")
    assert asked.returncode != 0
    assert "undelete" in asked.stderr + asked.stdout
    deployment.ask("sign-in")
    path = f"{deployment.mount}/metadata/requests/acme"
    deployment.wait_for("an empty mailbox", lambda: deployment.vault.request("LIST", path).status_code == 404, 20)
    assert version(deployment, "credentials/acme") == number
    sent = len(deployment.veeam.presented)

    undelete(deployment, "credentials/acme", number)

    generation = deployment.generation()
    deployment.wait_for("a rotation", lambda: deployment.generation() > generation, 70)
    assert len(deployment.veeam.presented) > sent
    deployment.wait_for("its status", lambda: deployment.status().get("reason") != "DocumentDeleted", 10)
    assert not deployment.presented_again()


def test_an_approved_sign_in_waits_for_a_deleted_credential(deployment: Deployment) -> None:
    """And is handed over when that is back."""
    begun(deployment)
    code = deployment.ask_sign_in()
    number = delete(deployment, "credentials/acme")
    told(deployment)
    deployment.microsoft.approve(code, f"admin@{ORGANIZATION}")
    deployment.wait_for("approval", lambda: deployment.document("sign-ins/acme").get("state") == "approved", 20)
    assert version(deployment, "credentials/acme") == number

    undelete(deployment, "credentials/acme", number)

    adopted = deployment.document("sign-ins/acme")["id"]
    deployment.wait_for("it", lambda: deployment.document("credentials/acme").get("sign_in_id") == adopted, 90)


def test_a_sign_in_is_cancelled_though_the_credential_is_deleted(deployment: Deployment) -> None:
    """Nothing of it is written to the credential."""
    begun(deployment)
    deployment.ask_sign_in()
    number = delete(deployment, "credentials/acme")
    sign_in = deployment.document("sign-ins/acme")["id"]
    path = f"{deployment.mount}/data/requests/acme/stop"
    deployment.vault.api("POST", path, {"options": {"cas": 0}, "data": {"action": "cancel", "sign_in_id": sign_in}})

    deployment.wait_for("the end", lambda: deployment.document("sign-ins/acme").get("outcome") == "Cancelled", 20)
    assert version(deployment, "credentials/acme") == number


def test_a_deleted_credential_can_be_removed(deployment: Deployment) -> None:
    """The tombstone is the one write over it; the outcome says what couldn't be done; the token is replaced."""
    begun(deployment)
    number = delete(deployment, "credentials/acme")
    told(deployment)

    done = deployment.ok("tenant", "remove", "acme", "--yes")

    assert "couldn't be ended" in " ".join(done.split())
    assert version(deployment, "credentials/acme") == number + 1
    assert deployment.document("credentials/acme")["state"] == "revoked"
    assert not deployment.document("tokens/acme").get("access_token")
    assert not deployment.document("credentials/acme").get("pair")


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped meanwhile"])
def test_after_a_destroyed_credential_a_sign_in_is_accepted(deployment: Deployment, *, stopped: bool) -> None:
    """Its generation goes on above the published one's, so that consumers get its token."""
    begun(deployment)
    deployment.wait_for("some generations", lambda: deployment.generation() > 1, 30)
    if stopped:
        deployment.kill()
    destroy(deployment, "credentials/acme")
    if stopped:
        deployment.start(ready=True, **QUICK)
    before = deployment.generation()

    deployment.microsoft.approve(deployment.ask_sign_in(), f"admin@{ORGANIZATION}")

    deployment.wait_for("a token", lambda: deployment.generation() > before, 30)
    assert deployment.accepted()
    assert deployment.document("credentials/acme")["generation"] >= deployment.generation()


@pytest.mark.parametrize("gone", [delete, destroy])
@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped meanwhile"])
def test_a_deleted_sign_in_ends_as_cancelled(deployment: Deployment, gone: object, *, stopped: bool) -> None:
    """The code isn't polled any more, the prompt is emptied, and status says so; another can be asked for."""
    begun(deployment)
    deployment.ask_sign_in()
    deployment.wait_for("its status", lambda: (deployment.status().get("sign_in") or {}).get("state") == "pending", 20)
    if stopped:
        deployment.kill()
    gone(deployment, "sign-ins/acme")  # type: ignore[operator]
    if stopped:
        deployment.start(ready=True, **QUICK)

    deployment.wait_for("an end", lambda: (deployment.status().get("sign_in") or {}).get("outcome") == "Cancelled", 20)
    deployment.wait_for("an empty prompt", lambda: not deployment.document("prompts/acme").get("user_code"), 10)
    assert deployment.document("prompts/acme"), "it is emptied, not gone"
    assert deployment.ask_sign_in()


@pytest.mark.parametrize("gone", [delete, destroy])
@pytest.mark.parametrize("path", ["tokens/acme", "status/acme", "prompts/acme"])
def test_what_others_read_is_made_again(deployment: Deployment, path: str, gone: object) -> None:
    """By the next re-read, not by the next rotation."""
    deployment.veeam.token_life = 3600
    begun(deployment)
    deployment.wait_for("a prompt", lambda: deployment.document("prompts/acme"), 10)
    deployment.wait_for("quiet", lambda: deployment.status().get("state") == "active", 10)
    token = deployment.document("tokens/acme")
    number = gone(deployment, path)  # type: ignore[operator]

    deployment.wait_for("it", lambda: deployment.document(path), 15)

    assert version(deployment, path) == number + 1
    assert deployment.document("tokens/acme")["generation"] == token["generation"] == 1
    assert deployment.accepted()


def test_a_deleted_lease_is_taken_again(deployment: Deployment) -> None:
    """With the deleted version as `cas`; who leads goes on, and who starts then leads."""
    begun(deployment)
    number = delete(deployment, "service/leader")
    deployment.wait_for("it", lambda: deployment.document("service/leader").get("instance"), 15)
    assert version(deployment, "service/leader") > number
    deployment.kill()
    delete(deployment, "service/leader")

    deployment.start(ready=True, **QUICK)

    deployment.wait_for("a leader", deployment.leads, 20)


def test_a_malformed_lease_is_written_over(deployment: Deployment) -> None:
    """Only the service writes it: whatever stands there is a mistake."""
    deployment.vault.api("POST", f"{deployment.mount}/data/service/leader", {"options": {"cas": 0}, "data": {"hello": "world"}})
    begun(deployment)
    number = version(deployment, "service/leader")
    deployment.vault.api(
        "POST", f"{deployment.mount}/data/service/leader", {"options": {"cas": number}, "data": {"instance": 7}}
    )

    deployment.wait_for("the lease", lambda: deployment.document("service/leader").get("renewed_at"), 20)
    deployment.wait_for("a leader", deployment.leads, 20)
    generation = deployment.generation()
    deployment.wait_for("a rotation", lambda: deployment.generation() > generation, 40)
