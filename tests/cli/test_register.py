"""``vb365 register`` and ``vb365 unwrap``."""

import io
import json
import stat
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer, fresh_mount

pytestmark = pytest.mark.vault


def test_register_prints_checks_and_mends(vb365: Vb365, vault: VaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """--print makes nothing; --check exits with 8 on a difference."""
    mount = fresh_mount()
    monkeypatch.setenv("VB365_MOUNT", mount)
    code, out, _ = vb365("register", "--print")
    assert (code, f'path "{mount}/data/tokens/+"' in out) == (0, True)
    assert vb365("register", "--check")[0] == 8
    assert "sys/mounts" in vb365("register", "--print-registrar-policy")[1]

    assert vb365("register")[0] == 0
    assert vb365("register", "--check")[0] == 0

    vault.api("POST", f"sys/policies/acl/{mount}-operator", {"policy": 'path "*" { capabilities = ["sudo"] }'})
    code, out, _ = vb365("register", "--check")
    assert code == 8
    assert "drifted" in out
    assert json.loads(vb365("register", "--print", "--format", "json")[1])


def test_a_wrapped_secret_id_is_unwrapped_by_the_command(vb365: Vb365, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token is asked for, never an argument."""
    mount = fresh_mount()
    monkeypatch.setenv("VB365_MOUNT", mount)
    _, out, _ = vb365("register", "--auth", "approle", "--auth-mount", f"approle-{mount}", "--enable-auth", "--format", "json")
    token = json.loads(out)["wrapping_token"]

    def unwrap(to: Path, piped: str = token) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{piped}\n"))
        return vb365("unwrap", "--to", str(to))

    for unwritable in (tmp_path / "no" / "where", tmp_path):
        code, _, err = unwrap(unwritable)
        assert (code, "The token is still good" in err) == (2, True)
    code, _, err = unwrap(tmp_path / "secret-id", piped="")
    assert (code, "nothing was given" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []

    code, _, err = unwrap(tmp_path / "secret-id")

    assert (code, err) == (0, "")
    assert stat.S_IMODE((tmp_path / "secret-id").stat().st_mode) == 0o600
    code, _, err = unwrap(tmp_path / "again")
    assert (code, "audit log" in err) == (4, True)
    assert [path.name for path in tmp_path.iterdir()] == ["secret-id"]


def test_a_second_registration_makes_no_secret_id_unless_asked(vb365: Vb365, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one would live for ever."""
    mount = fresh_mount()
    monkeypatch.setenv("VB365_MOUNT", mount)
    command = ("register", "--auth", "approle", "--auth-mount", f"approle-{mount}", "--enable-auth", "--no-wrap")
    first = json.loads(vb365(*command, "--format", "json")[1])
    assert {row["outcome"] for row in first["results"]} == {"created"}
    assert all(row["details"] == [] for row in first["results"])

    second = json.loads(vb365(*command, "--format", "json")[1])
    assert {row["outcome"] for row in second["results"]} == {"unchanged"}
    assert (second["role_id"], "secret_id" in second) == (first["role_id"], False)
    assert "--new-secret-id" in vb365(*command)[1]
    assert json.loads(vb365(*command, "--new-secret-id", "--format", "json")[1])["secret_id"] != first["secret_id"]

    checked = json.loads(vb365(*command, "--check", "--format", "json")[1])
    assert checked["results"] == second["results"]


def test_an_auth_method_that_is_not_enabled_is_said_before_anything_is_written(
    vb365: Vb365, vault: VaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one of another type used."""
    mount = fresh_mount()
    monkeypatch.setenv("VB365_MOUNT", mount)
    code, _, err = vb365("register", "--auth", "approle", "--auth-mount", f"approle-{mount}")
    assert (code, "--enable-auth" in err) == (2, True)
    vault.api("POST", f"sys/auth/user-{mount}", {"type": "userpass"})
    code, _, err = vb365("register", "--auth", "approle", "--auth-mount", f"user-{mount}", "--enable-auth")
    assert (code, "userpass" in err) == (2, True)

    assert vault.request("GET", f"sys/mounts/{mount}").status_code == 400
    assert vault.request("GET", f"sys/policies/acl/{mount}-service").status_code == 404
