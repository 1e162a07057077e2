"""Rotation: one step at a time, each at most one irreversible call."""

from vault_plugin.core.credential import AT_MICROSOFT, AT_VEEAM, Credential, Purpose, Rung
from vault_plugin.core.lifecycle.attempt import Step, attempt
from vault_plugin.core.lifecycle.gather import NOT_SEEN, Seen, credential_of, doubting, view_of
from vault_plugin.core.lifecycle.grant import Grant
from vault_plugin.core.policy import Action, Do, next_action
from vault_plugin.core.ports import World
from vault_plugin.core.states import Event, Reason


def step(world: World, name: str, seen: Seen = NOT_SEEN, may: frozenset[Rung] = AT_VEEAM | AT_MICROSOFT) -> Step:
    """Do what is next for this credential: nothing, or one rung of one attempt.

    `seen` is the journal entry that the asker has seen, and for how long unchanged. `may` holds the rungs that can be
    called from here; for another one nothing is done, and `Step.elsewhere` is true. An attempt of a sign-in is left to
    `adopt`, which holds the assertion for it.

    Raises:
        StoreError: Vault's trouble, before anything was sent.
    """
    stored = world.store.read(Credential, name)
    now = world.clock.now()
    credential = doubting(world, credential_of(stored, now))
    action = next_action(view_of(world, name, credential, seen), now, world.policy)
    if action.do is Do.HOLD or action.purpose is Purpose.SIGN_IN or credential.binding is None:
        return Step(action, credential)
    if not action.ladder:
        return _exhausted(world, name, stored.version, credential, action)
    if action.ladder[0] not in may:
        return Step(action, credential, elsewhere=True)
    grant = Grant(credential.assertion, credential.binding, credential.sign_in_id)
    return attempt(world, name, stored.version, credential, action, grant)


def _exhausted(world: World, name: str, version: int, credential: Credential, action: Action) -> Step:
    """End an attempt with which nothing that is stored can go on: there is no grant left."""
    ended = credential.concluded(Event.GRANT_REJECTED, Reason.GRANT_REJECTED, credential.last_error, world.clock.now())
    world.store.write(name, ended, cas=version, give_up_after=world.policy.store_timeout)
    return Step(action, ended)
