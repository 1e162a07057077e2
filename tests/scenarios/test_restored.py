"""Vault is restored from a snapshot while a newer session lives at Veeam: consumers hold that one's token."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes.snapshots import SnapshotStore
from tests.scenarios.stage import ORGANIZATION, Scene
from tests.simulators.http import Fault, json_response
from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.states import Reason, State
from vault_plugin.core.timing import overlap

MINUTE = timedelta(minutes=1)
BUSY = json_response(503, {"error": "temporarily_unavailable", "error_codes": [90033], "trace_id": "t"})


def restored(scene: Scene, *, rotated: bool = True, doubted: bool = True) -> str:
    """Take a snapshot, rotate (or not), restore it, and return the token that consumers hold by then."""
    store = SnapshotStore(scene.clock.others)
    scene.store = store
    scene.world = replace(scene.world, store=store)
    scene.veeam.refresh_tokens = "family"
    scene.signed_in()
    scene.until_due()
    snapshot = store.snapshot()
    if rotated:
        assert scene.rotate().called is Rung.REFRESH
        scene.publish()
    held, now = scene.token(), scene.clock.now()
    store.restore(snapshot)
    if doubted:
        scene.world = replace(scene.world, doubts_before=lambda: now)
    return held


def aged(scene: Scene) -> None:
    """Let the assertion's own access token have expired."""
    stored = scene.store.read(Credential, "acme")
    assert stored.document is not None
    assert stored.document.assertion is not None
    old = stored.document.assertion.replace(expires_at=scene.clock.now())
    scene.store.write("acme", stored.document.replace(assertion=old), cas=stored.version)


def until_hurried(scene: Scene) -> None:
    """Let time pass until less than half of the overlap is left."""
    pair = scene.credential().pair
    assert pair is not None
    half = overlap(pair.life, 5 * MINUTE, scene.world.policy) / 2
    scene.clock.advance(pair.expires_at - half + timedelta(seconds=1) - scene.clock.now())


def refreshes(scene: Scene) -> int:
    return sum(one.grant == "refresh_token" for one in scene.veeam.presented)


def test_what_isnt_doubted_would_kill_what_consumers_hold(scene: Scene) -> None:
    """What the rule is there for: the old refresh token is reuse to Veeam, and ends the newest session."""
    held = restored(scene, doubted=False)

    scene.rotate()

    assert not scene.veeam.accepts(held)


@pytest.mark.parametrize("age", [lambda _scene: None, aged], ids=["assertion alive", "assertion renewable"])
def test_a_new_session_comes_first_and_the_old_refresh_token_is_never_presented(
    scene: Scene, age: Callable[[Scene], None]
) -> None:
    """Whoever holds the newest session's token keeps it; the rotation after that is an ordinary one."""
    held = restored(scene)
    age(scene)

    done = scene.rotate()
    scene.publish()

    assert done.called is Rung.EXCHANGE
    assert scene.credential().state is State.ACTIVE
    assert scene.veeam.accepts(held)
    assert scene.veeam.accepts(scene.token())
    assert not scene.presented_again()
    scene.until_due()
    assert scene.rotate().called is Rung.REFRESH
    assert scene.credential().reason is Reason.REFRESHED


def test_the_refresh_is_the_last_rung_and_works_where_nothing_was_rotated_since(scene: Scene) -> None:
    """Microsoft has called the grant dead: what the snapshot holds is all there is, and it is the newest."""
    restored(scene, rotated=False)
    aged(scene)
    scene.microsoft.revoke(ORGANIZATION, 50173)

    done = scene.rotate()

    assert done.called is Rung.REFRESH
    assert [one.grant for one in scene.veeam.presented][-1] == "refresh_token"
    assert scene.microsoft.presented[-1].outcome != "ok"
    assert scene.credential().state is State.ACTIVE


@pytest.mark.parametrize("rotated", [False, True])
def test_while_microsoft_is_away_the_refresh_is_presented_once_when_it_hurries(scene: Scene, *, rotated: bool) -> None:
    """Before half of the overlap is gone it isn't; and if it is refused, never again while Microsoft says nothing."""
    restored(scene, rotated=rotated)
    aged(scene)
    scene.microsoft_server.faults.add(Fault("/oauth2/v2.0/token", times=None, response=BUSY))
    before = refreshes(scene)
    assert scene.rotate().called is Rung.REASSERT
    assert refreshes(scene) == before
    until_hurried(scene)

    done = scene.step()

    assert done.called is Rung.REFRESH
    assert refreshes(scene) == before + 1
    if not rotated:
        assert scene.credential().state is State.ACTIVE
        assert scene.credential().reason is Reason.REFRESHED
        return
    for _ in range(8):
        scene.rotate()
        scene.clock.advance(2 * MINUTE)
    assert refreshes(scene) == before + 1
    assert scene.credential().state is not State.NEEDS_SIGN_IN
    assert "it was presented once" in scene.status().text
