"""Rows on namespaces, indexes and forwarding, and on servers that are sealed or stand by."""

from tests.vault.answers import row
from tests.vault.answers.place import FORWARD, Place, Said


@row("a namespace that isn't there")
def _(at: Place) -> Said:
    at.stands()
    return at.read("a", **{"X-Vault-Namespace": "team"})


@row("the answer's `X-Vault-Index`, of a write")
def _(at: Place) -> Said:
    return at.write("a", {}, cas=0)


@row("the answer's `X-Vault-Index`, of a read")
def _(at: Place) -> Said:
    at.stands()
    return at.read("a")


@row("an `X-Vault-Index` that is none")
def _(at: Place) -> Said:
    at.stands()
    return at.read("a", **{"X-Vault-Index": "garbage"})


@row("`X-Vault-Inconsistent: forward-active-node`")
def _(at: Place) -> Said:
    at.stands()
    return at.read("a", **FORWARD)


@row("the same, with a token that is dead")
def _(at: Place) -> Said:
    return at.ask("GET", f"{at.mount}/data/a", token="s.neverwas", **FORWARD)


@row("the same, of `sys/health`")
def _(at: Place) -> Said:
    return at.ask("GET", "sys/health", token="", **FORWARD)


@row("a read at a sealed server")
def _(at: Place) -> Said:
    return at.ask("GET", f"{at.mount}/data/a", url=at.others.sealed.url)


@row("`sys/health` of a sealed server")
def _(at: Place) -> Said:
    return at.ask("GET", "sys/health", token="", url=at.others.sealed.url)


@row("`sys/health` of the server that leads")
def _(at: Place) -> Said:
    return at.ask("GET", "sys/health", token="")


@row("`sys/health` of a standby")
def _(at: Place) -> Said:
    _, standby = at.others.pair
    return at.ask("GET", "sys/health", token="", url=standby.url)


@row("a write at a standby")
def _(at: Place) -> Said:
    leader, standby = at.others.pair
    return at.ask("POST", f"shared/{at.mount}", {"x": 1}, token=leader.token, url=standby.url)


@row("a read at a standby, with the index of a write before it and the header, if there was an index")
def _(at: Place) -> Said:
    leader, standby = at.others.pair
    written = at.ask("POST", f"shared/{at.mount}", {"x": 1}, token=leader.token, url=leader.url)
    index = written.headers.get("x-vault-index")
    headers = FORWARD | {"X-Vault-Index": index} if index else {}
    return at.ask("GET", f"shared/{at.mount}", token=leader.token, url=standby.url, **headers)
