"""A refused login is no weather: Vault's lockout counts each try, for every replica. A login that doesn't help is no cure."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.servers.node import VaultServer, fresh_mount
from tests.simulators.http import Response
from tests.vault.proxy import LossyProxy, Trick
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import ConfigurationError, StoreDenied, StoreUnavailable
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.registration import Plan
from vault_plugin.vault.store import KvStore

pytestmark = pytest.mark.vault


def at(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@dataclass
class Approle:
    """A registered role, a file for its secret id, and a login that goes through a proxy."""

    plan: Plan
    proxy: LossyProxy
    file: Path
    secret_id: str
    connection: Connection
    login: Login

    def logins(self) -> int:
        return sum(path.endswith("/login") for _, path, _ in self.proxy.seen)


@pytest.fixture
def approle(vault: VaultServer, tmp_path: Path) -> Iterator[Approle]:
    root = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    name = fresh_mount()
    plan = Plan(mount=name, auth="approle", auth_mount=f"approle-{name}", enable_auth=True)
    registration.apply(root, plan)
    made = registration.app_role_credentials(root, plan, wrap=False)
    root.close()
    assert made.secret_id is not None
    proxy, file = LossyProxy(vault.url), tmp_path / "secret-id"
    connection = Connection(read({"VAULT_ADDR": proxy.url}))
    login = Login(connection, LoginSettings("approle", plan.at, role_id=made.role_id, secret_id_file=file))
    yield Approle(plan, proxy, file, made.secret_id.reveal(), connection, login)
    connection.close()
    proxy.close()


def test_a_stale_secret_id_is_tried_once_until_the_file_changes(approle: Approle) -> None:
    """However often it is asked: five tries would lock the role for every replica. A new file helps at once."""
    approle.file.write_text("0193b5a0-0000-4000-8000-000000000000")
    for second in range(100):
        with pytest.raises(StoreDenied) as caught:
            approle.login.ensure(at(second))
    assert approle.logins() == 1
    assert caught.value.reason == "LoginRefused"
    assert "VB365_VAULT_SECRET_ID_FILE" in caught.value.remedy()

    approle.file.write_text(f"{approle.secret_id}\n")
    approle.login.ensure(at(101))
    assert (approle.logins(), approle.connection.token is not None) == (2, True)


def test_a_refusal_is_repeated_after_two_hours(approle: Approle) -> None:
    """Perhaps it was mended at Vault's end."""
    approle.file.write_text("0193b5a0-0000-4000-8000-000000000000")
    for moment in (0, 7199, 7201, 7202):
        with pytest.raises(StoreDenied):
            approle.login.ensure(at(moment))
    assert approle.logins() == 2


def test_a_locked_role_is_told_with_how_it_is_unlocked(approle: Approle) -> None:
    """Vault answers 403 to the right secret id, too, once five wrong ones were tried."""
    for number in range(6):
        approle.file.write_text(f"0193b5a0-0000-4000-8000-00000000000{number}")
        with pytest.raises(StoreDenied):
            approle.login.ensure(at(0))
    approle.file.write_text(approle.secret_id)
    with pytest.raises(StoreDenied, match="permission denied") as caught:
        approle.login.ensure(at(0))

    assert "lockout" in caught.value.remedy()
    assert "sys/locked-users/" in caught.value.remedy()


@pytest.mark.parametrize(
    "response",
    [Response(500, b'{"errors":["local node not active but active cluster node not found"]}'), Response(403, b"<html>WAF</html>"),
     Response(503, b'{"errors":["Vault is sealed"]}'), Response(404, b"nginx"), Response(400, b"Bad Request")],
)  # fmt: skip
def test_weather_is_no_refusal(approle: Approle, response: Response) -> None:
    """What Vault itself hasn't refused is tried again at once."""
    approle.file.write_text(approle.secret_id)
    approle.proxy.tricks.append(Trick("POST", "/login", "answer", response=response))
    with pytest.raises(StoreUnavailable):
        approle.login.ensure(at(0))

    approle.login.ensure(at(0))
    assert approle.logins() == 2


@pytest.mark.parametrize("content", [b"", b" \n", b"ab\ncd", b"\xff\xfe", b"ab\x00", "s\u00fc".encode()])
def test_a_file_that_holds_no_secret_id_is_told_by_name(approle: Approle, content: bytes) -> None:
    """Never a traceback, never sent."""
    approle.file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="secret-id"):
        approle.login.ensure(at(0))
    assert approle.logins() == 0


@pytest.mark.parametrize("text", ["namespace not found", 'no handler for route "auth/x/login". route entry not found.'])
def test_what_reached_no_role_is_tried_again_soon(approle: Approle, text: str) -> None:
    """No lockout counts it: what isn't there yet may be there in a minute."""
    approle.file.write_text(approle.secret_id)
    answer = Response(404, json.dumps({"errors": [text]}).encode())
    approle.proxy.tricks.append(Trick("POST", "/login", "answer", response=answer))
    for moment in (0, 10, 29):
        with pytest.raises(StoreDenied):
            approle.login.ensure(at(moment))
    approle.login.ensure(at(31))
    assert approle.logins() == 2


def test_a_login_that_lacks_its_file_is_vaults_trouble_to_whoever_asks(approle: Approle, vault: VaultServer) -> None:
    """The token dies while the file is gone: reads and lists say so by errors that rounds know, and all goes on when it is back."""
    approle.file.write_text(approle.secret_id)
    approle.login.ensure(at(0))
    assert approle.connection.token is not None
    vault.api("POST", "auth/token/revoke", {"token": approle.connection.token.reveal()})
    approle.file.unlink()
    store = KvStore(approle.connection, approle.login, approle.plan.mount)
    for ask in (lambda: store.read(Credential, "acme"), lambda: store.names(Credential)):
        with pytest.raises(StoreDenied, match="secret-id"):
            ask()
    assert not store.answers()

    approle.file.write_text(approle.secret_id)
    assert store.read(Credential, "acme").version == 0


def test_a_login_that_does_not_help_proves_that_rights_are_missing(approle: Approle, vault: VaultServer) -> None:
    """A policy without lookup-self makes a live token look dead: one login is tried, and no token is left behind."""
    approle.file.write_text(approle.secret_id)
    poor = 'path "auth/token/revoke-self" { capabilities = ["update"] }'
    vault.api("PUT", f"sys/policies/acl/{approle.plan.mount}-service", {"policy": poor})
    events: list[str] = []
    store = KvStore(approle.connection, approle.login, approle.plan.mount, lambda event, **_: events.append(event))
    approle.login.ensure(at(-1e6))  # long before: the token is thought to be dead once
    first = approle.connection.token
    for _ in range(10):
        with pytest.raises(StoreDenied):
            store.read(Credential, "acme")

    assert approle.logins() == 2
    assert approle.connection.token != first
    tokens = vault.api("LIST", "auth/token/accessors")["data"]["keys"]
    mine = [
        found for found in (vault.request("POST", "auth/token/lookup-accessor", {"accessor": each}) for each in tokens)
        if found.ok and f"{approle.plan.mount}-service" in found.json()["data"]["policies"]
    ]  # fmt: skip
    assert len(mine) == 1
