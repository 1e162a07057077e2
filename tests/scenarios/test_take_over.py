"""What is left to whoever takes over, and what must not be left to anybody."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.scenarios.stage import Scene
from tests.simulators.http import Fault, Response
from vault_plugin.core.credential import AT_MICROSOFT, Attempt, Rung
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.core.lifecycle.adopt import adopt
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.lifecycle.gather import Seen
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
#: After so long a grant that isn't used is renewed.
IDLE = timedelta(days=3)


class Died(BaseException):
    """The process is gone."""


def dies_calling(scene: Scene, call: str, work: Callable[[], object]) -> Attempt:
    """Record an attempt, and die before anybody knows what became of its call; return the journal's entry."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene.world.veeam, call, _die)
        with pytest.raises(Died):
            work()
    entry = scene.credential().attempt
    assert entry is not None
    return entry


def _die(*_: object) -> None:
    raise Died


def test_a_refresh_of_unknown_outcome_goes_last_though_the_attempt_that_took_it_over_failed(scene: Scene) -> None:
    """Whoever sleeps on that refresh token may wake at any time; a failure of somebody else changes nothing about it."""
    scene.signed_in()
    scene.until_due()
    entry = dies_calling(scene, "refresh", scene.step)
    scene.clock.advance(entry.lease)
    scene.veeam_server.faults.add(Fault("/token", response=Response(500)))
    taken_over = step(scene.replica(), "acme", Seen(entry.id, entry.lease))
    assert taken_over.called is Rung.EXCHANGE
    assert taken_over.error is not None
    scene.clock.advance(5 * MINUTE)

    done = step(scene.replica(), "acme")

    assert done.called is Rung.EXCHANGE
    assert "refresh_token" not in {presented.grant for presented in scene.veeam.presented}


def test_a_sign_ins_exchange_that_another_instance_makes_is_not_made_beside_it(scene: Scene) -> None:
    """Only an entry that was seen unchanged for its lease is taken over."""
    scene.approved()
    entry = dies_calling(scene, "exchange", scene.complete)
    other = scene.replica()

    waits = adopt(other, "acme", Seen(entry.id, entry.lease - SECOND))

    assert waits is not None
    assert waits.action.reason is Reason.IN_FLIGHT
    assert not scene.veeam.presented
    adopt(other, "acme", Seen(entry.id, entry.lease))
    assert scene.credential().state is State.ACTIVE
    assert len(scene.veeam.presented) == 1


def test_the_journal_of_a_sign_in_that_is_gone_is_left_to_whoever_may_be_calling(scene: Scene) -> None:
    """Somebody deleted the sign-in's document; its exchange may be under way, and what it brings must find its entry."""
    scene.approved()
    entry = dies_calling(scene, "exchange", scene.complete)
    scene.store.delete(SignIn, "acme")
    other = scene.replica()

    assert adopt(other, "acme", Seen(entry.id, entry.lease - SECOND)) is None
    assert scene.credential().attempt == entry

    adopt(other, "acme", Seen(entry.id, entry.lease))
    assert scene.credential().attempt is None


def test_a_grant_that_was_adopted_before_a_crash_is_not_exchanged_again(scene: Scene) -> None:
    """The pair was stored, and Vault went away before the sign-in could be ended: whoever comes again only ends it."""
    scene.approved()
    write = scene.store.write

    def away(name: str, document: Document, *, cas: int, **more: Any) -> int:
        if isinstance(document, SignIn):
            raise StoreUnavailable("no answer")
        return write(name, document, cas=cas, **more)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene.store, "write", away)
        scene.complete()
    assert scene.credential().state is State.ACTIVE
    assert scene.document(SignIn).state is SignInState.APPROVED

    assert scene.complete() is None

    assert scene.document(SignIn).outcome is Reason.SIGNED_IN
    assert len(scene.veeam.presented) == 1
    assert scene.credential().generation == 1


def test_a_sign_in_whose_tenant_was_changed_before_the_exchange_sends_nothing(scene: Scene) -> None:
    """Neither to the server that was meant then, nor to the one that is meant now."""
    scene.approved()
    scene.specs.servers["new"] = scene.specs.servers["vbr"]
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(server="new")

    scene.complete()

    assert scene.document(SignIn).outcome is Reason.CONFIGURATION_CHANGED
    assert scene.document(SignIn).assertion is None
    assert not scene.veeam.presented


def renewed(scene: Scene, meanwhile: Callable[[], object]) -> Step:
    """Renew an idle grant, and let something happen before Microsoft's answer is there."""
    refresh = scene.world.microsoft.refresh

    def slow(*arguments: Any) -> Any:
        answer = refresh(*arguments)
        meanwhile()
        return answer

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene.world.microsoft, "refresh", slow)
        return step(scene.world, "acme", may=AT_MICROSOFT)


def until_idle(scene: Scene) -> None:
    """Rotate after that time, so that only the grant is to be renewed."""
    scene.signed_in()
    scene.clock.advance(IDLE + MINUTE)
    assert scene.rotate().called is Rung.REFRESH


def test_a_late_renewal_of_an_old_grant_is_not_stored_over_a_new_sign_in(scene: Scene) -> None:
    """It is another person's, perhaps, or of another account; whatever a clock that was set back meanwhile says is newer."""
    until_idle(scene)

    def signs_in() -> None:
        scene.clock.set(-5 * MINUTE)
        scene.approved("r2")
        entry = scene.credential().attempt
        assert entry is not None
        adopt(scene.replica(), "acme", Seen(entry.id, entry.lease))

    done = renewed(scene, signs_in)

    assert done.called is Rung.REASSERT
    stands = scene.credential()
    assert stands.sign_in_id == scene.document(SignIn).id
    assert stands.assertion is not None
    assert stands.assertion.signed_in_at == stands.assertion.obtained_at, "the new grant was replaced by the old one's renewal"


def test_a_late_renewal_brings_no_revoked_grant_back(scene: Scene) -> None:
    """Nothing secret stays in what is revoked."""
    until_idle(scene)

    renewed(scene, lambda: scene.ask("revoke", "r2"))

    assert scene.credential().state is State.REVOKED
    assert scene.credential().assertion is None


@pytest.mark.parametrize("ends", ["signed in", "cancelled"])
def test_a_sign_ins_secrets_are_destroyed_before_it_is_called_tidy(scene: Scene, ends: str) -> None:
    """Whatever number of versions the mount keeps: an older one holds the device code, or the tokens."""
    left: list[set[str]] = []
    write = scene.store.write

    def watching(name: str, document: Document, *, cas: int, **more: Any) -> int:
        if isinstance(document, SignIn) and document.state is SignInState.ENDED and not document.untidy:
            kept = [version or {} for version in scene.store.kept(SignIn, name).values()]
            left.append({key for version in kept for key in ("assertion", "device_code") if version.get(key)})
        return write(name, document, cas=cas, **more)

    scene.ask("sign-in", "r1")
    if ends == "signed in":
        scene.approve()
        scene.poll()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scene.store, "write", watching)
        if ends == "signed in":
            scene.complete()
        else:
            scene.ask("cancel", "r2", sign_in_id=scene.document(SignIn).id)

    assert left == [set()]
