"""A new token is proved before anybody reads it; what a rotation does to the old one is measured, and considered."""

from datetime import timedelta

from tests.scenarios.stage import ORGANIZATION, Scene, goes_on
from tests.simulators.http import Fault, Response
from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.lifecycle.prove import prove
from vault_plugin.core.published import Token
from vault_plugin.core.states import Reason, State

DAY = timedelta(days=1)


def calls(scene: Scene) -> int:
    """Return how many calls outside the token endpoint Veeam has seen."""
    return sum(path.lower().endswith("/organization") for _, path, _ in scene.veeam_server.log)


def rotated(scene: Scene) -> None:
    """Rotate, prove and publish, as the service does."""
    scene.until_due()
    done = scene.step()
    while goes_on(done):
        done = scene.step()
    scene.prove(done)
    scene.publish()


def daily(scene: Scene) -> None:
    """Rotate until a day has passed since the last proof."""
    proved_at = scene.credential().proved_at
    while scene.credential().proved_at == proved_at:
        rotated(scene)


def unproved(scene: Scene) -> None:
    """Get a token for somebody else, and then one of which VB365 doesn't say whose it is."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"name": "evil.onmicrosoft.com"}')))
    scene.signed_in()
    scene.clock.advance(timedelta(minutes=16))
    scene.veeam_server.faults.add(Fault("/organization", response=Response(503)))
    scene.prove(scene.rotate())


def test_a_new_token_is_proved_after_a_sign_in_and_once_a_day(scene: Scene) -> None:
    """Once, by one call; a day later again, with a look at the old token."""
    held = scene.signed_in()
    assert held.proved == held.generation == 1
    assert calls(scene) == 1
    rotated(scene)
    assert calls(scene) == 1
    daily(scene)

    assert calls(scene) == 3
    proved_at = scene.credential().proved_at
    assert proved_at is not None
    assert held.proved_at is not None
    assert DAY <= proved_at - held.proved_at <= DAY + timedelta(hours=1)
    assert scene.facts("vbr").old_alive_after(Rung.REFRESH) is True
    assert scene.status().old_token_after_refresh == "lives"


def test_a_token_that_nobody_can_use_is_not_published(scene: Scene) -> None:
    """The server admits restore operators only: blocked, with what to do; it comes back by itself."""
    scene.veeam.operators_only = True
    scene.signed_in()

    assert scene.credential().state is State.BLOCKED
    assert scene.status().reason == "NotProved"
    assert "operators" in scene.status().remedy
    assert scene.store.read(Token, "acme").document is None

    scene.veeam.operators_only = False
    scene.clock.advance(timedelta(minutes=16))
    scene.prove(scene.rotate())
    assert scene.publish()
    assert scene.credential().state is State.ACTIVE
    assert scene.veeam.accepts(scene.token())


def test_a_token_of_another_organization_is_not_published(scene: Scene) -> None:
    """Consumers of one customer never read another one's token."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"name": "evil.onmicrosoft.com"}')))
    scene.signed_in()

    assert scene.credential().reason is Reason.WRONG_ORGANIZATION
    assert "evil.onmicrosoft.com" in scene.status().text
    assert not scene.publish()
    assert scene.presented_again() == []


def test_who_had_a_wrong_token_gets_the_next_only_when_it_is_proved(scene: Scene) -> None:
    """Nobody knows what the token after it is for while the proof goes unanswered; it is asked again."""
    unproved(scene)
    assert scene.credential().generation == 2
    assert not scene.publish()
    assert scene.store.read(Token, "acme").document is None

    assert "isn't published" in scene.status().text
    assert "vb365 server show vbr" in scene.status().remedy
    scene.veeam_server.faults.add(Fault("/organization", response=Response(404)))
    scene.prove()
    assert not scene.publish(), "a server that can't be asked proves nothing"

    scene.prove()
    assert scene.publish()
    assert scene.veeam.accepts(scene.token())
    assert scene.status().text == ""


def test_a_disproof_is_stored_whatever_goes_on_meanwhile(scene: Scene) -> None:
    """An attempt that began, or a request that was noted, while VB365 was asked: the wrong token is published by nobody."""
    wrong = Response(200, b'{"id": "evil", "name": "evil.onmicrosoft.com"}')
    scene.signed_in()
    scene.ask("rotate", "r2")
    scene.step()
    held = scene.store.read(Credential, "acme")
    assert held.document is not None
    doubted = held.document.replace(proved=0, disproved=1)
    scene.store.write("acme", doubted, cas=held.version)

    def meanwhile() -> None:
        scene.ask("rotate", "r3")

    scene.veeam_server.faults.add(Fault("/organization", response=wrong, meanwhile=meanwhile))
    stands = scene.prove()
    assert stands.disproved == stands.generation == 2
    assert stands.requested == "r3"
    assert not scene.publish()


def test_a_late_word_of_an_old_server_says_nothing_of_the_new_one(scene: Scene) -> None:
    """The proof hung while the tenant was moved and signed in there."""
    scene.approved()
    scene.complete()
    old = scene.credential()

    def moved() -> None:
        scene.specs.servers["vbr2"] = scene.specs.servers["vbr"]
        scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(server="vbr2")
        scene.approved("r2")
        scene.complete()

    scene.veeam_server.faults.add(Fault("/organization", response=Response(401), meanwhile=moved))
    prove(scene.world, "acme", old)

    assert scene.credential().generation == old.generation + 1
    assert not scene.credential().distrusted
    assert scene.publish()


def test_a_person_who_is_needed_is_told_so_though_a_token_was_never_proved(scene: Scene) -> None:
    """What holds the publication up is then the least of it."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"name": "evil.onmicrosoft.com"}')))
    scene.signed_in()
    scene.clock.advance(timedelta(minutes=16))
    scene.veeam_server.faults.add(Fault("/organization", times=None, response=Response(503)))
    scene.prove(scene.rotate())
    scene.veeam.revoke_all()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.clock.advance(timedelta(hours=2))
    scene.rotate()
    scene.refused_again()

    assert scene.status().state == "needs_sign_in"
    assert "vb365 sign-in acme" in scene.status().remedy


def test_what_was_wrong_at_one_server_says_nothing_of_another(scene: Scene) -> None:
    """Moved to a server that doesn't serve the call: its tokens are published as any other tenant's there."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"name": "evil.onmicrosoft.com"}')))
    scene.signed_in()
    scene.ask("revoke", "r2")
    scene.specs.servers["vbr2"] = scene.specs.servers["vbr"]
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(server="vbr2")
    scene.veeam_server.faults.add(Fault("/organization", times=None, response=Response(404)))
    scene.approved("r3")
    scene.complete()
    scene.prove()

    assert scene.publish()
    assert scene.veeam.accepts(scene.token())


def test_a_tombstone_waits_for_no_proof(scene: Scene) -> None:
    """Whoever was proved wrong and then removed has nothing left to prove."""
    scene.veeam.operators_only = True
    scene.signed_in()
    assert scene.credential().distrusted
    scene.ask("revoke", "r2")

    assert not scene.credential().distrusted


def test_a_good_token_of_a_blocked_credential_is_proved_all_the_same(scene: Scene) -> None:
    """Its proof went unanswered, and then Veeam rejected the next rotation: consumers still get what works."""
    unproved(scene)
    scene.until_due()
    scene.veeam_server.faults.add(Fault("/v8/token", times=None, response=Response(400)))
    scene.rotate()
    assert scene.credential().state is State.BLOCKED

    scene.prove()
    assert scene.publish()
    assert scene.veeam.accepts(scene.token())


def test_freshness_does_not_wait_for_a_proof(scene: Scene) -> None:
    """A server that doesn't answer the call, or doesn't serve it, proves nothing: the token is published."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(503)))
    held = scene.signed_in()
    assert held.proved == 0
    assert scene.veeam.accepts(scene.token())

    scene.veeam_server.faults.add(Fault("/organization", response=Response(404)))
    rotated(scene)
    assert scene.credential().proved == 2, "it was tried again at once, and can't be"
    assert scene.veeam.accepts(scene.token())


def test_where_a_refresh_kills_the_old_token_rotation_goes_by_a_new_session(scene: Scene) -> None:
    """Measured once; from then on consumers' tokens live on beside the new one."""
    scene.veeam.old_access = "dies"
    scene.signed_in()
    daily(scene)
    assert scene.status().old_token_after_refresh == "dies"
    assert scene.facts("vbr").wants_new_session
    old = scene.token()
    rotated(scene)

    assert scene.credential().reason is Reason.REASSERTED
    assert scene.veeam.accepts(old)
    assert scene.veeam.accepts(scene.token())
    daily(scene)
    assert scene.status().old_token_after_new_session == "lives"
    assert scene.status().consumers_lose_seconds is None


def test_where_everything_kills_the_old_token_it_rotates_late_and_says_what_is_lost(scene: Scene) -> None:
    """A new session doesn't help: by refresh again, as late as the budget allows."""
    scene.veeam.old_access = scene.veeam.other_sessions = "dies"
    scene.signed_in()
    daily(scene)
    daily(scene)
    assert scene.facts("vbr").kills_old

    status = scene.status()
    assert status.consumers_lose_seconds == 300
    pair = scene.credential().pair
    assert pair is not None
    assert status.next_rotation_at is not None
    assert timedelta(minutes=11) <= pair.expires_at - status.next_rotation_at <= timedelta(minutes=14)
    scene.clock.advance(status.next_rotation_at - scene.clock.now())
    assert scene.step().called is Rung.REFRESH


def test_the_proof_costs_nothing_of_the_throttle(scene: Scene) -> None:
    """It isn't a call to the token endpoint, so the journal doesn't count it."""
    held = scene.signed_in()

    assert len(held.calls) == 1
    assert len(scene.veeam.presented) == 1
    assert held.binding is not None
    assert held.binding.organization == ORGANIZATION


def test_a_token_that_has_expired_is_not_proved(scene: Scene) -> None:
    """After a long outage of ours it proves nothing, and blocks nobody."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(503)))
    held = scene.signed_in()
    assert held.proved == 0
    scene.clock.advance(2 * DAY)

    assert scene.prove().state is State.ACTIVE
