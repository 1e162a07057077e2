"""What an operator is told beside the state and its reason: less was granted than was asked for, or a form that is doubtful."""

from dataclasses import dataclass
from datetime import datetime

from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.lifecycle.doubts import said_of_refresh
from vault_plugin.core.names import is_tenant_id
from vault_plugin.core.organizations import is_alias, trouble
from vault_plugin.core.policy import View
from vault_plugin.core.published import SignInStatus, Status
from vault_plugin.core.scopes import OFFLINE_ACCESS
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import Allowed, Binding, bind

#: Sign-ins that got tokens of Microsoft's.
GRANTED = (None, Reason.SIGNED_IN, Reason.REJECTED_BY_VEEAM)

RENAMED = "VB365 calls this organization {} now; it is the same one by its id"
_RENAMED_REMEDY = (
    "Refreshing goes on. A new session may need the new name: vb365 tenant set NAME --organization, then vb365 sign-in NAME."
)


@dataclass(frozen=True)
class Note:
    """A text with its remedy. `why`: it explains what the status tells, so it is told before that."""

    text: str
    remedy: str
    why: bool = False


def with_notes(status: Status, notes: tuple[Note, ...]) -> Status:
    """Return the status with its notes and what to do about them."""
    told = [note for note in notes if note.why] + [Note(status.text, status.remedy)] + [n for n in notes if not n.why]
    remedies = dict.fromkeys(note.remedy for note in told if note.remedy)
    return status.replace(text="; ".join(note.text for note in told if note.text), remedy=" ".join(remedies))


def notes_of(view: View, allowed: Allowed, now: datetime) -> tuple[Note, ...]:
    """Return what is to be told beside this credential's state."""
    credential, tenant = view.credential, view.tenant
    if tenant is None or credential.state is State.REVOKED:
        return ()
    binding = bind(view.name, tenant)
    told = (*_granted(credential, binding.scope), *_form(credential, binding), *_scope(credential, binding, allowed))
    return (*_renamed(view), *told, Note(said_of_refresh(view, now), ""), *_unproved(credential))


def less_granted(lacks: tuple[str, ...], scope: str, *, why: bool = False) -> tuple[Note, ...]:
    """Return what is told where Microsoft granted less than was asked for by this scope."""
    notes = []
    permissions = [word for word in lacks if word != OFFLINE_ACCESS]
    if OFFLINE_ACCESS in lacks:
        asked = OFFLINE_ACCESS in scope.casefold().split()
        missing = "" if asked else f" Add {OFFLINE_ACCESS} to the tenant's --scope."
        remedy = f"See that the app may keep access ({OFFLINE_ACCESS}; Entra: API permissions).{missing}"
        text = "Microsoft gave no refresh token: a person is needed when Veeam's session ends"
        notes.append(Note(text, f"{remedy} Then sign in again: vb365 sign-in NAME.", why))
    if permissions:
        remedy = (
            "An administrator of the tenant must grant the app these permissions (Entra: Enterprise applications, Permissions)"
        )
        text = f"Microsoft granted less than was asked for: without {', '.join(permissions)}"
        notes.append(Note(text, f"{remedy}. Then sign in again: vb365 sign-in NAME.", why))
    return tuple(notes)


def of_sign_in(told: SignInStatus, sign_in: SignIn) -> SignInStatus:
    """Return what is told of a sign-in, with what Microsoft didn't grant to it."""
    if sign_in.outcome not in GRANTED:
        return told
    notes = less_granted(sign_in.lacks, sign_in.binding.scope)
    refused = sign_in.outcome is Reason.REJECTED_BY_VEEAM
    texts = [note.text for note in notes]
    remedies = [*(note.remedy for note in notes), told.remedy] if refused else [told.remedy, *(note.remedy for note in notes)]
    text = "; ".join(filter(None, [told.text, *texts]))
    return told.replace(text=text, remedy=next(filter(None, remedies), ""))


def _granted(credential: Credential, scope: str) -> tuple[Note, ...]:
    """Return what the stored grant lacks. Where Veeam refused, or a person is needed, that may be why."""
    assertion, error = credential.assertion, credential.last_error
    if assertion is None:
        return ()
    permissions = tuple(word for word in assertion.lacks if word != OFFLINE_ACCESS)
    lacks = permissions if assertion.refreshable else (*permissions, OFFLINE_ACCESS)
    why = error is not None and error.verdict == "TokenRejected" and credential.state is not State.ACTIVE
    return less_granted(lacks, scope, why=why)


def _form(credential: Credential, binding: Binding) -> tuple[Note, ...]:
    """Return what is wrong with the organization's form. A token that was proved is for the organization that it names."""
    text, remedy = trouble(binding.organization, binding.authority)
    alias = is_alias(binding.organization)
    if not text or (credential.proved and not alias):
        return ()
    return (Note(text, remedy, why=alias and _waits(credential)),)


def _scope(credential: Credential, binding: Binding, allowed: Allowed) -> tuple[Note, ...]:
    """Return what is told of a scope that only the clients' ``*`` allows: what was signed in goes on."""
    if allowed.scope(binding.scope, binding.authority) or "*" not in allowed.clients:
        return ()
    text = "the scope isn't listed in VB365_CLIENTS, where * allows any client only: a new sign-in is refused"
    remedy = "Have an administrator of the service add scope:* or this scope, as scope:..., to VB365_CLIENTS."
    return (Note(text, remedy, why=_waits(credential)),)


def renamed(credential: Credential) -> tuple[str, str] | None:
    """Return what is told of an organization that VB365 calls by another name than the sign-in was for."""
    bound, called = credential.binding, credential.findings.organization_name
    if not bound or not called or is_tenant_id(bound.organization) or called.casefold() == bound.organization.casefold():
        return None
    return RENAMED.format(called), _RENAMED_REMEDY


def _renamed(view: View) -> tuple[Note, ...]:
    """Return why Veeam refuses a new session, perhaps: it is asked for by the organization's old name."""
    credential, error = view.credential, view.credential.last_error
    exchange = error is not None and error.rung is Rung.EXCHANGE and error.verdict == "TokenRejected"
    refused = credential.reason is Reason.REJECTED_BY_VEEAM or exchange
    everybody = credential.reason is Reason.SERVER_REJECTS_EVERYONE
    told = renamed(credential) if refused and not everybody and not view.changed else None
    return (Note(*told, why=True),) if told else ()


def _unproved(credential: Credential) -> tuple[Note, ...]:
    """Return why the newest token wasn't proved, if something was answered that says nothing of it."""
    why = credential.findings.unproved
    if why is None or credential.pair is None or why.generation != credential.generation:
        return ()
    return (Note(f"the token is not verified: {why.text}", why.remedy),)


def _waits(credential: Credential) -> bool:
    """Tell whether a sign-in is what is needed: then what refuses one comes first."""
    return credential.state is State.NEEDS_SIGN_IN
