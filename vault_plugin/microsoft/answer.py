"""What came from Microsoft's endpoint, parsed as far as it goes. Pure.

An answer is judged by its JSON, not by its status; empty and non-JSON bodies are met in the field. What isn't of
Microsoft's own form was said by something in front of it (a proxy, a captive portal, a filter), and is no verdict: an
error's word alone isn't, unless it says "later".
"""

import ipaddress
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from vault_plugin.core.names import is_organization
from vault_plugin.microsoft.verdicts import PASSING
from vault_plugin.retry_after import retry_after as pause_of

#: A word of an error, as RFCs and Microsoft write them. Anything else that stands there is never shown.
WORD: Final = re.compile(r"[a-z][a-z_]{0,39}")
NETWORK_AUTHENTICATION_REQUIRED: Final = 511
PROXY_AUTHENTICATION_REQUIRED: Final = 407
TOO_MANY_REQUESTS: Final = 429
SERVER_ERROR: Final = 500
#: So many numbers of one answer are looked at.
MOST: Final = 20

_IDENTIFIER: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
#: AADSTS numbers have five to seven digits today, and the longer ones are special cases of their first five.
_NUMBER: Final = re.compile(r"[0-9]{4,9}")
_NUMBER_IN_TEXT: Final = re.compile(r"AADSTS([0-9]{4,9})(?![0-9])")
_NUMBER_IN_LINK: Final = re.compile(r"[?&]code=([0-9]{4,9})(?![0-9])")
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
#: What makes a JSON object one of Microsoft's: what was asked for, or an error's number.
_OURS: Final = ("error_codes", "access_token", "device_code")
#: What Microsoft, and OAuth's servers, say beside an error. Who stands in front of them has the word alone, if any.
_BESIDE: Final = ("error_description", "error_uri", "suberror", "trace_id", "correlation_id")
#: A number of more digits means nothing here.
_LONGEST_INTEGER: Final = 20


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, parsed as far as it goes: `body` is the JSON object, or empty.

    `foreign` says what came in the place of Microsoft's JSON, or is empty.
    """

    status: int
    body: Mapping[str, Any] = field(repr=False)
    retry_after: timedelta | None = None
    foreign: str = ""

    @property
    def error(self) -> str:
        """Return the OAuth error, or an empty text."""
        value = self.body.get("error")
        return value if isinstance(value, str) else ""

    @property
    def word(self) -> str:
        """Return the OAuth error if it may be shown: remote text otherwise is not."""
        return self.error if WORD.fullmatch(self.error) else ""

    @property
    def suberror(self) -> str:
        """Return what Microsoft says more closely of the error, or an empty text."""
        return self.text("suberror")

    @property
    def codes(self) -> tuple[int, ...]:
        """Return Microsoft's AADSTS numbers: those that are listed, then those of the description and of the link."""
        listed = self.body.get("error_codes")
        found = [_number(code) for code in (listed[:MOST] if isinstance(listed, list) else [listed])]
        for pattern, name in ((_NUMBER_IN_TEXT, "error_description"), (_NUMBER_IN_LINK, "error_uri")):
            said = pattern.search(self.text(name)[:2000])
            found.append(int(said[1]) if said else None)
        return tuple(dict.fromkeys(code for code in found if code is not None))

    @property
    def trace_id(self) -> str:
        """Return what Microsoft's support asks for, if it has the form of an identifier."""
        value = self.text("trace_id")
        return value if _IDENTIFIER.fullmatch(value) else ""

    def text(self, name: str) -> str:
        """Return a text field, or an empty text."""
        value = self.body.get(name)
        return value if isinstance(value, str) else ""


def parse(
    status: int,
    content: bytes,
    retry_after: str | None = None,
    *,
    now: datetime | None = None,
    location: str | None = None,
) -> Answer:
    """Read an answer of any form.

    `now` is the time by the answer's own clock: without it a pause that ends at a date is the longest one.
    """
    text = content.decode(json.detect_encoding(content), "replace")
    try:
        body = json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        body = _granted(text) if 200 <= status < 300 else None  # noqa: PLR2004 - a success
    found = body if isinstance(body, dict) else None
    wait = pause_of(retry_after, now or _LONG_AGO)
    if 300 <= status < 400:  # noqa: PLR2004 - a redirect is never followed with a secret, and nothing of its body counts
        host = _host(location or "")
        return Answer(status, {}, wait, foreign=f"a redirect to {host}" if host else "a redirect")
    foreign = _foreign(status, content, found)
    return Answer(status, {} if foreign or found is None else found, wait, foreign=foreign)


def _foreign(status: int, content: bytes, body: Mapping[str, Any] | None) -> str:
    """Return what came instead of Microsoft's JSON, or an empty text. An empty body tells nothing of who sent it."""
    if status in (NETWORK_AUTHENTICATION_REQUIRED, PROXY_AUTHENTICATION_REQUIRED):
        return "a network's or a proxy's own sign-in"
    if status == TOO_MANY_REQUESTS or not content.strip():  # Microsoft throttles in plain text, too
        return ""
    if body is None:
        begins = content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        return "a page" if begins == b"<" else "a text" if begins not in b'{["' else "JSON of another form"
    said = body.get("error")
    alone = isinstance(said, str) and said in PASSING  # whoever says it, it is asked again
    ours = alone or ("error" in body and any(body.get(name) for name in _BESIDE))
    return "" if ours or any(name in body for name in _OURS) else "JSON of another form"


def _granted(text: str) -> Mapping[str, Any] | None:
    """Return what can be read of an approval that isn't strictly JSON, or nothing: it comes only once.

    What is no number, and what stands there twice with different values, is taken for null: nobody knows what it says.
    """
    try:
        body = json.loads(text, parse_constant=_null, parse_float=_finite_or_null, parse_int=_short, object_pairs_hook=_clear)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(body, dict) and isinstance(body.get("access_token"), str)
    return body if whole and not {"error", "error_codes"} & body.keys() else None


def _null(_constant: str) -> None:
    return None


def _finite_or_null(number: str) -> float | None:
    return value if math.isfinite(value := float(number)) else None


def _short(number: str) -> int | None:
    return int(number) if len(number) <= _LONGEST_INTEGER else None


def _clear(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        found[name] = value if found.setdefault(name, value) == value else None
    return found


def _refuse(constant: str) -> object:
    """Refuse NaN and Infinity, which aren't JSON: whoever is sent them again couldn't read them."""
    raise ValueError(constant)


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(number)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice: each reader would take another one of the two."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _number(code: object) -> int | None:
    """Return one of ``error_codes``, which may be text."""
    if isinstance(code, bool) or not isinstance(code, int | float | str):
        return None
    text = str(code).strip().removeprefix("AADSTS").removesuffix(".0")
    return int(text) if _NUMBER.fullmatch(text) else None


def _host(location: str) -> str:
    """Return the host that a redirect leads to, if it is one that may be shown."""
    try:
        host = urlsplit(location.strip()).hostname or ""
    except ValueError:
        return ""
    if is_organization(host):  # the characters and the length of a host's name
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""
