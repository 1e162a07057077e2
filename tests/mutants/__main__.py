"""``python -m tests.mutants [WORD]``: take each rule out (whose sentence holds the word), and fail if no test notices."""

import sys
import time
from pathlib import Path

from tests.mutants.rules import mutants
from tests.mutants.runner import BadMutant, run_all

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Print a line for each rule; return 1 if one is held by no test, or nothing is known of one."""
    word = " ".join(sys.argv[1:])
    chosen = [mutant for mutant in mutants() if word in mutant.rule]
    begun, bad = time.monotonic(), []
    try:
        for done in run_all(ROOT, chosen):
            said = done.caught_by or ("NOT KNOWN" if done.error else "NO TEST NOTICED")
            print(f"{done.seconds:5.1f} s  {done.mutant.rule}\n         {said}", flush=True)
            bad += [] if done.good else [done]
    except BadMutant as error:
        print(error)
        return 1
    for done in bad:
        print(f"\n{done.mutant.rule}\n{done.error or f'green without it: {done.mutant.file}: {done.mutant.text!r}'}")
    print(f"\n{len(chosen) - len(bad)} of {len(chosen)} rules are held by a test, {time.monotonic() - begun:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
