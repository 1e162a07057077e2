"""When Microsoft is asked whether the person has signed in, and what a poll without an answer costs."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import pytest

from tests.fakes.clock import FakeClock
from tests.scenarios.direct import Unreachable
from tests.scenarios.stage import ORGANIZATION, Scene
from tests.scenarios.term import MINUTE, SECOND, PlayedTerm
from tests.simulators.http import Fault, Request, Response, json_response
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.published import Prompt, SignInStatus, Status
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason


def error(word: str, code: int) -> Response:
    return json_response(400, {"error": word, "error_codes": [code]})


# --- what a lost answer hides ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (error("authorization_declined", 65004), Reason.DECLINED),
        (error("expired_token", 70020), Reason.EXPIRED),
        (error("invalid_grant", 53003), Reason.BLOCKED_BY_TENANT_POLICY),
        (error("invalid_grant", 530999), Reason.BLOCKED_BY_TENANT_POLICY),
        (error("invalid_client", 7000218), Reason.MISCONFIGURED),
        (error("invalid_grant", 50076), Reason.GRANT_REJECTED),
    ],
    ids=["declined", "expired", "policy", "unknown policy", "no public client", "a second factor"],
)
@pytest.mark.parametrize("drop", ["before", "after"])
def test_a_known_verdict_is_the_verdict_whatever_was_lost_before(
    scene: Scene, drop: str, answer: Response, outcome: Reason
) -> None:
    """The network loses one poll or its answer; what Microsoft then says of the person or the tenant stands."""
    scene.ask("sign-in")
    scene.microsoft_server.faults.add(Fault("/token", drop=drop))
    scene.poll()
    scene.microsoft_server.faults.add(Fault("/token", response=answer))

    scene.poll()

    assert scene.document(SignIn).outcome is outcome


def test_a_pending_answer_shows_that_no_approval_was_lost(scene: Scene) -> None:
    """The code stood after the lost answer: what Microsoft says of it later has another cause."""
    scene.ask("sign-in")
    scene.microsoft_server.faults.add(Fault("/token", drop="after"))
    scene.poll()
    scene.poll()
    scene.microsoft_server.faults.add(Fault("/token", response=error("bad_verification_code", 70018)))

    scene.poll()

    assert scene.document(SignIn).outcome is Reason.GRANT_REJECTED


def test_a_poll_that_never_left_loses_no_approval(scene: Scene) -> None:
    """Nothing was sent, so nothing was redeemed."""
    scene.ask("sign-in")
    scene.poll()
    scene.microsoft_server.close()

    polled = scene.poll()

    assert polled.error is not None
    assert polled.last is not None
    assert not polled.last.doubt


def test_a_lost_approval_is_told_without_a_death_of_the_service(scene: Scene) -> None:
    """The answer was lost on the network; the service has lived all the time."""
    scene.ask("sign-in")
    scene.approve()
    scene.microsoft_server.faults.add(Fault("/token", drop="after"))
    scene.poll()
    scene.poll()

    told = scene.status()
    assert told.reason == "ApprovalLost"
    assert "died" not in told.text
    assert "lost on its way" in told.text


def test_a_last_poll_that_nobody_answers_does_not_say_that_nobody_signed_in(scene: Scene) -> None:
    """Nobody knows that."""
    scene.ask("sign-in")
    scene.clock.advance(900)
    scene.microsoft_server.faults.add(Fault("/token", times=None, response=Response(503)))

    scene.poll()
    scene.poll()

    ended: SignIn = scene.document(SignIn)
    assert ended.outcome is Reason.EXPIRED
    assert "before anybody signed in" not in ended.text
    assert "503" in ended.text


# --- when it is asked again ------------------------------------------------------------------------------------------


def test_the_interval_counts_from_the_answer(scene: Scene) -> None:
    """Microsoft takes four seconds for each answer, and doesn't forgive who asks a second after it."""
    scene.ask("sign-in")
    for _ in range(5):
        scene.microsoft_server.faults.add(Fault("/token", meanwhile=lambda: scene.clock.advance(4)))
        scene.poll()

    assert scene.microsoft.slowed_down == 0
    assert scene.document(SignIn).interval == 5 * SECOND


def test_a_term_polls_a_slow_microsoft_no_sooner_than_it_may(played: PlayedTerm) -> None:
    """The same by the scheduler: a term, then another, as after a restart in the middle of the interval."""

    def slow(call: str, _: Request) -> Response | None:
        if call == "microsoft token":
            played.clock.advance(4 * SECOND)
        return None

    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    played.instead = slow
    played.play(MINUTE)
    polls = len(played.made("microsoft token"))
    assert polls >= 5
    played.again()
    played.play(20 * SECOND)

    assert len(played.made("microsoft token")) >= polls + 2
    assert played.microsoft.slowed_down == 0


def gaps(played: PlayedTerm) -> list[float]:
    at = played.made("microsoft token")
    return [(later - earlier).total_seconds() for earlier, later in pairwise(at)]


def test_polls_without_an_answer_grow_rarer_and_an_answer_ends_that(played: PlayedTerm) -> None:
    """RFC 8628 section 3.5: exponential backoff. Ten seconds, twenty, forty, a minute at most; then the interval again."""

    def away(call: str, _: Request) -> Response | None:
        if call == "microsoft token":
            raise Unreachable(sent=True)
        return None

    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    played.instead = away
    played.play(4 * MINUTE)
    assert gaps(played)[:5] == [10, 20, 40, 60, 60]

    played.instead = lambda _call, _request: None
    played.play(80 * SECOND)

    assert gaps(played)[-2:] == [5, 5]
    assert played.microsoft.slowed_down == 0


@pytest.mark.parametrize("pause", [b"3600", b"300"], ids=["an hour", "five minutes"])
def test_no_wait_reaches_past_the_last_poll(played: PlayedTerm, pause: bytes) -> None:
    """Microsoft asks for a pause at each poll; who signs in meanwhile is found when the code expires."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    expires_at = played.stands(SignIn, "acme").expires_at
    played.microsoft.code_life += 5  # by Microsoft's clock the code lives until the poll at its expiry has come
    code = next(iter(played.microsoft.codes.values()))
    code.expires_at += 5 * SECOND

    def throttled(call: str, _: Request) -> Response | None:
        late = played.clock.now() >= expires_at
        return Response(429, b"", {"Retry-After": pause.decode()}) if call == "microsoft token" and not late else None

    played.instead = throttled
    played.play(10 * MINUTE)
    played.approve("acme")
    played.play(6 * MINUTE)

    assert played.made("microsoft token")[-1] == expires_at
    assert played.generation("acme") == 1


def test_the_last_poll_is_not_too_early_after_the_one_before(played: PlayedTerm) -> None:
    """With an interval of seven seconds some poll would fall five seconds before the code's expiry."""
    played.microsoft.interval = 7
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    code = next(iter(played.microsoft.codes.values()))
    code.expires_at += 5 * SECOND
    expires_at = played.stands(SignIn, "acme").expires_at
    played.play(expires_at - played.clock.now() - SECOND)
    played.approve("acme")

    played.play(10 * SECOND)

    assert played.microsoft.slowed_down == 0
    assert min(gaps(played)) >= 7
    assert played.stands(SignIn, "acme").outcome is Reason.SIGNED_IN


def test_another_replica_waits_as_long_as_the_lost_call_may_take(scene: Scene) -> None:
    """Its leader died while it polled: the answer may have come as late as the call lasts."""
    scene.ask("sign-in")
    scene.poll()
    other, claimed = scene.replica(), scene.clock.now()
    at = signing_in.poll_at(other, scene.document(SignIn), None, claimed)

    assert at - claimed == scene.world.policy.microsoft_timeout + 5 * SECOND
    assert not signing_in.poll(other, "acme").asked
    scene.clock.advance(at - claimed)
    assert signing_in.poll(other, "acme").asked
    assert not signing_in.poll(scene.world, "acme", scene.last).asked


def test_an_own_restart_waits_for_the_interval_only(scene: Scene) -> None:
    """Nobody is left to whom an answer could come."""
    scene.ask("sign-in")
    scene.poll()
    scene.clock.advance(SECOND)
    taken_up = signing_in.taken_up(scene.world, scene.document(SignIn))

    assert (
        signing_in.poll_at(scene.world, scene.document(SignIn), taken_up, scene.clock.now()) == scene.clock.now() + 5 * SECOND
    )
    assert signing_in.taken_up(scene.replica(), scene.document(SignIn)) is None


def test_a_slow_down_is_obeyed_though_vault_did_not_store_it(scene: Scene) -> None:
    """The process knows it, and its next claim stores it."""
    scene.ask("sign-in")
    slow = Response(400, b'{"error":"slow_down"}')

    def joined() -> None:
        assert scene.ask("sign-in", "r2") == "Joined"

    scene.microsoft_server.faults.add(Fault("/token", response=slow, meanwhile=joined))
    before = scene.clock.now()
    scene.poll()
    answered = scene.clock.now()
    scene.poll()

    assert scene.clock.now() - answered == 10 * SECOND
    assert answered > before
    assert scene.document(SignIn).interval == 10 * SECOND
    assert scene.document(SignIn).state is SignInState.PENDING
    assert scene.document(Prompt).organization == ORGANIZATION


class Ticking(FakeClock):
    """A clock that goes on between two readings, as clocks do."""

    def now(self) -> datetime:
        self.advance(timedelta(microseconds=1))
        return super().now()


def test_a_poll_that_is_due_is_made_though_the_clock_goes_on(scene: Scene) -> None:
    """By one reading it is time; by the next one it still is."""
    world = replace(scene.world, clock=Ticking(scene.clock.now()))
    scene.ask("sign-in")
    world.clock.advance(6)  # type: ignore[attr-defined]
    first = signing_in.poll(world, "acme")
    assert first.asked
    world.clock.advance(6)  # type: ignore[attr-defined]

    assert signing_in.poll(world, "acme", first.last).asked


def test_nothing_but_the_claim_is_written_for_a_poll(scene: Scene) -> None:
    """A pending answer costs one write."""
    scene.ask("sign-in")
    before = scene.store.read(SignIn, "acme").version
    for _ in range(3):
        scene.poll()

    assert scene.store.read(SignIn, "acme").version == before + 3
    assert scene.document(SignIn).expires_at - scene.document(SignIn).started_at == timedelta(minutes=15)


# --- what is told meanwhile ------------------------------------------------------------------------------------------

TRACE = "0f1e2d3c-0000-4000-8000-abcdefabcdef"


def told_of(played: PlayedTerm) -> SignInStatus:
    status: Status = played.stands(Status, "acme")
    assert status.sign_in is not None
    return status.sign_in


@pytest.mark.parametrize(
    ("answer", "words", "code"),
    [
        (json_response(400, {"error": "something_new", "error_codes": [987654], "trace_id": TRACE}), "something_new", 987654),
        (json_response(500, {"error": "server_error", "error_codes": [90033], "trace_id": TRACE}), "90033", 90033),
        (Response(200, b"<html>sign in to the network</html>"), "a page", None),
        (Response(407, b""), "a proxy's own sign-in", None),
        (Response(503), "503", None),
        (Response(404, b"not here"), "a text", None),
    ],
    ids=["unknown 400", "5xx", "page", "proxy", "503", "404"],
)
def test_what_a_pending_sign_in_meets_is_told_while_it_is_polled_again(
    played: PlayedTerm, answer: Response, words: str, code: int | None
) -> None:
    """Text, remedy, code and trace id; until the next good answer. It is written when it changes, not with each poll."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(10 * SECOND)
    assert not told_of(played).text
    played.instead = lambda call, _: answer if call == "microsoft token" else None
    played.play(10 * SECOND)

    shown = told_of(played)
    assert shown.state == "pending"
    assert words in shown.text
    assert shown.remedy
    assert shown.code == code
    assert shown.trace_id == (TRACE if code else "")
    writes = played.store.read(Status, "acme").version
    polls = len(played.made("microsoft token"))
    played.play(40 * SECOND)
    assert len(played.made("microsoft token")) > polls
    assert played.store.read(Status, "acme").version == writes

    played.instead = lambda _call, _request: None
    played.play(10 * SECOND)
    assert (told_of(played).text, told_of(played).remedy, told_of(played).code) == ("", "", None)
    played.approve("acme")
    played.play(10 * SECOND)
    assert told_of(played).outcome == "SignedIn"


def test_a_trace_id_of_its_own_for_each_answer_is_no_news(played: PlayedTerm) -> None:
    """One of them is enough for Microsoft's support."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    played.instead = lambda call, _: played.microsoft.error(90033) if call == "microsoft token" else None
    played.play(10 * SECOND)
    first, writes = told_of(played).trace_id, played.store.read(Status, "acme").version
    played.play(30 * SECOND)

    assert first
    assert told_of(played).trace_id == first
    assert played.store.read(Status, "acme").version == writes


def test_a_microsoft_that_is_not_reached_is_told_too(played: PlayedTerm) -> None:
    """And a second request that joins meanwhile doesn't hide it."""

    def away(call: str, _: Request) -> Response | None:
        if call == "microsoft token":
            raise Unreachable(sent=False)
        return None

    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    played.instead = away
    played.play(10 * SECOND)
    assert "no answer" in told_of(played).text
    played.ask("acme", "sign-in", "r2")
    played.play(3 * SECOND)

    assert "no answer" in told_of(played).text


# --- an approval that comes late -------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [34, 20])
def test_an_approval_that_two_instances_poll_for_at_expiry_is_kept(scene: Scene, left: int) -> None:
    """The old leader's poll brings the tokens; the new leader, who polls at expiry meanwhile, ends the sign-in without them."""
    scene.ask("sign-in")
    expires_at = scene.document(SignIn).expires_at
    scene.clock.advance(expires_at - scene.clock.now() - left * SECOND)
    scene.approve()
    microsoft, other, ended = scene.world.microsoft, scene.replica(), list[SignInState]()

    class Late:
        """Microsoft, whose answer takes until the code has expired."""

        def poll(self, *arguments: Any) -> object:
            answer = microsoft.poll(*arguments)
            scene.clock.advance(expires_at - scene.clock.now())
            signing_in.poll(other, "acme", None)
            ended.append(scene.document(SignIn).state)
            return answer

    signing_in.poll(replace(scene.world, microsoft=cast("Any", Late())), "acme", None)

    assert ended == [SignInState.ENDED]
    assert scene.document(SignIn).state is SignInState.APPROVED


@pytest.mark.parametrize("outcome", [Reason.APPROVAL_LOST, Reason.EXPIRED, Reason.CANCELLED, Reason.REVOKED])
def test_tokens_that_come_late_count_though_somebody_gave_the_code_up(scene: Scene, outcome: Reason) -> None:
    """But not over a revocation."""
    scene.ask("sign-in")
    scene.approve()
    microsoft = scene.world.microsoft

    class Late:
        """Microsoft, whose answer takes until another instance has given the code up."""

        def poll(self, *arguments: Any) -> object:
            answer = microsoft.poll(*arguments)
            stored = scene.store.read(SignIn, "acme")
            assert stored.document is not None
            scene.store.write("acme", stored.document.ended(outcome, scene.clock.now()), cas=stored.version)
            return answer

    scene.clock.advance(5 * SECOND)
    signing_in.poll(replace(scene.world, microsoft=cast("Any", Late())), "acme", None)

    kept = outcome is not Reason.REVOKED
    assert (scene.document(SignIn).state is SignInState.APPROVED) == kept
