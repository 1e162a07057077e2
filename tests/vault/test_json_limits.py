"""What HashiCorp Vault refuses of JSON, word for word: the proxy's rules, and with ``SERVER=vault`` the real server's."""

import pytest
import requests

from tests.servers.binary import server
from tests.servers.json_limits import refusal
from tests.servers.node import VaultServer

BODIES = [
    (b"", None),
    (b"  ", None),
    (b"null", None),
    (b"x", None),
    (b'"text', None),
    (b'{"a":1,"b":[true,false,null,-1.5e3,"\\u00e4\\n"],"c":{}} ', None),
    (b'\xef\xbb\xbf{"a":1}', None),
    (b'{"a":1', "malformed JSON, unclosed containers"),
    (b'{"a', "malformed JSON, unclosed string"),
    (b'{"a":"\\"', "malformed JSON, unclosed string"),
    (b'{"a":1}x', "invalid character 'x' after top-level value"),
    (b"{}{}", "invalid character '{' after top-level value"),
    (b'{"a":1,}', "invalid character '}' after object key-value pair"),
    (b'{"a":[1,]}', "invalid character ']' after array element"),
    (b'{"a"}', "invalid character '}' after object key"),
    (b'{"a":[}', "malformed JSON: mismatched closing delimiter '}'"),
    (b'{"a":+1}', "invalid character '+' looking for beginning of value"),
    (b"{'a':1}", "invalid character ''' looking for beginning of value"),
    (b'{"a":01}', "invalid character '1' after top-level value"),
    (b'{"a":1.2.3}', "malformed JSON, invalid number syntax for '1.2.3'"),
    (b'{"a":1e999}', "malformed JSON, invalid number syntax for '1e999'"),
    (b'{"a":1,"b":2,"a":3}', "duplicate key 'a' in object"),
    (b'{"a":1,"\\u0061":3}', "duplicate key 'a' in object"),
    (b'{"x":[{"a":1},{"a":1}],"y":{"x":1}}', None),
    (b'{"a":' + b"[" * 299 + b"]" * 299 + b"}", None),
    (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "JSON input exceeds allowed nesting depth"),
    (b'{"a":"' + b"x" * (1 << 20) + b'"}', None),
    (b'{"a":"' + b"x" * ((1 << 20) + 1) + b'"}', "JSON string value exceeds allowed length"),
    (b'{"' + b"x" * ((1 << 20) + 1) + b'":1}', "JSON string value exceeds allowed length"),
    (b'{"a":"' + b"\\n" * ((1 << 19) + 1) + b'"}', "JSON string value exceeds allowed length"),
    (b'{"a":[' + b",".join([b"1"] * 10_000) + b"]}", None),
    (b'{"a":[' + b",".join([b"1"] * 10_001) + b"]}", "JSON array exceeds allowed element count"),
    (b'{"a":[' + b",".join([b"[]"] * 10_001) + b"]}", "JSON array exceeds allowed element count"),
    (b"{" + b",".join(b'"%d":1' % i for i in range(10_001)) + b"}", "JSON object exceeds allowed entry count"),
    (b'{"a":[' + b",".join([b"[1" + b",1" * 9_999 + b"]"] * 26) + b"]}", "JSON payload exceeds allowed token count"),
]


@pytest.mark.parametrize(("body", "text"), BODIES, ids=[f"{number}" for number in range(len(BODIES))])
def test_the_proxys_rules_refuse_it_in_these_words(body: bytes, text: str | None) -> None:
    """Or take it."""
    assert refusal(body) == text


@pytest.mark.vault
@pytest.mark.skipif(server() == "openbao", reason="it is HashiCorp Vault's words that are compared")
@pytest.mark.parametrize(("body", "text"), BODIES, ids=[f"{number}" for number in range(len(BODIES))])
def test_a_real_vault_refuses_it_in_these_words(vault: VaultServer, body: bytes, text: str | None) -> None:
    """What it takes goes on to the KV mount, which isn't there."""
    answer = requests.post(f"{vault.url}/v1/none/a", data=body, headers={"X-Vault-Token": vault.token}, timeout=15)

    if text is None:
        assert answer.status_code in (400, 404)
    else:
        assert (answer.status_code, answer.json()) == (500, {"errors": [text]})
