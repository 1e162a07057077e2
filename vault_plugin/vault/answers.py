"""Vault's answers, classed in one table. No class of Vault's ever touches a credential's state (DESIGN 4).

hvac shows 412, 472, 473 and 504 alike, a fail-over is 500, a wrong secret_id is 400, and a dead token and missing rights are
both 403: so answers are judged here and nowhere else, by who says it, by the status, and by Vault's own words. The remedy
follows from the cause; where the cause isn't known, the error says so and shows Vault's text. What each server answers is in
docs/servers.md.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vault_plugin.core.errors import DocumentMalformed, StoreDenied, StoreError, StoreUnavailable
from vault_plugin.vault.answer import TLS_WANTED, Answer, AnswerTooLarge, NoAnswer

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
    PACED = "paced"
    """A throttle: send the same again after the pause that it asks for."""
    UNCLEAR = "unclear"
    """Whether a write landed is unknown; send the same bytes with the same cas."""
    FAULT = "fault"
    """Our fault, or a limit of the server's."""


#: What Vault's answer holds under ``data``: of a write, a list and a read in KV v2.
HELD: Final = {"version": int, "keys": list, "data": dict}

NO_LEADER: Final = "Nothing to do: Vault is choosing its active node, and it is tried again. If it stays: vault status."
TOO_MUCH: Final = "Vault doesn't take a document like this: have it made smaller (a server's ca_pem, a tenant's fields)."
PROXY: Final = (
    "Check VAULT_ADDR (--address), and what stands before Vault: a load balancer, proxy or firewall answers in its place."
)


@dataclass(frozen=True)
class Row:
    """Answers of Vault's own form: a status (None: any) and words of which one is in its text (none: any text)."""

    status: int | None
    words: tuple[str, ...]
    outcome: Outcome
    reason: str = ""
    remedy: str = ""

    def fits(self, answer: Answer) -> bool:
        """Tell whether the answer is one of these."""
        said = "; ".join(answer.errors).lower()
        return self.status in (None, answer.status) and (not self.words or any(word in said for word in self.words))


#: The first row that fits decides.
ROWS: Final = (
    Row(400, (CAS_MISMATCH,), Outcome.LOST),
    Row(None, ("vault is sealed",), Outcome.UNCLEAR, "VaultSealed", "Unseal it: vault operator unseal."),
    Row(
        404,
        ("namespace not found", "no namespace"),
        Outcome.MISSING,
        "NoSuchNamespace",
        "Check VAULT_NAMESPACE (--namespace): this Vault has no such namespace.",
    ),
    Row(
        404,
        ("no handler for route", "unsupported path", "route entry not found"),
        Outcome.MISSING,
        "NoSuchMount",
        "Check --mount (VB365_MOUNT) and VAULT_NAMESPACE; make the mount: vb365 register.",
    ),
    Row(404, (), Outcome.MISSING),
    Row(403, (), Outcome.ASK_SELF, "PermissionDenied"),
    Row(
        429,
        (),
        Outcome.PACED,
        "VaultThrottled",
        "It is tried again. If it stays, a quota of Vault's (sys/quotas/rate-limit) or somebody before it is too tight for us.",
    ),
    Row(
        500,
        ("exceeds allowed", "duplicate key", "malformed json", "invalid character", "too large", "high complexity"),
        Outcome.FAULT,
        "VaultRefusesDocument",
        TOO_MUCH,
    ),
    Row(400, ("high complexity", "failed to decode json"), Outcome.FAULT, "VaultRefusesDocument", TOO_MUCH),
    Row(413, (), Outcome.FAULT, "Vault413", TOO_MUCH),
    Row(
        None,
        ("active cluster node not found", "leadership lost", "is not the leader", "no active", "standby", "not active but"),
        Outcome.UNCLEAR,
        "VaultHasNoLeader",
        NO_LEADER,
    ),
    Row(412, (), Outcome.UNCLEAR, "VaultNotAsFar", NO_LEADER),
    Row(472, (), Outcome.UNCLEAR),
    Row(473, (), Outcome.UNCLEAR),
)
#: What somebody else's answer in Vault's place means: only a limit is one whoever sets it, anything else is as good as none.
FOREIGN: Final = {413: Outcome.FAULT, 429: Outcome.PACED}
SERVER_ERRORS: Final = 500


def _row(answer: Answer) -> Row:
    found = next((row for row in ROWS if row.fits(answer)), None)
    return found or Row(None, (), Outcome.UNCLEAR if answer.status >= SERVER_ERRORS else Outcome.FAULT)


def outcome_of(answer: Answer, wanted: str = "") -> Outcome:
    """Class an answer. A success that isn't Vault's, or without what is `wanted` of it (see `HELD`), is as good as none."""
    if not answer.own:
        return FOREIGN.get(answer.status, Outcome.UNCLEAR)
    if answer.ok:
        return Outcome.OK if not wanted or isinstance(answer.data.get(wanted), HELD[wanted]) else Outcome.UNCLEAR
    return _row(answer).outcome


def nothing_there(answer: Answer) -> bool:
    """Tell whether Vault itself says that nothing stands there: 404 with an empty list of errors, and nothing less."""
    return answer.status == 404 and answer.body.get("errors") == []  # noqa: PLR2004


def definite(answer: Answer) -> bool:
    """Tell whether Vault itself has refused a request, and will refuse it again."""
    return answer.own and outcome_of(answer) in (Outcome.ASK_SELF, Outcome.FAULT, Outcome.MISSING)


def text_of(answer: Answer) -> str:
    """Return Vault's own words on one line, or the status where it has none. They name paths and never values."""
    return " ".join("; ".join(answer.errors).split())[:300] or f"status {answer.status}"


def error_of(answer: Answer | NoAnswer, doing: str) -> StoreError:
    """Return the error for people that this answer means."""
    if isinstance(answer, NoAnswer):
        return _unusable(answer, doing)
    if not answer.own or answer.ok:
        return _foreign(answer, doing)
    row = _row(answer)
    if row.outcome is Outcome.ASK_SELF:
        return StoreDenied(f"{doing}: {text_of(answer)}", reason=row.reason)
    return StoreUnavailable(f"{doing}: {text_of(answer)}", reason=row.reason or f"Vault{answer.status}", remedy=row.remedy)


def _foreign(answer: Answer, doing: str) -> StoreError:
    if answer.by == TLS_WANTED:
        remedy = "Use https:// in VAULT_ADDR (--address)."
        return StoreUnavailable(f"{doing}: Vault speaks TLS on this port", reason="TlsWanted", remedy=remedy)
    by = f", {answer.by}" if answer.by else ""
    text = f"{doing}: the answer isn't Vault's (status {answer.status}{by})"
    return StoreUnavailable(text, reason="VaultAnswerUnusable", remedy=PROXY)


#: Why there was no answer, and what to do; what isn't here is a Vault that can't be reached.
NO_ANSWER: Final = {
    "CertificateNotTrusted": "Trust its CA: VAULT_CACERT (--ca-cert), VAULT_CACERT_BYTES or VAULT_CAPATH.",
    "CertificateNameMismatch": "Use the name that Vault's certificate is for in VAULT_ADDR, or name it: VAULT_TLS_SERVER_NAME.",
    "CertificateExpired": "Have Vault's certificate renewed, or set this machine's clock.",
    "ClientCertificateWanted": "Show Vault a client certificate: VAULT_CLIENT_CERT and VAULT_CLIENT_KEY.",
    "ClientCertificateRefused": "Show Vault another client certificate: VAULT_CLIENT_CERT and VAULT_CLIENT_KEY.",
    "PlainHttpOnPort": "Vault speaks plain HTTP on this port, or something else does: use http:// or correct VAULT_ADDR.",
    "TlsFailed": "Check VAULT_ADDR (--address), and which versions of TLS Vault offers.",
    **dict.fromkeys(
        (
            "ProxyNameUnknown",
            "ProxyUnreachable",
            "ProxyAuthenticationRequired",
            "ProxyRefused",
            "ProxyTlsFailed",
            "ProxyTimeout",
            "ProxyAnswerUnusable",
            "ProxyUnusable",
        ),
        "Check the proxy: VAULT_PROXY_ADDR, HTTPS_PROXY; except Vault from it with NO_PROXY.",
    ),
    "VaultRedirects": "Set VAULT_ADDR to the active node's address, or to a load balancer that knows it.",
    "HealthUnknown": "Only sys/health tells whether this Vault knows the namespace that is set: let it through to Vault.",
    "Timeout": "Check that Vault runs and isn't overloaded: vault status. VAULT_CLIENT_TIMEOUT gives it longer.",
}


def _unusable(answer: NoAnswer, doing: str) -> StoreError:
    if isinstance(answer, AnswerTooLarge):
        return DocumentMalformed(f"{doing}: {answer}", reason="AnswerTooLarge")
    reason = answer.reason if answer.reason in NO_ANSWER and answer.reason != "Timeout" else "VaultUnreachable"
    remedy = NO_ANSWER.get(answer.reason, "Check VAULT_ADDR (--address) and that Vault runs.")
    return StoreUnavailable(f"{doing}: {answer}", reason=reason, remedy=remedy)
