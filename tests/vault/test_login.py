"""Login by each method, renewal, re-login, a sealed server, and Vault's environment."""

import base64
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.servers.binary import server
from tests.servers.node import VaultServer, fresh_mount
from tests.simulators.http import Request, Response, Server, json_response
from tests.simulators.tls import Authority
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import ConfigurationError, StoreDenied, StoreUnavailable
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.registration import AuthMethod, Plan
from vault_plugin.vault.store import KvStore

SUBJECT = "system:serviceaccount:vb365:vb365"


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def service_account_token(key: rsa.RSAPrivateKey, audience: str = "vault") -> str:
    at = int(time.time())
    claims: dict[str, Any] = {
        "iss": "kubernetes",
        "sub": SUBJECT,
        "aud": [audience],
        "exp": at + 600,
        "iat": at - 10,
        "nbf": at - 10,
    }
    account = {"namespace": "vb365", "serviceaccount": {"name": "vb365", "uid": "1"}}
    claims["kubernetes.io"] = account
    return jwt.encode(claims, key, algorithm="RS256")


@pytest.fixture
def registered(vault: VaultServer) -> Iterator[Connection]:
    made = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    yield made
    made.close()


def log_in(vault: VaultServer, settings: LoginSettings) -> tuple[Connection, Login]:
    connection = Connection(read({"VAULT_ADDR": vault.url}))
    login = Login(connection, settings)
    login.ensure(timedelta(0))
    return connection, login


def register(connection: Connection, method: AuthMethod) -> Plan:
    name = fresh_mount()
    plan = Plan(mount=name, auth=method, auth_mount=f"{method}-{name}", enable_auth=True)
    registration.apply(connection, plan)
    return plan


@pytest.mark.vault
def test_approle_reads_the_secret_id_anew_at_each_login(vault: VaultServer, registered: Connection, tmp_path: Path) -> None:
    """A dead token leads to a new login from the file; the old secret id is not kept."""
    plan = register(registered, "approle")
    file = tmp_path / "secret-id"
    made = registration.app_role_credentials(registered, plan, wrap=False)
    assert made.secret_id is not None
    file.write_text(made.secret_id.reveal())
    settings = LoginSettings("approle", plan.at, role_id=made.role_id, secret_id_file=file)
    connection, login = log_in(vault, settings)
    events: list[str] = []
    store = KvStore(connection, login, plan.mount, lambda event, **_: events.append(event))
    store.write("acme", Credential(since="2026-11-24T12:00:00Z"), cas=0)
    assert connection.token is not None
    old = connection.token.reveal()
    vault.api("POST", "auth/token/revoke", {"token": old})

    assert store.read(Credential, "acme").version == 1
    assert store.write("acme", Credential(since="2026-11-24T12:00:00Z"), cas=1) == 2

    assert events[0] == "logged_in_again"
    assert connection.token is not None
    assert connection.token.reveal() != old
    login.revoke()
    assert connection.token is None


@pytest.mark.vault
def test_a_write_in_the_middle_of_a_token_death_is_done(vault: VaultServer, registered: Connection, tmp_path: Path) -> None:
    """Case 4 of the write rule: dead, log in, the same bytes."""
    plan = register(registered, "approle")
    made = registration.app_role_credentials(registered, plan, wrap=False)
    assert made.secret_id is not None
    file = tmp_path / "secret-id"
    file.write_text(made.secret_id.reveal())
    connection, login = log_in(vault, LoginSettings("approle", plan.at, role_id=made.role_id, secret_id_file=file))
    store = KvStore(connection, login, plan.mount)
    assert connection.token is not None
    vault.api("POST", "auth/token/revoke", {"token": connection.token.reveal()})

    assert store.write("acme", Credential(since="2026-11-24T12:00:00Z"), cas=0) == 1


@pytest.mark.vault
def test_a_token_is_renewed_at_half_its_period(vault: VaultServer, registered: Connection, tmp_path: Path) -> None:
    """Not before; and a renewed token is the same token."""
    plan = register(registered, "approle")
    made = registration.app_role_credentials(registered, plan, wrap=False)
    assert made.secret_id is not None
    file = tmp_path / "secret-id"
    file.write_text(made.secret_id.reveal())
    calls: list[str] = []
    connection = Connection(read({"VAULT_ADDR": vault.url}), calls.append)
    login = Login(connection, LoginSettings("approle", plan.at, role_id=made.role_id, secret_id_file=file))
    login.ensure(timedelta(0))
    login.ensure(timedelta(seconds=1799))
    assert len(calls) == 1

    login.ensure(timedelta(seconds=1801))

    assert [call for call in calls if "renew" in call] == ["POST token/renew-self"]
    login.ensure(timedelta(seconds=1802))
    assert len(calls) == 2


@pytest.mark.vault
def test_a_wrong_secret_id_is_said_with_its_remedy(vault: VaultServer, registered: Connection, tmp_path: Path) -> None:
    """Vault answers 400 to it."""
    plan = register(registered, "approle")
    file = tmp_path / "secret-id"
    file.write_text("wrong")

    with pytest.raises(StoreDenied) as caught:
        log_in(vault, LoginSettings("approle", plan.at, role_id="nobody", secret_id_file=file))

    assert caught.value.reason == "LoginRefused"
    assert "SECRET_ID_FILE" in caught.value.remedy()


@pytest.mark.vault
def test_a_missing_file_is_a_setting_to_correct(vault: VaultServer, tmp_path: Path) -> None:
    """Named, with the system's reason."""
    with pytest.raises(ConfigurationError, match="No such file"):
        log_in(vault, LoginSettings("approle", role_id="x", secret_id_file=tmp_path / "none"))


@pytest.mark.vault
def test_jwt_auth_logs_in_with_a_service_accounts_token(
    vault: VaultServer, registered: Connection, tmp_path: Path, key: rsa.RSAPrivateKey
) -> None:
    """And refuses another audience."""
    plan = register(registered, "jwt")
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    vault.api("POST", f"auth/{plan.at}/config", {"jwt_validation_pubkeys": [pem]})
    file = tmp_path / "jwt"
    file.write_text(service_account_token(key))
    connection, _ = log_in(vault, LoginSettings("jwt", plan.at, role=plan.role, jwt_file=file))
    assert connection.token

    file.write_text(service_account_token(key, "another"))
    with pytest.raises(StoreDenied):
        log_in(vault, LoginSettings("jwt", plan.at, role=plan.role, jwt_file=file))


@pytest.mark.vault
@pytest.mark.skipif(server() == "vault", reason="the Vault that Go builds for the tests has no plugin for Kubernetes auth")
def test_kubernetes_auth_logs_in_by_token_review(
    vault: VaultServer, registered: Connection, tmp_path: Path, key: rsa.RSAPrivateKey, authority: Authority
) -> None:
    """Against a TokenReview endpoint over HTTPS that reads the token's own claims."""

    def review(request: Request) -> Response:
        token = json.loads(request.body)["spec"]["token"]
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        user = {"username": claims["sub"], "uid": "1", "groups": ["system:serviceaccounts"]}
        status = {"authenticated": True, "user": user, "audiences": claims["aud"]}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}
        return json_response(201, body)

    api = Server(review, authority.shared_context)
    plan = register(registered, "kubernetes")
    config = {"kubernetes_host": api.url, "kubernetes_ca_cert": authority.pem, "disable_local_ca_jwt": True}
    vault.api("POST", f"auth/{plan.at}/config", config)
    file = tmp_path / "token"
    file.write_text(service_account_token(key))

    connection, login = log_in(vault, LoginSettings("kubernetes", plan.at, role=plan.role, jwt_file=file))

    assert connection.token
    assert login.alive()
    api.close()


@pytest.mark.vault
def test_a_given_token_is_used_and_never_revoked(vault: VaultServer, mount: str) -> None:
    """The service revokes at stop only what it obtained."""
    token = vault.token_for(f"{mount}-service")
    connection = Connection(read({"VAULT_ADDR": vault.url, "BAO_TOKEN": token, "VAULT_TOKEN": "other"}))
    login = Login(connection, LoginSettings())
    login.ensure(timedelta(0))

    login.revoke()

    assert vault.request("GET", "auth/token/lookup-self", token=token).ok


@pytest.mark.vault
def test_a_sealed_server_is_said_to_be_sealed(tmp_path: Path) -> None:
    """And nothing is concluded from it."""
    server = VaultServer(tmp_path / "sealed")
    try:
        connection = Connection(read({"VAULT_ADDR": server.url, "VAULT_TOKEN": server.token}))
        registration.apply(connection, Plan(mount="vb365"))
        store = KvStore(connection, Login(connection, LoginSettings()), "vb365")
        version = store.write("acme", Credential(since="2026-11-24T12:00:00Z"), cas=0)
        server.seal()

        with pytest.raises(StoreUnavailable) as caught:
            store.read(Credential, "acme")
        assert caught.value.reason == "VaultSealed"
        assert "nseal" in caught.value.remedy()

        server.unseal()
        assert store.read(Credential, "acme").version == version
    finally:
        server.stop()


@pytest.mark.vault
def test_a_wrong_mount_is_not_absence(vault: VaultServer) -> None:
    """404 with error text must never read as NeverSignedIn."""
    connection = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    store = KvStore(connection, Login(connection, LoginSettings()), "nowhere")

    with pytest.raises(StoreUnavailable) as caught:
        store.read(Credential, "acme")

    assert caught.value.reason == "NoSuchMount"
    assert "--mount" in caught.value.remedy()
