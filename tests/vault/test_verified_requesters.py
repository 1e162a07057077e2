"""``register --verified-requesters`` against a real server: a request's id tells who wrote it, and Vault sees to it."""

from collections.abc import Iterator

import pytest

from tests.servers.node import VaultServer, fresh_mount
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.registration import Plan

pytestmark = pytest.mark.vault


@pytest.fixture
def connection(vault: VaultServer) -> Iterator[Connection]:
    made = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    yield made
    made.close()


def outcomes(results: list[registration.Result], mount: str) -> dict[str, str]:
    """Return what became of the policies that let people write requests."""
    named = {result.title.removeprefix(f"policy {mount}-"): result.outcome for result in results}
    return {name: named[name] for name in ("operator", "admin")}


@pytest.mark.parametrize("policy", ["operator", "admin"])
def test_nobody_writes_a_request_in_anothers_name(policy: str, vault: VaultServer, connection: Connection) -> None:
    """Alice as Alice 200; as Bob, as nobody, or by a token that is nobody's: 403."""
    mount = fresh_mount()
    registration.apply(connection, Plan(mount=mount, verified=True))
    alice, bob = (vault.person(f"{who}-{mount}", f"{mount}-{policy}") for who in ("alice", "bob"))
    nobodys = vault.token_for(f"{mount}-{policy}")

    def write(request_id: str, token: str) -> int:
        body = {"options": {"cas": 0}, "data": {"action": "rotate"}}
        return vault.request("POST", f"{mount}/data/requests/acme/{request_id}", body, token=token).status_code

    assert write(f"{alice.entity}.1", alice.token) == 200
    assert write(f"{alice.entity}.1", alice.token) == 403, "a request is never altered"
    assert write(f"{bob.entity}.1", alice.token) == 403
    assert write("1", alice.token) == 403
    assert write(f"{alice.entity}.2", nobodys) == 403
    assert write(".2", nobodys) == 403
    assert write(f"{bob.entity}.1", bob.token) == 200


def test_the_option_is_part_of_what_is_registered(connection: Connection) -> None:
    """A second registration changes nothing; checked the other way it has drifted, and is mended."""
    mount = fresh_mount()
    plain, verified = Plan(mount=mount, verified=False), Plan(mount=mount, verified=True)
    registration.apply(connection, verified)
    assert {result.outcome for result in registration.apply(connection, verified)} == {"unchanged"}
    assert {result.outcome for result in registration.check(connection, verified)} == {"unchanged"}
    left_open = Plan(mount=mount)
    assert {result.outcome for result in registration.apply(connection, left_open)} == {"unchanged"}
    assert {result.outcome for result in registration.check(connection, left_open)} == {"unchanged"}
    assert outcomes(registration.check(connection, plain), mount) == {"operator": "drifted", "admin": "drifted"}

    registration.apply(connection, plain)

    assert outcomes(registration.check(connection, verified), mount) == {"operator": "drifted", "admin": "drifted"}
    assert outcomes(registration.apply(connection, verified), mount) == {"operator": "updated", "admin": "updated"}


def test_a_group_that_vault_could_not_verify_is_refused(connection: Connection, vault: VaultServer) -> None:
    """No rule holds a prefix of tenants and one of ids; nothing is written."""
    mount = fresh_mount()

    with pytest.raises(ConfigurationError, match="--group") as caught:
        registration.apply(connection, Plan(mount=mount, verified=True, groups=("emea",)))

    assert "mount" in caught.value.remedy()
    assert vault.request("GET", f"sys/policies/acl/{mount}-service").status_code == 404
