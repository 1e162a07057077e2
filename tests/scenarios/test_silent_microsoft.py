"""Microsoft gives no answer, and the refresh token that stands is doubted: it is presented one time, when it hurries."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.scenarios.stage import Scene
from tests.scenarios.test_dead_tokens import dead
from tests.scenarios.test_restored import aged, refreshes, restored, until_hurried
from tests.scenarios.test_take_over import dies_calling
from tests.simulators.http import Fault, Response
from vault_plugin.core.credential import Rung
from vault_plugin.core.lifecycle.gather import Seen
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.states import Reason, State

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
GONE = "https://127.0.0.1:1"


def silent(scene: Scene) -> None:
    """Let Microsoft say nothing, and the assertion's own access token have expired."""
    scene.clock.advance(SECOND)
    aged(scene)
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", times=None, drop="before"))


def unreachable(scene: Scene) -> None:
    """Let nothing that is sent leave us."""
    scene.specs.servers["vbr"] = scene.specs.servers["vbr"].replace(url=GONE)


def test_a_dead_tokens_refresh_is_presented_once_while_microsoft_is_silent(scene: Scene) -> None:
    """VB365 forgot its access tokens, and its refresh tokens live: nobody waits for Microsoft. Until then status says so."""
    scene.signed_in()
    dead(scene)
    silent(scene)
    assert scene.rotate().called is Rung.REASSERT
    assert scene.credential().pair is not None

    done = scene.step()

    assert done.called is Rung.REFRESH
    assert scene.credential().reason is Reason.REFRESHED


def test_what_a_dead_token_waits_for_is_told(scene: Scene) -> None:
    """Microsoft, and not its server's lane; when the lane, when the next try."""
    scene.signed_in()
    scene.veeam.revoke_all()
    dead(scene)
    assert "a new session, as soon as its server's lane has a place" in scene.status().text
    silent(scene)
    assert "a new session, as soon as Microsoft has renewed the grant" in scene.status().text
    scene.rotate()
    assert "its refresh token, which may be dead, too, is presented, as soon as" in scene.status().text
    scene.rotate()
    told = scene.status().text
    assert "as soon as Microsoft has renewed the grant" in told
    assert "it was presented once" in told
    assert "lane" not in told
    for _ in range(8):
        scene.clock.advance(2 * MINUTE)
        scene.rotate()
    assert refreshes(scene) == 1
    assert scene.credential().state is not State.NEEDS_SIGN_IN


def test_so_is_the_refresh_of_a_session_that_was_lost_with_all_others(scene: Scene) -> None:
    """Its own token was asked by nobody; that it was presented is noted all the same."""
    scene.signed_in()
    scene.clock.advance(MINUTE)
    lost = scene.clock.now()
    scene.veeam.revoke_all()
    scene.world = replace(scene.world, facts=lambda server: replace(scene.facts(server), lost_before=lost))
    silent(scene)
    assert scene.rotate().called is Rung.REASSERT
    assert scene.step().called is Rung.REFRESH
    for _ in range(8):
        scene.clock.advance(2 * MINUTE)
        scene.rotate()
    assert refreshes(scene) == 1


def test_a_refresh_that_a_restart_cut_short_is_presented_once_when_it_hurries(scene: Scene) -> None:
    """Before that it isn't: somebody may still sleep on it. And whoever takes over its one time doesn't repeat it."""
    scene.signed_in()
    scene.until_due()
    dies_calling(scene, "refresh", scene.step)
    silent(scene)
    assert scene.step().called is Rung.REASSERT
    scene.clock.advance(MINUTE)
    assert scene.step().called is Rung.REASSERT
    told = scene.status().text
    assert "an attempt to refresh was cut short" in told
    assert "as soon as Microsoft has renewed the grant" in told
    until_hurried(scene)
    entry = dies_calling(scene, "refresh", scene.step)
    assert entry.rung is Rung.REFRESH
    assert step(scene.replica(), "acme", Seen(entry.id, entry.lease)).called is Rung.REASSERT
    for _ in range(4):
        scene.clock.advance(MINUTE)
        assert scene.rotate().called is Rung.REASSERT
    assert refreshes(scene) == 0
    assert "it was presented once" in scene.status().text


def test_a_call_that_never_left_doesnt_use_up_the_one_presentation(scene: Scene) -> None:
    """Nobody looked at the refresh token; nor where VB365's throttle answered."""
    restored(scene, rotated=False)
    silent(scene)
    scene.rotate()
    until_hurried(scene)
    server, before = scene.specs.servers["vbr"], refreshes(scene)
    unreachable(scene)
    assert scene.step().called is Rung.REFRESH
    scene.specs.servers["vbr"] = server
    scene.veeam_server.faults.add(Fault("/token", response=Response(429, b"", {"Retry-After": "1"})))
    assert scene.step().called is Rung.REFRESH
    assert refreshes(scene) == before

    done = scene.step()

    assert done.called is Rung.REFRESH
    assert scene.credential().reason is Reason.REFRESHED


def test_one_that_was_looked_at_does_and_a_later_call_that_never_left_gives_nothing_back(scene: Scene) -> None:
    """An error of VB365's own says nothing of what became of the token; as the last rung it goes on being tried."""
    restored(scene, rotated=False)
    silent(scene)
    scene.rotate()
    until_hurried(scene)
    scene.veeam_server.faults.add(Fault("/token", response=Response(500)))
    assert scene.step().called is Rung.REFRESH
    pair = scene.credential().pair
    assert pair is not None
    assert pair.presented
    scene.clock.advance(2 * MINUTE)
    assert scene.step().called is Rung.REASSERT

    assert scene.credential().replace(pair=pair).not_presented(pair).pair == pair


@pytest.mark.parametrize("answer", [None, Response(429, b"", {"Retry-After": "1"})])
def test_a_refusal_and_an_acceptance_minutes_later_mean_a_lost_session(scene: Scene, answer: Response | None) -> None:
    """Microsoft was away between the two, so they are of two attempts: the others' tokens are looked at all the same."""
    scene.signed_in()
    scene.until_due()
    scene.veeam.revoke_all()
    aged(scene)
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", times=1, drop="" if answer else "before", response=answer))
    assert scene.rotate().called is Rung.REASSERT
    scene.clock.advance(5 * MINUTE)

    done = scene.rotate()

    assert done.called is Rung.EXCHANGE
    assert done.refused
    assert not scene.step().refused


def test_so_does_the_sign_in_of_whose_grant_was_dead(scene: Scene) -> None:
    """A refusal, then a person, whose sign-in VB365 accepts."""
    scene.signed_in()
    scene.until_due()
    scene.veeam.revoke_all()
    aged(scene)
    scene.microsoft.revoke("contoso.onmicrosoft.com", 50173)
    scene.rotate()
    scene.approved("r2")
    done = scene.complete()
    assert done is not None
    assert (done.called, done.refused) == (Rung.EXCHANGE, True)


def test_a_refresh_that_is_accepted_after_a_refusal_means_none(scene: Scene) -> None:
    """VB365 was sick for a moment."""
    scene.signed_in()
    scene.until_due()
    aged(scene)
    scene.veeam.sick = True
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", times=None, drop="before"))
    scene.rotate()
    scene.veeam.sick = False
    until_hurried(scene)
    done = scene.rotate()
    assert (done.called, done.refused) == (Rung.REFRESH, False)
