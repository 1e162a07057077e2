"""What a poll is answered: whose word it is, how much of it can be read, and how long it asks to wait."""

import json
from itertools import pairwise

import pytest

from tests.scenarios.stage import Scene
from tests.scenarios.term import MINUTE, SECOND, PlayedTerm
from tests.simulators.http import Fault, Request, Response, json_response
from vault_plugin.core.published import Prompt, Status
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason

PENDING = b'{"error": "authorization_pending"}'
SLOW_DOWN = b'{"error": "slow_down"}'


# --- what a lost answer hides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"error_codes": [59999], "suberror": "user_password_expired"}, "the password expired"),
        ({"error_codes": [59999], "suberror": "basic_action"}, "to interact"),
        ({"error_codes": [59999], "suberror": "interrupted_user"}, "to interact"),
        ({"error_codes": [59999], "suberror": "client_mismatch"}, "another client id"),
        ({"error_codes": [70000], "suberror": "client_mismatch"}, ""),
        ({"error_codes": [500121]}, "multifactor"),
        ({"error_codes": [50126]}, "password was wrong"),
        ({"error_codes": [59999]}, "AADSTS59999"),
    ],
)
def test_a_suberror_or_a_number_is_the_verdict_whatever_was_lost_before(
    scene: Scene, more: dict[str, object], words: str
) -> None:
    """It is about the person: nothing of the kind is said of a code that was redeemed."""
    scene.ask("sign-in")
    scene.microsoft_server.faults.add(Fault("/token", drop="after"))
    scene.poll()
    scene.microsoft_server.faults.add(Fault("/token", response=json_response(400, {"error": "invalid_grant", **more})))

    scene.poll()

    ended: SignIn = scene.document(SignIn)
    assert ended.outcome is Reason.GRANT_REJECTED
    assert words in ended.text


def test_what_may_have_been_the_approval_is_not_told_as_nothing_to_do(played: PlayedTerm) -> None:
    """It is asked again; but if the code is spent, somebody must sign in once more."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    played.instead = lambda call, _: Response(502) if call == "microsoft token" else None
    played.play(10 * SECOND)

    told: Status = played.stands(Status, "acme")
    assert told.sign_in is not None
    assert told.sign_in.state == "pending"
    assert "Nothing to do" not in told.sign_in.remedy
    assert "signed in just now" in told.sign_in.remedy


# --- who says it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        json_response(403, {"error": "access_denied", "message": "Blocked by policy"}),
        json_response(401, {"error": "invalid_client"}),
        json_response(400, {"error": "invalid_request", "message": "blocked"}),
        json_response(400, {"error": "expired_token"}),
    ],
    ids=["access_denied", "invalid_client", "invalid_request", "expired_token"],
)
def test_a_gateways_word_ends_no_sign_in(scene: Scene, answer: Response) -> None:
    """It is an error of OAuth's with nothing beside it. The person signs in, and the next poll brings the tokens."""
    scene.ask("sign-in")
    scene.approve()
    scene.microsoft_server.faults.add(Fault("/token", response=answer))
    polled = scene.poll()
    assert polled.error is not None
    assert polled.error.reason == "NotMicrosoft"

    scene.poll()

    assert scene.document(SignIn).state is SignInState.APPROVED


@pytest.mark.parametrize("body", [PENDING, SLOW_DOWN])
def test_the_words_of_the_device_flow_may_stand_alone(scene: Scene, body: bytes) -> None:
    """RFC 8628 section 3.5 asks for no more; and they end nothing."""
    scene.ask("sign-in")
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, body)))

    assert scene.poll().error is None


# --- what can be read ------------------------------------------------------------------------------------------------


def test_a_byte_that_is_no_utf_8_is_nobodys_trouble(scene: Scene) -> None:
    """The description is in latin-1; what counts is read."""
    scene.ask("sign-in")
    latin = '{"error": "authorization_pending", "error_description": "Die Anmeldung l\u00e4uft"}'.encode("latin-1")
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, latin)))
    assert scene.poll().error is None

    latin = '{"error": "invalid_grant", "error_description": "AADSTS53003: verweigert f\u00fcr alle"}'.encode("latin-1")
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, latin)))
    scene.poll()
    assert scene.document(SignIn).outcome is Reason.BLOCKED_BY_TENANT_POLICY


@pytest.mark.parametrize("more", [b'"ext_expires_in": NaN', b'"foci": "1", "foci": "2"', b'"account": "caf\xe9"'])
def test_an_approval_that_is_not_strictly_json_is_kept(scene: Scene, more: bytes) -> None:
    """Its tokens are whole, and they come only once."""
    scene.ask("sign-in")
    content = b'{"access_token": "simtok-a", "refresh_token": "simtok-r", "expires_in": 3600, ' + more + b"}"
    scene.microsoft_server.faults.add(Fault("/token", response=Response(200, content)))

    scene.poll()

    kept: SignIn = scene.document(SignIn)
    assert kept.state is SignInState.APPROVED
    assert kept.assertion is not None
    assert json.loads(kept.assertion.json_text.reveal())["refresh_token"] == "simtok-r"


# --- how long it asks to wait ----------------------------------------------------------------------------------------


def gaps(played: PlayedTerm) -> list[float]:
    at = played.made("microsoft token")
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


@pytest.mark.parametrize(
    ("status", "body", "pause", "expected"),
    [
        (429, SLOW_DOWN, "120", [120, 120]),
        (400, SLOW_DOWN, "1", [10, 15, 20]),
        (400, PENDING, "60", [60, 60, 60]),
        (429, PENDING, "30, 60", [60, 60, 60]),
        (400, PENDING, "60s", [60, 60, 60]),
        (400, PENDING, "soon", [5, 5, 5]),
    ],
)
def test_a_pending_answer_may_ask_for_a_pause(
    played: PlayedTerm, status: int, body: bytes, pause: str, expected: list[float]
) -> None:
    """As any other answer may. The longer of pause and interval counts."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    answer = Response(status, body, {"Retry-After": pause})
    played.instead = lambda call, _: answer if call == "microsoft token" else None
    played.play(5 * MINUTE)

    assert gaps(played)[: len(expected)] == expected


def test_a_pause_of_a_pending_answer_reaches_not_past_the_last_poll(played: PlayedTerm) -> None:
    """Who signs in meanwhile is found when the code expires."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    expires_at = played.stands(SignIn, "acme").expires_at
    answer = Response(400, PENDING, {"Retry-After": "300"})
    played.instead = lambda call, _: answer if call == "microsoft token" else None
    played.play(expires_at - played.clock.now() + MINUTE)

    assert played.made("microsoft token")[-1] == expires_at
    assert played.stands(SignIn, "acme").outcome is Reason.EXPIRED


@pytest.mark.parametrize(("interval", "polls"), [(120, 7), (61, 14), (800, 2), (5000, 1)])
def test_no_interval_is_cut_short(played: PlayedTerm, interval: int, polls: int) -> None:
    """DESIGN 7: never sooner than asked, but for the last poll, which comes when the code expires."""
    played.microsoft.interval = interval
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    expires_at = played.stands(SignIn, "acme").expires_at
    played.play(expires_at - played.clock.now() + SECOND)

    made = played.made("microsoft token")
    assert len(made) == polls
    assert made[-1] == expires_at
    assert all(gap >= interval for gap in gaps(played)[:-1])


def test_a_slow_down_counts_beyond_a_minute(scene: Scene) -> None:
    """RFC 8628 section 3.5: five seconds more for this and all polls after it."""
    scene.microsoft.interval = 60
    scene.ask("sign-in")
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, SLOW_DOWN)))
    scene.poll()
    answered = scene.clock.now()
    scene.poll()

    assert scene.clock.now() - answered == 65 * SECOND


# --- the last poll ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [Response(503), Response(429, b"", {"Retry-After": "300"}), Response(200, b"<html>"), Response(400, SLOW_DOWN)],
    ids=["503", "429", "page", "slow_down"],
)
def test_a_last_poll_without_a_word_on_the_code_is_made_once_more(played: PlayedTerm, answer: Response) -> None:
    """An interval later: Microsoft takes an approved code for a little while, and the approval isn't lost."""
    played.microsoft.slow_down = False
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    expires_at = played.stands(SignIn, "acme").expires_at
    next(iter(played.microsoft.codes.values())).expires_at += 20 * SECOND
    played.play(expires_at - played.clock.now() - 3 * SECOND)
    played.approve("acme")

    def once(call: str, _: Request) -> Response | None:
        return answer if call == "microsoft token" and played.clock.now() == expires_at else None

    played.instead = once
    played.play(20 * SECOND)

    *_, last, more = played.made("microsoft token")
    assert last == expires_at
    assert 5 * SECOND <= more - last <= 10 * SECOND
    assert played.stands(SignIn, "acme").outcome is Reason.SIGNED_IN


@pytest.mark.parametrize(
    ("answer", "words"),
    [(Response(503), "503"), (Response(429), "429"), (Response(400, SLOW_DOWN), "more seldom")],
    ids=["503", "429", "slow_down"],
)
def test_two_last_polls_without_a_word_end_it_as_what_was_seen(played: PlayedTerm, answer: Response, words: str) -> None:
    """Nobody knows whether somebody signed in, and nobody says so. There is no third."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    expires_at = played.stands(SignIn, "acme").expires_at
    late = lambda call, _: answer if call == "microsoft token" and played.clock.now() >= expires_at else None  # noqa: E731
    played.instead = late
    played.play(expires_at - played.clock.now() + MINUTE)

    ended: SignIn = played.stands(SignIn, "acme")
    assert len([at for at in played.made("microsoft token") if at >= expires_at]) == 2
    assert ended.outcome is Reason.EXPIRED
    assert "before anybody signed in" not in ended.text
    assert words in ended.text
    assert "Nothing to do" not in ended.remedy
    assert not played.stands(Prompt, "acme").user_code


def test_a_long_interval_puts_no_end_off(scene: Scene) -> None:
    """Microsoft takes an approved code for a little while only: with ten minutes between polls there is no second last one."""
    scene.microsoft.interval = 600
    scene.ask("sign-in")
    scene.clock.advance(scene.document(SignIn).expires_at - scene.clock.now())
    scene.microsoft_server.faults.add(Fault("/token", response=Response(503)))

    scene.poll()

    assert scene.document(SignIn).outcome is Reason.EXPIRED
    assert "503" in scene.document(SignIn).text


def test_an_approval_that_the_last_poll_lost_is_told_as_lost(scene: Scene) -> None:
    """The answer at expiry never came; to the next question Microsoft doesn't know the code any more."""
    scene.ask("sign-in")
    expires_at = scene.document(SignIn).expires_at
    next(iter(scene.microsoft.codes.values())).expires_at += 20 * SECOND
    scene.clock.advance(expires_at - scene.clock.now())
    scene.approve()
    scene.microsoft_server.faults.add(Fault("/token", drop="after"))
    scene.poll()
    scene.poll()

    assert scene.document(SignIn).outcome is Reason.APPROVAL_LOST


def test_a_verdict_on_the_last_poll_is_the_last_word(scene: Scene) -> None:
    """Still pending when the code expires: nobody signed in, and nothing is asked again."""
    scene.ask("sign-in")
    scene.clock.advance(scene.document(SignIn).expires_at - scene.clock.now())
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, PENDING)))

    scene.poll()

    assert scene.document(SignIn).outcome is Reason.EXPIRED
    assert "before anybody signed in" in scene.document(SignIn).text
