"""What consumers read never goes back, whichever thread is slow."""

from tests.scenarios.stage import Scene
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.published import Token


def test_a_slow_thread_cannot_publish_an_older_generation_over_a_newer(scene: Scene) -> None:
    """It held the old one while another of this process published: it must read what stands."""
    old = scene.signed_in()
    scene.until_due()
    scene.step()
    assert scene.publish()
    newer = scene.token()

    assert not publish(scene.world, "acme", old)
    assert scene.token() == newer


def test_a_slow_thread_cannot_publish_over_a_tombstone(scene: Scene) -> None:
    """Revoked while a lane's thread was about to publish."""
    old = scene.signed_in()
    scene.ask("revoke", "r2")

    assert not publish(scene.world, "acme", old)
    token = scene.store.read(Token, "acme").document
    assert token is not None
    assert token.access_token is None
