"""Requests that had their effect: what makes each of them have it once."""

from typing import Final

from vault_plugin.core.documents import Part, Timestamp

HANDLED_KEPT: Final = 16


class Handled(Part):
    """A request that had its effect. Written together with the effect; its outcome may be completed later."""

    id: str
    action: str
    at: Timestamp
    outcome: str
    text: str = ""


def keep_handled(handled: tuple[Handled, ...], entry: Handled) -> tuple[Handled, ...]:
    """Return the list with this entry added, or in place of the one with the same id; the last 16."""
    return (*(old for old in handled if old.id != entry.id), entry)[-HANDLED_KEPT:]
