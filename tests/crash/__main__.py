"""``python -m tests.crash``: kill the service at every place, and print what came of it."""

import sys
import tempfile
import time
from pathlib import Path

from tests.crash.harness import Harness, table
from tests.servers.node import VaultServer
from tests.simulators.tls import Authority


def main() -> int:
    """Return 1 if an invariant didn't hold."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        vault = VaultServer(Path(directory))
        try:
            runs = Harness(vault, Authority(Path(directory))).everywhere(lambda run: print(table([run]), flush=True))
        finally:
            vault.stop()
    wrong = [run for run in runs if run.problems]
    for run in wrong:
        print(f"\n{run.kind}, killed {run.kills}:", *run.problems, sep="\n  ")
    print(f"\n{len(runs)} places, {len(wrong)} with a broken invariant, {time.monotonic() - began:.0f} s")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
