"""What a call with a published token says of it, and what becomes of a dead one."""

from datetime import timedelta

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene
from tests.scenarios.term import MINUTE, PlayedTerm
from tests.simulators.http import Fault, Response
from vault_plugin.core.credential import Rung
from vault_plugin.core.lifecycle.prove import examine, found_dead, proof_due
from vault_plugin.core.proofs import Verdict
from vault_plugin.core.published import Token
from vault_plugin.core.states import Reason, State


def dead(scene: Scene, *, everybody: bool = False) -> None:
    """Have the token found dead."""
    found_dead(scene.world, "acme", scene.credential(), scene.clock.now() if everybody else None)


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (None, Verdict.ALIVE),
        (Response(401), Verdict.DEAD),
        (Response(401, b'{"message": "Unauthorized", "errorCode": null}'), Verdict.DEAD),
        (Response(403, b'{"message": "no", "errorCode": "ResourceAccessDenied"}'), Verdict.ALIVE),
        (Response(403, b'{"message": "Forbidden"}'), Verdict.UNKNOWN),
        (Response(503), Verdict.UNKNOWN),
        (Response(400, b'{"message": "Invalid credential"}'), Verdict.UNKNOWN),
        (Response(401, b"<html>portal</html>", {"Content-Type": "text/html"}), Verdict.UNKNOWN),
        (Response(401, b'{"message": "Missing authorization in request"}'), Verdict.UNKNOWN),
        *((Response(status), Verdict.UNKNOWN) for status in (404, 405, 410, 501)),
        (Response(302, b"", {"Location": "/login"}), Verdict.UNKNOWN),
        (Response(200, b"<html>portal</html>", {"Content-Type": "text/html"}), Verdict.UNKNOWN),
    ],
)
def test_only_vb365s_own_401_says_that_a_token_is_dead(scene: Scene, answer: Response | None, verdict: Verdict) -> None:
    """Everything else says that it works, or nothing."""
    scene.signed_in()
    if answer is not None:
        scene.veeam_server.faults.add(Fault("/organization", response=answer))
    assert examine(scene.world, "acme", scene.credential()) is verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(Response(404), Verdict.UNSERVED), (Response(405), Verdict.UNSERVED), (Response(302), Verdict.UNKNOWN)],
)
def test_what_was_never_served_isnt_asked_again(scene: Scene, answer: Response, verdict: Verdict) -> None:
    """A redirect is a wrong address, or somebody in front of a server that is away: that passes."""
    scene.veeam_server.faults.add(Fault("/organization", times=None, response=answer))
    scene.signed_in()
    assert examine(scene.world, "acme", scene.credential()) is verdict


def test_nobody_is_asked_with_what_may_not_be_sent(scene: Scene) -> None:
    """A paused tenant, one that was changed since its sign-in, and a token that has expired."""
    scene.signed_in()
    asked = len(scene.veeam_server.log)
    tenant = scene.specs.tenants["acme"]
    for changed in (tenant.replace(paused=True), tenant.replace(organization="other.onmicrosoft.com")):
        scene.specs.tenants["acme"] = changed
        assert examine(scene.world, "acme", scene.credential()) is Verdict.GONE
    del scene.specs.tenants["acme"]
    assert examine(scene.world, "acme", scene.credential()) is Verdict.GONE
    scene.specs.tenants["acme"] = tenant
    scene.clock.advance(timedelta(hours=2))
    assert examine(scene.world, "acme", scene.credential()) is Verdict.GONE
    assert len(scene.veeam_server.log) == asked


def test_a_dead_token_is_replaced_by_a_new_session_and_its_successor_is_proved(scene: Scene) -> None:
    """Its refresh token isn't presented: the session is gone. Status says why meanwhile."""
    scene.signed_in()
    scene.veeam.revoke_all()
    dead(scene)
    assert scene.credential().state is State.ACTIVE
    assert "doesn't know this token" in scene.status().text
    done = scene.rotate()

    assert done.called is Rung.EXCHANGE
    assert proof_due(done.credential, scene.facts("vbr"), scene.clock.now(), scene.world.policy)
    scene.prove(done)
    assert scene.publish()
    assert scene.veeam.accepts(scene.token())
    assert scene.status().text == ""


def test_where_no_token_of_a_server_works_the_successor_says_so(scene: Scene) -> None:
    """An admin let restore operators in only: a dead token is replaced once, and then it is NotProved."""
    scene.signed_in()
    scene.veeam.operators_only = True
    dead(scene)
    held = scene.prove(scene.rotate())

    assert (held.state, held.reason) == (State.BLOCKED, Reason.NOT_PROVED)
    assert not scene.publish()


def test_what_two_tenants_lost_makes_everybody_due_and_outlives_a_restart(scene: Scene) -> None:
    """It stands in a credential, and is folded from there."""
    scene.signed_in()
    scene.clock.advance(timedelta(minutes=1))
    dead(scene, everybody=True)
    assert scene.facts("vbr").lost_before is not None
    assert "two tenants" in scene.status().text
    done = scene.rotate()
    assert done.called is Rung.EXCHANGE
    assert scene.facts("vbr").dead_since(scene.credential()) is None


def test_a_death_is_noted_whatever_goes_on(scene: Scene) -> None:
    """An attempt that is under way ends as it ends; a revoked credential stays as it is."""
    held = scene.signed_in()
    scene.ask("rotate", "r2")
    found_dead(scene.world, "acme", held, None)
    assert scene.credential().requested == "r2"
    scene.ask("revoke", "r3")
    assert found_dead(scene.world, "acme", held, None).state is State.REVOKED


@pytest.mark.parametrize(
    "answer",
    [Response(404), Response(405), Response(302, b"", {"Location": "/login"}), Response(200, b"<html>starting</html>")],
    ids=["404", "405", "302", "page"],
)
def test_a_gateway_without_its_server_ends_no_doubt(played: PlayedTerm, answer: Response) -> None:
    """VB365 restarts and forgets its sessions, and for some seconds whoever stands in front answers: it is asked again."""
    names = ("a", "b", "c")
    for place, name in enumerate(names):
        played.credential(name, age=place * MINUTE)
    played.veeam.revoke_all()
    until = played.clock.now() + MINUTE / 2
    played.instead = lambda call, _: answer if call == "veeam Organization" and played.clock.now() < until else None
    played.lead()
    played.play(MINUTE)

    for name in names:
        token = played.stands(Token, name)
        assert token is not None
        assert played.veeam.accepts(token.access_token.reveal()), name


def test_a_blocked_ones_next_try_is_told(scene: Scene) -> None:
    """It isn't the lane that it waits for."""
    scene.signed_in()
    scene.veeam.revoke_all()
    dead(scene)
    scene.veeam.sick = True
    scene.rotate()
    assert scene.credential().state is State.BLOCKED
    assert "UTC at the soonest" in scene.status().text


def test_a_dead_token_that_only_a_person_can_replace_says_so(scene: Scene) -> None:
    """Neither a lane nor Microsoft is waited for."""
    scene.signed_in()
    scene.veeam.revoke_all()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    dead(scene)
    scene.clock.advance(timedelta(hours=1))
    scene.rotate()
    scene.refused_again()

    assert scene.credential().state is State.NEEDS_SIGN_IN
    told = scene.status()
    assert told.text.startswith("VB365 doesn't know this token any more")
    assert "only a sign-in replaces it" in told.text
    assert "new session" not in told.text
    assert "vb365 sign-in acme" in told.remedy
