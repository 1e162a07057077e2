"""What an answer from VB365's address means, as a table: who says it, about what, and what is next.

A status alone is no verdict. Only VB365's own forms are, at the statuses with which it refuses; they say that something is
wrong with *what was sent* (the refresh token, the assertion, the access token) or that *this call* isn't allowed. A gateway's
answer, a page, a part behind VB365 that failed: these say nothing about what was sent, so nothing is climbed and nobody is
asked because of them. What the table doesn't know is not a verdict.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from vault_plugin.core.errors import (
    About,
    BackupServerError,
    BackupServerFaulty,
    BackupServerUnavailable,
    EndpointRefused,
    TokenRejected,
)
from vault_plugin.veeam.forms import Answer, Form, form_of, word_of


class Asked(StrEnum):
    """What was asked for: a pair, or something with an access token, or something by nobody in particular."""

    PAIR = "pair"
    BEARER = "bearer"
    ANYTHING = "anything"


class Who(StrEnum):
    """Who says it; the value is how that is told, where the row has no text of its own."""

    VB365 = "VB365"
    BEHIND = "VB365 tells of trouble of its own, or of a part behind it"
    FRONT = "a gateway or proxy in front of VB365 answered, and not VB365"
    ANYBODY = "somebody"
    """It doesn't matter who: whoever asks there gets the same."""


@dataclass(frozen=True)
class Row:
    """One kind of answer."""

    who: Who
    about: About
    next: type[BackupServerError]
    reason: str
    text: str = ""
    remedy: str = ""


_OPERATORS = 'Look at its REST API settings: "Enable restore operator authentication only" must be off.'
_IN_FRONT = (
    "A gateway or proxy in front of VB365 answered: look at its log and its rules for this address, or let the server's url go "
    "around it (vb365 server show SERVER). It is tried again."
)
_TOO_LARGE = (
    "Raise the limit for requests of whatever stands in front of VB365: Microsoft's answer, which is sent, has some kilobytes."
)
_ADDRESS = "Set the server's url to VB365's own address (vb365 server set SERVER --url URL); no redirect is ever followed."

REDIRECT: Final = Row(Who.ANYBODY, About.CALL, EndpointRefused, "Redirected", "it redirects", _ADDRESS)
NOT_SERVED: Final = Row(Who.ANYBODY, About.CALL, EndpointRefused, "EndpointNotServed")
OTHER_HOST: Final = Row(
    Who.ANYBODY, About.CALL, EndpointRefused, "EndpointNotServed", "it serves another host's name", _ADDRESS
)
AWAY: Final = Row(Who.ANYBODY, About.NOTHING, BackupServerUnavailable, "Unavailable")
ORIGIN_AWAY: Final = Row(Who.FRONT, About.NOTHING, BackupServerUnavailable, "Unavailable")
THROTTLED: Final = Row(Who.ANYBODY, About.NOTHING, BackupServerUnavailable, "Throttled", "it throttles us")
PORTAL: Final = Row(
    Who.FRONT, About.NOTHING, BackupServerUnavailable, "Unavailable", "a proxy or portal wants a login of its own", _IN_FRONT
)
TOO_LARGE: Final = Row(
    Who.FRONT, About.NOTHING, BackupServerFaulty, "RequestRefused", "the request is too large for it", _TOO_LARGE
)

GATEWAY: Final = Row(Who.FRONT, About.NOTHING, BackupServerFaulty, "GatewayAnswered", remedy=_IN_FRONT)

#: What the status decides, whoever gives it and whatever stands in the body. 404 and its like are a wrong version or address.
STATUSES: Final[dict[int, Row]] = {
    # Of these only some point elsewhere: 304 is a cache's, 305 and 306 a proxy's of long ago.
    **dict.fromkeys(range(300, 400), GATEWAY),
    **dict.fromkeys((300, 301, 302, 303, 307, 308), REDIRECT),
    **dict.fromkeys((404, 405, 410, 501), NOT_SERVED),
    421: OTHER_HOST,  # RFC 9110: the host that answered doesn't serve this name
    **dict.fromkeys((408, 425, 502, 503, 504), AWAY),
    **dict.fromkeys((*range(520, 531), 598, 599), ORIGIN_AWAY),  # gateways' own: what they stand before doesn't answer
    429: THROTTLED,
    **dict.fromkeys((407, 511), PORTAL),
    **dict.fromkeys((413, 414, 431), TOO_LARGE),
}

JUDGED: Final = Row(Who.VB365, About.SENT, TokenRejected, "RejectedByVeeam")
KNOWN_BUT: Final = Row(Who.VB365, About.CALL, TokenRejected, "RejectedByVeeam", "this token may not make this call", _OPERATORS)
NO_TOKENS: Final = Row(Who.VB365, About.CALL, EndpointRefused, "EndpointNotServed", "VB365 gives no tokens here", _OPERATORS)
GRANT_UNKNOWN: Final = Row(
    Who.VB365, About.CALL, EndpointRefused, "EndpointNotServed", "this version doesn't know the grant",
    "Choose a newer version: vb365 server set SERVER --api-version v8.",
)  # fmt: skip

#: Where VB365's own forms are verdicts: by what was asked, by status and form.
VERDICTS: Final[dict[tuple[Asked, int, Form], Row]] = {
    # The token endpoint: 400 in OAuth's form (v4, v5) or RESTExceptionInfo's (v6 to v8), or empty; portals expect 401, too.
    **{
        (Asked.PAIR, status, form): JUDGED
        for status in (400, 401)
        for form in (Form.OAUTH, Form.REST, Form.MESSAGE, Form.EMPTY)
    },
    # It doesn't ask who may do what, so a 403 there is a gateway's, or it gives nobody tokens. Never a verdict on a token.
    (Asked.PAIR, 403, Form.REST): NO_TOKENS,
    **{(Asked.PAIR, status, Form.CALL): NO_TOKENS for status in (400, 401, 403)},
    **{(Asked.PAIR, status, Form.GRANT): GRANT_UNKNOWN for status in (400, 401)},
    # A call with an access token: v8's 401 is empty, older ones' isn't. 400 would be about the request. A bare message says
    # too little, and codes of a token endpoint's (`Form.OAUTH`) are of whoever got tokens for us somewhere.
    **{(Asked.BEARER, 401, form): JUDGED for form in (Form.EMPTY, Form.REST, Form.CALL)},
    # Who is told in VB365's own form that he may not is known; an empty 403 or a bare message could be anybody's.
    **{(Asked.BEARER, 403, form): KNOWN_BUT for form in (Form.REST, Form.CALL)},
}

#: What was sent can't have been looked at. We send each field that there must be, so somebody on the way may have taken one.
BAD_FORM: Final = Row(
    Who.ANYBODY, About.NOTHING, BackupServerFaulty, "RequestRefused", "the request isn't understood there", _IN_FRONT
)

#: Everything else: answered, and no verdict.
OTHERS: Final[dict[Form, Row]] = {
    Form.QUOTA: THROTTLED,
    Form.BEHIND: Row(Who.BEHIND, About.NOTHING, BackupServerFaulty, "ServerError"),
    Form.FRONT: GATEWAY,
    Form.REQUEST: BAD_FORM,
}
FAULTY: Final = Row(Who.ANYBODY, About.NOTHING, BackupServerFaulty, "ServerError")
#: With these a server fails, and a page that says so may be its own.
_FAILS: Final = range(500, 600)


def row_of(answer: Answer, asked: Asked) -> Row:
    """Return the row of an answer that isn't what was asked for."""
    form = form_of(answer)
    if form is Form.QUOTA:
        return THROTTLED
    row = STATUSES.get(answer.status) or VERDICTS.get((asked, answer.status, form))
    if row is not None:
        return row
    if form is Form.FRONT and answer.status in _FAILS and not answer.in_between:
        return FAULTY
    return OTHERS.get(form, FAULTY)


def error_of(answer: Answer, doing: str, asked: Asked = Asked.PAIR) -> BackupServerError:
    """Return the error that this answer means. The server's own words are not repeated: an echo could hold a token."""
    row = row_of(answer, asked)
    text = row.text or (row.who.value if row.who in (Who.BEHIND, Who.FRONT) else "")
    if row is REDIRECT and answer.location:
        text += f" to {answer.location}"
    said = f"the server answered {answer.status}{word_of(answer)}" + (f": {text}" if text else "")
    more: dict[str, Any] = {"about": row.about} if row.next is TokenRejected else {}
    return row.next(
        f"{doing}: {said}", reason=row.reason, remedy=row.remedy, status=answer.status, retry_after=answer.retry_after, **more
    )
