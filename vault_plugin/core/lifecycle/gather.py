"""Collect the world into a value, for the policy to decide on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import BindingRefused
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.policy import View
from vault_plugin.core.ports import Stored, World
from vault_plugin.core.tenants import Binding, bind, changed_fields, check_allowed


@dataclass(frozen=True)
class Seen:
    """What the asker knows and the store doesn't.

    A journal entry that he watches: its id, and for how long it was seen unchanged on his monotonic clock. And by how much
    the wall clock was set back since the pair was stored: by so much it expires earlier than it says.
    """

    attempt_id: str
    unchanged_for: timedelta
    set_back: timedelta = timedelta(0)


NOT_SEEN = Seen("", timedelta(0))


def unchanged_for(credential: Credential, seen: Seen) -> timedelta:
    """Return for how long this very entry was seen."""
    attempt = credential.attempt
    return seen.unchanged_for if attempt is not None and attempt.id == seen.attempt_id else timedelta(0)


def credential_of(stored: Stored[Credential], now: datetime) -> Credential:
    """Return the credential that stands there, or an empty one."""
    return stored.document or Credential(since=now)


def view_of(world: World, name: str, credential: Credential, seen: Seen = NOT_SEEN) -> View:
    """Return what the policy needs to know of this credential."""
    tenant = world.specs.tenant(name)
    refused = world.specs.problem(name)
    changed: tuple[str, ...] = ()
    if tenant is not None:
        wanted = bind(name, tenant)
        refused = refused or refusal(world, name, wanted)
        if credential.binding is not None:
            changed = changed_fields(credential.binding, wanted)
    return View(
        name=name,
        tenant=tenant,
        refused=refused,
        changed=changed,
        credential=credential,
        instance=world.instance,
        unchanged_for=unchanged_for(credential, seen),
        facts=facts_of(world, credential),
        set_back=seen.set_back,
    )


def facts_of(world: World, credential: Credential) -> ServerFacts:
    """Return what is known of the server that this credential is bound to."""
    return world.facts(credential.binding.server) if credential.binding else UNKNOWN


def refusal(world: World, name: str, binding: Binding) -> str:
    """Return why nothing may be sent to where this binding points, or an empty text."""
    try:
        check_allowed(name, binding, world.allowed)
    except BindingRefused as error:
        return f"{error}. {error.remedy()}"
    if world.specs.server(binding.server) is None:
        return f"servers/{binding.server} can't be read. Create it: vb365 server set {binding.server} --url URL"
    return ""
