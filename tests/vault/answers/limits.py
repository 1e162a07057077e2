"""Rows on what is too much."""

import json

from tests.vault.answers import row
from tests.vault.answers.place import Place, Said


@row("one JSON string of 1,048,576 bytes")
def _(at: Place) -> Said:
    return at.write("a", {"x": "x" * 1_048_576}, cas=0)


@row("one JSON string of more than 1,048,576 bytes")
def _(at: Place) -> Said:
    return at.write("a", {"x": "x" * 1_048_577}, cas=0)


@row("JSON that is 301 deep")
def _(at: Place) -> Said:
    inner = b"[" * 299 + b"]" * 299
    return at.ask("POST", f"{at.mount}/data/a", b'{"options":{"cas":0},"data":{"x":' + inner + b"}}")


@row("a list of 10,001 numbers")
def _(at: Place) -> Said:
    return at.write("a", {"x": [1] * 10_001}, cas=0)


@row("an object of 10,001 names")
def _(at: Place) -> Said:
    return at.write("a", {str(i): 1 for i in range(10_001)}, cas=0)


@row("more than 500,000 tokens of JSON: names, values, brackets, commas, colons")
def _(at: Place) -> Said:
    return at.write("a", {str(i): [1] * 9_000 for i in range(30)}, cas=0)


@row("a list of 1,000 strings")
def _(at: Place) -> Said:
    return at.write("a", {"x": ["y"] * 1_000}, cas=0)


@row("a string that isn't closed")
def _(at: Place) -> Said:
    return at.ask("POST", f"{at.mount}/data/a", b'{"options":{"cas":0},"data":{"a')


@row("a name twice in an object")
def _(at: Place) -> Said:
    return at.ask("POST", f"{at.mount}/data/a", b'{"options":{"cas":0},"data":{"a":1,"a":2}}')


@row("a body that is cut off")
def _(at: Place) -> Said:
    return at.ask("POST", f"{at.mount}/data/a", b'{"options":{"cas":0},"data":{')


@row("a body with something after its end")
def _(at: Place) -> Said:
    return at.ask("POST", f"{at.mount}/data/a", b'{"options":{"cas":0},"data":{}}x')


@row("a body of more than 32 MiB")
def _(at: Place) -> Said:
    content = json.dumps({"data": {str(i): "x" * 1_000_000 for i in range(34)}}).encode()
    return at.ask("POST", f"{at.mount}/data/a", content)


@row("more requests than a quota allows")
def _(at: Place) -> Said:
    at.prepare("POST", f"sys/quotas/rate-limit/{at.mount}", {"path": f"{at.mount}/", "rate": 1, "interval": "60s"})
    try:
        at.read("quota")
        return at.read("quota")
    finally:
        at.prepare("DELETE", f"sys/quotas/rate-limit/{at.mount}")
