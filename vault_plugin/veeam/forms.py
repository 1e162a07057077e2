"""Who speaks: the forms that an answer from VB365's address can have, told apart by what is in it. Pure.

VB365 has two forms of its own: OAuth's (v4, v5, and later where the token endpoint "may answer in OAuth style") and
`RESTExceptionInfo` (v6: ``message``; v7 adds ``errorCode``; v8 adds ``stackTrace``). A rejected request can also come back
empty. Whatever else stands there was written by a gateway, a proxy or a portal. No text of an answer is ever shown: what is
looked for in it are fixed words.
"""

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


class Form(StrEnum):
    """What an answer looks like, and so who wrote it."""

    EMPTY = "empty"
    """Nothing: VB365's refusals can be so."""
    OAUTH = "oauth"
    """VB365: an error code of OAuth's, or its own "Authorization Error"."""
    REST = "rest"
    """VB365: `RESTExceptionInfo` with an ``errorCode`` that judges what was sent, or none."""
    MESSAGE = "message"
    """A bare ``message``: VB365's of v6, unless a gateway is known to say just that."""
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
    retry_after: timedelta | None = None
    #: Where a redirect points, if that is the name or address of a host.
    location: str = ""

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the JSON object, or an empty one."""
        return self.body if isinstance(self.body, dict) else {}


def parse(status: int, content: bytes, headers: Mapping[str, str], now: datetime) -> Answer:
    """Read an answer of any form; `now` is the time by the answer's own clock, if it tells one."""
    named = {name.lower(): value for name, value in headers.items()}
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if body is None and content.lstrip()[:1] not in (b"", b"<"):
        body = content[:200].decode(errors="replace")
    wait = retry_after(named.get("retry-after"), now)
    return Answer(status, body, not content.strip(), _in_between(named), wait, _host(named.get("location", "")))


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

#: Codes of OAuth's form that judge what was sent (RFC 6749 section 5.2; "Authorization Error" is VB365's own).
OAUTH: Final = ("Authorization Error", "invalid_grant", "invalid_client", "invalid_request", "unauthorized_client")
#: These don't: the version doesn't know the grant; later.
OAUTH_GRANT: Final = ("unsupported_grant_type",)
OAUTH_LATER: Final = ("server_error", "temporarily_unavailable")
#: ``errorCode`` by Veeam's schema of v8. These judge what was sent.
JUDGING: Final = ("ParameterValidationFailure", "ResourceNotFound")
FORBIDDING: Final = ("ResourceAccessDenied",)
#: These name trouble that passes.
PASSING: Final = (
    "ProxyOffline", "OutdatedChangeToken", "OrganizationTransfer", "RepositoryOwnerChangeTooManyLinks", "Timeout",
    "OperationConflict", "HttpError",
)  # fmt: skip
#: The codes that may be shown; any other is told as "a code that isn't known here".
SHOWN: Final = frozenset((*OAUTH, *OAUTH_GRANT, *OAUTH_LATER, *JUDGING, *FORBIDDING, *PASSING))

#: Whoever writes these beside an ``error`` is another (Microsoft's endpoints, web frameworks). Other unknown keys are borne.
_NOT_OAUTH: Final = {
    "error_codes", "trace_id", "correlation_id", "timestamp", "suberror", "request_id", "status", "statusCode", "code", "path",
    "type", "title",
}  # fmt: skip
_REST_KEYS: Final = {"message", "errorCode", "stackTrace"}
#: What ASP.NET's Web API, on which v4 to v7 stand, says of an access token that it doesn't know.
_WEB_API: Final = {"Message": "Authorization has been denied for this request."}
_QUOTA: Final = "api calls quota exceeded"


def _any_of(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(words), re.IGNORECASE)


#: Words of a text that tells of a part behind VB365 (its server, database, proxies, Microsoft), or of VB365 being out of order.
_BEHIND: Final = _any_of(
    # Something it needs doesn't answer.
    r"(operation|connection) (has )?timed out", r"request (channel )?timed out", r"timeout (period )?(expired|elapsed)",
    r"unreachable", r"unavailable", r"\boff-?line\b", r"connection attempt failed", r"no connection could be made",
    r"(could not|couldn't|unable to|failed to|cannot|can't) (connect|reach|contact)", r"actively refused", r"forcibly closed",
    r"connection (was |is |has been )?(refused|closed|reset|aborted|lost|broken)", r"no endpoint listening", r":9194\b",
    r"name could not be resolved", r"no such host", r"remote server returned", r"secure channel", r"ssl connection",
    r"rpc server", r"npgsql", r"postgre", r"\bnats\b", r"database", r"deadlock", r"\b100(5[0-9]|6[0-5])\b",
    r"(timeout|communication|communicationobjectfaulted|endpointnotfound|socket)exception",
    # It is out of order, or busy.
    r"(is|are) not (running|started|ready)", r"starting up", r"shutting down", r"shut down", r"restarting", r"maintenance",
    r"(try again|retry) later", r"too many requests", r"quota", r"\bbusy\b", r"out of ?memory", r"disk space", r"licen[sc]e",
    r"object reference not set", r"exception of type", r"internal (server )?error", r"unexpected error", r"unhandled",
    r"error has occurred",
    # What Microsoft told it passes.
    r"AADSTS(50196|90055|90033|90006|90012|90024|90090|50033|50087)\b",
)  # fmt: skip
#: Words of a bare ``message`` that gateways are known to write, and VB365 isn't.
_GATEWAY: Final = _any_of(
    r"api.?key", r"subscription key", r"rate.?limit", r"limit exceeded", r"ip address", r"client ip", r"blocked", r"firewall",
    r"\bwaf\b", r"gateway", r"upstream", r"ring-balancer", r"\broutes?\b", r"healthy", r"name resolution",
    r"access denied", r"not authorized", r"unauthorized", r"forbidden", r"missing authentication token", r"incoming token",
    r"invalid authentication credentials", r"user authorization", r"captcha", r"policy", r"\bjwt\b", r"signature",
    r"certificate (required|error)", r"request (body|uri|header)", r"body too large", r"\bcors\b", r"\bacl\b", r"consumer",
)  # fmt: skip
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
        return _rest(fields, message, code)
    return Form.REST if fields == _WEB_API else Form.FRONT


def _oauth(error: object, description: object) -> Form:
    if error in OAUTH_LATER or (error in OAUTH and isinstance(description, str) and _BEHIND.search(description)):
        return Form.BEHIND
    return Form.OAUTH if error in OAUTH else Form.GRANT if error in OAUTH_GRANT else Form.FRONT


def _rest(fields: Mapping[str, Any], message: str, code: object) -> Form:
    """Tell the versions' forms apart. Keys that a later version may add are borne where the code is VB365's own or null."""
    own = set(fields) <= _REST_KEYS and isinstance(fields.get("stackTrace"), str | None)
    known = code is None or (isinstance(code, str) and code in SHOWN)
    if "errorCode" not in fields and "stackTrace" not in fields:
        if not own or message.strip().rstrip(".!").casefold() in _PHRASES or _GATEWAY.search(message):
            return Form.FRONT
        return Form.BEHIND if _BEHIND.search(message) else Form.MESSAGE
    if not own and not ("errorCode" in fields and known):
        return Form.FRONT
    if code in PASSING or not known or _BEHIND.search(message):
        return Form.BEHIND if isinstance(code, str | None) else Form.FRONT
    return Form.CALL if code in FORBIDDING else Form.REST


def word_of(answer: Answer) -> str:
    """Return the known code of an answer, in brackets, or nothing: no other text of it may be shown."""
    for name in ("error", "errorCode"):
        value = answer.fields.get(name)
        if isinstance(value, str) and value in SHOWN:
            return f" ({value})"
    return ""
