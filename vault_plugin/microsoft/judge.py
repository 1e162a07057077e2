"""Which row of the tables an error of Microsoft's is judged by. Pure."""

from collections.abc import Iterator
from typing import Final

from vault_plugin.microsoft.verdicts import (
    ADMIN,
    CONFIG,
    DEFAULTS,
    FAMILY,
    OPEN,
    PASSING,
    POLICY,
    RETRY,
    ROWS,
    SIGN_IN,
    SUBERRORS,
    UNAVAILABLE,
    UNKNOWN,
    Row,
)

#: Which of several numbers: what is passing judges nothing; where an administrator must act, a person can't help.
_WEIGHT: Final = {RETRY: 0, ADMIN: 1, CONFIG: 1, SIGN_IN: 2}


def row_of_code(code: int, error: str) -> Row | None:
    """Return the row of a number: its own, or a policy's, unless the error says that it is something else."""
    policy = code >= 10_000 and str(code).startswith(FAMILY)  # noqa: PLR2004 - five digits
    if code in ROWS or not policy or (error in DEFAULTS and error not in OPEN):
        return ROWS.get(code)
    return ROWS.get(int(str(code)[:5]), POLICY)


def judged(error: str, codes: tuple[int, ...], suberror: str = "", *, failing: bool = False) -> tuple[Row, int | None]:
    """Return what an error means, and the number that decided it (else the first).

    `failing`: the status says that the server fails or throttles. Then only a number that is known is a verdict.
    """
    first = codes[0] if codes else None
    if error in PASSING:
        return PASSING[error], first
    known = sorted(_known(codes, error), key=lambda found: (_WEIGHT[found[0].verdict], found[0].confirm))
    more = SUBERRORS.get(suberror)
    if known and not (more is not None and _WEIGHT[more.verdict] < _WEIGHT[known[0][0].verdict]):
        return known[0]
    if failing:
        return UNAVAILABLE, first
    return more or DEFAULTS.get(error, UNKNOWN), first


def _known(codes: tuple[int, ...], error: str) -> Iterator[tuple[Row, int]]:
    for code in codes:
        row = row_of_code(code, error)
        if row is not None:
            yield row, code
