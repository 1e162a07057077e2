"""What is printed: whole for programs, readable for people."""

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer
from vault_plugin.cli import output
from vault_plugin.cli.session import Options, begin

TENANT = "caseorg-with-a-long-name.of-a-customer.example"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _rows() -> None:
    row = {
        "tenant": TENANT, "state": "needs_sign_in", "reason": "ServerRejectsEveryone", "server": "vbr1",
        "expires": "in 37m12s", "next_rotation": "in 2h", "budget": "9m", "sign_in": "pending, in 12m39s", "error": "X" * 40,
    }  # fmt: skip
    begin(Options(form="table"))
    output.rows([row], tuple(row), empty="")


@pytest.mark.parametrize("columns", ["80", "20"])
def test_a_pipe_gets_every_word_whole(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`vb365 status | grep caseorg` finds its row, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", columns)

    _rows()

    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["TENANT", "STATE", "REASON"]
    assert row.split()[:4] == [TENANT, "needs_sign_in", "ServerRejectsEveryone", "vbr1"]
    assert row.endswith("X" * 40)
    assert head.endswith("ERROR")


def test_a_terminal_keeps_the_first_columns_whole_and_folds_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost there either."""
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)

    _rows()

    shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    lines = shown.splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 120 for line in lines)
    assert any(line.split()[:3] == [TENANT, "needs_sign_in", "ServerRejectsEveryone"] for line in lines)
    assert shown.count("X") == 40 + len("XX")  # and those of EXPIRES and NEXT


def test_json_has_one_form_of_time() -> None:
    """RFC 3339 in UTC, as in the documents; what has no form is a bug, not a guess."""
    when = datetime(2026, 11, 25, 19, 33, 6, tzinfo=UTC)

    assert json.loads(output.dumps({"at": when, "life": timedelta(minutes=1)})) == {"at": "2026-11-25T19:33:06Z", "life": 60}
    with pytest.raises(TypeError):
        output.dumps({"at": object()})


@pytest.mark.vault
def test_a_status_shows_a_field_a_line_and_a_sign_ins_time_only_while_it_is_pending(
    vb365: Vb365, with_server: None, vault: VaultServer, mount: str
) -> None:
    """The code's expiry means nothing once Microsoft has answered."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")
    at = "2099-11-25T12:00:00Z"
    error = {"at": at, "rung": "exchange", "reason": "Rejected", "text": "Veeam says no"}
    sign_in = {"id": "s1", "state": "approved", "started_at": at, "expires_at": at}
    status = {"tenant": "acme", "state": "active", "reason": "x", "updated_at": at, "last_error": error, "sign_in": sign_in}
    vault.api("POST", f"{mount}/data/status/acme", {"options": {"cas": 0}, "data": status})

    assert re.search(r"approved\s.*Rejected\s*$", vb365("status", "--wide")[1])
    lines = [" ".join(line.split()) for line in vb365("status", "acme")[1].splitlines()]
    assert "reason: Rejected" in lines
    assert "text: Veeam says no" in lines

    pending = status | {"sign_in": sign_in | {"state": "pending"}}
    vault.api("POST", f"{mount}/data/status/acme", {"options": {"cas": 1}, "data": pending})
    assert "pending, in " in vb365("status")[1]


@pytest.mark.vault
def test_an_authority_stands_in_the_clouds_place(vb365: Vb365, with_server: None) -> None:
    """And a server without a trust of its own doesn't promise more than the service does."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--authority", "https://login.example")

    shown = vb365("tenant", "show", "acme")[1]
    assert ("login.example" in shown, "global" in shown) == (True, False)
    assert "VB365_CA_BUNDLE" in vb365("server", "list")[1]
