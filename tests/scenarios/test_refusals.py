"""Veeam's refusals: they are confirmed before they count, and while a grant of Microsoft's stands they ask nobody."""

from datetime import timedelta

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene
from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.states import Reason, State

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def without_grant(scene: Scene) -> None:
    """Let Microsoft's grant die while Veeam's session lives on."""
    scene.signed_in()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.until_due()


def test_one_false_refusal_doesnt_abandon_a_living_session(scene: Scene) -> None:
    """Microsoft's grant is dead: the refresh token that was refused once is all that is left, and it works again."""
    without_grant(scene)
    scene.clock.advance(HOUR)  # the assertion's own token is too old by now
    scene.veeam.sick = True
    scene.rotate()
    assert scene.credential().state is State.BLOCKED
    scene.veeam.sick = False
    scene.clock.advance(timedelta(minutes=16))

    done = scene.rotate()

    assert done.called is Rung.REFRESH
    assert scene.credential().state is State.ACTIVE
    assert scene.credential().last_error is not None, "a person will be needed when this session ends"


def test_while_the_token_lives_an_unconfirmed_refusal_changes_nothing_for_consumers(scene: Scene) -> None:
    """Active while it lives, tried again by what is left of its life, then blocked; a sign-in is offered at the second."""
    without_grant(scene)
    scene.veeam.sick = True
    scene.veeam.token_life = 3600
    stored = scene.store.read(Credential, "acme")
    assert stored.document is not None
    assert stored.document.assertion is not None
    old = stored.document.assertion.replace(expires_at=scene.clock.now())
    scene.store.write("acme", stored.document.replace(assertion=old), cas=stored.version)
    scene.rotate()
    first = scene.status()
    assert (first.state, first.reason) == ("active", "Retrying")
    assert first.next_rotation_at is not None
    assert first.next_rotation_at <= scene.clock.now() + 5 * MINUTE

    scene.clock.advance(5 * MINUTE)
    scene.rotate()
    assert "tried again by itself" in scene.status().remedy
    assert "vb365 sign-in acme" in scene.status().remedy
    scene.clock.advance(HOUR)
    scene.rotate()

    assert scene.status().state == "blocked"
    assert scene.status().reason == "RejectedByVeeam"


def test_a_refusal_counts_when_another_tenant_was_accepted_between_two(scene: Scene) -> None:
    """Five minutes apart at least. A server that accepts nobody has judged nobody."""
    without_grant(scene)
    scene.clock.advance(HOUR)
    scene.veeam.revoke_all()
    scene.rotate()
    for _ in range(4):
        scene.clock.advance(timedelta(minutes=16))
        scene.rotate()
    assert scene.credential().state is State.BLOCKED, "nobody else was accepted: nothing is confirmed"

    scene.refused_again()

    assert scene.credential().state is State.NEEDS_SIGN_IN
    assert scene.status().reason == "GrantRejected"


def test_two_refusals_at_once_are_one(scene: Scene) -> None:
    """The server accepted somebody in the minutes between, but they are too few."""
    without_grant(scene)
    scene.clock.advance(HOUR)
    scene.veeam.revoke_all()
    scene.rotate()
    scene.clock.advance(2 * MINUTE)
    scene.others_accepted_at = scene.clock.now()
    scene.clock.advance(2 * MINUTE)
    scene.ask("rotate", "r9")
    scene.rotate()

    assert scene.credential().state is State.BLOCKED


def test_a_confirmed_refusal_asks_nobody_while_a_grant_stands(scene: Scene) -> None:
    """The renewed assertion was rejected and isn't renewed again while it lives: Veeam alone speaks, and others are accepted."""
    scene.signed_in()
    scene.until_due()
    scene.veeam.sick = True
    for _ in range(3):
        scene.rotate()
        scene.clock.advance(6 * MINUTE)
        scene.others_accepted_at = scene.clock.now()
        scene.clock.advance(10 * MINUTE)
    scene.rotate()
    pair = scene.credential().pair
    assert pair is not None
    assert pair.confirmed

    assert scene.credential().state is State.BLOCKED
    assert scene.credential().reason is Reason.REJECTED_BY_VEEAM


@pytest.mark.parametrize("error_shape", ["oauth", "rest", "empty"])
def test_a_sick_server_never_asks_a_person_however_long(scene: Scene, error_shape: str) -> None:
    """A day of "Invalid credential", with a grant that Microsoft renews: blocked, and well by itself."""
    scene.signed_in()
    scene.veeam.sick, scene.veeam.error_shape = True, error_shape
    for _ in range(48):
        scene.clock.advance(timedelta(minutes=61))
        scene.rotate()
        assert scene.credential().state is State.BLOCKED
        assert scene.credential().reason is Reason.REJECTED_BY_VEEAM
    scene.veeam.sick = False
    scene.clock.advance(timedelta(minutes=61))

    scene.rotate()

    assert scene.credential().state is State.ACTIVE
    assert not scene.presented_twice_with_success()


def test_a_tenant_that_the_server_doesnt_know_is_blocked_and_told_why(scene: Scene) -> None:
    """Others are accepted, this one never was: organization, tenant authentication, or the account's rights."""
    scene.veeam.organizations = {"Contoso.onmicrosoft.com"}
    scene.approved()
    scene.others_accepted_at = scene.clock.now()
    scene.complete()
    for _ in range(6):
        scene.clock.advance(timedelta(minutes=61))
        scene.others_accepted_at = scene.clock.now()
        scene.rotate()
        assert scene.credential().state is State.BLOCKED
    remedy = scene.status().remedy
    assert "exactly this case" in remedy
    assert "tenant authentication" in remedy
    assert "sign in with another" in remedy


def test_a_blocked_credential_is_retried_by_what_is_left_of_its_token(scene: Scene) -> None:
    """A quarter of an hour would cut off consumers of a token that lives as long."""
    scene.veeam.token_life = 900
    scene.signed_in()
    scene.veeam.sick = True
    scene.until_due()
    scene.rotate()
    assert scene.credential().state is State.BLOCKED
    pair = scene.credential().pair
    assert pair is not None
    tries = 0
    while scene.clock.now() < pair.expires_at - timedelta(seconds=20):
        at = scene.status().next_rotation_at
        assert at is not None
        assert at - scene.clock.now() <= max((pair.expires_at - scene.clock.now()) / 8, timedelta(seconds=15))
        scene.clock.advance(max(at - scene.clock.now(), timedelta(0)))
        scene.rotate()
        tries += 1
    assert tries > 5

    scene.veeam.sick = False
    at = scene.status().next_rotation_at
    assert at is not None
    scene.clock.advance(at - scene.clock.now())
    scene.rotate()

    assert scene.clock.now() < pair.expires_at
    assert scene.credential().state is State.ACTIVE
