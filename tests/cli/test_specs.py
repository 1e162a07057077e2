"""``vb365 server`` and ``vb365 tenant``: what operators write."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer
from tests.simulators.http import Response
from tests.simulators.tls import Authority
from tests.vault.proxy import LossyProxy, Trick

pytestmark = pytest.mark.vault


def test_a_server_is_created_changed_and_left_alone(vb365: Vb365, authority: Authority) -> None:
    """Only what is given is changed; the trust is said in a word."""
    code, out, _ = vb365("server", "set", "vbr", "--url", "https://vbr.example:4443", "--ca-file", str(authority.ca_file))
    assert (code, "created" in out, "CA (PEM)" in out) == (0, True, True)
    assert "unchanged" in vb365("server", "set", "vbr", "--url", "https://vbr.example:4443")[1]

    code, out, _ = vb365("server", "set", "vbr", "--fingerprint-sha256", "ab" * 32, "--throttle", "none")

    shown = json.loads(vb365("server", "show", "vbr", "--format", "json")[1])
    assert code == 0
    assert shown["fingerprint_sha256"] == "ab" * 32
    assert "ca_pem" not in shown
    assert shown["throttle"] == "none"
    assert shown["url"] == "https://vbr.example:4443"
    assert "vbr" in vb365("server", "list")[1]


def test_insecure_is_explicit_and_warned_about(vb365: Vb365) -> None:
    """On stderr and in every list."""
    _, _, err = vb365("server", "set", "vbr", "--url", "https://vbr.example:4443", "--insecure")

    assert "anybody between" in err
    assert "INSECURE" in vb365("server", "list")[1]


def test_a_tenant_keeps_its_organizations_case_and_unknown_fields(
    vb365: Vb365, with_server: None, vault: VaultServer, mount: str
) -> None:
    """Read, change, write with check-and-set."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "Contoso.OnMicrosoft.com", "--consumer-reread", "30s")
    document = vault.document(mount, "tenants/acme")
    vault.api("POST", f"{mount}/data/tenants/acme", {"options": {"cas": 1}, "data": document | {"colour": "blue"}})

    code, out, _ = vb365("tenant", "pause", "acme")

    after = vault.document(mount, "tenants/acme")
    assert (code, "updated" in out) == (0, True)
    assert (after["paused"], after["colour"], after["organization"]) == (True, "blue", "Contoso.OnMicrosoft.com")
    assert after["consumer_reread"] == 30
    assert "unchanged" in vb365("tenant", "pause", "acme")[1]
    assert "updated" in vb365("tenant", "resume", "acme")[1]
    assert json.loads(vb365("--format", "json", "tenant", "list")[1])[0]["name"] == "acme"
    requests = vault.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"]
    assert len(requests) == 3


def test_a_reread_that_cannot_be_served_is_refused(vb365: Vb365) -> None:
    """And one that leaves no outage budget is warned about."""
    vb365("server", "set", "vbr", "--url", "https://vbr.example:4443", "--token-life", "15m")
    options = ("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com", "--consumer-reread")

    code, _, err = vb365(*options, "10m")
    assert (code, "AuthTokenLifeTime" in err) == (2, True)
    code, _, err = vb365(*options, "9m")
    assert (code, "no outage budget" in err) == (0, True)


def test_a_reread_is_held_against_the_measured_life_too(
    vb365: Vb365, with_server: None, vault: VaultServer, mount: str
) -> None:
    """Nobody need write the server's token life down."""
    times = {"issued_at": "2026-11-25T12:00:00Z", "expires_at": "2026-11-25T12:15:00Z", "updated_at": "2026-11-25T12:00:00Z"}
    status = {"tenant": "acme", "state": "active", "reason": "Refreshed", **times}
    vault.api("POST", f"{mount}/data/status/acme", {"options": {"cas": 0}, "data": status})

    code, _, err = vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--consumer-reread", "1h")
    assert (code, "15m tokens" in err) == (2, True)


def test_a_reread_that_stands_already_keeps_nobody_from_changing_something_else(
    vb365: Vb365, with_server: None, vault: VaultServer, mount: str
) -> None:
    """The life was measured later, or became shorter: it is warned about."""
    command = ("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--consumer-reread", "1h")
    assert vb365(*command)[0] == 0
    assert vb365("server", "set", "vbr", "--token-life", "15m")[0] == 0

    code, _, err = vb365(*command, "--expected-account", "admin@a.b")

    assert (code, "15m tokens" in err) == (0, True)
    assert vault.document(mount, "tenants/acme")["expected_account"] == "admin@a.b"
    assert vb365("tenant", "set", "acme", "--consumer-reread", "50m")[0] == 2


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_removing_a_tenant_needs_a_yes(
    vb365: Vb365, with_server: None, answer: str, monkeypatch: pytest.MonkeyPatch, vault: VaultServer, mount: str
) -> None:
    """Anything else is refused, and nothing was changed."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")
    before = vault.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"]
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)

    code, _, err = vb365("tenant", "remove", "acme")

    assert (code, "Nothing was changed" in err) == (2, True)
    assert vault.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"] == before


@pytest.mark.parametrize("status", [400, 405])
def test_what_vault_does_not_delete_is_not_called_removed(
    status: int, vb365: Vb365, with_server: None, vault: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that lets no DELETE through."""
    proxy = LossyProxy(vault.url)
    proxy.tricks.append(Trick("DELETE", "/metadata/servers/vbr", "answer", response=Response(status)))
    monkeypatch.setenv("VAULT_ADDR", proxy.url)

    code, out, err = vb365("server", "remove", "vbr")
    proxy.close()

    assert (code != 0, out) == (True, "")
    assert f"status {status}" in err


def test_a_server_in_use_is_not_removed(vb365: Vb365, with_server: None) -> None:
    """Unless it is forced."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")

    code, _, err = vb365("server", "remove", "vbr")
    assert (code, "acme" in err) == (2, True)
    assert "within a minute" in vb365("server", "set", "vbr", "--throttle", "none")[1]
    assert vb365("server", "remove", "vbr", "--force")[0] == 0
    assert vb365("server", "show", "vbr")[0] == 3


@pytest.fixture
def junk(vault: VaultServer, mount: str) -> None:
    """Write documents that are none."""
    for path in ("tenants/junk", "servers/broken"):
        vault.api("POST", f"{mount}/data/{path}", {"options": {"cas": 0}, "data": {"server": "+", "url": "ftp://x"}})
    newer = {"schema": 99, "server": "vbr"}
    vault.api("POST", f"{mount}/data/tenants/newer", {"options": {"cas": 0}, "data": newer})


def test_one_malformed_document_stops_no_list(vb365: Vb365, with_server: None, junk: None) -> None:
    """It is shown with its problem; what is about it alone keeps the clear error."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")

    tenants = {item["name"]: item for item in json.loads(vb365("tenant", "list", "--format", "json")[1])}
    assert ("problem" in tenants["junk"], "problem" in tenants["newer"], tenants["acme"]["server"]) == (True, True, "vbr")
    assert "tenants/junk is not a TenantSpec" in vb365("tenant", "list")[1]
    servers = {item["name"]: item for item in json.loads(vb365("server", "list", "--format", "json")[1])}
    assert ("url" in servers["broken"]["problem"], servers["vbr"]["api_version"]) == (True, "v8")

    code, out, err = vb365("plan", "--format", "json")
    planned = {item["server"]: item["verdict"] for item in json.loads(out)}
    assert (code, planned["vbr"], "servers/broken" in planned["broken"]) == (0, "ok", True)
    assert "tenant junk isn't counted" in err
    assert "acme" in vb365("server", "remove", "vbr")[2]
    code, _, err = vb365("server", "remove", "vbr", "--force")
    assert (code, "whether tenant junk uses it isn't known" in err) == (0, True)

    code, _, err = vb365("tenant", "pause", "junk")
    assert (code, "vb365 tenant set" in err) == (2, True)


def test_a_malformed_document_is_replaced_by_set(vb365: Vb365, with_server: None, junk: None) -> None:
    """With a warning; one that a newer version wrote is not."""
    code, _, err = vb365("tenant", "set", "junk", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")
    assert (code, "It was replaced" in err) == (0, True)
    assert vb365("tenant", "show", "junk")[0] == 0
    code, _, err = vb365("server", "set", "broken", "--url", "https://vbr.example:4443")
    assert (code, "It was replaced" in err) == (0, True)

    code, _, err = vb365("tenant", "set", "newer", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")
    assert (code, "schema 99" in err) == (2, True)


def test_a_ca_file_must_hold_what_it_says(vb365: Vb365, authority: Authority, tmp_path: Path) -> None:
    """Garbage between BEGIN and END is found here, not by the service."""
    lines = authority.ca_file.read_text().splitlines()
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("\n".join([lines[0], "bm90IGEgY2VydGlmaWNhdGU=", lines[-1]]))

    code, _, err = vb365("server", "set", "vbr", "--url", "https://vbr", "--ca-file", str(garbage))

    assert (code, "isn't a PEM certificate" in err) == (2, True)


def test_removed_tenants_leave_the_list_of_states_and_stay_to_be_looked_at(
    vb365: Vb365, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is revoked and has no document; one whose document alone is gone is shown: somebody must act."""
    at = {"updated_at": "2026-11-25T12:00:00Z"}
    for name, state in (("gone", "revoked"), ("orphan", "active"), ("broken", None)):
        status = {"tenant": name, "state": state, "reason": "x", **at}
        vault.api("POST", f"{mount}/data/status/{name}", {"options": {"cas": 0}, "data": status})

    shown = {row["tenant"] for row in json.loads(vb365("status", "--format", "json")[1])}
    assert shown == {"orphan", "broken"}
    assert "status/broken is not a Status" in vb365("status", "--wide")[1]
    assert "DocumentMalformed" in vb365("status")[1]
    assert "revoked" in vb365("status", "gone")[1]
    assert vb365("status", "nobody")[0] == 3
    assert vb365("tenant", "remove", "gone", "--yes")[0] == 3

    rules = [
        f"""path "{mount}/{path}" {{ capabilities = ["{word}"] }}"""
        for path, word in (("metadata/status/", "list"), ("data/status/+", "read"))
    ]
    vault.api("POST", f"sys/policies/acl/{mount}-blind", {"policy": "\n".join(rules)})
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-blind", "default"))
    assert "gone" in vb365("status")[1]


@pytest.mark.parametrize("alias", ["common", "Organizations", "consumers"])
def test_an_organization_that_is_whichever_tenant_is_refused(vb365: Vb365, with_server: None, alias: str) -> None:
    """The remedy has the form; nothing is written."""
    code, _, err = vb365("tenant", "set", "acme", "--server", "vbr", "--organization", alias)

    assert code != 0
    assert f"{alias} names no organization" in err
    assert "vb365 tenant set acme --organization contoso.onmicrosoft.com" in err
    assert vb365("tenant", "show", "acme")[0] != 0


def test_an_alias_that_stands_already_is_warned_about_and_keeps_nobody_from_anything(
    vb365: Vb365, with_server: None, vault: VaultServer, mount: str
) -> None:
    """Written by another client than this one."""
    document = {"schema": 1, "server": "vbr", "organization": "common"}
    vault.api("POST", f"{mount}/data/tenants/acme", {"options": {"cas": 0}, "data": document})

    code, out, err = vb365("tenant", "set", "acme", "--consumer-reread", "30s")
    assert (code, "updated" in out, "common names no organization" in err) == (0, True, True)
    assert vb365("tenant", "pause", "acme")[0] == 0
    assert vb365("tenant", "set", "acme", "--organization", "organizations")[0] != 0


@pytest.mark.parametrize(("cloud", "form"), [("global", "contoso.onmicrosoft.com"), ("china", "contoso.partner.onmschina.cn")])
def test_another_form_is_warned_about_with_the_form_of_the_cloud(
    vb365: Vb365, with_server: None, cloud: str, form: str
) -> None:
    """It is written: Microsoft takes it, and VB365 may."""
    given = ("--server", "vbr", "--cloud", cloud)
    code, _, err = vb365("tenant", "set", "acme", *given, "--organization", "contoso.com")
    assert (code, f"--organization {form}" in err) == (0, True)

    code, _, err = vb365("tenant", "set", "acme", "--organization", form)
    assert (code, "Warning" in err) == (0, False)


def test_a_scope_must_ask_for_a_refresh_token_and_should_be_one_of_veeams(vb365: Vb365, with_server: None) -> None:
    """What Veeam's page allows needs nothing; anything else needs the service's setting."""
    seed = "Directory.AccessAsUser.All User.ReadWrite.All offline_access"
    given = ("--server", "vbr", "--organization", "contoso.onmicrosoft.com", "--scope")
    code, _, err = vb365("tenant", "set", "acme", *given, seed)
    assert (code, "Warning" in err) == (0, False)

    code, _, err = vb365("tenant", "set", "acme", "--scope", "Directory.AccessAsUser.All User.ReadWrite.All")
    assert code != 0
    assert "offline_access" in err

    code, _, err = vb365("tenant", "set", "acme", "--scope", "Mail.Read offline_access")
    assert (code, "scope:*" in err) == (0, True)
    assert "Warning" not in vb365("tenant", "set", "acme", "--consumer-reread", "30s")[2]
