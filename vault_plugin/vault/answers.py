"""Vault's answers, classed in one table. No class of Vault's ever touches a credential's state (DESIGN 4).

hvac shows 412, 472, 473 and 504 alike, a fail-over is 500, a wrong secret_id is 400, and a dead token and missing rights are
both 403: so statuses are judged here and nowhere else.
"""

from enum import StrEnum
from typing import Final

from vault_plugin.core.errors import StoreDenied, StoreError, StoreUnavailable
from vault_plugin.vault.connection import Answer, NoAnswer

CAS_MISMATCH: Final = "check-and-set parameter did not match the current version"


class Outcome(StrEnum):
    """What an answer means for the caller."""

    OK = "ok"
    LOST = "lost"
    """Check-and-set says that somebody (perhaps we ourselves) wrote: read."""
    MISSING = "missing"
    """404: absent, deleted or no such mount; `store` tells them apart."""
    ASK_SELF = "ask_self"
    """403: the token is dead or has no rights; lookup-self tells."""
    UNCLEAR = "unclear"
    """Whether a write landed is unknown; send the same bytes with the same cas."""
    FAULT = "fault"
    """Our fault, or a limit of the server's."""


UNCLEAR: Final = frozenset({412, 429, 472, 473})


def outcome_of(answer: Answer) -> Outcome:
    """Class an answer."""
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP success
        return Outcome.OK
    if status == 400 and any(CAS_MISMATCH in text for text in answer.errors):  # noqa: PLR2004
        return Outcome.LOST
    if status == 404:  # noqa: PLR2004
        return Outcome.MISSING
    if status == 403:  # noqa: PLR2004
        return Outcome.ASK_SELF
    if status in UNCLEAR or status >= 500:  # noqa: PLR2004
        return Outcome.UNCLEAR
    return Outcome.FAULT


def nothing_there(answer: Answer) -> bool:
    """Tell whether Vault itself says that nothing stands there: 404 with an empty list of errors, and nothing less."""
    return answer.status == 404 and answer.body.get("errors") == []  # noqa: PLR2004


def error_of(answer: Answer | NoAnswer, doing: str) -> StoreError:
    """Return the error for people that this answer means. Vault's own error texts name paths and never values."""
    if isinstance(answer, NoAnswer):
        if answer.untrusted:
            remedy = "Trust its CA: VAULT_CACERT (--ca-cert)."
            return StoreUnavailable(f"{doing}: {answer}", reason="CertificateNotTrusted", remedy=remedy)
        remedy = "Check VAULT_ADDR (--address) and that Vault runs."
        return StoreUnavailable(f"{doing}: {answer}", reason="VaultUnreachable", remedy=remedy)
    text = "; ".join(answer.errors)[:300] or f"status {answer.status}"
    if outcome_of(answer) is Outcome.ASK_SELF:
        return StoreDenied(f"{doing}: permission denied", reason="PermissionDenied")
    if any("sealed" in error.lower() for error in answer.errors):
        return StoreUnavailable(f"{doing}: Vault is sealed", reason="VaultSealed", remedy="Unseal it: vault operator unseal.")
    if answer.status == 404:  # noqa: PLR2004
        remedy = "Check --mount (VB365_MOUNT) and VAULT_NAMESPACE; make the mount: vb365 register."
        return StoreUnavailable(f"{doing}: {text}", reason="NoSuchMount", remedy=remedy)
    return StoreUnavailable(f"{doing}: {text}", reason=f"Vault{answer.status}")
