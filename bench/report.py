"""Figures with their spread, as tables in Markdown."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """A title, what was measured, and what must be reached; printed as it is filled."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, *cells: str) -> None:
        """Add a row."""
        self.rows.append(cells)

    def text(self) -> str:
        """Return the table in Markdown."""
        widths = [max(len(row[i]) for row in (self.columns, *self.rows)) for i in range(len(self.columns))]
        lines = [self._line(self.columns, widths), self._line(tuple("-" * width for width in widths), widths)]
        lines += [self._line(row, widths) for row in self.rows]
        return "\n".join((f"### {self.title}", "", *lines, ""))

    @staticmethod
    def _line(cells: tuple[str, ...], widths: Sequence[int]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median, and the least and the greatest where there are several."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def verdict(reached: bool) -> str:  # noqa: FBT001 - it is the question
    """Return how a figure compares with what must be reached."""
    return "yes" if reached else "**no**"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of them doesn't exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
