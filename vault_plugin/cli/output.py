"""Tables for people, JSON for programs; never both, and never a secret unless it was asked for."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from vault_plugin.cli.session import form


def console() -> Console:
    """Return the console for people: plain where stdout isn't a terminal."""
    return Console(highlight=False, soft_wrap=not sys.stdout.isatty())


def rows(items: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str) -> None:
    """Print a list: one row an item with these columns, or everything as JSON."""
    if form() == "json":
        print(json.dumps(list(items), indent=2, default=str))
        return
    if not items:
        print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.upper().replace("_", " "), overflow="fold", no_wrap=not sys.stdout.isatty())
    for item in items:
        table.add_row(*(text(item.get(column)) for column in columns))
    console().print(table)


def fields(item: Mapping[str, Any]) -> None:
    """Print one thing, field by field; fields without a value are left out."""
    if form() == "json":
        print(json.dumps(item, indent=2, default=str))
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in item.items():
        if value not in (None, "", [], {}):
            table.add_row(name, text(value))
    console().print(table)


def done(message: str, **content: Any) -> None:  # noqa: ANN401 - anything that JSON takes
    """Say in one line what was done."""
    if form() == "json":
        print(json.dumps(content, default=str))
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
        return ", ".join(f"{key}: {text(inner)}" for key, inner in value.items() if inner not in (None, ""))
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
