"""What a victim noted, read back."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vault_plugin.core.states import TABLE, State


@dataclass(frozen=True)
class Line:
    """One line of a record: a place, or a credential that was written (`state` and what follows)."""

    at: float
    place: str = ""
    version: int = 0
    state: str = ""
    before: str | None = None
    #: No call is under way whose outcome the store doesn't know.
    settled: bool = False
    generation: int = 0
    reason: str = ""


def lines_of(path: Path) -> Sequence[Line]:
    """Return the lines of a record, in their order."""
    return [Line(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def written(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the credentials that were written, in their order."""
    return sorted((line for line in lines if line.state), key=lambda line: line.version)


def beside_the_table(lines: Sequence[Line]) -> list[str]:
    """Return the moves from one written credential to the next that the table of states doesn't know."""
    wrong = []
    credentials = written(lines)
    for old, new in itertools.pairwise(credentials):
        ways = {after or old.before for after in TABLE[State(old.state)].values()}
        if new.state != old.state and new.state not in ways:
            wrong.append(f"version {old.version} {old.state} -> version {new.version} {new.state}")
    return wrong


def settled_between(lines: Sequence[Line], begin: float, end: float) -> bool:
    """Tell whether the outcome of a call at `begin` stood in the store before `end`."""
    return any(line.settled and begin < line.at < end for line in written(lines))
