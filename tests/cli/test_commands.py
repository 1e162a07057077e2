"""``vb365``: every way to be wrong, and what is said then."""

import io
import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer
from tests.simulators.http import Server
from tests.simulators.tls import Authority
from vault_plugin.cli import exits
from vault_plugin.cli.exits import CODES, MEANINGS, Exit, Failed
from vault_plugin.cli.session import given

pytestmark = pytest.mark.vault

# --- every way to be wrong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["+", "a*", 'a"b', "ACME"])
@pytest.mark.parametrize(
    "command", [("tenant", "show"), ("sign-in",), ("token",), ("status",), ("rotate",), ("server", "show")]
)
def test_wild_names_are_refused_by_every_command(vb365: Vb365, command: tuple[str, ...], name: str) -> None:
    """Before anything is sent."""
    code, _, err = vb365(*command, name)

    assert code == 2
    assert "lower-case DNS name" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("tenant", "set", "acme", "--server", "nowhere", "--organization", "a.b"), 3, "vb365 server list"),
        (("tenant", "set", "acme", "--organization", "a.b"), 2, "--server"),
        (("tenant", "set", "acme", "--server", "vbr"), 2, "--organization"),
        (("tenant", "set", "acme", "--server", "vbr", "--organization", "con/toso"), 2, "contoso.onmicrosoft.com"),
        (("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--cloud", "moon"), 2, "--cloud"),
        (("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--authority", "http://x"), 2, "https"),
        (("tenant", "set", "acme", "--server", "vbr", "--organization", "a.b", "--consumer-reread", "soon"), 2, "--consumer-reread"),
        (("server", "set", "new"), 2, "--url"),
        (("server", "set", "new", "--url", "http://vbr"), 2, "--url"),
        (("server", "set", "new", "--url", "https://u:p@vbr"), 2, "user info"),
        (("server", "set", "new", "--url", "https://vbr", "--api-version", "v9"), 2, "--api-version"),
        (("server", "set", "new", "--url", "https://vbr", "--fingerprint-sha256", "abc"), 2, "64 hexadecimal"),
        (("server", "set", "new", "--url", "https://vbr", "--throttle", "fast"), 2, "1/5/1500"),
        (("server", "set", "new", "--url", "https://vbr", "--ca-file", "/none.pem"), 2, "/none.pem"),
        (("server", "set", "new", "--url", "https://vbr", "--insecure", "--fingerprint-sha256", "ab" * 32), 2, "choose one"),
        (("tenant", "show", "nobody"), 3, "vb365 tenant list"),
        (("sign-in", "nobody"), 3, "vb365 tenant list"),
        (("token", "nobody"), 3, "vb365 status nobody"),
        (("--format", "xml", "tenant", "list"), 2, "--format json"),
        (("tenant", "list", "--format", "xml"), 2, "--format json"),
        (("register", "--auth", "magic"), 2, "approle"),
        (("register", "--consumer", "a*"), 2, "lower-case DNS name"),
        (("--mount", "+", "register", "--print"), 2, "team/vb365"),
        (("--mount", 'x"y', "register"), 2, "team/vb365"),
        (("--mount", "a b", "tenant", "list"), 2, "team/vb365"),
        (("register", "--auth", "approle", "--auth-mount", 'x"y', "--print-registrar-policy"), 2, "team/vb365"),
        (("--mount", "nowhere", "tenant", "list"), 5, "VAULT_NAMESPACE"),
        (("server", "set", "vbr9"), 2, "vb365 server set vbr9 --url"),
        (("bogus",), 2, "bogus"),
        (("tenant", "set"), 2, "NAME"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error_that_names_the_remedy(
    vb365: Vb365, with_server: None, arguments: tuple[str, ...], code: int, words: str, vault: VaultServer, mount: str
) -> None:
    """And loses nothing."""
    before = vault.document(mount, "servers/vbr")

    got, _, err = vb365(*arguments)

    assert got == code, err
    assert words in err
    assert "Traceback" not in err
    assert vault.document(mount, "servers/vbr") == before


def test_vault_away_sealed_and_untrusted_are_told_apart(
    vb365: Vb365, monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    """Each names what to check."""
    monkeypatch.setattr(sys, "stdin", io.StringIO("a-wrapping-token\n" * 2))
    unwrap = ("unwrap", "--to", str(tmp_path / "secret-id"))
    for command in (("status",), unwrap):
        code, _, err = vb365("--address", "http://127.0.0.1:1", *command)
        assert (code, "VAULT_ADDR" in err) == (5, True)

    tls = Server(lambda _request: None, authority.shared_context)  # type: ignore[arg-type,return-value]
    code, _, err = vb365("--address", tls.url, "status")
    assert (code, "--ca-cert" in err) == (5, True)
    tls.close()

    sealed = VaultServer(tmp_path / "sealed")
    try:
        monkeypatch.setenv("VAULT_TOKEN", sealed.token)
        sealed.seal()
        for command in (("status",), unwrap):
            code, _, err = vb365("--address", sealed.url, *command)
            assert (code, "sealed" in err, "nseal" in err, "audit" in err) == (5, True, True, False)
    finally:
        sealed.stop()


def test_a_token_without_rights_and_no_token_at_all(
    vb365: Vb365, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, and 2 with the word to log in."""
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-consumer"))
    code, _, err = vb365("tenant", "list")
    assert (code, f"{mount}-operator for tenants" in err, "Whoever registered" in err) == (4, True, True)

    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-operator"))
    for command in (("server", "set", "vbr", "--url", "https://vbr"), ("token", "acme")):
        code, _, err = vb365(*command)
        assert (code, f"{mount}-admin also for servers" in err, f"{mount}-consumer for tokens" in err) == (4, True, True)

    monkeypatch.delenv("VAULT_TOKEN")
    code, _, err = vb365("tenant", "list")
    assert (code, "vault login" in err) == (2, True)


def test_the_token_that_vault_login_left_is_used(
    vb365: Vb365, vault: VaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """~/.vault-token."""
    monkeypatch.delenv("VAULT_TOKEN")
    (tmp_path / ".vault-token").write_text(vault.token + "\n")

    assert vb365("tenant", "list")[0] == 0


def test_errors_are_json_where_json_was_asked_for(vb365: Vb365) -> None:
    """With reason, remedy and exit code, on stderr."""
    code, out, err = vb365("tenant", "show", "nobody", "--format", "json")

    content = json.loads(err)
    assert out == ""
    assert content["exit_code"] == code == 3
    assert content["reason"] == "NotFound"
    assert "tenant list" in content["remedy"]


def test_a_remedy_names_the_tenant_wherever_the_flags_stand(vb365: Vb365, capsys: pytest.CaptureFixture[str]) -> None:
    """The names are the command's own arguments, not words of the line; variables keep their names."""
    vb365("--format", "json", "tenant", "show", "acme")
    exits.show(Failed("x"), as_json=True, tenant=given().tenant)
    assert json.loads(capsys.readouterr().err)["remedy"] == "Look at: vb365 status acme."

    vb365("plan", "--format", "json", "vbr")
    assert (given().tenant, given().server) == ("", "vbr")


def test_a_status_without_a_service_says_to_look_for_it(vb365: Vb365, with_server: None) -> None:
    """And a request that nobody picks up ends with exit code 7."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")

    code, _, err = vb365("status", "acme")
    assert (code, "service runs" in err) == (3, True)
    assert "no status yet" in vb365("status")[1]


@pytest.mark.slow
def test_a_request_that_nobody_picks_up_times_out(vb365: Vb365, with_server: None) -> None:
    """After 20 seconds; the request stays."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")

    code, _, err = vb365("sign-in", "acme")

    assert code == 7
    assert "no service picked the request up" in err


def test_every_exit_code_has_its_meaning_in_the_help(vb365: Vb365) -> None:
    """One table."""
    _, out, _ = vb365("--help")

    assert set(MEANINGS) == set(Exit)
    assert {code for _, code in CODES} <= set(Exit)
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} {meaning}"[:20] in " ".join(out.split())
