"""``vb365 server`` and ``vb365 tenant``: what operators write."""

import io
import json
import sys

import pytest

from tests.cli.conftest import Vb365
from tests.openbao import OpenBao
from tests.simulators.tls import Authority

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
    vb365: Vb365, with_server: None, openbao: OpenBao, mount: str
) -> None:
    """Read, change, write with check-and-set."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "Contoso.OnMicrosoft.com", "--consumer-reread", "30s")
    document = openbao.document(mount, "tenants/acme")
    openbao.api("POST", f"{mount}/data/tenants/acme", {"options": {"cas": 1}, "data": document | {"colour": "blue"}})

    code, out, _ = vb365("tenant", "pause", "acme")

    after = openbao.document(mount, "tenants/acme")
    assert (code, "updated" in out) == (0, True)
    assert (after["paused"], after["colour"], after["organization"]) == (True, "blue", "Contoso.OnMicrosoft.com")
    assert after["consumer_reread"] == 30
    assert "unchanged" in vb365("tenant", "pause", "acme")[1]
    assert "updated" in vb365("tenant", "resume", "acme")[1]
    assert json.loads(vb365("--format", "json", "tenant", "list")[1])[0]["name"] == "acme"
    requests = openbao.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"]
    assert len(requests) == 3


def test_a_reread_that_cannot_be_served_is_refused(vb365: Vb365) -> None:
    """And one that leaves no outage budget is warned about."""
    vb365("server", "set", "vbr", "--url", "https://vbr.example:4443", "--token-life", "15m")
    options = ("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com", "--consumer-reread")

    code, _, err = vb365(*options, "10m")
    assert (code, "AuthTokenLifeTime" in err) == (2, True)
    code, _, err = vb365(*options, "9m")
    assert (code, "no outage budget" in err) == (0, True)


def test_a_reread_is_held_against_the_measured_life_too(vb365: Vb365, with_server: None, openbao: OpenBao, mount: str) -> None:
    """Nobody need write the server's token life down."""
    times = {"issued_at": "2026-11-25T12:00:00Z", "expires_at": "2026-11-25T12:15:00Z", "updated_at": "2026-11-25T12:00:00Z"}
    status = {"tenant": "acme", "state": "active", "reason": "Refreshed", **times}
    openbao.api("POST", f"{mount}/data/status/acme", {"options": {"cas": 0}, "data": status})

    code, _, err = vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--consumer-reread", "1h")
    assert (code, "15m tokens" in err) == (2, True)


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_removing_a_tenant_needs_a_yes(
    vb365: Vb365, with_server: None, answer: str, monkeypatch: pytest.MonkeyPatch, openbao: OpenBao, mount: str
) -> None:
    """Anything else is refused, and nothing was changed."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")
    before = openbao.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"]
    typed = io.StringIO(answer)
    monkeypatch.setattr(typed, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", typed)

    code, _, err = vb365("tenant", "remove", "acme")

    assert (code, "Nothing was changed" in err) == (2, True)
    assert openbao.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"] == before


def test_a_server_in_use_is_not_removed(vb365: Vb365, with_server: None) -> None:
    """Unless it is forced."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")

    code, _, err = vb365("server", "remove", "vbr")
    assert (code, "acme" in err) == (2, True)
    assert vb365("server", "remove", "vbr", "--force")[0] == 0
    assert vb365("server", "show", "vbr")[0] == 3
