"""Asking people, or whoever stands at the other end of stdin."""

import sys

import typer

from vault_plugin.core.errors import ConfigurationError

UNCHANGED = "Nothing was changed."


def agreed(question: str) -> None:
    """Return if the answer is yes.

    Raises:
        ConfigurationError: it is no, or none.
    """
    try:
        if typer.confirm(question, err=True):
            return
    except typer.Abort:
        print(file=sys.stderr)
    raise ConfigurationError("you didn't agree", reason="NotAgreed", remedy=UNCHANGED)


def secret_line(what: str) -> str:
    """Return a line that isn't shown: from the terminal, or the first of what is piped in.

    Raises:
        ConfigurationError: it is empty.
    """
    try:
        text = typer.prompt(what, hide_input=True, err=True, default="", show_default=False) if sys.stdin.isatty() else _piped()
    except typer.Abort:
        print(file=sys.stderr)
        text = ""
    if not text.strip():
        raise ConfigurationError(f"{what}: nothing was given", remedy=f"Type it, or pipe it in. {UNCHANGED}")
    return str(text).strip()


def _piped() -> str:
    return sys.stdin.readline()
