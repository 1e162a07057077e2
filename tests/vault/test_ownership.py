"""Two mounts may share the names of policies and role: whose they are stands in them, and register touches no other's."""

from collections.abc import Iterator

import pytest

from tests.servers.node import VaultServer, fresh_mount
from vault_plugin.core.errors import ConfigurationError
from vault_plugin.vault import policies, registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.registration import Plan

pytestmark = pytest.mark.vault


@pytest.fixture
def connection(vault: VaultServer) -> Iterator[Connection]:
    made = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    yield made
    made.close()


def policy(vault: VaultServer, name: str) -> str:
    return str(vault.api("GET", f"sys/policies/acl/{name}")["data"]["policy"])


def test_a_mount_with_the_same_names_takes_nothing_from_the_first(connection: Connection, vault: VaultServer) -> None:
    """team/vb365 and team-vb365. Nothing is written, and both mounts are named."""
    team = fresh_mount()
    registration.apply(connection, Plan(mount=f"{team}/vb365", auth="approle", auth_mount=f"approle-{team}", enable_auth=True))
    before = policy(vault, f"{team}-vb365-service")

    with pytest.raises(ConfigurationError, match=f"belongs to the mount {team}/vb365/") as caught:
        registration.apply(connection, Plan(mount=f"{team}-vb365", auth="approle", auth_mount=f"approle-{team}"))

    assert caught.value.reason == "AnothersPolicy"
    assert policy(vault, f"{team}-vb365-service") == before
    assert vault.request("GET", f"sys/mounts/{team}-vb365").status_code == 400
    drifted = [each for each in registration.check(connection, Plan(mount=f"{team}-vb365")) if each.outcome == "drifted"]
    assert {each.details for each in drifted} == {(f"belongs to the mount {team}/vb365/",)}
    again = registration.apply(connection, Plan(mount=f"{team}/vb365", auth="approle", auth_mount=f"approle-{team}"))
    assert {each.outcome for each in again} == {"unchanged"}


def test_a_mounts_own_name_may_be_anothers_consumer(connection: Connection, vault: VaultServer) -> None:
    """A tenant called service, and a mount called ...-consumer: one name again."""
    name = fresh_mount()
    registration.apply(connection, Plan(mount=name, consumers=("service",)))
    with pytest.raises(ConfigurationError, match=f"belongs to the mount {name}/"):
        registration.apply(connection, Plan(mount=f"{name}-consumer"))


def test_a_policy_of_somebody_elses_is_left_alone(connection: Connection, vault: VaultServer) -> None:
    """Without our mark, and with no word of our mount."""
    name = fresh_mount()
    vault.api("POST", f"sys/policies/acl/{name}-admin", {"policy": 'path "secret/data/x" { capabilities = ["read"] }'})
    with pytest.raises(ConfigurationError, match="belongs to somebody else"):
        registration.apply(connection, Plan(mount=name))
    assert "secret/data/x" in policy(vault, f"{name}-admin")


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("", "vb365"),
        (policies.render({}, "vb365"), "vb365"),
        (policies.render({}, "team/vb365"), "team/vb365"),
        ('path "vb365/data/tokens/+" { capabilities = ["read"] }', "vb365"),
        ('path "vb365-2/data/tokens/+" { capabilities = ["read"] }', ""),
        ('path "team/vb365/data/tokens/+" { capabilities = ["read"] }', ""),
    ],
)
def test_whose_a_policy_is_stands_in_it(text: str, owner: str) -> None:
    """By the mark; without one, ours only if it speaks of our mount."""
    assert policies.owner_of(text, "vb365") == owner
