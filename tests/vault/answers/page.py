"""Reads the tables of docs/servers.md, and compares an answer with what a cell of them says.

A cell is a status, then perhaps a text in backticks, then what else must be there or may not::

    403 `permission denied`, no header `Retry-After`, with `data.metadata.version: 1`, without `enterprise`

The text is the one error of the answer; ``[]``: there is none; with ``…`` at its end, it begins so.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.binary import Kind
from tests.vault.answers.place import Said

PAGE: Final = Path(__file__).resolve().parents[3] / "docs/servers.md"
COLUMNS: Final = ["what is asked", "OpenBao", "HashiCorp Vault", "what we do"]
CELL: Final = re.compile(r"(?P<status>\d{3})(?: `(?P<text>[^`]+)`)?(?P<more>(?:, (?:no header|header|without|with) `[^`]+`)*)")
MORE: Final = re.compile(r", (no header|header|without|with) `([^`]+)`")


@dataclass(frozen=True)
class Cell:
    """What one server must answer."""

    status: int
    text: str | None
    more: tuple[tuple[str, str], ...]

    def differences(self, said: Said) -> list[str]:
        """Return how an answer differs from it."""
        found = [] if said.status == self.status else [f"status {said.status} instead of {self.status}"]
        errors = said.content.get("errors")
        if not self._is(errors):
            found.append(f"errors {errors!r} instead of {self.text!r}")
        return found + [f"not so: {kind} {what}" for kind, what in self.more if not _so(said, kind, what)]

    def _is(self, errors: object) -> bool:
        if self.text is None or self.text == "[]":
            return errors == ([] if self.text else None)
        if not isinstance(errors, list) or len(errors) != 1:
            return False
        text = str(errors[0])
        return text.startswith(self.text[:-1]) if self.text.endswith("…") else text == self.text


def _so(said: Said, kind: str, what: str) -> bool:
    """Tell whether a header or a field is there, of this value if one is named, or not there."""
    name, _, value = what.partition(": ")
    if "header" in kind:
        there = said.headers.get(name.lower())
        return there is None if kind == "no header" else there is not None and value in ("", there)
    try:
        field = said.under(name)
    except KeyError:
        return kind == "without"
    return kind == "with" and (not value or field == json.loads(value))


def cell(text: str) -> Cell:
    """Read a cell.

    Raises:
        ValueError: it isn't one.
    """
    found = CELL.fullmatch(text)
    if found is None:
        raise ValueError(f"not to be read: {text}")
    error = found["text"]
    plain = None if error is None else error.replace("\\n", "\n").replace("\\t", "\t")
    return Cell(int(found["status"]), plain, tuple(MORE.findall(found["more"])))


def rows(page: str) -> dict[str, dict[Kind, Cell]]:
    """Return what each server must answer, by what is asked, from all tables with these columns.

    Raises:
        ValueError: a row stands twice, or has a cell that can't be read.
    """
    made: dict[str, dict[Kind, Cell]] = {}
    ours = False
    for line in page.splitlines():
        if not line.startswith("|"):
            ours = False
            continue
        cells = [text.strip() for text in line.strip().strip("|").split("|")]
        if cells == COLUMNS:
            ours = True
        elif ours and not set(line) <= set("|- "):
            asked, openbao, vault, _ = cells
            if asked in made:
                raise ValueError(f"twice: {asked}")
            made[asked] = {"openbao": cell(openbao), "vault": cell(vault)}
    return made
