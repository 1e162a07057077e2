"""``vb365 unwrap``: a wrapped secret id, into a file that only its owner reads."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from vault_plugin.core.errors import ConfigurationError, StoreDenied
from vault_plugin.core.secret import Secret
from vault_plugin.vault.answer import Answer
from vault_plugin.vault.answers import Outcome, error_of, outcome_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.pacing import answered

ANOTHER: Final = "make a new secret id (vb365 register --auth approle --new-secret-id)"
AUDIT: Final = "look in Vault's audit log for sys/wrapping/unwrap"
#: Vault's word for a wrapping token that was used, has expired, or never was.
UNKNOWN: Final = "wrapping token is not valid or does not exist"
#: For how long `vb365 register` wraps a secret id.
WRAP_TTL: Final = "5m"


def unwrap(connection: Connection, token: Secret, to: Path, *, role: str) -> str:
    """Unwrap a secret id into a file of mode 0600, after checking where it was made. Return its creation path.

    The token is spent only once the file can be written.

    Raises:
        ConfigurationError: the file can't be written.
        StoreDenied: not a secret id of this role, or Vault knows no such token (any more).
        StoreUnavailable: Vault's trouble: nothing is known of the token.
    """
    with _private(to) as file:
        path = _creation_path(connection, token)
        if not (path.startswith("auth/") and path.endswith(f"/role/{role}/secret-id")):
            msg = f"the wrapping token was made at {path}, not for a secret id of {role}"
            raise StoreDenied(msg, reason="WrongCreationPath", remedy="Don't use it. Ask where it came from.")
        answer = answered(lambda: connection.post("/v1/sys/wrapping/unwrap", token=token), "unwrapping", connection.patience)
        if _unknown(answer):  # it was there a moment ago
            msg = "the wrapping token was used by somebody else just now"
            raise StoreDenied(msg, reason="WrappingTokenUsed", remedy=f"Treat the secret id as stolen: {ANOTHER}; {AUDIT}.")
        if outcome_of(answer) is not Outcome.OK or "secret_id" not in answer.data:
            raise error_of(answer, "unwrapping")
        file.write(str(answer.data["secret_id"]))
    return path


def _creation_path(connection: Connection, token: Secret) -> str:
    body = {"token": token.reveal()}
    doing = "looking at the wrapping token"
    answer = answered(lambda: connection.post("/v1/sys/wrapping/lookup", json=body, anonymous=True), doing, connection.patience)
    if _unknown(answer):  # Vault answers alike to one that was used, has expired, or was never made
        msg = "Vault doesn't know this wrapping token: it was used already, it has expired, or it was copied wrongly"
        mine = f"If it was copied rightly within its {WRAP_TTL} and you haven't used it, somebody else has"
        remedy = f"{mine}: {ANOTHER}; {AUDIT}."
        raise StoreDenied(msg, reason="WrappingTokenUnknown", remedy=remedy)
    if outcome_of(answer) is not Outcome.OK or "creation_path" not in answer.data:
        raise error_of(answer, doing)
    return str(answer.data["creation_path"])


def _unknown(answer: Answer) -> bool:
    return answer.own and answer.status == 400 and any(UNKNOWN in text for text in answer.errors)  # noqa: PLR2004


@contextmanager
def _private(to: Path) -> Iterator[TextIO]:
    """Yield a new file, readable by its owner only, that takes the place of `to` at once when all went well."""
    try:
        if to.is_dir():
            raise IsADirectoryError(None, "is a directory")
        descriptor, name = tempfile.mkstemp(dir=to.parent, prefix=f".{to.name}.")
    except OSError as error:
        msg = f"--to {to} can't be written: {error.strerror}"
        raise ConfigurationError(msg, remedy="Name a file in a directory of yours. The token is still good.") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            yield file
        Path(name).replace(to)
    except BaseException as error:
        Path(name).unlink(missing_ok=True)
        if isinstance(error, OSError):
            msg = f"--to {to} could not be written: {error.strerror}"
            raise ConfigurationError(msg, remedy=f"The token is spent: {ANOTHER}.") from None
        raise
