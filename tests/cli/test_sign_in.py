"""``vb365 sign-in`` and ``cancel``: what is said when the service says little. The test writes what a service would."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer
from vault_plugin.cli import sign_in

pytestmark = pytest.mark.vault

SECOND = timedelta(seconds=1)
ERROR = {
    "rung": "exchange",
    "reason": "CertificateNotTrusted",
    "text": "no trust",
    "remedy": "vb365 server set vbr --ca-file PEM",
}


class Service:
    """Answers the one sign-in that is asked for, and then tells of it what the test says."""

    def __init__(self, vault: VaultServer, mount: str) -> None:
        self._vault, self._mount = vault, mount
        self.mount = mount

    def write(self, path: str, content: dict[str, Any]) -> None:
        version = self._vault.request("GET", f"{self._mount}/data/{path}")
        cas = version.json()["data"]["metadata"]["version"] if version.ok else 0
        self._vault.api("POST", f"{self._mount}/data/{path}", {"options": {"cas": cas}, "data": content})

    def tell(
        self, state: str, request_id: str = "", *, code: str = "ABCDEFGHJ", code_lives: timedelta = 900 * SECOND, **more: Any
    ) -> None:
        now = datetime.now(UTC)
        seen = {"id": "s1", "state": state, "started_at": now.isoformat(), "expires_at": (now + code_lives).isoformat()}
        status: dict[str, Any] = {
            "tenant": "acme",
            "state": "needs_sign_in",
            "reason": "x",
            "updated_at": now.isoformat(),
            "sign_in": seen,
        }
        if request_id:
            status["requests"] = [{"id": request_id, "action": "sign-in", "outcome": "CodeShown", "at": now.isoformat()}]
            prompt = {"sign_in_id": "s1", "user_code": code, "verification_uri": "https://ms/device", "tenant": "acme"}
            self.write("prompts/acme", prompt | {"expires_at": seen["expires_at"]})
        self.write("status/acme", status | more)

    def answer(self, state: str, **more: Any) -> None:
        """Wait for the request and answer it."""
        self.tell(state, self.asked(), **more)

    def asked(self, action: str = "sign-in") -> str:
        """Wait for a request and return its id."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self._vault.request("LIST", f"{self._mount}/metadata/requests/acme")
            ids = found.json()["data"]["keys"] if found.ok else []
            for request_id in ids:
                if self._vault.document(self._mount, f"requests/acme/{request_id}")["action"] == action:
                    return str(request_id)
            time.sleep(0.05)
        raise AssertionError("nobody asked")


@pytest.fixture
def service(vb365: Vb365, with_server: None, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch) -> Service:
    for name, length in (("ERROR_FOR", 1), ("APPROVED_FOR", 3), ("EXPIRED_FOR", 1)):
        monkeypatch.setattr(sign_in, name, length * SECOND)
    vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")
    return Service(vault, mount)


def beside(play: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=play)
    thread.start()
    return thread


def test_an_answer_that_veeam_does_not_take_ends_with_its_text_and_remedy(vb365: Vb365, service: Service) -> None:
    """After 30 s of trouble; the service goes on by itself."""
    later = (datetime.now(UTC) + 60 * SECOND).isoformat()
    player = beside(lambda: service.answer("approved", last_error=ERROR | {"at": later}))

    code, out, err = vb365("sign-in", "acme", "--format", "json")
    player.join()

    told = json.loads(err)
    assert (code, told["exit_code"], told["reason"]) == (7, 7, "CertificateNotTrusted")
    assert "no trust" in told["error"]
    assert "vb365 server set vbr --ca-file PEM" in told["remedy"]
    assert "goes on by itself: vb365 status acme" in told["remedy"]
    assert {"event": "approved", "text": "no trust"} in [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_sign_in_that_got_less_than_was_asked_for_succeeds_and_says_so(vb365: Vb365, service: Service, form: str) -> None:
    """With what to do about it."""
    now = datetime.now(UTC).isoformat()
    less = {"text": "Microsoft gave no refresh token", "remedy": "Add offline_access."}
    seen = {"id": "s1", "state": "ended", "outcome": "SignedIn", "started_at": now, "expires_at": now, "ended_at": now, **less}
    player = beside(lambda: service.answer("ended", sign_in=seen))

    code, out, err = vb365("sign-in", "acme", "--format", form)
    player.join()

    assert code == 0
    if form == "json":
        told = json.loads(out.splitlines()[-1])
        assert (told["event"], told["text"], told["remedy"]) == ("signed_in", less["text"], less["remedy"])
    else:
        assert "Signed in" in out
        assert "Microsoft gave no refresh token. Add offline_access." in err


def test_an_answer_of_which_nothing_more_is_told_ends_too(vb365: Vb365, service: Service) -> None:
    """After 60 s; an error from before this sign-in isn't its error, a paused tenant's text is."""
    long_ago = ERROR | {"at": "2020-01-01T00:00:00Z"}
    player = beside(lambda: service.answer("approved", last_error=long_ago))
    code, _, err = vb365("sign-in", "acme")
    player.join()
    assert (code, "no trust" in err, "says nothing more" in err, "service runs" in err) == (7, False, True, True)


@pytest.mark.parametrize("ends", ["CodeShown", "Failed"])
def test_a_code_that_microsoft_does_not_give_at_once_is_waited_for(vb365: Vb365, service: Service, ends: str) -> None:
    """The service has picked the request up and says so: however slow Microsoft is, that isn't denied."""

    def play() -> None:
        waits = {"action": "sign-in", "outcome": "Waiting", "at": datetime.now(UTC).isoformat()}
        request_id = service.asked()
        for text in ("asking Microsoft for a code", "Microsoft answered 503; it is asked again"):
            service.tell("ended", requests=[{"id": request_id, "text": text, **waits}])
            time.sleep(1.5)
        if ends == "Failed":
            service.tell("ended", requests=[{"id": request_id, **waits, "outcome": "Failed", "text": "Ask again"}])
        else:
            service.tell("pending", request_id)

    player = beside(play)
    code, out, err = vb365("sign-in", "acme", "--no-wait", "--format", "json")
    player.join()

    lines = [json.loads(line) for line in out.splitlines()]
    assert {"event": "waiting", "text": "Microsoft answered 503; it is asked again"} in lines
    if ends == "Failed":
        assert code != 0
        assert "Ask again" in err
    else:
        assert code == 0
        assert "ABCDEFGHJ" in out


def test_a_request_that_waits_for_its_code_is_cancelled_by_its_id(vb365: Vb365, service: Service, vault: VaultServer) -> None:
    """There is no sign-in yet that could be named."""
    now = datetime.now(UTC).isoformat()
    waits = {"id": "r7", "action": "sign-in", "outcome": "Waiting", "at": now}
    service.tell("ended", requests=[waits])

    def play() -> None:
        request_id = service.asked("cancel")
        wish = vault.document(service.mount, f"requests/acme/{request_id}")
        done = {"id": request_id, "action": "cancel", "outcome": "Cancelled" if wish["sign_in_id"] == "r7" else "Refused"}
        service.tell("ended", requests=[{**done, "at": now}])

    player = beside(play)
    code, _, err = vb365("cancel", "acme")
    player.join()

    assert code == 0, err


def test_what_the_polls_meet_is_told_to_whoever_waits(vb365: Vb365, service: Service) -> None:
    """While it is tried again."""
    now = datetime.now(UTC)
    seen = {"id": "s1", "state": "pending", "started_at": now.isoformat(), "expires_at": (now + 900 * SECOND).isoformat()}

    def play() -> None:
        service.answer("pending")
        time.sleep(2)
        service.tell("pending", sign_in=seen | {"text": "a page came instead of Microsoft's JSON"})
        time.sleep(3)
        service.tell("ended", sign_in=seen | {"state": "ended", "outcome": "Declined", "text": "no"})

    player = beside(play)
    _, out, _ = vb365("sign-in", "acme", "--format", "json")
    player.join()

    assert {"event": "pending", "text": "a page came instead of Microsoft's JSON"} in map(json.loads, out.splitlines())


def test_a_sign_in_that_is_approved_already_is_followed(vb365: Vb365, service: Service) -> None:
    """It has no code to show any more."""
    player = beside(lambda: service.answer("approved", code=""))
    code, out, err = vb365("sign-in", "acme")
    player.join()
    assert (code, "Enter" in out, "Microsoft has answered" in err) == (7, False, True)


def test_a_code_that_expired_without_a_word_ends(vb365: Vb365, service: Service) -> None:
    """The service is gone."""
    player = beside(lambda: service.answer("pending", code_lives=1 * SECOND))

    code, _, err = vb365("sign-in", "acme")
    player.join()

    assert (code, "the code expired" in err, "service runs" in err) == (7, True, True)


@pytest.mark.parametrize(
    ("state", "words"), [("pending", "To end it: vb365 cancel acme"), ("approved", "goes on by itself: vb365 status acme")]
)
def test_ctrl_c_says_what_is_true_now(
    vb365: Vb365, service: Service, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code stays valid only while nobody has used it."""

    def interrupt(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sign_in, "pause", interrupt)  # Ctrl-C falls between the first look and the second
    player = beside(lambda: service.answer(state))
    code, _, err = vb365("sign-in", "acme")
    player.join()

    assert (code, words in err) == (130, True), err


def test_an_approved_sign_in_is_not_cancelled_but_explained(vb365: Vb365, service: Service) -> None:
    """What stops it is pausing or removing the tenant."""
    service.tell("approved")

    code, _, err = vb365("cancel", "acme")

    assert (code, "approved already" in err) == (3, True)
    assert "vb365 tenant pause acme" in err
