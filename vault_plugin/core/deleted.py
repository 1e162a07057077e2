"""A credential whose document was deleted: a mistake that ``kv undelete`` can mend, as long as nothing is written over it."""

from typing import Any

from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import IllegalTransition
from vault_plugin.core.states import Reason, State


class DeletedCredential(Credential):
    """Stands in memory for what can't be read. Nothing is known of it but its version, and it is never written."""

    state: State = State.BLOCKED
    reason: Reason = Reason.DOCUMENT_DELETED
    version: int

    def to_vault(self) -> dict[str, Any]:
        """Refuse: it would stand over what can still be brought back."""
        msg = "a deleted credential is written over"
        raise IllegalTransition(msg)


def is_deleted(credential: Credential) -> bool:
    """Tell whether this stands for a deleted document."""
    return isinstance(credential, DeletedCredential)


def said_of(name: str, credential: Credential) -> tuple[str, str]:
    """Return what operators are told of a deleted credential: text and remedy; of any other, nothing."""
    if not isinstance(credential, DeletedCredential):
        return "", ""
    path = f"credentials/{name}"
    text = f"{path} was deleted (version {credential.version}); nothing is written over it, so nothing is lost yet"
    command = f"vault kv undelete -mount=MOUNT -versions={credential.version} {path}"
    given_up = f"If it is to stay so, finish with: vb365 tenant remove {name}."
    return text, f"A Vault administrator brings it back: {command}. {given_up}"
