"""What a call to Vault is, and what came back of it. Pure but for reading the body that comes."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import ijson

from vault_plugin.core.secret import Secret
from vault_plugin.wire import Incoming

#: Where a list has its keys, and how deep they lie; what nests deeper than this isn't Vault's.
KEYS: Final = ["data", "keys"]
KEYS_DEPTH: Final = 3
DEEPEST: Final = 32
#: What a success of Vault's has at least one of.
MEMBERS: Final = frozenset({"data", "auth", "wrap_info", "request_id", "initialized"})


@dataclass(frozen=True)
class Call:
    """One request as it is sent, as often as it is sent: all but the token of the moment and Vault's index."""

    method: str
    path: str
    headers: Mapping[str, str]
    params: Mapping[str, Any]
    body: bytes | None = field(repr=False)
    listing: bool
    token: Secret | None
    anonymous: bool

    @property
    def kind(self) -> str:
        """Return what the call is for, without any name: method and the first segments."""
        parts = self.path.removeprefix("/v1/").split("/")
        method = "LIST" if self.listing else self.method
        return f"{method} {'/'.join(parts[1:3])}" if len(parts) > 2 else f"{method} {parts[0]}"  # noqa: PLR2004 - mount, api, kind


class NoAnswer(Exception):
    """No usable answer came; whether Vault saw the request is unknown. `call` is what was sent, if anything was."""

    def __init__(self, text: str, reason: str, call: Call | None = None) -> None:
        """Take a text without any content of the request, and what it was that went wrong."""
        super().__init__(text)
        self.reason = reason
        self.call = call


class AnswerTooLarge(NoAnswer):
    """What Vault has is more than we take."""


@dataclass(frozen=True)
class Answer:
    """What Vault answered: the status, the texts of ``errors``, and the whole JSON object.

    `own`: the answer is of Vault's own form; else somebody in front of it answered, and `by` says how it calls itself.
    """

    status: int
    errors: tuple[str, ...]
    body: Mapping[str, Any] = field(repr=False)
    call: Call
    own: bool = True
    by: str = ""
    date: datetime | None = None
    index: str = ""
    retry_after: str = ""

    @property
    def data(self) -> Mapping[str, Any]:
        """Return the object under ``data``, or an empty one."""
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}

    @property
    def ok(self) -> bool:
        """Tell whether the status says success."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP success

    @property
    def proves(self) -> bool:
        """Tell whether nobody but Vault answers like this: with the id of a request of its API."""
        return self.own and bool(self.body.get("request_id"))


def age_of(answer: Answer) -> timedelta | None:
    """Return how long ago the version that was read was written, by Vault's own clock; None if Vault doesn't say."""
    metadata = answer.data.get("metadata")
    written = metadata.get("created_time") if isinstance(metadata, dict) else None
    try:
        return answer.date - datetime.fromisoformat(written) if answer.date and isinstance(written, str) else None
    except (ValueError, TypeError):  # no time, or one without a zone
        return None


def parse(incoming: Incoming, call: Call) -> Answer:
    """Read an answer's whole body."""
    content = incoming.whole()
    try:
        body = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        body = None
    return _answer(incoming, call, body, empty=not content, plain=content[:200].decode("latin-1"))


def parse_list(incoming: Incoming, call: Call) -> Answer:
    """Read a list's keys as they come: nothing else of it is kept."""
    try:
        body = _keys(incoming)
    except ijson.JSONError:
        body = None
    return _answer(incoming, call, body, empty=False)


def _keys(incoming: Incoming) -> dict[str, Any] | None:
    """Return what is needed of a list: ``data.keys``, and the request's id. None where it nests deeper than any of Vault's."""
    keys: list[str] | None = None
    kept: dict[str, Any] = {}
    place = ["", ""]
    depth, listed = 0, False
    for event, value in ijson.basic_parse(incoming):
        if event == "map_key" and depth <= len(place):
            place[depth - 1] = value
        elif event in ("start_map", "start_array"):
            depth += 1
            if depth > DEEPEST:
                return None
            if event == "start_array" and depth == KEYS_DEPTH and place == KEYS:
                keys, listed = [], True
        elif event in ("end_map", "end_array"):
            depth -= 1
            listed = listed and depth >= KEYS_DEPTH
        elif listed and keys is not None and event == "string" and depth == KEYS_DEPTH:
            keys.append(value)
        elif depth == 1:
            kept[place[0]] = value
    return {**kept, "data": {"keys": keys}}


def _answer(incoming: Incoming, call: Call, body: object, *, empty: bool, plain: str = "") -> Answer:
    headers, status = incoming.headers, incoming.status
    found = body if isinstance(body, dict) else {}
    listed = found.get("errors")
    errors = tuple(str(text) for text in listed) if isinstance(listed, list) else ()
    own = isinstance(body, dict) and (isinstance(listed, list) or "data" in found) and not empty
    if 200 <= status < 300:  # noqa: PLR2004 - a success has no errors, and may have no body
        own = isinstance(body, dict) and not errors and (status == 204 if empty else not MEMBERS.isdisjoint(found))  # noqa: PLR2004
    by = "" if own else _by(headers, plain)
    return Answer(
        status,
        errors,
        found,
        call,
        own=own,
        by=by,
        date=_date(headers.get("Date", "")),
        index=headers.get("X-Vault-Index", ""),
        retry_after=headers.get("Retry-After", ""),
    )


#: What Go's server says to plain HTTP on its port for TLS: a text of its own, no JSON.
TLS_WANTED: Final = "Client sent an HTTP request to an HTTPS server"


def _by(headers: Mapping[str, str], plain: str) -> str:
    """Return how whoever answered calls itself: its server's name and the kind of what it sent, nothing of its content."""
    if plain.startswith(TLS_WANTED):
        return TLS_WANTED
    name = "".join(letter for letter in headers.get("Server", "")[:40] if letter.isprintable())
    kind = headers.get("Content-Type", "").partition(";")[0][:40]
    return " by ".join(filter(None, (kind if kind.isprintable() else "", name)))


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None


def further(held: str, came: str) -> str:
    """Return the index that is further on; where that can't be told, the one that came last."""
    old, new = _position(held), _position(came)
    if not came or (old and new and old[0] == new[0] and old[1] > new[1]):
        return held
    return came


def _position(index: str) -> tuple[str, int] | None:
    """Read OpenBao's index: a cluster and a number that grows. Any other is opaque."""
    try:
        fields = json.loads(base64.b64decode(index, validate=True))
        return str(fields["cluster"]), int(fields["value"])
    except (ValueError, TypeError, KeyError):
        return None
