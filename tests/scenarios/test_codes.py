"""A request for a device code that Microsoft doesn't answer well: asked again, told, cancelled, given up; and who waits with it."""

from collections.abc import Callable

import pytest

from tests.scenarios.direct import Unreachable
from tests.scenarios.term import MINUTE, SECOND, PlayedTerm
from tests.simulators.http import Request, Response, json_response
from vault_plugin.core.credential import Credential
from vault_plugin.core.ports import Letter
from vault_plugin.core.published import Prompt, RequestStatus, Status
from vault_plugin.core.published import Request as Wish
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import State
from vault_plugin.vault.mailbox import Received

PAGE = Response(200, b"<html>Please sign in to the network</html>")
CODE = "microsoft devicecode"


def unreachable(*, sent: bool) -> Response:
    raise Unreachable(sent=sent)


def told(played: PlayedTerm, request_id: str = "r1") -> RequestStatus | None:
    status: Status | None = played.stands(Status, "acme")
    return next((entry for entry in status.requests if entry.id == request_id), None) if status else None


def outcome(played: PlayedTerm, request_id: str = "r1") -> str:
    entry = told(played, request_id)
    return entry.outcome if entry else ""


def refuse(played: PlayedTerm, answer: Callable[[], Response]) -> None:
    played.instead = lambda call, _: answer() if call == CODE else None


def cancel(played: PlayedTerm, wanted: str, request_id: str) -> None:
    wish = Wish(action="cancel", claimed_by="alice", sign_in_id=wanted)
    played.letters.posted.append(Received(Letter("acme", request_id), played.clock.now(), wish))


@pytest.fixture
def asked(played: PlayedTerm) -> PlayedTerm:
    """Return a term in which a code for acme is asked for."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    return played


@pytest.mark.parametrize(
    "answer",
    [
        lambda: unreachable(sent=True),
        lambda: unreachable(sent=False),
        lambda: Response(503),
        lambda: Response(429, b"Too Many Requests"),
        lambda: PAGE,
        lambda: json_response(400, {"error": "something_new", "error_codes": [987654]}),
        lambda: json_response(200, {"device_code": None, "user_code": "ABC"}),
    ],
    ids=["timeout", "refused", "503", "429", "a portal's page", "unknown 400", "no code in it"],
)
def test_a_code_that_is_not_given_is_asked_for_again_and_that_is_told(
    asked: PlayedTerm, answer: Callable[[], Response]
) -> None:
    """Whoever waits reads why, and has the code as soon as Microsoft is well."""
    refuse(asked, answer)
    asked.play(4 * SECOND)
    waits = told(asked)
    assert waits is not None
    assert waits.outcome == "Waiting"
    assert "asked again" in waits.text
    assert asked.letters.posted, "the letter stays: a crash loses nothing"
    asked.instead = lambda _call, _request: None

    asked.play(10 * SECOND)

    assert asked.stands(Prompt, "acme").user_code
    done = told(asked)
    assert done is not None
    assert done.outcome == "CodeShown"
    assert not asked.letters.posted


def test_the_pause_that_microsoft_asks_for_is_kept(asked: PlayedTerm) -> None:
    """A second request doesn't shorten it, and joins."""
    refuse(asked, lambda: Response(429, b"", {"Retry-After": "120"}))
    asked.play(30 * SECOND)
    asked.instead = lambda _call, _request: None
    asked.ask("acme", "sign-in", "r2")
    asked.play(3 * MINUTE)

    first, second = asked.made(CODE)
    assert second - first == 2 * MINUTE
    assert [outcome(asked, "r1"), outcome(asked, "r2")] == ["CodeShown", "Joined"]


def test_what_is_given_up_says_so(asked: PlayedTerm) -> None:
    """After ten minutes nobody waits any more: "it is tried again" would be wrong."""
    refuse(asked, lambda: Response(503))
    asked.play(9 * MINUTE)
    assert outcome(asked) == "Waiting"
    asked.play(2 * MINUTE)

    done = told(asked)
    assert done is not None
    assert done.outcome == "Failed"
    assert "vb365 sign-in acme" in done.text
    assert "is tried again" not in done.text
    assert not asked.letters.posted
    calls = len(asked.made(CODE))
    assert 10 <= calls <= 15
    asked.play(5 * MINUTE)
    assert len(asked.made(CODE)) == calls


@pytest.mark.parametrize(("error", "code"), [("invalid_request", 90002), ("unauthorized_client", 700016)])
def test_a_definite_refusal_ends_at_once_with_its_remedy(asked: PlayedTerm, error: str, code: int) -> None:
    """Nothing of that changes by asking again."""
    refuse(asked, lambda: json_response(400, {"error": error, "error_codes": [code]}))

    asked.play(4 * SECOND)

    done = told(asked)
    assert done is not None
    assert done.outcome == "Failed"
    assert str(code) in done.text
    assert len(asked.made(CODE)) == 1
    assert not asked.letters.posted


def test_a_request_that_waits_can_be_cancelled_by_its_id(asked: PlayedTerm) -> None:
    """It has no sign-in yet. A cancel that names something else is refused as ever."""
    refuse(asked, lambda: Response(429, b"", {"Retry-After": "300"}))
    asked.play(4 * SECOND)
    cancel(asked, "another", "c1")
    cancel(asked, "r1", "c2")
    asked.play(6 * SECOND)

    assert [outcome(asked, each) for each in ("r1", "c1", "c2")] == ["Cancelled", "Refused", "Cancelled"]
    assert not asked.letters.posted
    asked.instead = lambda _call, _request: None
    asked.play(10 * MINUTE)
    assert len(asked.made(CODE)) == 1
    assert asked.stands(SignIn, "acme") is None


@pytest.mark.parametrize("action", ["cancel", "revoke"])
def test_what_comes_while_microsoft_is_asked_ends_it(asked: PlayedTerm, action: str) -> None:
    """The code is on its way already: nobody is shown it, and nobody is signed in by it."""

    def meanwhile(call: str, _: Request) -> Response | None:
        if call == CODE:
            asked.instead = lambda _call, _request: None
            if action == "cancel":
                cancel(asked, "r1", "c1")
            else:
                asked.ask("acme", "revoke", "c1")
            asked.term._mail.collect()
            asked.play(3 * SECOND)
        return None

    asked.instead = meanwhile
    asked.play(10 * SECOND)

    assert outcome(asked) == "Cancelled"
    ended: SignIn = asked.stands(SignIn, "acme")
    assert ended.state is SignInState.ENDED
    assert ended.device_code is None
    assert not asked.stands(Prompt, "acme").user_code
    asked.play(MINUTE)
    assert asked.made("microsoft token") == []
    assert not asked.letters.posted


def test_what_else_a_tenant_asks_for_does_not_wait(played: PlayedTerm) -> None:
    """Microsoft gives no code; the rotation, the pause and the revocation are had at once."""
    played.credential("acme")
    played.lead()
    refuse(played, lambda: Response(429, b"", {"Retry-After": "300"}))
    played.ask("acme", "sign-in", "r1")
    played.play(3 * SECOND)
    played.ask("acme", "rotate", "r2")
    played.play(4 * SECOND)
    assert played.generation("acme") == 2
    played.ask("acme", "revoke", "r3")
    played.play(4 * SECOND)

    assert played.stands(Credential, "acme").state is State.REVOKED
    assert not played.letters.posted
    played.instead = lambda _call, _request: None
    played.play(10 * MINUTE)
    assert len(played.made(CODE)) == 1
    assert played.stands(Credential, "acme").state is State.REVOKED


def test_after_a_crash_the_letter_is_handled_again(asked: PlayedTerm) -> None:
    """It lies in the mailbox until it is answered."""
    refuse(asked, lambda: Response(503))
    asked.play(10 * SECOND)
    asked.instead = lambda _call, _request: None
    asked.again()

    asked.play(5 * SECOND)

    assert asked.stands(Prompt, "acme").user_code
    assert not asked.letters.posted


def test_who_does_not_lead_asks_for_no_code(asked: PlayedTerm) -> None:
    """The pause is over, and somebody else leads by then."""
    refuse(asked, lambda: Response(503))
    asked.play(4 * SECOND)
    made = len(asked.made(CODE))
    asked.leads = False
    asked.play(2 * MINUTE)
    assert len(asked.made(CODE)) == made

    asked.leads = True
    asked.play(5 * SECOND)

    assert len(asked.made(CODE)) == made + 1


def test_that_it_is_asked_is_told_before_the_answer(asked: PlayedTerm) -> None:
    """A Microsoft that takes 35 seconds isn't a service that picks nothing up."""
    seen = list[RequestStatus | None]()

    def slow(call: str, _: Request) -> Response | None:
        if call == CODE:
            seen.append(told(asked))
            asked.clock.advance(35 * SECOND)
        return None

    asked.instead = slow
    asked.play(5 * SECOND)

    assert seen
    assert seen[0] is not None
    assert seen[0].outcome == "Waiting"
    assert "asking Microsoft" in seen[0].text
