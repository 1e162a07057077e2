"""What becomes of a credential that somebody deletes or destroys, step by step."""

from datetime import timedelta
from typing import Any

import pytest

from tests.scenarios.stage import Scene
from vault_plugin.core.credential import Credential
from vault_plugin.core.deleted import DeletedCredential
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import IllegalTransition
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.lifecycle.gather import credential_of
from vault_plugin.core.policy import Do
from vault_plugin.core.published import Token
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State


def deleted(scene: Scene) -> int:
    return scene.store.delete(Credential, "acme")


def version(scene: Scene) -> int:
    return scene.store.read(Credential, "acme").version


def test_a_rotation_that_is_due_writes_nothing_over_a_deleted_credential(scene: Scene) -> None:
    """Nor is anything sent."""
    scene.signed_in()
    scene.until_due()
    number, presented = deleted(scene), len(scene.veeam.presented)

    done = scene.step()

    assert done.action.do is Do.HOLD
    assert done.action.reason is Reason.DOCUMENT_DELETED
    assert version(scene) == number
    assert len(scene.veeam.presented) == presented


def test_an_undeleted_credential_goes_on_where_it_was(scene: Scene) -> None:
    """Nothing was lost."""
    scene.signed_in()
    scene.until_due()
    deleted(scene)
    scene.step()

    scene.store.undelete(Credential, "acme")

    scene.rotate()
    assert scene.credential().generation == 2
    assert not scene.presented_again()


def test_a_pair_got_while_the_credential_was_deleted_is_stored(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two writes of its attempt: the pair is nowhere else, and a deletion changes no version."""
    scene.signed_in()
    scene.until_due()
    refresh = scene.world.veeam.refresh

    def meanwhile(*arguments: Any) -> Any:
        answer = refresh(*arguments)
        deleted(scene)
        return answer

    monkeypatch.setattr(scene.world.veeam, "refresh", meanwhile)
    done = scene.step()
    monkeypatch.undo()

    assert not done.superseded
    assert scene.credential().generation == 2
    assert scene.credential().binding is not None
    assert scene.publish()
    assert scene.veeam.accepts(scene.token())


def test_a_pair_is_stored_though_somebody_wrote_before_it_was_deleted(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process knew last and the pair, whole: nobody can tell what stood there."""
    scene.signed_in()
    scene.until_due()
    refresh = scene.world.veeam.refresh

    def meanwhile(*arguments: Any) -> Any:
        answer = refresh(*arguments)
        stored = scene.store.read(Credential, "acme")
        assert stored.document is not None
        scene.store.write("acme", stored.document, cas=stored.version)
        deleted(scene)
        return answer

    monkeypatch.setattr(scene.world.veeam, "refresh", meanwhile)
    scene.step()

    assert scene.credential().generation == 2
    assert scene.credential().assertion is not None
    assert scene.publish()


@pytest.mark.parametrize("action", ["rotate", "sign-in", "apply"])
def test_what_needs_the_credential_is_refused_while_it_is_deleted(scene: Scene, action: str) -> None:
    """In status alone: nothing is written, and Microsoft isn't asked."""
    scene.signed_in()
    number, asked = deleted(scene), scene.store.read(SignIn, "acme").version

    assert scene.ask(action, "late") == "Refused"

    assert version(scene) == number
    assert scene.store.read(SignIn, "acme").version == asked


@pytest.mark.parametrize("gone", ["deleted", "destroyed"])
def test_a_tombstone_is_written_over_what_is_gone(scene: Scene, gone: str) -> None:
    """Above the published generation, so that the token is replaced."""
    scene.signed_in()
    number = deleted(scene) if gone == "deleted" else version(scene)
    if gone == "destroyed":
        scene.store.destroy(Credential, "acme", [number])

    assert scene.ask("revoke", "end") == "Revoked"

    credential = scene.credential()
    assert version(scene) == number + 1
    assert credential.state is State.REVOKED
    assert "couldn't be ended" in credential.handled[-1].text
    assert scene.document(Token).access_token is None
    assert list(filter(None, scene.store.kept(Credential, "acme").values())), "the tombstone"
    assert scene.store.kept(Credential, "acme").get(number) is None


def test_an_approved_sign_in_waits_while_the_credential_is_deleted(scene: Scene) -> None:
    """And is handed over when it is back."""
    scene.signed_in()
    scene.clock.advance(timedelta(minutes=1))
    scene.approved("r2")
    number = deleted(scene)

    done = scene.complete()

    assert done is not None
    assert done.action.reason is Reason.DOCUMENT_DELETED
    assert version(scene) == number
    assert scene.document(SignIn).state is SignInState.APPROVED
    scene.store.undelete(Credential, "acme")
    scene.complete()
    assert scene.credential().generation == 2


def test_a_sign_in_after_a_destroyed_credential_is_published(scene: Scene) -> None:
    """Its generation begins above that of the token that consumers hold."""
    scene.signed_in()
    scene.until_due()
    scene.rotate()
    scene.publish()
    scene.store.destroy(Credential, "acme", [version(scene)])
    before = scene.document(Token)

    scene.approved("r2")
    scene.complete()

    assert scene.publish()
    after = scene.document(Token)
    assert after.generation == before.generation + 1
    assert scene.veeam.accepts(scene.token())


def test_a_deleted_credential_is_never_written(scene: Scene) -> None:
    """Whoever forgets it breaks, and destroys nothing."""
    scene.signed_in()
    deleted(scene)
    stored = scene.store.read(Credential, "acme")
    held: Document = credential_of(stored, scene.clock.now())
    assert isinstance(held, DeletedCredential)

    with pytest.raises(IllegalTransition):
        scene.store.write("acme", held, cas=stored.version)


def test_a_deleted_sign_in_is_polled_no_more(scene: Scene) -> None:
    """It is told as gone, and nothing is asked of Microsoft."""
    scene.ask("sign-in")
    scene.store.delete(SignIn, "acme")
    scene.clock.advance(timedelta(seconds=10))

    assert signing_in.poll(scene.world, "acme").gone
    assert scene.ask("sign-in", "r2") == "CodeShown"
