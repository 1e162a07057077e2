"""``python -m bench``: every measurement, each as a table; ``--quick``: fewer and shorter ones."""

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from bench import reading, rotating, scale, signing_in
from bench.process import allow_open_files
from bench.report import Table
from bench.stage import Measured, Stage
from tests.servers.binary import server_name

SIZES = (1_000, 10_000)
QUICK_SIZES = (1_000, 2_000)
#: What runs each minute belongs to being idle.
IDLE_SECONDS = 60.0


def main() -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="to see that it works; the figures are rough")
    quick: bool = parser.parse_args().quick
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"  [{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    def show(tables: list[Table]) -> None:
        for table in tables:
            print(table.text(), flush=True)

    print(f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores, {server_name()}\n")
    allow_open_files(rotating.OPEN_FILES)
    sizes = QUICK_SIZES if quick else SIZES
    names = (*rotating.ALL_NAMES, *(name for size in sizes for name in scale.due_names(size)))
    with tempfile.TemporaryDirectory() as directory, Stage(Path(directory), names) as stage:
        show(rotating.measure(stage, 1 if quick else 5, 2.5 if quick else 6.0, say))
        read: list[Table] = []

        def meanwhile(deployment: Measured) -> None:
            rounds, seconds = (1, 2.0) if quick else (5, 4.0)
            read.extend(reading.measure(stage, deployment, scale.due_names(sizes[0])[0], rounds, seconds))

        show(scale.measure(stage, sizes, 15.0 if quick else IDLE_SECONDS, meanwhile, say))
        show(read)
        show(signing_in.measure(stage, 2 if quick else 7))
    say("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
