"""``vb365 unwrap``: a wrapped secret id, into a file that only its owner reads."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from vault_plugin.core.errors import ConfigurationError, StoreDenied
from vault_plugin.core.secret import Secret
from vault_plugin.vault.answers import Outcome, error_of, outcome_of
from vault_plugin.vault.connection import Answer, Connection, NoAnswer

ANOTHER = "make a new secret id (vb365 register --auth approle --new-secret-id)"


def unwrap(connection: Connection, token: Secret, to: Path, *, role: str) -> str:
    """Unwrap a secret id into a file of mode 0600, after checking where it was made. Return its creation path.

    The token is spent only once the file can be written.

    Raises:
        ConfigurationError: the file can't be written.
        StoreDenied: not a secret id of this role, or the token was used: somebody else may hold the secret.
        StoreUnavailable: Vault's trouble: nothing is known of the token.
    """
    with _private(to) as file:
        path = _creation_path(connection, token)
        if not (path.startswith("auth/") and path.endswith(f"/role/{role}/secret-id")):
            msg = f"the wrapping token was made at {path}, not for a secret id of {role}"
            raise StoreDenied(msg, reason="WrongCreationPath", remedy="Don't use it. Ask where it came from.")
        answer = _send(connection, "unwrap", token)
        if outcome_of(answer) is not Outcome.OK or "secret_id" not in answer.data:
            raise error_of(answer, "unwrapping")
        file.write(str(answer.data["secret_id"]))
    return path


def _creation_path(connection: Connection, token: Secret) -> str:
    answer = _send(connection, "lookup", token)
    if outcome_of(answer) is Outcome.UNCLEAR:
        raise error_of(answer, "looking at the wrapping token")
    if outcome_of(answer) is not Outcome.OK:
        msg = "the wrapping token is wrong, expired or was used already"
        remedy = f"If you didn't use it, somebody else did: {ANOTHER} and look at the audit log."
        raise StoreDenied(msg, reason="WrappingTokenUsed", remedy=remedy)
    return str(answer.data.get("creation_path", ""))


def _send(connection: Connection, verb: str, token: Secret) -> Answer:
    try:
        if verb == "lookup":
            return connection.request("POST", "sys/wrapping/lookup", body={"token": token.reveal()}, anonymous=True)
        return connection.request("POST", "sys/wrapping/unwrap", token=token)
    except NoAnswer as error:
        raise error_of(error, f"{verb} of the wrapping token") from None


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
