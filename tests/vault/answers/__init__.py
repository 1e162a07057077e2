"""The table of docs/servers.md: how it is read, and the request of each of its rows."""

from collections.abc import Callable
from typing import Final

from tests.vault.answers.place import Place, Said

Request = Callable[[Place], Said]
#: The request of each row, by what its first column says.
ROWS: Final[dict[str, Request]] = {}


def row(asked: str) -> Callable[[Request], Request]:
    """Let this be what a row of the table asks."""

    def take(request: Request) -> Request:
        assert asked not in ROWS
        ROWS[asked] = request
        return request

    return take
