"""What Microsoft granted: the token JSON, merged over what is stored, and read as far as it must be known. Pure."""

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from vault_plugin.core.credential import Assertion
from vault_plugin.core.scopes import OFFLINE_ACCESS, withheld
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import clamp

#: What is a secret and must be usable: nothing else takes the place of one that is stored.
TOKENS: Final = ("access_token", "refresh_token", "id_token")
#: How long Microsoft's access token lives where no usable number says it, and what is believed of a number. Too short a
#: life would have the grant renewed without end before it can be exchanged; Microsoft gives an hour, and up to 28.
UNSAID_LIFE: Final = timedelta(minutes=5)
BELIEVED: Final = (timedelta(minutes=1), timedelta(hours=28))
LONGEST_ACCOUNT: Final = 256


def usable(token: object) -> bool:
    """Tell whether this can be a token (RFC 6749, appendix A.12 and A.17): visible characters of ASCII, and any at all."""
    return isinstance(token, str) and bool(token.strip()) and token.isascii() and token.isprintable()


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored JSON with a newer answer over it. What is missing, null or no token keeps its old value."""
    taken = {name: value for name, value in new.items() if (usable(value) if name in TOKENS else value is not None)}
    if seconds(taken.get("expires_in")) is None:
        taken.pop("expires_in", None)
    said = taken.pop("scope", None)
    if isinstance(said, str) and said.strip():  # RFC 6749, section 5.1: else nothing was said of it
        taken["scope"] = said
    return {**old, **taken}


def assertion_of(
    tokens: Mapping[str, Any], now: datetime, *, signed_in_at: datetime, account: str, lacks: tuple[str, ...] = ()
) -> Assertion:
    """Return the assertion for this token JSON. `expires_in` counts from `now`, the time before sending."""
    return Assertion(
        json_text=Secret(json.dumps(tokens)),
        obtained_at=now,
        expires_at=now + life_of(tokens),
        refreshable=usable(tokens.get("refresh_token")),
        signed_in_at=signed_in_at,
        account=account,
        lacks=lacks,
    )


def lacks(asked: str, tokens: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was asked for and not granted: words of our own, and a refresh token by the scope that asks for it."""
    said = tokens.get("scope")
    missing = withheld(asked, said) if isinstance(said, str) else ()
    return missing if usable(tokens.get("refresh_token")) else (*missing, OFFLINE_ACCESS)


def life_of(tokens: Mapping[str, Any]) -> timedelta:
    """Return how long the access token lives: as the answer says, else as the token itself does."""
    said = seconds(tokens.get("expires_in"))
    if said is None:
        claims = claims_of(tokens.get("access_token"))
        ends, begins = claims.get("exp"), claims.get("iat", claims.get("nbf"))
        known = isinstance(ends, int) and isinstance(begins, int) and 0 < ends - begins < BELIEVED[1].total_seconds()
        said = timedelta(seconds=ends - begins) if known else UNSAID_LIFE
    return clamp(said, BELIEVED)


def seconds(value: object) -> timedelta | None:
    """Return a length of time that may be a number or text; nothing if it is none, or isn't positive."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        length = float(value)
        return timedelta(seconds=min(length, 10 * 365 * 86400)) if length > 0 else None
    except (ValueError, OverflowError):
        return None


def identity(tokens: Mapping[str, Any]) -> tuple[str, str]:
    """Return tenant id and account as the tokens say, unverified: they came over TLS from the authority itself.

    Each is taken from the first token that names it: an ID token that was asked for without `profile` names no account.
    """
    both = [claims_of(tokens.get(name)) for name in ("id_token", "access_token")]
    tenant_id = next((claims["tid"] for claims in both if isinstance(claims.get("tid"), str) and claims["tid"]), "")
    named = (_shown(claims.get(name)) for claims in both for name in ("preferred_username", "upn", "unique_name"))
    return tenant_id, next(filter(None, named), "")


def tenant_ids(tokens: Mapping[str, Any]) -> set[str]:
    """Return every tenant id that the tokens name."""
    named = (claims_of(tokens.get(name)).get("tid") for name in ("id_token", "access_token"))
    return {tenant_id.casefold() for tenant_id in named if isinstance(tenant_id, str) and tenant_id}


def claims_of(token: object) -> Mapping[str, Any]:
    """Return the claims of a JWT without checking it, or nothing."""
    if not isinstance(token, str) or token.count(".") != 2:  # noqa: PLR2004 - RFC 7519: three parts
        return {}
    payload = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _shown(account: object) -> str:
    """Return an account's name if it may be shown: remote text otherwise is not."""
    shown = isinstance(account, str) and len(account) <= LONGEST_ACCOUNT and account.isprintable()
    return str(account) if shown else ""
