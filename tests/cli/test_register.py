"""``vb365 register`` and ``vb365 unwrap``."""

import json
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Vb365
from tests.openbao import OpenBao, fresh_mount

pytestmark = pytest.mark.vault


def test_register_prints_checks_and_mends(vb365: Vb365, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch) -> None:
    """--print makes nothing; --check exits with 8 on a difference."""
    mount = fresh_mount()
    monkeypatch.setenv("VB365_MOUNT", mount)
    code, out, _ = vb365("register", "--print")
    assert (code, f'path "{mount}/data/tokens/+"' in out) == (0, True)
    assert vb365("register", "--check")[0] == 8
    assert "sys/mounts" in vb365("register", "--print-registrar-policy")[1]

    assert vb365("register")[0] == 0
    assert vb365("register", "--check")[0] == 0

    openbao.api("POST", f"sys/policies/acl/{mount}-operator", {"policy": 'path "*" { capabilities = ["sudo"] }'})
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
    monkeypatch.setattr("typer.prompt", lambda *_arguments, **_named: token)

    code, out, _ = vb365("unwrap", "--to", str(tmp_path / "secret-id"))

    assert code == 0
    assert stat.S_IMODE((tmp_path / "secret-id").stat().st_mode) == 0o600
    assert vb365("unwrap", "--to", str(tmp_path / "again"))[0] == 4
    code, _, err = vb365("unwrap", "--to", str(tmp_path / "no" / "where"))
    assert (code, "isn't a directory" in err) == (2, True)
