"""What a consumer may say, against a real server: an empty report, once, of its own tenant."""

import re
from pathlib import Path

import hvac
import pytest

from tests.servers.node import VaultServer, fresh_mount
from vault_plugin.vault import policies, registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.registration import Plan

pytestmark = pytest.mark.vault
EMPTY = {"options": {"cas": 0}, "data": {}}


def registered(vault: VaultServer) -> str:
    """Return a mount with a policy for the consumers of acme."""
    mount = fresh_mount()
    connection = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    registration.apply(connection, Plan(mount=mount, consumers=("acme",)))
    connection.close()
    return mount


@pytest.mark.parametrize("policy", ["consumer", "consumer-acme"])
def test_a_consumer_reports_once_and_writes_nothing(policy: str, vault: VaultServer) -> None:
    """No content, no second report over the first, no deleting it; once the service has deleted it, again."""
    mount = registered(vault)
    token, path = vault.token_for(f"{mount}-{policy}"), f"{mount}/data/reports/acme"

    def status(method: str, at: str, body: object = None) -> int:
        return vault.request(method, at, body, token=token).status_code

    for body in (
        {"options": {"cas": 0}, "data": {"a": 1}},
        {"options": {"cas": 0}, "data": {"": ""}},
        {"options": {"cas": 0}, "data": [{"a": 1}]},
        {"data": {}, "more": "x"},
    ):
        assert status("POST", path, body) == 403, body
    assert status("GET", path) == 404
    assert status("POST", path, EMPTY) == 200
    assert status("POST", path, EMPTY) == 403
    assert status("PUT", path, {"options": {"cas": 1}, "data": {}}) == 403
    assert vault.request("GET", path, token=token).json()["data"]["data"] == {}
    for method, at in [
        ("DELETE", path),
        ("DELETE", f"{mount}/metadata/reports/acme"),
        ("GET", f"{mount}/metadata/reports/acme"),
    ]:
        assert status(method, at) == 403, at
    assert vault.request("DELETE", f"{mount}/metadata/reports/acme", token=vault.token_for(f"{mount}-service")).ok
    assert status("POST", path, EMPTY) == 200


def test_a_consumer_of_one_tenant_says_nothing_of_another(vault: VaultServer) -> None:
    """Nor reads what others said."""
    mount = registered(vault)
    token = vault.token_for(f"{mount}-consumer-acme")
    for name in ("globex", "acme2", "acme/x", "+"):
        assert vault.request("POST", f"{mount}/data/reports/{name}", EMPTY, token=token).status_code == 403, name
        assert vault.request("GET", f"{mount}/data/reports/{name}", token=token).status_code == 403, name
    assert vault.request("LIST", f"{mount}/metadata/reports/", token=token).status_code == 403


@pytest.mark.parametrize("policy", ["operator", "admin"])
def test_no_operator_reports(policy: str, vault: VaultServer, mount: str) -> None:
    """Whoever reads no token has nothing to say of it."""
    token = vault.token_for(f"{mount}-{policy}")
    for method, at in [
        ("POST", "data/reports/a"),
        ("GET", "data/reports/a"),
        ("LIST", "metadata/reports/"),
        ("LIST", "metadata/"),
    ]:
        assert vault.request(method, f"{mount}/{at}", EMPTY, token=token).status_code == 403, at


def test_the_service_sees_the_root_and_deletes_junk_of_it_alone(vault: VaultServer, mount: str) -> None:
    """It reads no report, and deletes no other kind's documents."""
    token = vault.token_for(f"{mount}-service")
    for path in ("reports/acme", "junk", "tenants/acme"):
        vault.api("POST", f"{mount}/data/{path}", EMPTY)
    listed = vault.request("LIST", f"{mount}/metadata/", token=token)
    assert set(listed.json()["data"]["keys"]) == {"reports/", "junk", "tenants/"}
    assert vault.request("GET", f"{mount}/data/reports/acme", token=token).status_code == 403
    assert vault.request("DELETE", f"{mount}/metadata/tenants/acme", token=token).status_code == 403
    assert vault.request("DELETE", f"{mount}/metadata/junk", token=token).ok
    assert vault.request("DELETE", f"{mount}/metadata/reports/acme", token=token).ok


RULES = policies.policies("vb365", consumers=("acme",))["vb365-consumer-acme"]


@pytest.mark.parametrize(
    "text",
    [
        policies.render(RULES, "vb365"),
        policies.render(RULES, "vb365").replace("\n  ", " "),
        (
            'path "vb365/data/reports/acme" { allowed_parameters = {\n"options"=[]\n"data"=[{}] }\ncapabilities = ["read","create"] }\n'
            'path "vb365/data/tokens/acme" { capabilities = ["read"] }'
        ),
        (
            '{"path": {"vb365/data/reports/acme": {"capabilities": ["create", "read"], "allowed_parameters": {"options": [], "data": [{}]}},'
            ' "vb365/data/tokens/acme": {"capabilities": ["read"]}}}'
        ),
    ],
)
def test_what_is_rendered_is_read_again(text: str) -> None:
    """Whatever the order and the form."""
    assert policies.differences(RULES, policies.parse(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        'path "vb365/data/reports/acme" { capabilities = ["create"] allowed_parameters = { "*" = [] } }',
        'path "vb365/data/reports/acme" { capabilities = ["create"] allowed_parameters = { "options" = [], "data" = [] } }',
        'path "vb365/data/reports/acme" { capabilities = ["create"] denied_parameters = { "options" = [], "data" = [{}] } }',
        '{"path": {"vb365/data/reports/acme": {"capabilities": ["create", "read"], "allowed_parameters": {"*": []}}}}',
    ],
)
def test_other_parameters_are_no_rules_of_ours(text: str) -> None:
    """So `register --check` says that it was edited by hand."""
    assert policies.parse(text) is None


def test_a_report_that_may_hold_anything_is_found(vault: VaultServer) -> None:
    """The rule without its parameters is wider than ours."""
    wide = 'path "vb365/data/reports/acme" { capabilities = ["create", "read"] }\npath "vb365/data/tokens/acme" { capabilities = ["read"] }'
    assert policies.differences(RULES, policies.parse(wide))


def test_the_recipe_for_python_reports_once_and_bears_a_second_time(
    vault: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it stands in the README; and an operator's token is told that it may not."""
    mount = registered(vault)
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    recipe = next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "reports/acme" in code)
    program = compile(recipe.replace('"vb365"', f'"{mount}"'), "README.md", "exec")
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-consumer-acme"))
    for _ in range(2):
        exec(program, {"hvac": hvac})
    assert vault.request("GET", f"{mount}/metadata/reports/acme").ok
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-operator"))
    with pytest.raises(hvac.exceptions.Forbidden):
        exec(program, {"hvac": hvac})
