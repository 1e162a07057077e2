"""Tables for people, JSON for programs; never both, and never a secret unless it was asked for."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from vault_plugin.cli.session import form
from vault_plugin.core.documents import seconds

#: Wider than any line of ours: what is piped into a program is neither cropped nor folded.
WIDE: Final = 10_000
#: So many columns of a table keep their words whole on a terminal; the others fold.
FIRM: Final = 3


def console() -> Console:
    """Return the console for people: as wide as the terminal, or as it takes where stdout isn't one."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)


def dumps(content: object, *, indent: int | None = None) -> str:
    """Return JSON: times are RFC 3339 in UTC, lengths of time are seconds."""
    return json.dumps(content, indent=indent, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return seconds(value)
    msg = f"{type(value).__name__} doesn't belong into JSON"
    raise TypeError(msg)


def rows(items: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Print a list: one row an item with these columns, or everything as JSON."""
    if form() == "json":
        print(dumps(list(items), indent=2))
        return
    if not items:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    firm = columns[: min(FIRM, len(columns) - 1)]
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold", no_wrap=column in firm)
    for item in items:
        table.add_row(*(text(item.get(column)) for column in columns))
    _draw(table)


def _draw(table: Table) -> None:
    """Print a table; for programs without the blanks that fill up its lines."""
    screen = console()
    if sys.stdout.isatty():
        screen.print(table)
        return
    with screen.capture() as captured:
        screen.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def fields(item: Mapping[str, Any]) -> None:
    """Print one thing, field by field; fields without a value are left out."""
    if form() == "json":
        print(dumps(item, indent=2))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in item.items():
        if value not in (None, "", [], {}):
            table.add_row(name, text(value))
    _draw(table)


def done(message: str, **content: Any) -> None:  # noqa: ANN401 - anything that JSON takes
    """Say in one line what was done."""
    if form() == "json":
        print(dumps(content))
    else:
        print(message)


def warn(message: str) -> None:
    """Say on stderr what the caller should know."""
    print(f"Warning: {message}", file=sys.stderr)


def text(value: object) -> str:
    """Return a value for a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {text(inner)}" for key, inner in value.items() if inner not in (None, ""))
    if isinstance(value, list | tuple):
        return "\n".join(text(inner) for inner in value)
    return str(value).replace("[", "\\[")


def ago(when: datetime | None) -> str:
    """Return a time as people say it: in 12m, 3h ago."""
    if when is None:
        return ""
    delta = when - datetime.now(UTC)
    return f"in {length(delta)}" if delta > timedelta(0) else f"{length(-delta)} ago"


def length(delta: timedelta) -> str:
    """Return a length of time in its two largest units."""
    total = int(abs(delta).total_seconds())
    sign = "-" if delta < timedelta(0) else ""
    for unit, size, small, small_size in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if total >= size:
            rest = total % size // small_size
            return f"{sign}{total // size}{unit}{f'{rest}{small}' if rest else ''}"
    return f"{sign}{total}s"
