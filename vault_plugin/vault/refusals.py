"""What a refused login means, and what to do about it: by method and by Vault's own words. Pure."""

import base64
import binascii
import json
from typing import Final

from vault_plugin.core.errors import StoreDenied
from vault_plugin.core.secret import Secret
from vault_plugin.vault.answer import Answer
from vault_plugin.vault.answers import text_of

NEW_SECRET_ID: Final = "vb365 register --auth approle --new-secret-id makes a new one"  # noqa: S105 - a remedy
#: Five refused logins within 15 minutes lock a role (developer.hashicorp.com/vault/docs/concepts/user-lockout).
LOCKOUT: Final = (
    "Either auth/{at} isn't enabled, or Vault's user lockout has locked the role after five refused logins: it ends after 15 "
    "minutes without one, or by: vault write -f sys/locked-users/ACCESSOR/unlock/ROLE_ID (vault auth list shows the accessor)."
)
SECRET_ID: Final = (
    "Check VB365_VAULT_ROLE_ID and VB365_VAULT_SECRET_ID_FILE: the secret id may be used up, expired or of another role. "
    f"{NEW_SECRET_ID}. It isn't tried again before the file changes: five tries would lock the role for every replica."
)
#: Method (empty: any), words of which one is in Vault's text, and the remedy. The first that fits decides.
ROWS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("", ("namespace not found",), "Check VAULT_NAMESPACE: this Vault has no such namespace."),
    ("", ("no handler for route", "unsupported path"), "Check VB365_VAULT_AUTH_MOUNT; enable the method: vb365 register --enable-auth."),
    (
        "approle",
        ("invalid role or secret id", "invalid secret id", "missing secret_id", "missing role_id", "invalid role_id"),
        SECRET_ID,
    ),
    ("approle", ("permission denied",), LOCKOUT),
    ("", ("could not load", "backend not configured"), "The auth method has no configuration: write auth/{at}/config."),
    ("", ("audience", "aud)"), "{audience}"),
    ("", ("subject", "sub)", "not authorized"), "The role is for another service account: vb365 register --service-account mends it."),
    ("", ("invalid role name", "role could not be found", "role name"), "Check VB365_VAULT_ROLE; make the role: vb365 register --auth {method}."),
    ("", ("expired", "not valid yet", "token is not"), "The token in VB365_VAULT_JWT_FILE is too old: have it mounted anew; compare the clocks."),
    ("", ("permission denied",), "Check that auth/{at} is enabled and may review tokens (its configuration). {audience}"),
)  # fmt: skip
#: For whom the roles are that `vb365 register` makes, unless told otherwise.
AUDIENCE: Final = "vault"
UNKNOWN: Final = "The cause isn't known here: Vault's own text stands above, and Vault's log has more."


def without_login(method: str) -> StoreDenied:
    """Return what a dead token means to somebody who can't log in himself."""
    if method == "none":
        msg = "permission denied: whatever stands before Vault added no token, or one that is dead or without rights"
        return StoreDenied(msg, reason="TokenDead", remedy="Check the agent or proxy in VAULT_ADDR: its auto-auth and its log.")
    msg = "permission denied: the Vault token is missing, dead, or without rights"
    remedy = "If it is dead, log in again: vault login, VAULT_TOKEN (the service: another VB365_VAULT_AUTH)."
    return StoreDenied(msg, reason="TokenDead", remedy=f"{remedy} If not: {StoreDenied.default_remedy}")


def of_login(answer: Answer, method: str, at: str, role: str, proof: Secret) -> StoreDenied:
    """Return the error of a definite refusal."""
    said = "; ".join(answer.errors).lower()
    found = next((text for kind, words, text in ROWS if kind in ("", method) and any(word in said for word in words)), UNKNOWN)
    remedy = found.format(at=at, method=method, audience=shown_to(method, proof))
    as_whom = f" as {role}" if role else ""
    return StoreDenied(f"logging in at auth/{at}{as_whom}: refused: {text_of(answer)}", reason="LoginRefused", remedy=remedy)


def shown_to(method: str, proof: Secret) -> str:
    """Say for whom the token that we showed is, which must be for whom the role is (register --audience)."""
    shown = ", ".join(audiences(proof)) or "nobody that it names"
    return (
        f"The token in the file is for {shown}, and the role that vb365 register makes is for the audience {AUDIENCE} "
        "(--audience): mount a projected token with that audience and name it in VB365_VAULT_JWT_FILE, "
        f"or register --auth {method} --audience with one that the token has."
    )


def audiences(proof: Secret) -> list[str]:
    """Return for whom a service account's token is (RFC 7519 section 4.1.3); nothing of it is verified."""
    try:
        payload = proof.reveal().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        found = claims.get("aud", [])
    except (IndexError, ValueError, binascii.Error, AttributeError):
        return []
    listed = found if isinstance(found, list) else [found]
    return [text for text in map(str, listed) if text.isprintable()][:5]
