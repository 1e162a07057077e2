"""``vb365`` run in this process, against a real server, without a service."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.servers.node import VaultServer
from vault_plugin.cli.app import run

Vb365 = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vb365(
    vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Vb365:
    """Return a function that runs a command and returns exit code, stdout and stderr."""
    monkeypatch.setenv("VAULT_ADDR", vault.url)
    monkeypatch.setenv("VAULT_TOKEN", vault.token)
    monkeypatch.setenv("VB365_MOUNT", mount)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("VB365_FORMAT", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


@pytest.fixture
def with_server(vb365: Vb365) -> None:
    assert vb365("server", "set", "vbr", "--url", "https://vbr.example:4443")[0] == 0
