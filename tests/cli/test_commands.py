"""``vb365`` against a real OpenBao, without a service: specs, registration, and every way to be wrong."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.openbao import OpenBao, fresh_mount
from tests.simulators.http import Server
from tests.simulators.tls import Authority
from vault_plugin.cli.app import run
from vault_plugin.cli.exits import CODES, MEANINGS, Exit

pytestmark = pytest.mark.vault

Vb365 = Callable[..., tuple[int, str, str]]


@pytest.fixture
def vb365(
    openbao: OpenBao, mount: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Vb365:
    """Return a function that runs a command and returns exit code, stdout and stderr."""
    monkeypatch.setenv("VAULT_ADDR", openbao.url)
    monkeypatch.setenv("VAULT_TOKEN", openbao.token)
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


# --- specs -----------------------------------------------------------------------------------------------------------


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


def test_a_plan_says_what_a_server_keeps_and_what_would_do(vb365: Vb365, with_server: None) -> None:
    """For the tenants that are, or for so many; numbers as JSON, a sentence for people."""
    fits = json.loads(vb365("plan", "vbr", "--tenants", "150", "--format", "json")[1])[0]
    assert (fits["verdict"], fits["addresses_needed"]) == ("ok", 1)
    assert 180 <= fits["keeps"] <= 200

    _, out, _ = vb365("plan", "--tenants", "400")
    assert "AuthTokenLifeTime" in out
    assert "3 addresses would do" in out

    assert vb365("plan", "nobody")[0] == 3
    assert "--token-life" in vb365("plan", "vbr", "--token-life", "soon")[2]


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


def test_a_server_in_use_is_not_removed(vb365: Vb365, with_server: None) -> None:
    """Unless it is forced."""
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")

    code, _, err = vb365("server", "remove", "vbr")
    assert (code, "acme" in err) == (2, True)
    assert vb365("server", "remove", "vbr", "--force")[0] == 0
    assert vb365("server", "show", "vbr")[0] == 3


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
        (("bogus",), 2, "bogus"),
        (("tenant", "set"), 2, "NAME"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error_that_names_the_remedy(
    vb365: Vb365, with_server: None, arguments: tuple[str, ...], code: int, words: str, openbao: OpenBao, mount: str
) -> None:
    """And loses nothing."""
    before = openbao.document(mount, "servers/vbr")

    got, _, err = vb365(*arguments)

    assert got == code, err
    assert words in err
    assert "Traceback" not in err
    assert openbao.document(mount, "servers/vbr") == before


def test_vault_away_sealed_and_untrusted_are_told_apart(
    vb365: Vb365, monkeypatch: pytest.MonkeyPatch, authority: Authority, tmp_path: Path
) -> None:
    """Each names what to check."""
    code, _, err = vb365("--address", "http://127.0.0.1:1", "status")
    assert (code, "VAULT_ADDR" in err) == (5, True)

    tls = Server(lambda _request: None, authority.shared_context)  # type: ignore[arg-type,return-value]
    code, _, err = vb365("--address", tls.url, "status")
    assert (code, "--ca-cert" in err) == (5, True)
    tls.close()

    sealed = OpenBao(tmp_path / "sealed")
    try:
        monkeypatch.setenv("VAULT_TOKEN", sealed.token)
        sealed.seal()
        code, _, err = vb365("--address", sealed.url, "status")
        assert (code, "sealed" in err, "nseal" in err) == (5, True, True)
    finally:
        sealed.stop()


def test_a_token_without_rights_and_no_token_at_all(
    vb365: Vb365, openbao: OpenBao, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 4, and 2 with the word to log in."""
    monkeypatch.setenv("VAULT_TOKEN", openbao.token_for(f"{mount}-consumer"))
    code, _, err = vb365("tenant", "list")
    assert (code, "register --check" in err) == (4, True)

    monkeypatch.delenv("VAULT_TOKEN")
    code, _, err = vb365("tenant", "list")
    assert (code, "vault login" in err) == (2, True)


def test_the_token_that_vault_login_left_is_used(
    vb365: Vb365, openbao: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """~/.vault-token."""
    monkeypatch.delenv("VAULT_TOKEN")
    (tmp_path / ".vault-token").write_text(openbao.token + "\n")

    assert vb365("tenant", "list")[0] == 0


def test_errors_are_json_where_json_was_asked_for(vb365: Vb365) -> None:
    """With reason, remedy and exit code, on stderr."""
    code, out, err = vb365("tenant", "show", "nobody", "--format", "json")

    content = json.loads(err)
    assert out == ""
    assert content["exit_code"] == code == 3
    assert content["reason"] == "NotFound"
    assert "tenant list" in content["remedy"]


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


# --- registration ----------------------------------------------------------------------------------------------------


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


def test_every_exit_code_has_its_meaning_in_the_help(vb365: Vb365) -> None:
    """One table."""
    _, out, _ = vb365("--help")

    assert set(MEANINGS) == set(Exit)
    assert {code for _, code in CODES} <= set(Exit)
    for code, meaning in MEANINGS.items():
        assert f"{int(code)} {meaning}"[:20] in " ".join(out.split())
