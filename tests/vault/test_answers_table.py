"""Each row of the tables of docs/servers.md, asked of the server under test, and of the proxy that plays HashiCorp's rules."""

from collections.abc import Iterator

import pytest

from tests.servers.binary import server
from tests.servers.hashicorp import HashiCorpProxy
from tests.servers.node import VaultServer
from tests.vault.answers import ROWS, documents, limits, routing, tokens
from tests.vault.answers.page import PAGE, Cell, cell, rows
from tests.vault.answers.place import Others, Place, Said

TABLE = rows(PAGE.read_text())
MODULES = (documents, limits, routing, tokens)

#: Rows that the proxy doesn't play. All others it does.
NOT_PLAYED = {
    "a read of a path with `%2e%2e`",
    "a document of more than `max_entry_size`",
    "a list of 1,000 strings",
    "a read at a sealed server",
    "`sys/health` of a sealed server",
    "`sys/health` of a standby",
    "a write at a standby",
    "a read at a standby, with the index of a write before it and the header, if there was an index",
}


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    made = Others(tmp_path_factory.mktemp("others"))
    yield made
    made.stop()


@pytest.fixture(scope="module")
def proxy(vault: VaultServer) -> Iterator[HashiCorpProxy]:
    made = HashiCorpProxy(vault.url)
    yield made
    made.close()


def test_each_row_has_a_request_and_each_request_a_row() -> None:
    """And what the proxy doesn't play are rows."""
    assert set(TABLE) == set(ROWS)
    assert set(TABLE) >= NOT_PLAYED
    assert {request.__module__ for request in ROWS.values()} == {module.__name__ for module in MODULES}


@pytest.mark.vault
@pytest.mark.parametrize("asked", TABLE)
def test_the_server_answers_as_the_table_says(vault: VaultServer, others: Others, asked: str) -> None:
    """In the column of the server under test."""
    said = ROWS[asked](Place(vault, vault.url, others))

    assert not TABLE[asked][server()].differences(said), said.body[:500]


@pytest.mark.vault
@pytest.mark.skipif(server() == "vault", reason="it plays HashiCorp's rules before OpenBao; this is a real Vault")
@pytest.mark.parametrize("asked", sorted(set(TABLE) - NOT_PLAYED))
def test_the_proxy_answers_as_hashicorps_column_says(
    vault: VaultServer, others: Others, proxy: HashiCorpProxy, asked: str
) -> None:
    """For every row that it plays."""
    said = ROWS[asked](Place(vault, proxy.url, others))

    assert not TABLE[asked]["vault"].differences(said), said.body[:500]


@pytest.mark.parametrize("text", ["", "fine", "200 `x` more", "200, with x", "200 `a``b`", "200, maybe `x`"])
def test_a_cell_that_says_nothing_is_no_cell(text: str) -> None:
    """Nothing is taken for anything."""
    with pytest.raises(ValueError, match="not to be read"):
        cell(text)


def test_a_cell_tells_what_differs() -> None:
    """Status, text, headers and fields."""
    asked = cell("400 `no…`, header `X-A: 1`, no header `X-B`, with `data.n: 2`, without `more`")
    right = Said(400, {"x-a": "1"}, b'{"errors":["not so"],"data":{"n":2}}')
    wrong = Said(404, {"x-a": "2", "x-b": ""}, b'{"errors":[],"data":{"n":3},"more":null}')

    assert asked == Cell(400, "no…", asked.more)
    assert asked.differences(right) == []
    assert len(asked.differences(wrong)) == 6
