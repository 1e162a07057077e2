"""Breadth first through every state of a variant, so that the first trace to a violation is a shortest one."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.model.canonical import Canonical
from tests.model.documents import Documents
from tests.model.invariants import WORDS, at_rest, standing
from tests.model.moves import Moves
from tests.model.programs import Programs
from tests.model.variants import Variant


@dataclass
class Explored:
    """What was seen of a variant."""

    variant: Variant
    states: int = 0
    moves: int = 0
    seconds: float = 0.0
    #: Each kind of violation with its shortest trace.
    violations: dict[str, list[str]] = field(default_factory=dict)
    #: What happened on the way, how often.
    reached: dict[str, int] = field(default_factory=dict)

    def told(self) -> str:
        """Return the violations with their traces, for people."""
        lines = []
        for kind, trace in sorted(self.violations.items()):
            lines += [f"{kind} {WORDS[kind]}", f"    {self.variant}", f"      {' -> '.join(trace)}"]
        return "\n".join(lines)


def explore(variant: Variant, *, until: str = "") -> Explored:
    """Visit every state, or stop at the first violation of the kind `until`."""
    began = time.perf_counter()
    programs = Programs(Documents(), variant)
    moves = Moves(variant, programs)
    seen = Explored(variant, reached=moves.reached)
    first = moves.start()
    #: The number of the state before each, and what led on from it.
    origin: list[tuple[int, str]] = [(-1, "")]
    canonical = Canonical(programs.documents, pardons=not variant.grant_lives)
    waiting = deque([(0, first, canonical.key(first))])
    known = {waiting[0][2]}
    with programs.playing():
        while waiting and until not in seen.violations:
            number, state, here = waiting.popleft()
            rests = True
            for words, after, broken in moves.after(state):
                seen.moves += 1
                if broken:
                    _note(seen, broken, origin, number, words)
                key = canonical.key(after)
                rests &= key == here  # a look after which nothing is to be done
                if key in known:
                    continue
                known.add(key)
                waiting.append((len(origin), after, key))
                origin.append((number, words))
                _note(seen, standing(after, variant, programs.documents), origin, len(origin) - 1)
            if rests:
                _note(seen, at_rest(state, variant, programs.documents), origin, number)
    seen.states = len(origin)
    seen.seconds = time.perf_counter() - began
    return seen


def _note(seen: Explored, broken: Sequence[str], origin: list[tuple[int, str]], number: int, *last: str) -> None:
    for kind in broken:
        if kind not in seen.violations:
            seen.violations[kind] = [*_trace(origin, number), *last]


def _trace(origin: list[tuple[int, str]], number: int) -> list[str]:
    trace = []
    while number > 0:
        number, words = origin[number]
        trace.append(words)
    return trace[::-1]
