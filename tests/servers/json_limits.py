"""What HashiCorp Vault refuses of a request's JSON before it reads the request, in its own words.

Source: ``VerifyMaxDepthStreaming`` of Vault's ``sdk/helper/jsonutil/json.go``, and the limits of ``http/handler.go``, 1.21.0.
"""

import json
import math
import re
from dataclasses import dataclass, field
from typing import Final

DEEPEST: Final = 300
LONGEST: Final = 1024 * 1024
MOST_ENTRIES: Final = 10_000
MOST_ELEMENTS: Final = 10_000
MOST_TOKENS: Final = 500_000

_SPACE: Final = re.compile(rb"[ \t\n\r\x1f\x8b]*")
_STRING: Final = re.compile(rb'"([^"\\]*(?:\\.[^"\\]*)*)"', re.DOTALL)
_LITERAL: Final = re.compile(rb"[tfn][^ \t\n\r\x1f\x8b,}\]]*")
_NUMBER: Final = re.compile(rb"[-0-9][-+.eE0-9]*")


class _Refused(Exception):
    pass


@dataclass
class _Container:
    """An object or a list that isn't closed yet."""

    object: bool
    count: int = 0
    wants_name: bool = False
    names: set[str] = field(default_factory=set)

    def value(self) -> None:
        """Take a value that isn't a name."""
        if self.object:
            self.wants_name = True
            return
        self.count += 1
        if self.count > MOST_ELEMENTS:
            raise _Refused("JSON array exceeds allowed element count")

    def name(self, name: str) -> None:
        """Take a name."""
        if name in self.names:
            raise _Refused(f"duplicate key '{name}' in object")
        self.names.add(name)
        self.count += 1
        if self.count > MOST_ENTRIES:
            raise _Refused("JSON object exceeds allowed entry count")
        self.wants_name = False


class _Scan:
    """One pass over a body."""

    def __init__(self, body: bytes) -> None:
        self.body = body.removeprefix(b"\xef\xbb\xbf")
        self.at = 0
        self.open: list[_Container] = []
        self.tokens = 0
        self.after_comma = False

    def run(self) -> None:
        """Look at every token.

        Raises:
            _Refused: in Vault's words.
        """
        self._skip()
        if self.body[self.at : self.at + 1] not in (b"{", b"["):
            return  # Vault looks at objects and lists only
        while self.at < len(self.body):
            self._token(chr(self.body[self.at]))
            self._skip()
        if self.open:
            raise _Refused("malformed JSON, unclosed containers")

    def _skip(self) -> None:
        found = _SPACE.match(self.body, self.at)
        self.at = found.end() if found else self.at

    def _token(self, char: str) -> None:
        if self.after_comma and char in "}]":
            raise _Refused(f"invalid character '{char}' after {'object key-value pair' if char == '}' else 'array element'}")
        if self.tokens and not self.open:
            raise _Refused(f"invalid character '{char}' after top-level value")
        self.tokens += 1
        if self.tokens > MOST_TOKENS:
            raise _Refused("JSON payload exceeds allowed token count")
        self.after_comma = char == ","
        if char in "{[":
            self._opened(char)
        elif char in "}]":
            self._closed(char)
        elif char == '"':
            self._string()
        elif char in "tfn":
            self._taken(_LITERAL)
            self.open[-1].value()
        elif char in "-0123456789":
            self._number()
            self.open[-1].value()
        elif char in ",:":
            self.at += 1
            self.open[-1].wants_name = self.open[-1].wants_name or char == ","
        else:
            raise _Refused(f"invalid character '{char}' looking for beginning of value")

    def _opened(self, char: str) -> None:
        self.at += 1
        if self.open:
            self.open[-1].value()
        self.open.append(_Container(object=char == "{", wants_name=char == "{"))
        if len(self.open) > DEEPEST:
            raise _Refused("JSON input exceeds allowed nesting depth")

    def _closed(self, char: str) -> None:
        last = self.open[-1]
        if last.object and not last.wants_name:
            raise _Refused("invalid character '}' after object key")
        if last.object != (char == "}"):
            raise _Refused(f"malformed JSON: mismatched closing delimiter '{char}'")
        self.at += 1
        self.open.pop()
        if self.open and self.open[-1].object:
            self.open[-1].wants_name = True

    def _string(self) -> None:
        found = _STRING.match(self.body, self.at)
        raw = found[1] if found else self.body[self.at + 1 :]
        if len(raw) > LONGEST:
            raise _Refused("JSON string value exceeds allowed length")
        if found is None:
            raise _Refused("malformed JSON, unclosed string")
        self.at = found.end()
        last = self.open[-1]
        if not (last.object and last.wants_name):
            last.value()
            return
        try:
            last.name(str(json.loads(found[0], strict=False)))
        except ValueError:
            last.name(raw.decode(errors="replace"))

    def _number(self) -> None:
        text = self._taken(_NUMBER)
        if len(text) > 1 and text[0] == "0" and text[1].isdigit():
            raise _Refused(f"invalid character '{text[1]}' after top-level value")
        try:
            whole = math.isfinite(float(text))
        except ValueError:
            whole = False
        if not whole:
            raise _Refused(f"malformed JSON, invalid number syntax for '{text}'")

    def _taken(self, pattern: re.Pattern[bytes]) -> str:
        found = pattern.match(self.body, self.at)
        assert found is not None
        self.at = found.end()
        return found[0].decode(errors="replace")


def refusal(body: bytes) -> str | None:
    """Return the text with which Vault refuses this body, or None where it goes on to read the request."""
    try:
        _Scan(body).run()
    except _Refused as refused:
        return str(refused)
    return None
