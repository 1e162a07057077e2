"""Vault's answers, classed in one table. No class of Vault's ever touches a credential's state (DESIGN 4).

hvac shows 412, 472, 473 and 504 alike, a fail-over is 500, a wrong secret_id is 400, and a dead token and missing rights are
both 403: so statuses are judged here and nowhere else.
"""

from enum import StrEnum
from typing import Final

from vault_plugin.core.errors import DocumentMalformed, StoreDenied, StoreError, StoreUnavailable
from vault_plugin.vault.connection import Answer, AnswerTooLarge, NoAnswer

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
#: What Vault's answer holds under ``data``: of a write, a list and a read in KV v2.
HELD: Final = {"version": int, "keys": list, "data": dict}


def outcome_of(answer: Answer, wanted: str = "") -> Outcome:
    """Class an answer. A success that isn't Vault's, or without what is `wanted` of it (see `HELD`), is as good as none."""
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004 - HTTP success
        return Outcome.OK if _from_vault(answer, wanted) else Outcome.UNCLEAR
    if status == 400 and any(CAS_MISMATCH in text for text in answer.errors):  # noqa: PLR2004
        return Outcome.LOST
    if status == 404:  # noqa: PLR2004
        return Outcome.MISSING
    if status == 403:  # noqa: PLR2004
        return Outcome.ASK_SELF
    if status in UNCLEAR or status >= 500:  # noqa: PLR2004
        return Outcome.UNCLEAR
    return Outcome.FAULT


def _from_vault(answer: Answer, wanted: str) -> bool:
    """Tell Vault's own success (204 without a body, or a JSON object) from a page that a load balancer has in its place."""
    said = answer.status == 204 or (answer.body and not answer.errors)  # noqa: PLR2004
    return bool(said) and (not wanted or isinstance(answer.data.get(wanted), HELD[wanted]))


def nothing_there(answer: Answer) -> bool:
    """Tell whether Vault itself says that nothing stands there: 404 with an empty list of errors, and nothing less."""
    return answer.status == 404 and answer.body.get("errors") == []  # noqa: PLR2004


def error_of(answer: Answer | NoAnswer, doing: str) -> StoreError:
    """Return the error for people that this answer means. Vault's own error texts name paths and never values."""
    if isinstance(answer, NoAnswer):
        return _unusable(answer, doing)
    text = "; ".join(answer.errors)[:300] or f"status {answer.status}"
    if outcome_of(answer) is Outcome.ASK_SELF:
        return StoreDenied(f"{doing}: permission denied", reason="PermissionDenied")
    reason, remedy = f"Vault{answer.status}", ""
    if any("sealed" in error.lower() for error in answer.errors):
        text, reason, remedy = "Vault is sealed", "VaultSealed", "Unseal it: vault operator unseal."
    elif answer.status == 404:  # noqa: PLR2004
        reason = "NoSuchMount"
        remedy = "Check --mount (VB365_MOUNT) and VAULT_NAMESPACE; make the mount: vb365 register."
    elif 200 <= answer.status < 300:  # noqa: PLR2004 - a success of somebody else's
        text, reason = "the answer isn't Vault's", "VaultAnswerUnusable"
        remedy = "Check VAULT_ADDR (--address), and the load balancer or proxy before Vault: it answers in Vault's place."
    return StoreUnavailable(f"{doing}: {text}", reason=reason, remedy=remedy)


def _unusable(answer: NoAnswer, doing: str) -> StoreError:
    if isinstance(answer, AnswerTooLarge):
        return DocumentMalformed(f"{doing}: {answer}", reason="AnswerTooLarge")
    if answer.untrusted:
        remedy = "Trust its CA: VAULT_CACERT (--ca-cert)."
        return StoreUnavailable(f"{doing}: {answer}", reason="CertificateNotTrusted", remedy=remedy)
    remedy = "Check VAULT_ADDR (--address) and that Vault runs."
    return StoreUnavailable(f"{doing}: {answer}", reason="VaultUnreachable", remedy=remedy)
