"""Messages to and from VB365: build and parse, no I/O.

Source: Veeam's REST reference of v6 to v8 (``POST /vN/token``, `OAuthTokenResponse`, `RESTExceptionInfo`); v4 and v5 from
the portals that use them. What an error means stands in `vault_plugin.veeam.verdicts`.
"""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from vault_plugin.core.errors import (
    About,
    BackupServerError,
    BackupServerFaulty,
    BackupServerUnavailable,
    EndpointRefused,
    TokenRejected,
)
from vault_plugin.core.ports import Organization, TokenAnswer
from vault_plugin.core.secret import Secret
from vault_plugin.core.timing import ZERO
from vault_plugin.veeam.forms import Answer, Form, form_of
from vault_plugin.veeam.verdicts import Asked, error_of

JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LONGEST_TEXT: Final = 256
VERSIONS: Final = ("v8", "v7", "v6", "v5", "v4")
#: The field exists from v7 on; from v8 on a token without it needs an antiforgery cookie, for the refresh too.
ANTIFORGERY_SINCE: Final = 7

#: The bound of a token's life that is believed.
LONGEST_LIFE: Final = timedelta(days=10 * 365)
OK: Final = range(200, 300)

#: What stands in VB365's answers: one with none of it is somebody else's.
TOKEN_KEYS: Final = frozenset({"access_token", "refresh_token", "token_type", "expires_in", "userName", ".issued", ".expires"})
ORGANIZATION_KEYS: Final = frozenset({"id", "name", "type", "isBackedup"})
INSTANCE_KEYS: Final = frozenset({"installationId", "version"})


def date_of(value: str | None) -> datetime | None:
    """Read a ``Date`` header (RFC 9110 section 6.6.1); None if there is none that can be read."""
    try:
        at = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


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
    if answer.status not in OK:  # which of them it is has changed with the versions
        raise error_of(answer, doing)
    fields = answer.fields
    access, refresh = fields.get("access_token"), fields.get("refresh_token")
    life = _seconds(fields.get("expires_in")) or _between(fields.get(".issued"), fields.get(".expires"))
    if not (_may_be_sent(access) and isinstance(refresh, str) and refresh and life):
        raise _without(answer, TOKEN_KEYS, doing, "a usable token pair")
    kind = fields.get("token_type")
    known = not _may_be_sent(kind) or str(kind).casefold() == "bearer"
    return TokenAnswer(Secret(str(access)), Secret(refresh), "Bearer" if known else str(kind)[:32], life)


def _may_be_sent(value: object) -> bool:
    """Tell whether this is text that can stand in a header as it is (RFC 6749, appendix A.12)."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and value == value.strip()


def _is_foreign(answer: Answer, keys: frozenset[str]) -> bool:
    """Tell whether a success is somebody else's: a page, a text, or JSON that says nothing of what VB365 answers here."""
    return answer.body != {} and not keys & set(answer.fields) and form_of(answer) in (Form.FRONT, Form.QUOTA)


def _without(answer: Answer, keys: frozenset[str], doing: str, what: str) -> BackupServerError:
    """Return what a success means that doesn't bring what was asked for."""
    if _is_foreign(answer, keys):
        return error_of(answer, doing)
    msg = f"{doing}: the server answered {answer.status} without {what}"
    return BackupServerFaulty(msg, reason="AnswerUnusable", status=answer.status)


def is_page(answer: Answer) -> bool:
    """Tell whether somebody else's page came with success in the place of VB365's answer to an anonymous call."""
    return answer.status in OK and _is_foreign(answer, INSTANCE_KEYS)


def check_there(answer: Answer, *, pages: bool) -> None:
    """Make sure that the server's own answer to an anonymous call is one; `pages`: others' pages count as one, too.

    Raises:
        BackupServerUnavailable: it isn't: trouble of its whole lane.
    """
    page = is_page(answer)
    if answer.status in OK and not page:
        return
    error = error_of(answer, "looking whether it is there", Asked.ANYTHING)
    if isinstance(error, BackupServerUnavailable):
        raise error
    if page and not pages:
        raise BackupServerUnavailable(str(error), reason=error.reason, remedy=error.remedy(), status=answer.status)


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


def organization_of(answer: Answer) -> Organization | None:
    """Read the answer of ``GET /vN/Organization``; None: the server knows the token, and doesn't let it ask.

    Only a 401 is a verdict on the token: whoever is told that he may not is known.

    Raises:
        BackupServerError: an error, or no such object.
    """
    if answer.status not in OK:
        error = error_of(answer, "proving the token", Asked.BEARER)
        if isinstance(error, TokenRejected) and error.about is About.CALL:
            return None
        raise error
    found = Organization(_text(answer.fields.get("id")), _text(answer.fields.get("name")))
    if not (found.id or found.name):
        raise _without(answer, ORGANIZATION_KEYS, "proving the token", "an organization")
    return found


def _text(value: object) -> str:
    """Return a name or an id as text that can be shown and kept; nothing if it isn't one."""
    return value if isinstance(value, str) and len(value) <= LONGEST_TEXT and value.isprintable() else ""


def _seconds(value: object) -> timedelta | None:
    """Read `expires_in`, a number or text; None if it isn't a positive length of at most ten years."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return timedelta(seconds=seconds) if 0 < seconds <= LONGEST_LIFE.total_seconds() else None


def _between(issued: object, expires: object) -> timedelta | None:
    """Return the time from `.issued` to `.expires`, both by the server's clock; None if it isn't a positive, sane length."""
    begins, ends = _time_of(issued), _time_of(expires)
    if begins is None or ends is None or not ZERO < ends - begins <= LONGEST_LIFE:
        return None
    return ends - begins


def _time_of(value: object) -> datetime | None:
    """Read a time as ASP.NET writes it, in RFC 1123's form or ISO 8601's (.NET has seven digits); without a zone it is UTC."""
    if not isinstance(value, str):
        return None
    text = value.strip()[:64]
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = read(text)
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
    return None
