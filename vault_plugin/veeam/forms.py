"""Who speaks: the forms that an answer from VB365's address can have, told apart by what is in it. Pure.

VB365 has two forms of its own: OAuth's (v4, v5, and later where the token endpoint "may answer in OAuth style") and
`RESTExceptionInfo` (v6: ``message``; v7 adds ``errorCode``; v8 adds ``stackTrace``), so that from v7 on a bare ``message``
is VB365's only if it says what VB365 says of a refusal. A rejected request can also come back empty. Whatever else stands
there was written by a gateway, a proxy or a portal. No text of an answer is ever shown: what is looked for in it are fixed
words (`vault_plugin.veeam.words`).
"""

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from vault_plugin.retry_after import retry_after
from vault_plugin.veeam.words import BEHIND, GATEWAY, REFUSAL


class Form(StrEnum):
    """What an answer looks like, and so who wrote it."""

    EMPTY = "empty"
    """Nothing: VB365's refusals can be so."""
    OAUTH = "oauth"
    """VB365: an error code of OAuth's that judges a grant or a client."""
    REQUEST = "request"
    """An error code of OAuth's that speaks of the request's form."""
    REST = "rest"
    """VB365: `RESTExceptionInfo` with an ``errorCode`` that judges what was sent, or none; or its own "Authorization Error"."""
    MESSAGE = "message"
    """A bare ``message`` of a version that writes so, unless a gateway is known to say just that; or VB365's own words."""
    CALL = "call"
    """VB365: it doesn't let this call be made, whatever was sent."""
    GRANT = "grant"
    """VB365: this version doesn't know the grant."""
    BEHIND = "behind"
    """VB365 tells of trouble that passes: of a part behind it, or a code that isn't known."""
    QUOTA = "quota"
    """VB365's throttle, whatever its status."""
    FRONT = "front"
    """Something in front of VB365."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, parsed as far as it goes."""

    status: int
    #: What the JSON says, or None.
    body: Any = field(repr=False)
    #: There was no body at all.
    empty: bool = False
    #: Its headers say that somebody in between made it, or wants a login of its own.
    in_between: bool = False
    #: It is a page (HTML, XML).
    markup: bool = False
    #: The version that was asked writes a bare ``message``.
    bare: bool = False
    retry_after: timedelta | None = None
    #: Where a redirect points, if that is the name or address of a host.
    location: str = ""

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the JSON object, or an empty one."""
        return self.body if isinstance(self.body, dict) else {}


#: ``errorCode`` stands beside ``message`` from this version on.
ERROR_CODE_SINCE: Final = 7


def parse(status: int, content: bytes, headers: Mapping[str, str], now: datetime, api_version: str = "v8") -> Answer:
    """Read an answer of any form; `now` is the time by the answer's own clock, if it tells one."""
    named = {name.lower(): value for name, value in headers.items()}
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if body is None and content.lstrip()[:1] not in (b"", b"<"):
        body = content[:200].decode(errors="replace")
    return Answer(
        status,
        body,
        empty=not content.strip(),
        in_between=_in_between(named),
        markup=content.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"<",
        bare=int(api_version[1:]) < ERROR_CODE_SINCE,
        retry_after=retry_after(named.get("retry-after"), now),
        location=_host(named.get("location", "")),
    )


# --- headers ---------------------------------------------------------------------------------------------------------

#: Only an answer that a gateway made itself has these (AWS, Kong, Cloudflare, Squid; a proxy that wants a login).
_MADE_BETWEEN: Final = (
    "x-amzn-errortype", "x-kong-response-latency", "cf-mitigated", "x-squid-error", "proxy-authenticate",
)  # fmt: skip
#: These leave the ``Server`` of what they pass on as it is, so that it is theirs only where they answer themselves.
_SERVERS: Final = ("awselb/", "microsoft-azure-application-gateway", "akamaighost", "bigip", "big-ip")
_SCHEME: Final = re.compile(r"\s*([A-Za-z][A-Za-z0-9-]*)")


def _in_between(headers: Mapping[str, str]) -> bool:
    """Tell whether somebody in between says that he wrote the answer: by RFC 9209, or by a login that VB365 doesn't know."""
    if any(name in headers for name in _MADE_BETWEEN) or "error=" in headers.get("proxy-status", ""):
        return True
    if headers.get("server", "").lower().startswith(_SERVERS):
        return True
    scheme = _SCHEME.match(headers.get("www-authenticate", ""))
    return scheme is not None and scheme[1].lower() != "bearer"


_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


def _host(location: str) -> str:
    """Return the host that a redirect names, if it can be one: nothing else of the address is shown."""
    try:
        host = (urlsplit(location).hostname or "").lower()
    except ValueError:
        return ""
    if _HOST.fullmatch(host):
        return host
    try:
        return str(ip_address(host))
    except ValueError:
        return ""


# --- bodies ----------------------------------------------------------------------------------------------------------

#: What each code of OAuth's form is about (RFC 6749 section 5.2; the first one is VB365's own). Any other is somebody else's.
OAUTH: Final = {
    "Authorization Error": Form.REST,
    **dict.fromkeys(("invalid_grant", "invalid_client", "unauthorized_client"), Form.OAUTH),
    "invalid_request": Form.REQUEST,
    "unsupported_grant_type": Form.GRANT,
    **dict.fromkeys(("server_error", "temporarily_unavailable"), Form.BEHIND),
}
#: ``errorCode`` by Veeam's schema of v8. These judge what was sent.
JUDGING: Final = ("ParameterValidationFailure", "ResourceNotFound")
FORBIDDING: Final = ("ResourceAccessDenied",)
#: These name trouble that passes.
PASSING: Final = (
    "ProxyOffline", "OutdatedChangeToken", "OrganizationTransfer", "RepositoryOwnerChangeTooManyLinks", "Timeout",
    "OperationConflict", "HttpError",
)  # fmt: skip
#: The codes that may be shown; any other is told as "a code that isn't known here".
SHOWN: Final = frozenset((*OAUTH, *JUDGING, *FORBIDDING, *PASSING))

#: Whoever writes these beside an ``error`` is another (Microsoft's endpoints, web frameworks). Other unknown keys are borne.
_NOT_OAUTH: Final = {
    "error_codes", "trace_id", "correlation_id", "timestamp", "suberror", "request_id", "status", "statusCode", "code", "path",
    "type", "title",
}  # fmt: skip
_REST_KEYS: Final = {"message", "errorCode", "stackTrace"}
#: What ASP.NET's Web API, on which v4 to v7 stand, says of an access token that it doesn't know.
_WEB_API: Final = {"Message": "Authorization has been denied for this request."}
_QUOTA: Final = "api calls quota exceeded"
#: The codes stand in texts, too.
_CODES: Final = re.compile("|".join(PASSING), re.IGNORECASE)
_PHRASES: Final = frozenset(status.phrase.casefold() for status in HTTPStatus)


def form_of(answer: Answer) -> Form:
    """Return the form of an answer, whatever its status."""
    said = answer.fields.get("message", answer.body)
    if isinstance(said, str) and said.strip().lower().startswith(_QUOTA):
        return Form.QUOTA
    if answer.in_between:
        return Form.FRONT
    if answer.empty:
        return Form.EMPTY
    fields = answer.fields
    if "error" in fields:
        return Form.FRONT if set(fields) & _NOT_OAUTH else _oauth(fields["error"], fields.get("error_description"))
    message, code = fields.get("message"), fields.get("errorCode")
    if isinstance(message, str) and message.strip():
        return _rest(answer, message, code)
    return Form.REST if fields == _WEB_API else Form.FRONT


def _oauth(error: object, description: object) -> Form:
    form = OAUTH.get(error, Form.FRONT) if isinstance(error, str) else Form.FRONT
    return Form.BEHIND if form is not Form.FRONT and isinstance(description, str) and _is_behind(description) else form


def _rest(answer: Answer, message: str, code: object) -> Form:
    """Tell the versions' forms apart. Keys that a later version may add are borne where the code is VB365's own or null."""
    fields = answer.fields
    own = set(fields) <= _REST_KEYS and isinstance(fields.get("stackTrace"), str | None)
    known = code is None or (isinstance(code, str) and code in SHOWN)
    if "errorCode" not in fields and "stackTrace" not in fields:
        if not own or message.strip().rstrip(".!").casefold() in _PHRASES or GATEWAY.search(message):
            return Form.FRONT
        if _is_behind(message):
            return Form.BEHIND
        return Form.MESSAGE if answer.bare or REFUSAL.search(message) else Form.FRONT
    if not own and not ("errorCode" in fields and known):
        return Form.FRONT
    if code in PASSING or not known or _is_behind(message):
        return Form.BEHIND if isinstance(code, str | None) else Form.FRONT
    return Form.CALL if code in FORBIDDING else Form.REST


def _is_behind(text: str) -> bool:
    """Tell whether a text of VB365's tells of trouble that passes."""
    return bool(BEHIND.search(text) or _CODES.search(text))


def word_of(answer: Answer) -> str:
    """Return the known code of an answer, in brackets, or nothing: no other text of it may be shown."""
    for name in ("error", "errorCode"):
        value = answer.fields.get(name)
        if isinstance(value, str) and value in SHOWN:
            return f" ({value})"
    return ""
