"""`python -m tests.model [--large]`: explore every variant, print how many states it has and what was found.

Then each rule of DESIGN 5.3 is taken away from the real code, and the first violation that follows is shown.
"""

import sys

from tests.model.explorer import explore
from tests.model.mutations import MUTATIONS
from tests.model.variants import ALONGSIDE, LADDER, LARGE, SNAPSHOTS


def main() -> None:
    traces = []
    for variant in (*(LARGE if "--large" in sys.argv else LADDER), *ALONGSIDE, *SNAPSHOTS):
        seen = explore(variant)
        kinds = ", ".join(sorted(seen.violations)) or "-"
        print(
            f"{variant!s:62} states {seen.states:7} moves {seen.moves:8} {seen.seconds:5.1f} s  violations: {kinds}", flush=True
        )
        traces.append(seen.told())
    for mutation in MUTATIONS:
        with mutation.made():
            seen = explore(mutation.variant, until=mutation.finds)
        found = mutation.finds if mutation.finds in seen.violations else "NOTHING"
        print(f"{f'without: {mutation}':62} states {seen.states:7} moves {seen.moves:8} {seen.seconds:5.1f} s  finds: {found}")
        traces.append(f"without: {mutation}\n{seen.told()}")
    print("\nShortest traces:\n" + "\n".join(filter(None, traces)))


if __name__ == "__main__":
    main()
