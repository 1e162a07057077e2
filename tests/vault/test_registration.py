"""Registration and the four policies against a real server: the table of DESIGN 4, cell by cell."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.node import VaultServer, fresh_mount
from tests.simulators.http import json_response
from tests.vault.proxy import LossyProxy, Trick
from vault_plugin.core.errors import ConfigurationError, NameRefused, StoreDenied
from vault_plugin.core.secret import Secret
from vault_plugin.vault import policies, registration, unwrapping
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.registration import Plan

pytestmark = pytest.mark.vault

#: kind, and for each policy the operations that are granted: c create, r read, u update, l list, d metadata delete, x destroy.
TABLE = {
    "servers/a": {"service": "rl", "operator": "rl", "admin": "cruld", "consumer": ""},
    "tenants/a": {"service": "rl", "operator": "crul", "admin": "cruld", "consumer": ""},
    "requests/a/1": {"service": "rld", "operator": "c", "admin": "c", "consumer": ""},
    "requests/a": {"service": "ld", "operator": "", "admin": "", "consumer": ""},
    "status/a": {"service": "cru", "operator": "rl", "admin": "rl", "consumer": ""},
    "prompts/a": {"service": "crux", "operator": "r", "admin": "r", "consumer": ""},
    "sign-ins/a": {"service": "crulx", "operator": "", "admin": "", "consumer": ""},
    "credentials/a": {"service": "crulx", "operator": "", "admin": "", "consumer": ""},
    "tokens/a": {"service": "crux", "operator": "", "admin": "", "consumer": "r"},
    "service/a": {"service": "cru", "operator": "r", "admin": "r", "consumer": ""},
    "reports/a": {"service": "ld", "operator": "", "admin": "", "consumer": "cr"},
}
#: What may stand there is empty: see the tests of reports for anything else.
BODIES: dict[str, tuple[dict[str, int], dict[str, int]]] = {"reports/a": ({}, {})}


@pytest.fixture
def connection(vault: VaultServer) -> Iterator[Connection]:
    made = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    yield made
    made.close()


@pytest.mark.parametrize("policy", ["service", "operator", "admin", "consumer"])
def test_every_cell_of_the_table_holds(policy: str, vault: VaultServer, mount: str) -> None:
    """Each operation on each kind with a real token: granted, or 403."""
    token = vault.token_for(f"{mount}-{policy}")
    for path, granted in TABLE.items():
        kind = path.split("/")[0]
        written, rewritten = BODIES.get(path, ({"a": 1}, {"a": 2}))
        parent = path.rsplit("/", 1)[0]
        vault.request("DELETE", f"{mount}/metadata/{path}")
        calls = {
            "c": ("POST", f"{mount}/data/{path}", {"options": {"cas": 0}, "data": written}),
            "r": ("GET", f"{mount}/data/{path}", None),
            "u": ("POST", f"{mount}/data/{path}", {"options": {"cas": 1}, "data": rewritten}),
            "l": ("LIST", f"{mount}/metadata/{parent}", None),
            "x": ("POST", f"{mount}/destroy/{path}", {"versions": [1]}),
            "d": ("DELETE", f"{mount}/metadata/{path}", None),
        }
        for operation, (method, at, body) in calls.items():
            if operation != "c" and not vault.request("GET", f"{mount}/metadata/{path}").ok:
                vault.api("POST", f"{mount}/data/{path}", {"options": {"cas": 0}, "data": {"a": 1}})
            status = vault.request(method, at, body, token=token).status_code
            allowed = operation in granted[policy]
            assert (status != 403) == allowed, f"{policy} {operation} on {kind}: {status}"
        never = [("GET", f"{mount}/metadata/{path}"), ("POST", f"{mount}/undelete/{path}"), ("DELETE", f"{mount}/data/{path}")]
        for method, at in never:
            assert vault.request(method, at, {"versions": [1]}, token=token).status_code == 403, f"{policy} {method} {at}"


def test_the_service_touches_nothing_outside_its_mount(vault: VaultServer, mount: str) -> None:
    """Nor its mount's settings."""
    other = fresh_mount()
    vault.api("POST", f"sys/mounts/{other}", {"type": "kv", "options": {"version": "2"}})
    token = vault.token_for(f"{mount}-service")
    for method, path in [
        ("GET", "sys/mounts"), ("GET", f"{other}/data/a"), ("POST", f"{other}/data/a"), ("POST", f"{mount}/config"),
        ("POST", "auth/token/create"), ("GET", f"sys/policies/acl/{mount}-service"), ("LIST", f"{mount}/metadata/x/"),
    ]:  # fmt: skip
        assert vault.request(method, path, {"data": {}}, token=token).status_code == 403, path


def test_a_second_registration_changes_nothing(connection: Connection) -> None:
    """And says so."""
    plan = Plan(mount=fresh_mount(), auth="approle", enable_auth=True, groups=("emea",), consumers=("acme",))
    first = registration.apply(connection, plan)
    assert {result.outcome for result in first} >= {"created"}

    assert {result.outcome for result in registration.apply(connection, plan)} == {"unchanged"}
    assert {result.outcome for result in registration.check(connection, plan)} == {"unchanged"}


def test_a_policy_edited_by_hand_is_found_and_mended(connection: Connection, vault: VaultServer) -> None:
    """Rules are compared, not bytes: a reformatted policy is no drift."""
    mount = fresh_mount()
    plan = Plan(mount=mount)
    registration.apply(connection, plan)
    name = f"sys/policies/acl/{mount}-consumer"
    rendered = policies.render(policies.policies(mount)[f"{mount}-consumer"], mount)
    vault.api("POST", name, {"policy": rendered.replace("{", "{\n").replace(", ", ",\n  ") + "# mine"})
    assert {result.outcome for result in registration.check(connection, plan)} == {"unchanged"}

    vault.api("POST", name, {"policy": f'path "{mount}/data/*" {{ capabilities = ["read", "sudo"] }}'})
    drifted = [result for result in registration.check(connection, plan) if result.outcome == "drifted"]
    assert [result.title for result in drifted] == [f"policy {mount}-consumer"]
    assert any("foreign rule" in detail for detail in drifted[0].details)

    registration.apply(connection, plan)
    assert {result.outcome for result in registration.check(connection, plan)} == {"unchanged"}


def test_settings_changed_by_hand_are_found_and_mended(connection: Connection, vault: VaultServer, mount: str) -> None:
    """max_versions, cas_required, delete_version_after."""
    vault.api("POST", f"{mount}/config", {"max_versions": 10, "cas_required": False, "delete_version_after": "1h"})

    results = registration.check(connection, Plan(mount=mount))
    drifted = next(result for result in results if result.outcome == "drifted")
    assert len(drifted.details) == 3

    registration.apply(connection, Plan(mount=mount))
    assert {result.outcome for result in registration.check(connection, Plan(mount=mount))} == {"unchanged"}
    vault.api("POST", f"{mount}/data/tokens/a", {"options": {"cas": 0}, "data": {"a": 1}})
    assert vault.api("GET", f"{mount}/data/tokens/a")["data"]["metadata"]["deletion_time"] == ""


def test_a_consumers_policy_reads_one_tenant_only(vault: VaultServer, connection: Connection) -> None:
    """And a group's operators reach their prefix only."""
    mount = fresh_mount()
    registration.apply(connection, Plan(mount=mount, groups=("emea",), consumers=("acme",)))
    for name in ("acme", "globex"):
        vault.api("POST", f"{mount}/data/tokens/{name}", {"options": {"cas": 0}, "data": {"a": 1}})
    consumer = vault.token_for(f"{mount}-consumer-acme")
    assert vault.request("GET", f"{mount}/data/tokens/acme", token=consumer).status_code == 200
    assert vault.request("GET", f"{mount}/data/tokens/globex", token=consumer).status_code == 403

    operator = vault.token_for(f"{mount}-operator-emea")
    body = {"options": {"cas": 0}, "data": {"action": "rotate"}}
    assert vault.request("POST", f"{mount}/data/requests/emea-acme/1", body, token=operator).status_code == 200
    assert vault.request("POST", f"{mount}/data/requests/apac-acme/1", body, token=operator).status_code == 403
    assert vault.request("LIST", f"{mount}/metadata/tenants", token=operator).status_code == 403


@pytest.mark.parametrize("name", ["+", "*", "a*", 'a"b', "ACME"])
def test_a_wild_name_never_gets_into_a_policy(name: str) -> None:
    """Register refuses to write it."""
    with pytest.raises(NameRefused):
        policies.policies("vb365", consumers=(name,))
    with pytest.raises(NameRefused):
        policies.policies("vb365", groups=(name,))


def test_a_mount_that_is_no_kv_v2_is_refused(connection: Connection, vault: VaultServer) -> None:
    """Nothing of it is changed."""
    mount = fresh_mount()
    vault.api("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})

    with pytest.raises(ConfigurationError, match="isn't a KV v2 mount"):
        registration.apply(connection, Plan(mount=mount))


def test_a_replication_secondary_is_refused(vault: VaultServer) -> None:
    """What is written there would be forwarded, or lost; nothing is asked after its health."""
    proxy = LossyProxy(vault.url)
    health = json_response(200, {"initialized": True, "sealed": False, "replication_performance_mode": "secondary"})
    proxy.tricks.append(Trick("GET", "/sys/health", "answer", response=health))
    behind = Connection(read({"VAULT_ADDR": proxy.url, "VAULT_TOKEN": vault.token}))

    with pytest.raises(ConfigurationError, match="replication secondary") as caught:
        registration.apply(behind, Plan(mount=fresh_mount()))
    behind.close()
    proxy.close()

    assert "primary" in caught.value.remedy()
    assert [path for _, path, _ in proxy.seen] == ["/v1/sys/health"]


def test_the_registrars_policy_is_enough(vault: VaultServer, connection: Connection) -> None:
    """What --print-registrar-policy prints, and nothing more."""
    mount = fresh_mount()
    plan = Plan(mount=mount, auth="approle", enable_auth=True)
    rules = policies.registrar(mount, "approle", enable_auth=True)
    vault.api("POST", f"sys/policies/acl/{mount}-registrar", {"policy": policies.render(rules, mount)})
    mine = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token_for(f"{mount}-registrar")}))

    registration.apply(mine, plan)
    assert registration.app_role_credentials(mine, plan, wrap=True).wrapping_token
    assert {result.outcome for result in registration.check(mine, plan)} == {"unchanged"}
    mine.close()


def test_a_token_without_rights_is_told_what_it_needs(vault: VaultServer, mount: str) -> None:
    """--print-registrar-policy."""
    poor = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token_for(f"{mount}-operator")}))

    with pytest.raises(StoreDenied) as caught:
        registration.apply(poor, Plan(mount=mount))

    assert "--print-registrar-policy" in caught.value.remedy()
    poor.close()


def test_a_wrapped_secret_id_is_unwrapped_once_into_a_private_file(connection: Connection, tmp_path: Path) -> None:
    """A second use says that somebody else may have it; a foreign wrapping is refused."""
    plan = Plan(mount=fresh_mount(), auth="approle", enable_auth=True)
    registration.apply(connection, plan)
    wrapped = registration.app_role_credentials(connection, plan, wrap=True)
    assert wrapped.wrapping_token is not None
    to = tmp_path / "secret-id"

    unwrapping.unwrap(connection, wrapped.wrapping_token, to, role=plan.role)

    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert to.read_text()
    with pytest.raises(StoreDenied, match="used already"):
        unwrapping.unwrap(connection, wrapped.wrapping_token, to, role=plan.role)


def test_a_foreign_wrapping_token_is_not_unwrapped(connection: Connection, vault: VaultServer, tmp_path: Path) -> None:
    """The creation path is checked first; the token stays good for whom it belongs to."""
    answer = vault.request("POST", "sys/wrapping/wrap", {"secret_id": "evil"}, **{"X-Vault-Wrap-TTL": "60"})
    token = Secret(answer.json()["wrap_info"]["token"])

    with pytest.raises(StoreDenied, match="sys/wrapping/wrap"):
        unwrapping.unwrap(connection, token, tmp_path / "secret-id", role="vb365-service")

    assert not (tmp_path / "secret-id").exists()
