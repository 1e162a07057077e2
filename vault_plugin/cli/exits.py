"""Exit codes and how errors are shown: the only place where an error meets either."""

import json
import sys
from enum import IntEnum
from typing import Final

from vault_plugin.core import errors
from vault_plugin.core.names import fill


class Exit(IntEnum):
    """Exit codes of ``vb365``."""

    OK = 0
    UNEXPECTED = 1
    REFUSED = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5
    FAILED = 6
    TIMED_OUT = 7
    DRIFT = 8
    INTERRUPTED = 130


MEANINGS: Final = {
    Exit.OK: "done",
    Exit.UNEXPECTED: "a bug of ours",
    Exit.REFUSED: "wrong usage or refused input; nothing was changed",
    Exit.NOT_FOUND: "no such tenant, server or token",
    Exit.DENIED: "Vault denies permission",
    Exit.UNAVAILABLE: "Vault is sealed, away or can't be trusted",
    Exit.FAILED: "the sign-in or rotation ended without success",
    Exit.TIMED_OUT: "nobody answered in time",
    Exit.DRIFT: "register --check found a difference",
    Exit.INTERRUPTED: "interrupted",
}


class Failed(errors.Error):
    """What was asked for ended without success."""

    default_remedy = "Look at: vb365 status NAME."


class TimedOut(errors.Error):
    """Nobody answered in time."""

    default_remedy = "See that the service runs: its /readyz and its log, and vb365 status."


#: Most special first: the first class that fits decides.
CODES: Final[tuple[tuple[type[errors.Error], Exit], ...]] = (
    (Failed, Exit.FAILED),
    (TimedOut, Exit.TIMED_OUT),
    (errors.NotFound, Exit.NOT_FOUND),
    (errors.StoreDenied, Exit.DENIED),
    (errors.ConfigurationError, Exit.REFUSED),
    (errors.DocumentMalformed, Exit.REFUSED),
    (errors.StoreError, Exit.UNAVAILABLE),
    (errors.Error, Exit.UNEXPECTED),
)


def code_of(error: errors.Error) -> Exit:
    """Return the exit code for an error."""
    return next(code for kind, code in CODES if isinstance(error, kind))


def show(error: errors.Error, *, as_json: bool, tenant: str = "", server: str = "", mount: str = "") -> None:
    """Print what happened and what to do, to stderr."""
    remedy = fill(error.remedy(), tenant=tenant, server=server, mount=mount)
    if as_json:
        content = {"error": str(error), "reason": error.reason, "remedy": remedy, "exit_code": int(code_of(error))}
        print(json.dumps(content), file=sys.stderr)
        return
    print(f"Error: {error}\nWhat to do: {remedy}", file=sys.stderr)


def epilog() -> str:
    """Return the exit codes for the help text."""
    return "Exit codes: " + ", ".join(f"{int(code)} {meaning}" for code, meaning in MEANINGS.items()) + "."
