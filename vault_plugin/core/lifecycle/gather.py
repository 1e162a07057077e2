"""Collect the world into a value, for the policy to decide on."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.deleted import DeletedCredential, is_deleted
from vault_plugin.core.errors import BindingRefused, StoreError
from vault_plugin.core.facts import UNKNOWN, ServerFacts
from vault_plugin.core.policy import View
from vault_plugin.core.ports import Stored, World
from vault_plugin.core.published import Token
from vault_plugin.core.states import State
from vault_plugin.core.tenants import Binding, TenantSpec, bind, changed_fields, check_allowed, check_new


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
    """Return the credential that stands there, or an empty one; for a deleted one, what must not be written."""
    if stored.deleted:
        return DeletedCredential(since=now, version=stored.version)
    document = stored.document or Credential(since=now)
    findings = document.findings.by(now)
    return document if findings is document.findings else document.replace(findings=findings)


def doubting(world: World, credential: Credential) -> Credential:
    """Return the credential with a pair whose refresh token is to be doubted marked so (DESIGN 5.3, 6).

    It may come from a restored snapshot; or its session was lost with all others of its server.
    """
    pair, before, now = credential.pair, world.doubts_before(), world.clock.now()
    if pair is None:
        return credential
    if not pair.restored and before is not None and pair.issued_at < before <= now:
        pair = pair.replace(restored=True)
    if not pair.doubtful and facts_of(world, credential).dead_since(credential) is not None:
        pair = pair.replace(doubtful=True)
    return credential if pair is credential.pair else credential.replace(pair=pair)


def anew(world: World, name: str) -> Credential:
    """Return an empty credential to begin with where none can be had back.

    Consumers may hold a token of one that stood here: only a higher generation is published over it.

    Raises:
        StoreError: Vault's trouble.
    """
    token = world.store.read(Token, name).document
    return Credential(since=world.clock.now(), generation=token.generation if token else 0)


def spec_of(world: World, name: str, credential: Credential) -> TenantSpec | None:
    """Return the tenant; None where it can't be read and nothing is sent for this credential, whatever it says.

    Raises:
        StoreError: it can't be read.
    """
    try:
        return world.specs.tenant(name)
    except StoreError:
        if credential.state is State.REVOKED or is_deleted(credential):
            return None
        raise


def view_of(world: World, name: str, credential: Credential, seen: Seen = NOT_SEEN) -> View:
    """Return what the policy needs to know of this credential."""
    credential = doubting(world, credential)
    tenant = spec_of(world, name, credential)
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
        turn_at=world.turn(name, credential, world.clock.now()),
    )


def assuming(world: World, name: str, credential: Credential, seen: Seen, tenant: TenantSpec) -> View:
    """Return what the policy needs, as if this were the tenant's document and nothing had changed since the sign-in."""
    credential, turn_at = doubting(world, credential), world.turn(name, credential, world.clock.now())
    facts = facts_of(world, credential)
    return View(name, tenant, "", (), credential, world.instance, seen.unchanged_for, facts, seen.set_back, turn_at)


def facts_of(world: World, credential: Credential) -> ServerFacts:
    """Return what is known of the server that this credential is bound to."""
    return world.facts(credential.binding.server).by(world.clock.now()) if credential.binding else UNKNOWN


def refusal(world: World, name: str, binding: Binding, *, anew: bool = False) -> str:
    """Return why nothing may be sent to where this binding points, or an empty text; `anew`: by a new sign-in."""
    try:
        (check_new if anew else check_allowed)(name, binding, world.allowed)
    except BindingRefused as error:
        return f"{error}. {error.remedy()}"
    if world.specs.server(binding.server) is None:
        return f"servers/{binding.server} can't be read. Create it: vb365 server set {binding.server} --url URL"
    return ""
