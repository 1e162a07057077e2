"""What later trouble may not make the service forget: a verdict, what a person was told, what was asked for."""

from datetime import timedelta

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene
from tests.simulators.http import Fault, Response, json_response
from vault_plugin.core.credential import Rung
from vault_plugin.core.ladder import keeps_failing
from vault_plugin.core.published import Prompt
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State

HOUR = timedelta(hours=1)
BUSY = json_response(503, {"error": "temporarily_unavailable", "error_codes": [90033], "trace_id": "t"})
THROTTLED = json_response(429, {"error": "temporarily_unavailable", "error_codes": [90033], "trace_id": "t"})


def only_microsoft_is_left(scene: Scene) -> None:
    """Let Veeam forget its sessions and the assertion grow old."""
    scene.signed_in()
    scene.veeam.revoke_all()
    scene.clock.advance(2 * HOUR)


def test_a_person_who_is_needed_stays_needed_when_the_daily_try_meets_trouble(scene: Scene) -> None:
    """Neither the reason nor what to do is replaced by "nothing to do"."""
    only_microsoft_is_left(scene)
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.rotate()
    scene.refused_again()
    told = scene.status()
    scene.clock.advance(timedelta(days=1, minutes=1))
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", response=BUSY))

    done = scene.rotate()

    assert done.error is not None
    status = scene.status()
    assert (status.reason, status.text, status.remedy) == (told.reason, told.text, told.remedy)
    assert "vb365 sign-in" in status.remedy
    assert status.next_rotation_at == scene.clock.now() + timedelta(days=1)


def test_what_an_admin_must_change_is_told_until_it_is_changed(scene: Scene) -> None:
    """A blocked credential whose retry meets trouble."""
    only_microsoft_is_left(scene)
    scene.microsoft.blocked[ORGANIZATION] = 53003
    scene.rotate()
    told = scene.status()
    scene.clock.advance(timedelta(minutes=16))
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", response=BUSY))

    scene.rotate()

    assert scene.credential().state is State.BLOCKED
    assert (scene.status().reason, scene.status().remedy) == (told.reason, told.remedy)


def test_a_new_thing_to_do_takes_the_place_of_the_old_one(scene: Scene) -> None:
    """Blocked by Veeam's verdict; then the server's certificate changes: no retry can get further before that is mended."""
    only_microsoft_is_left(scene)
    scene.veeam.reject_assertions = True
    scene.rotate()
    rejected = dict(scene.facts("vbr").rejected)
    good = scene.specs.servers["vbr"]
    scene.specs.servers["vbr"] = good.replace(ca_pem=None)
    scene.clock.advance(timedelta(minutes=16))

    scene.rotate()

    assert scene.credential().state is State.BLOCKED
    assert "--ca-file" in scene.status().remedy
    assert {who: at for who, at in scene.facts("vbr").rejected.items() if at > rejected["acme"]} == {}
    assert scene.status().next_rotation_at == scene.clock.now() + timedelta(minutes=15)


def test_a_grant_that_is_dead_is_told_while_veeam_still_refreshes(scene: Scene) -> None:
    """A person will be needed: better said before the token is lost than after."""
    scene.signed_in()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.clock.advance(timedelta(days=3, minutes=1))
    for _ in range(20):
        scene.rotate()
        scene.clock.advance(timedelta(minutes=15))

    assert scene.credential().reason is Reason.REFRESHED
    assert "vb365 sign-in acme" in scene.status().remedy


def test_a_revoked_tenant_is_revoked_whatever_became_of_its_document(scene: Scene) -> None:
    """Not "removed, nothing is lost": its secrets are gone."""
    scene.signed_in()
    scene.ask("revoke", "r2")
    scene.specs.tenants.pop("acme")

    assert scene.status().reason == "Revoked"
    assert "tenant remove" not in scene.status().remedy


def test_a_dead_grant_is_shown_to_microsoft_once_in_three_days(scene: Scene) -> None:
    """Whatever Veeam's refreshes say meanwhile; Microsoft locks out who asks too often."""
    scene.signed_in()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.clock.advance(timedelta(days=3, minutes=1))
    before = len(scene.microsoft.presented)
    tried: list[Rung | None] = []
    for _ in range(100):
        tried.append(scene.step().called)
        scene.clock.advance(timedelta(minutes=15))

    assert tried.count(Rung.REASSERT) == 1
    assert len(scene.microsoft.presented) == before + 1
    assert scene.credential().state is State.ACTIVE


def test_a_renewal_of_the_assertion_is_not_the_rotation_that_was_asked_for(scene: Scene) -> None:
    """Asked while a keep-alive is under way: the rotation comes after it, and only then is it done."""
    scene.veeam.token_life = 10 * 86400
    scene.signed_in()
    scene.clock.advance(timedelta(days=3, minutes=1))
    outcomes: list[str] = []

    def asked() -> None:
        if not outcomes:
            outcomes.append(scene.ask("rotate", "r9"))

    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", meanwhile=asked))
    assert scene.step().called is Rung.REASSERT
    assert outcomes == ["Accepted"]
    assert scene.credential().requested == "r9"

    assert scene.step().called is Rung.REFRESH
    assert scene.credential().handled[-1].outcome == "Rotated"


@pytest.mark.parametrize(("answer", "counted"), [(BUSY, 3), (THROTTLED, 0)], ids=["503", "429"])
def test_microsofts_trouble_is_not_a_failing_at_veeam(scene: Scene, answer: Response, counted: int) -> None:
    """It takes nobody's place in a lane; a 429 doesn't count at all."""
    only_microsoft_is_left(scene)
    scene.rotate()
    only = scene.credential().generation
    scene.veeam.revoke_all()
    scene.clock.advance(2 * HOUR)
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", times=3, response=answer))
    for _ in range(3):
        scene.rotate()
        scene.clock.advance(timedelta(minutes=16))

    assert len(scene.credential().failures) == counted
    assert not keeps_failing(scene.credential())
    scene.rotate()
    assert scene.credential().generation == only + 1


def test_an_approval_is_kept_when_somebody_asks_again_while_veeam_is_down(scene: Scene) -> None:
    """As long as the assertion lives, though the code is over; then a new code is shown."""
    scene.approved()
    scene.veeam_server.faults.add(Fault("/token", times=None, response=Response(503)))
    scene.complete()
    approved = scene.document(SignIn)
    scene.clock.advance(timedelta(minutes=20))

    assert scene.ask("sign-in", "r2") == "Joined"
    assert scene.document(SignIn).assertion == approved.assertion

    scene.veeam_server.faults.clear()
    scene.complete()
    assert scene.credential().reason is Reason.SIGNED_IN


def test_an_approval_that_came_to_nothing_gives_way_to_a_new_code(scene: Scene) -> None:
    """Nobody could exchange it any more."""
    scene.approved()
    scene.clock.advance(2 * HOUR)

    assert scene.ask("sign-in", "r2") == "CodeShown"
    assert scene.document(SignIn).state is SignInState.PENDING
    assert scene.document(Prompt).user_code


def test_a_clock_set_back_makes_nobody_ask_without_a_pause(scene: Scene) -> None:
    """Blocked an hour from now, as the clock says since: one try, and the next as late as ever."""
    only_microsoft_is_left(scene)
    scene.microsoft.blocked[ORGANIZATION] = 53003
    scene.rotate()
    scene.clock.set(-HOUR)
    before = len(scene.microsoft.presented)
    for _ in range(60):
        scene.rotate()
        scene.clock.advance(timedelta(seconds=2))

    assert len(scene.microsoft.presented) <= before + 1
    assert scene.credential().state is State.BLOCKED


def test_a_verdict_that_does_not_count_yet_replaces_no_remedy(scene: Scene) -> None:
    """Ask the administrator, it said; one AADSTS70000 is no reason to say "sign in again"."""
    only_microsoft_is_left(scene)
    scene.microsoft.blocked[ORGANIZATION] = 53003
    scene.rotate()
    told = scene.status().remedy
    scene.microsoft.blocked.clear()
    scene.microsoft.revoke(ORGANIZATION, 70000)
    scene.clock.advance(timedelta(minutes=16))

    scene.rotate()

    assert (scene.credential().state, scene.status().remedy) == (State.BLOCKED, told)


def test_a_dead_grant_is_told_where_rotation_needs_new_sessions(scene: Scene) -> None:
    """There Microsoft's verdict falls in the middle of a rotation that a refresh ends well; it isn't asked each time."""
    scene.veeam.old_access = "dies"
    scene.signed_in()
    for _ in range(40):
        scene.until_due()
        scene.prove(scene.rotate())
    assert scene.facts("vbr").wants_new_session
    scene.microsoft.revoke(ORGANIZATION, 50173)
    before = len(scene.microsoft.presented)
    for _ in range(5):
        scene.clock.advance(timedelta(hours=1, minutes=1))
        scene.rotate()

    assert scene.credential().state is State.ACTIVE
    assert "vb365 sign-in acme" in scene.status().remedy
    assert len(scene.microsoft.presented) == before + 1
