"""What operators ask for in the mailbox. Effect and request id are stored in one write; an id already handled has no effect."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.deleted import is_deleted, said_of
from vault_plugin.core.errors import AuthorizationServerError, AuthorizationServerUnavailable, BackupServerError
from vault_plugin.core.handled import Handled, keep_handled
from vault_plugin.core.ladder import full_ladder
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.lifecycle.gather import anew, credential_of, refusal, view_of
from vault_plugin.core.lifecycle.latest import offer
from vault_plugin.core.lifecycle.publish import publish
from vault_plugin.core.ports import Stored, World
from vault_plugin.core.published import Action, Prompt, Request, Token
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import State
from vault_plugin.core.tenants import bind

#: A sign-in or rotation that is older when first seen is nobody's wish any more.
STALE_AFTER = timedelta(minutes=10)
#: What may be asked for while the credential's document is deleted: none of it needs what stood there.
DESPITE_DELETION = frozenset({"cancel", "revoke", "remove"})


GRANT_LIVES = "Microsoft's grant lives until the tenant's administrator revokes the user's sessions."


@dataclass(frozen=True)
class Asked:
    """A request as it came out of the mailbox; `created_at` is Vault's own time."""

    name: str
    id: str
    created_at: datetime
    request: Request
    #: Ids of the tenant's earlier requests for a code that wait for Microsoft.
    waiting: frozenset[str] = frozenset()


def handle(world: World, asked: Asked) -> Handled:
    """Give a request its effect, once, and return its outcome. May be repeated after a crash on any line.

    Raises:
        StoreError: Vault's trouble; the request stays in the mailbox.
        AuthorizationServerUnavailable: Microsoft gave no verdict on a sign-in; the request stays in the mailbox, too, and is
            handled again, or `given_up`.
    """
    now = world.clock.now()
    entry = Handled(id=asked.id, action=asked.request.action, at=now, outcome="Done")
    known = _known(world, asked.name, asked.id)
    if known is not None:
        if asked.request.action in ("revoke", "remove"):
            _clean_up(world, asked.name)
        if asked.request.action == "sign-in" and known.outcome == "Cancelled":
            _withdraw(world, asked.name, known)
        return known
    if asked.request.action not in DESPITE_DELETION and (text := _deleted(world, asked.name)):
        return entry.replace(outcome="Refused", text=text)
    if asked.request.action in ("sign-in", "rotate") and now - asked.created_at > STALE_AFTER:
        return _note(world, asked.name, entry.replace(outcome="Expired", text="older than 10 minutes; ask again"))
    return VERBS[asked.request.action](world, asked, entry)


def has_outcome(world: World, name: str, request_id: str) -> bool:
    """Tell whether this request has had its effect, or was made pointless by another one."""
    return _known(world, name, request_id) is not None


def _known(world: World, name: str, request_id: str) -> Handled | None:
    """Return the outcome that stands for this id."""
    credential = world.store.read(Credential, name).document
    sign_in = world.store.read(SignIn, name).document
    handled = (*(credential.handled if credential else ()), *(sign_in.handled if sign_in else ()))
    return next((entry for entry in handled if entry.id == request_id), None)


def _deleted(world: World, name: str) -> str:
    """Return what is said of a credential whose document was deleted, or an empty text."""
    stored = world.store.read(Credential, name)
    text, remedy = said_of(name, credential_of(stored, world.clock.now()))
    return f"{text}. {remedy}" if text else ""


def _note(world: World, name: str, entry: Handled) -> Handled:
    """Store the outcome of a request that changed nothing else. Where the document was deleted, status alone tells it."""
    stored = world.store.read(Credential, name)
    if stored.deleted:
        return entry
    credential = stored.document or anew(world, name)

    def change(current: Credential) -> Credential | None:
        return None if is_deleted(current) else current.replace(handled=keep_handled(current.handled, entry))

    offer(world, name, stored.version, credential, change)
    return entry


def _sign_in(world: World, asked: Asked, entry: Handled) -> Handled:
    tenant = world.specs.tenant(asked.name)
    if tenant is None:
        return entry.replace(outcome="Refused", text=f"there is no tenant {asked.name}")
    if text := refusal(world, asked.name, bind(asked.name, tenant), anew=True):
        return _note(world, asked.name, entry.replace(outcome="Refused", text=text))
    request = asked.request
    try:
        signing_in.start(world, asked.name, tenant, entry, claimed_by=request.claimed_by, why=request.reason)
    except AuthorizationServerUnavailable:
        raise
    except AuthorizationServerError as error:
        text = f"{error}. {error.remedy()}"
        return _note(world, asked.name, entry.replace(outcome="Failed", text=text))
    done = _known(world, asked.name, asked.id) or entry
    if done.outcome == "Cancelled":  # while Microsoft was asked
        _withdraw(world, asked.name, done)
    return done


def given_up(world: World, asked: Asked, error: AuthorizationServerError) -> Handled:
    """Answer a request for a code that Microsoft hasn't given for as long as somebody may be waiting for it.

    Raises:
        StoreError: Vault's trouble; the request stays in the mailbox.
    """
    known = _known(world, asked.name, asked.id)
    if known is not None:
        return known
    remedy = "" if error.remedy() == error.default_remedy else f" {error.remedy()}"
    text = f"{error}. It isn't tried again.{remedy} Ask again: vb365 sign-in {asked.name}."
    now = world.clock.now()
    entry = Handled(id=asked.id, action=asked.request.action, at=now, outcome="Failed", text=text)
    return _note(world, asked.name, entry)


def _withdraw(world: World, name: str, cancelled: Handled) -> None:
    """End the sign-in that this request began, if it was cancelled while Microsoft was asked for its code."""
    sign_in = world.store.read(SignIn, name).document
    if sign_in is None:
        return
    if any(done.id == cancelled.id and done.outcome == "CodeShown" for done in sign_in.handled):
        signing_in.cancel(world, name, sign_in.id, cancelled)


def _cancel(world: World, asked: Asked, entry: Handled) -> Handled:
    if signing_in.cancel(world, asked.name, asked.request.sign_in_id, entry.replace(outcome="Cancelled")):
        return entry.replace(outcome="Cancelled")
    if asked.request.sign_in_id in asked.waiting:
        withdrawn = _overtaken(asked.request.sign_in_id, entry, "cancelled before Microsoft gave its code")
        _note(world, asked.name, withdrawn)
        done = _note(world, asked.name, entry.replace(outcome="Cancelled"))
        _withdraw(world, asked.name, withdrawn)
        return done
    text = "that sign-in isn't pending any more; status says how it ended"
    return _note(world, asked.name, entry.replace(outcome="Refused", text=text))


def _rotate(world: World, asked: Asked, entry: Handled) -> Handled:
    stored = world.store.read(Credential, asked.name)
    credential = credential_of(stored, world.clock.now())
    view = view_of(world, asked.name, credential)
    problem = ""
    if credential.state is State.REVOKED or not full_ladder(credential, world.clock.now(), view.facts):
        problem = f"nothing is stored that could be rotated. Sign in: vb365 sign-in {asked.name}"
    elif view.tenant is None or view.tenant.paused:
        problem = f"the tenant is paused or removed. Resume it: vb365 tenant resume {asked.name}"
    elif view.changed or view.refused:
        changed = f"changed since the sign-in: {', '.join(view.changed)}; set it back, or sign in anew"
        problem = view.refused if not view.changed else changed
    if problem:
        return _note(world, asked.name, entry.replace(outcome="Refused", text=problem))
    accepted = entry.replace(outcome="Accepted")

    def change(current: Credential) -> Credential | None:
        return None if is_deleted(current) else current.asked(accepted)

    offer(world, asked.name, stored.version, credential, change)
    return accepted


def _revoke(world: World, asked: Asked, entry: Handled) -> Handled:
    """Log out, leave a tombstone, destroy what stood there. Microsoft's grant must be revoked by the tenant's admin."""
    stored = world.store.read(Credential, asked.name)
    credential = stored.document or anew(world, asked.name)
    sign_in = world.store.read(SignIn, asked.name).document
    if sign_in is not None and sign_in.state is not SignInState.ENDED:
        signing_in.cancel(world, asked.name, sign_in.id, _part_of(entry), approved_too=True)
    text = f"{_lost(asked.name, stored)} {GRANT_LIVES}" if stored.gone else _log_out(world, credential)
    done = entry.replace(outcome="Revoked", text=text)
    overtaken = [_overtaken(waits, entry, "the tenant was revoked before Microsoft gave the code") for waits in asked.waiting]

    def change(current: Credential) -> Credential:
        revoked = (credential if is_deleted(current) else current).revoked(world.clock.now())
        for one in (*overtaken, done):
            revoked = revoked.replace(handled=keep_handled(revoked.handled, one))
        return revoked

    offer(world, asked.name, stored.version, credential, change)
    for one in overtaken:
        _withdraw(world, asked.name, one)
    _clean_up(world, asked.name)
    return done


def _overtaken(request_id: str, by: Handled, text: str) -> Handled:
    """Return the outcome of a request for a code that another request makes pointless."""
    return Handled(id=request_id, action="sign-in", at=by.at, outcome="Cancelled", text=text)


def _part_of(entry: Handled) -> Handled:
    """Return an entry for the first half of a revocation: under the request's own id it would count as handled."""
    return entry.replace(id=f"{entry.id}/sign-in", outcome="Cancelled")


def _log_out(world: World, credential: Credential) -> str:
    """End the session at Veeam, best effort, and say what is left to do."""
    pair, binding = credential.pair, credential.binding
    server = world.specs.server(binding.server) if binding else None
    if pair is None or server is None:
        return GRANT_LIVES
    try:
        world.veeam.logout(server, pair.access_token)
    except BackupServerError as error:
        return f"Veeam's session could not be ended ({error.reason}); it ends by itself at {pair.expires_at}. {GRANT_LIVES}"
    return GRANT_LIVES


def _lost(name: str, stored: Stored[Credential]) -> str:
    """Say that what would have ended Veeam's session couldn't be read any more."""
    how = "deleted" if stored.deleted else "destroyed"
    return f"credentials/{name} was {how}, so Veeam's session couldn't be ended; it ends by itself."


def _clean_up(world: World, name: str) -> None:
    """Replace the published token by a tombstone, and destroy every older version. May be repeated."""
    stored = world.store.read(Credential, name)
    if stored.document is not None:
        publish(world, name, stored.document)
        world.store.destroy(Credential, name, _older(stored.version))
    for model in (Token, SignIn, Prompt):
        standing = world.store.read(model, name)
        gone = [standing.version] if standing.gone else []
        world.store.destroy(model, name, [*_older(standing.version), *gone])


def _older(version: int) -> range:
    return range(max(1, version - 2), version)


VERBS: dict[Action, Callable[[World, Asked, Handled], Handled]] = {
    "sign-in": _sign_in,
    "cancel": _cancel,
    "rotate": _rotate,
    "apply": lambda _world, _asked, entry: entry,  # whoever handles requests reads the documents again before
    "revoke": _revoke,
    "remove": _revoke,
}
