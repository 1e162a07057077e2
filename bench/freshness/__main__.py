"""``python -m bench.freshness [--quick] [--plot FILE]``: run every case on all cores and print the tables.

Ends with 1 if a promise wasn't kept.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from multiprocessing import Pool
from pathlib import Path

from bench.freshness.cases import Case, Result, merged, run
from bench.freshness.plan import PROMISES, Search, borne, cases, missed, plotted, searches, warning
from bench.freshness.plot import svg
from bench.freshness.report import lives, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases, print, and tell whether all promises were kept."""
    parser = argparse.ArgumentParser(prog="python -m bench.freshness", description="How fresh tokens stay, simulated.")
    parser.add_argument("--quick", action="store_true", help="2 days and 1,000 tenants instead of 30 and 10,000 [QUICK=1]")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write the plot for the docs, too")
    options = parser.parse_args(arguments)
    quick = options.quick or bool(os.environ.get("QUICK"))
    wanted, lengths = cases(quick=quick), searches(quick=quick)
    points = plotted(quick=quick) if options.plot else []
    began = time.monotonic()
    with Pool() as pool:
        borne_by = pool.map_async(borne, lengths, chunksize=1)
        split = [replace(case, servers=1, seed=case.seed + number) for case in wanted for number in range(case.servers)]
        done = pool.map_async(run, [*split, *points], chunksize=1)
        found, simulated = borne_by.get(), done.get()
    wall = time.monotonic() - began
    results = _joined(wanted, simulated)
    if options.plot:
        options.plot.write_text(svg(simulated[len(split) :]))
    _print(results, list(zip(lengths, found, strict=True)), simulated, wall)
    return 1 if missed(results) else 0


def _joined(wanted: Sequence[Case], simulated: Sequence[Result]) -> list[Result]:
    """Return one result a case: the servers of a case are its mean, worst and sum."""
    rest = iter(simulated)
    return [merged([next(rest) for _ in range(case.servers)], case) for case in wanted]


def _print(
    results: Sequence[Result],
    found: Sequence[tuple[Search, tuple[timedelta, int, float]]],
    simulated: Sequence[Result],
    wall: float,
) -> None:
    rotations = sum(result.rotations for result in simulated) + sum(each[1] for _, each in found)
    cpu = sum(result.cpu for result in simulated) + sum(each[2] for _, each in found)
    out = sys.stdout.write
    out(f"{table(results)}\n\n{lives([(search, each[0]) for search, each in found])}\n\n")
    out("".join(f"{warning(tenants)}\n" for tenants in (180, 200, 270, 400)) + "\n")
    lost = missed(results)
    out("".join(f"{'MISSED' if promise.text in lost else 'kept  '} {promise.text}\n" for promise in PROMISES))
    out(
        f"\n{rotations:,} rotations in {wall:.0f} s: {rotations / wall:,.0f} a second, {rotations / cpu:,.0f} a second of CPU\n"
    )


if __name__ == "__main__":
    sys.exit(main())
