"""Rows on documents, mounts, policies and roles."""

from tests.vault.answers import row
from tests.vault.answers.place import Place, Said


@row("a write whose `cas` is the version that stands")
def _(at: Place) -> Said:
    at.stands()
    return at.write("a", {"x": 1}, cas=1)


@row("a write whose `cas` is another")
def _(at: Place) -> Said:
    at.stands()
    return at.write("a", {"x": 1}, cas=0)


@row("a write without `cas`, where the mount requires one")
def _(at: Place) -> Said:
    return at.write("a", {"x": 1})


@row("a read of what stands")
def _(at: Place) -> Said:
    at.stands()
    return at.read("a")


@row("a list of what stands")
def _(at: Place) -> Said:
    at.stands("tenants/acme")
    return at.ask("GET", f"{at.mount}/metadata/tenants?list=true")


@row("a read where nothing stands")
def _(at: Place) -> Said:
    return at.read("a")


@row("a list where nothing stands")
def _(at: Place) -> Said:
    return at.ask("GET", f"{at.mount}/metadata/tenants?list=true")


@row("a read of a deleted document")
def _(at: Place) -> Said:
    at.stands()
    at.prepare("DELETE", f"{at.mount}/data/a")
    return at.read("a")


@row("a read of a destroyed document")
def _(at: Place) -> Said:
    at.stands()
    at.prepare("POST", f"{at.mount}/destroy/a", {"versions": [1]})
    return at.read("a")


@row("destroying versions where nothing stands")
def _(at: Place) -> Said:
    return at.ask("POST", f"{at.mount}/destroy/a", {"versions": [1]})


@row("deleting a path where nothing stands")
def _(at: Place) -> Said:
    return at.ask("DELETE", f"{at.mount}/metadata/a")


@row("a read where no mount is")
def _(at: Place) -> Said:
    return at.ask("GET", "none/data/a")


@row("looking at the mount")
def _(at: Place) -> Said:
    return at.ask("GET", f"sys/mounts/{at.mount}")


@row("looking at the mount's settings")
def _(at: Place) -> Said:
    return at.ask("GET", f"{at.mount}/config")


@row("looking at a policy")
def _(at: Place) -> Said:
    at.prepare("POST", f"sys/policies/acl/{at.mount}", {"policy": "# none"})
    return at.ask("GET", f"sys/policies/acl/{at.mount}")


@row("looking at a policy that isn't there")
def _(at: Place) -> Said:
    return at.ask("GET", f"sys/policies/acl/{at.mount}")


@row("looking at the auth methods")
def _(at: Place) -> Said:
    return at.ask("GET", "sys/auth")


@row("looking at a role that isn't there")
def _(at: Place) -> Said:
    mount, _, _ = at.role()
    return at.ask("GET", f"auth/{mount}/role/none")


@row("looking at a mount that isn't there")
def _(at: Place) -> Said:
    return at.ask("GET", "sys/mounts/none")


@row("a role where no auth method is")
def _(at: Place) -> Said:
    return at.ask("POST", "auth/none/role/r", {})


@row("a read of a path with `%2e%2e`")
def _(at: Place) -> Said:
    at.stands("tenants/acme")
    return at.ask("GET", f"{at.mount}/metadata/service/%2e%2e/tenants/acme")


@row("a document of more than `max_entry_size`")
def _(at: Place) -> Said:
    return at.write("a", {str(i): "x" * 1_000_000 for i in range(9)}, cas=0)
