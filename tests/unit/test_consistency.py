"""The index of Vault's answers: which one goes with the next request."""

import base64
import json

import pytest

from tests.simulators.http import Request, Response, Server
from vault_plugin.vault.answer import further
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read


def index(cluster: str, value: int) -> str:
    """Return an index as OpenBao 2.7 makes it."""
    return base64.b64encode(json.dumps({"cluster": cluster, "value": str(value)}).encode()).decode()


@pytest.mark.parametrize(
    ("held", "came", "kept"),
    [
        ("", index("a", 1), index("a", 1)),
        (index("a", 9), index("a", 10), index("a", 10)),
        (index("a", 10), index("a", 9), index("a", 10)),
        (index("a", 10), "", index("a", 10)),
        (index("a", 10), index("b", 1), index("b", 1)),
        (index("a", 10), "djE6b3BhcXVl", "djE6b3BhcXVl"),
        ("not base64", "nor this", "nor this"),
        (base64.b64encode(b"[1]").decode(), index("a", 1), index("a", 1)),
    ],
)
def test_the_index_that_is_further_on_is_kept_or_else_the_last_one(held: str, came: str, kept: str) -> None:
    assert further(held, came) == kept


def test_an_index_that_a_node_does_not_reach_is_dropped_and_the_request_sent_once_more() -> None:
    """412: a node that may not forward. An old answer is better than none, because check-and-set decides."""
    sent: list[str] = []

    def vault(request: Request) -> Response:
        sent.append(request.headers.get("x-vault-index", ""))
        if sent[-1]:
            return Response(412, b'{"errors":["required index state not present"]}')
        return Response(200, b'{"data":{"keys":[]}}', {"X-Vault-Index": "opaque"} if len(sent) == 1 else {})

    server = Server(vault)
    connection = Connection(read({"VAULT_ADDR": server.url, "VAULT_TOKEN": "simtok"}))
    statuses = [connection.list("/v1/m/metadata/x").status for _ in range(3)]
    connection.close()
    server.close()

    assert statuses == [200, 200, 200]
    assert sent == ["", "opaque", "", ""]
