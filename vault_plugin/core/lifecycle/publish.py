"""What consumers read: the token. Never read back to decide anything."""

from datetime import timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.lifecycle.gather import view_of
from vault_plugin.core.lifecycle.latest import write_latest
from vault_plugin.core.ports import World
from vault_plugin.core.published import Token
from vault_plugin.core.states import State

PATIENCE = timedelta(seconds=10)


def publish(world: World, name: str, credential: Credential) -> bool:
    """Write ``tokens/NAME`` from the stored pair unless the same or a higher generation stands there.

    Tells whether it stands now. A credential without a pair is published only when revoked, as a token without token;
    a token that was proved not to work is never published, nor any after it until one is proved to work.
    """
    token = token_of(world, name, credential)
    if token is None:
        return False
    older = token.generation
    return write_latest(world, name, token, lambda old: old.generation < older, patience=PATIENCE, rank=older)


def token_of(world: World, name: str, credential: Credential) -> Token | None:
    """Return what consumers of this credential read, or None if there is nothing to tell them."""
    pair, binding = credential.pair, credential.binding
    if credential.state is State.REVOKED:
        return Token(generation=credential.generation, revoked_at=credential.since)
    if pair is None or binding is None or credential.distrusted:
        return None
    server, view = world.specs.server(binding.server), view_of(world, name, credential)
    return Token(
        access_token=pair.access_token,
        token_type=pair.token_type,
        issued_at=pair.issued_at,
        expires_at=pair.expires_at,
        next_rotation_at=view.due_at(world.policy) if view.tenant else None,
        server_url=server.url if server else "",
        api_version=server.api_version if server else "",
        organization=binding.organization,
        generation=credential.generation,
    )
