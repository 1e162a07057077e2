"""The tables."""

import math
from collections.abc import Sequence
from datetime import timedelta

from bench.freshness.cases import Keeper, Result
from bench.freshness.ledger import REREADS
from bench.freshness.plan import Search

HEADER = (
    "case", "tenants", "days", "no token %", "worst gap s", *(f"held {int(each.total_seconds())} s %" for each in REREADS),
    "worst held 300 s", "429", "people", "least left s", "mean left s", "lane %",
)  # fmt: skip


def table(results: Sequence[Result]) -> str:
    """Return the results as Markdown: what Vault holds, what consumers hold (at each interval; worst at the documented one)."""
    lines = [f"| {' | '.join(HEADER)} |", f"| --- |{' ---: |' * (len(HEADER) - 1)}"]
    keeper = None
    for result in results:
        if result.case.keeper is not keeper:
            keeper = result.case.keeper
            lines.append(f"| **{keeper.value}** |{' |' * (len(HEADER) - 1)}")
        lines.append(f"| {' | '.join(_row(result))} |")
    return "\n".join(lines)


def _row(result: Result) -> list[str]:
    case = result.case
    own = case.keeper is Keeper.ON_READ
    # Who refreshes on read was simulated at one interval only.
    held = ["" if own and each != REREADS[1] else _percent(result.held[each][0]) for each in REREADS]
    return [
        case.title,
        f"{case.tenants * case.servers:,}",
        f"{case.days:g}",
        _percent(result.expired),
        f"{result.worst:.0f}",
        *held,
        f"{result.documented[1]:.0f}",
        str(result.refused),
        str(result.people),
        "" if math.isinf(result.least_left) else f"{result.least_left:.0f}",
        f"{result.mean_left:.0f}",
        f"{result.lane_use * 100:.1f}",
    ]


def _percent(share: float) -> str:
    return f"{share * 100:.3f}" if share else "0"


def lives(found: Sequence[tuple[Search, timedelta]]) -> str:
    """Return which outage is borne, as Markdown."""
    lines = ["| token life | tenants | who is away in every hour | budget | borne |", "| ---: | ---: | --- | ---: | ---: |"]
    lines += [
        f"| {_minutes(search.life)} | {search.tenants} | {search.who} | {_minutes(search.budget)} | {_minutes(longest)} |"
        for search, longest in found
    ]
    return "\n".join(lines)


def _minutes(length: timedelta) -> str:
    return f"{length.total_seconds() / 60:g} min"
