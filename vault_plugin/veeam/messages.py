"""Messages to and from VB365: build and parse, no I/O.

Source: Veeam's REST reference of v6 to v8 (``POST /vN/token``, `OAuthTokenResponse`, `RESTExceptionInfo`); v4 and v5 from
the portals that use them. Two error shapes, empty bodies and HTML all happen.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from vault_plugin.core.errors import (
    BackupServerError,
    BackupServerFaulty,
    BackupServerUnavailable,
    EndpointRefused,
    TokenRejected,
)
from vault_plugin.core.ports import Organization, TokenAnswer
from vault_plugin.core.secret import Secret

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_TEXT: Final = 256
VERSIONS: Final = ("v8", "v7", "v6", "v5", "v4")
#: The field exists from v7 on; from v8 on a token without it needs an antiforgery cookie, for the refresh too.
ANTIFORGERY_SINCE: Final = 7

#: What a status of the token endpoint means where it is no success.
STATUSES: Final[dict[int, type[BackupServerError]]] = {
    400: TokenRejected,
    401: TokenRejected,
    403: TokenRejected,
    404: EndpointRefused,
    405: EndpointRefused,
    408: BackupServerUnavailable,
    429: BackupServerUnavailable,
    502: BackupServerUnavailable,
    503: BackupServerUnavailable,
    504: BackupServerUnavailable,
}

REASONS: Final = {
    TokenRejected: "RejectedByVeeam",
    EndpointRefused: "EndpointNotServed",
    BackupServerFaulty: "ServerError",
}


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, parsed as far as it goes."""

    status: int
    #: What the JSON says, or None.
    body: Any = field(repr=False)
    #: Something stands there that isn't JSON: a page of a proxy's, perhaps.
    garbage: bool = False
    retry_after: timedelta | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the JSON object, or an empty one."""
        return self.body if isinstance(self.body, dict) else {}


def parse(status: int, content: bytes, retry_after: str | None = None) -> Answer:
    """Read an answer of any form."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    short = retry_after is not None and retry_after.isdecimal() and len(retry_after) < 7  # noqa: PLR2004 - sane bound
    wait = timedelta(seconds=int(retry_after)) if short and retry_after else None
    return Answer(status, body, garbage=body is None and bool(content.strip()), retry_after=wait)


def date_of(value: str | None) -> datetime | None:
    """Read a ``Date`` header (RFC 9110 section 6.6.1); None if there is none that can be read."""
    try:
        return parsedate_to_datetime(value or "")
    except (ValueError, TypeError):
        return None


def exchange_form(api_version: str, organization: str, assertion: Secret) -> dict[str, str]:
    """Return the jwt-bearer request. `client_id` is the organization's name in its exact case (not RFC 7523's meaning)."""
    form = {"grant_type": JWT_BEARER, "client_id": organization, "assertion": assertion.reveal()}
    return form | _antiforgery(api_version)


def refresh_form(api_version: str, refresh_token: Secret) -> dict[str, str]:
    """Return the refresh request."""
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
    return form | _antiforgery(api_version)


def _antiforgery(api_version: str) -> dict[str, str]:
    return {"disable_antiforgery_token": "true"} if int(api_version[1:]) >= ANTIFORGERY_SINCE else {}


def token_answer(answer: Answer, doing: str) -> TokenAnswer:
    """Read a token answer.

    Raises:
        BackupServerError: an error, or an answer without a usable pair.
    """
    if answer.status != 200:  # noqa: PLR2004 - the only success
        raise error_of(answer, doing)
    fields = answer.fields
    access, refresh = fields.get("access_token"), fields.get("refresh_token")
    life = _life(fields.get("expires_in"))
    if not (isinstance(access, str) and access and isinstance(refresh, str) and refresh and life):
        msg = f"{doing}: the server answered 200 without a usable token pair"
        raise BackupServerFaulty(msg, reason="AnswerUnusable", status=answer.status)
    kind = fields.get("token_type")
    known = not isinstance(kind, str) or kind.casefold() == "bearer"
    return TokenAnswer(Secret(access), Secret(refresh), "Bearer" if known else str(kind)[:32], life)


def error_of(answer: Answer, doing: str) -> BackupServerError:
    """Return the error that this answer means. The server's own words are not repeated: an echo could hold a token."""
    kind = STATUSES.get(answer.status, BackupServerFaulty)
    if kind is TokenRejected and answer.garbage:
        kind = BackupServerFaulty  # a verdict is empty or JSON
    throttled = answer.status == 429  # noqa: PLR2004 - RFC 6585
    reason = "Throttled" if throttled else REASONS.get(kind, "Unavailable")
    retry_after = answer.retry_after
    text = "the server throttles us" if throttled else f"the server answered {answer.status}{_word(answer)}"
    text += " with something that isn't JSON" if answer.garbage else ""
    return kind(f"{doing}: {text}", reason=reason, status=answer.status, retry_after=retry_after)


def not_served(asked: str, served: list[str], answered: bool, doing: str) -> EndpointRefused:  # noqa: FBT001 - as asked
    """Return what a 404 of the token endpoint means, given the versions that are served, newest first, if all `answered`."""
    if asked in served:
        text = f"the server serves {asked}, but no tokens by it"
        remedy = 'Look at its REST API settings: "Enable restore operator authentication only" must be off.'
    elif served:
        text = f"the server doesn't serve {asked}; it serves {', '.join(served)}"
        remedy = f"vb365 server set SERVER --api-version {served[0]}"
    elif answered:
        text, remedy = "the server answered 404, and no version of VB365's API is known there", ""
    else:
        text, remedy = "the server answered 404, and didn't answer which versions it serves", ""
    return EndpointRefused(f"{doing}: {text}", reason="EndpointNotServed", remedy=remedy, status=404)


#: The words of both error shapes that may be shown: fixed codes, no free text.
_CODES: Final = {
    "Authorization Error",
    *"invalid_grant invalid_client invalid_request unauthorized_client unsupported_grant_type ProxyOffline".split(),
    *"ResourceAccessDenied ResourceNotFound ParameterValidationFailure OrganizationTransfer Timeout".split(),
    *"OperationConflict HttpError".split(),
}


def _word(answer: Answer) -> str:
    for name in ("error", "errorCode"):
        value = answer.fields.get(name)
        if isinstance(value, str) and value in _CODES:
            return f" ({value})"
    return ""


#: What VB365 answers to a token that it knows and that may not ask (403).
ACCESS_DENIED: Final = "ResourceAccessDenied"


def organization_of(answer: Answer) -> Organization | None:
    """Read the answer of ``GET /vN/Organization``; None: the server knows the token, and doesn't let it ask.

    Only a 401 is a verdict on the token: the question itself holds nothing else that could be refused.

    Raises:
        BackupServerError: an error, or no such object.
    """
    if answer.status == 403 and answer.fields.get("errorCode") == ACCESS_DENIED:  # noqa: PLR2004 - RFC 9110
        return None
    if answer.status != 200:  # noqa: PLR2004 - the only success
        error = error_of(answer, "proving the token")
        if isinstance(error, TokenRejected) and answer.status != 401:  # noqa: PLR2004 - RFC 9110
            raise BackupServerFaulty(str(error), reason="ServerError", status=answer.status)
        raise error
    found = Organization(_text(answer.fields.get("id")), _text(answer.fields.get("name")))
    if not (found.id or found.name):
        msg = "proving the token: the server answered 200 without an organization"
        raise BackupServerFaulty(msg, reason="AnswerUnusable", status=answer.status)
    return found


def _text(value: object) -> str:
    """Return a name or an id as text that can be shown and kept; nothing if it isn't one."""
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable() else ""


def _life(value: object) -> timedelta | None:
    """Read `expires_in`, a number or text; None if it isn't a positive length of at most ten years."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return timedelta(seconds=seconds) if 0 < seconds <= 10 * 365 * 86400 else None
