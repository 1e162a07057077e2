"""The requests that ``vb365`` posts: their ids."""

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer
from vault_plugin.core.names import is_request_id

pytestmark = pytest.mark.vault


@pytest.fixture
def tenant(vb365: Vb365, with_server: None, vault: VaultServer, mount: str) -> None:
    assert vb365("tenant", "set", "acme", "--server", "vbr", "--organization", "contoso.onmicrosoft.com")[0] == 0
    vault.api("DELETE", f"{mount}/metadata/requests/acme/{ids_of(vault, mount)[0]}")


def ids_of(vault: VaultServer, mount: str) -> list[str]:
    return list(vault.api("LIST", f"{mount}/metadata/requests/acme")["data"]["keys"])


def created(vault: VaultServer, mount: str, request_id: str) -> str:
    return str(vault.api("GET", f"{mount}/data/requests/acme/{request_id}")["data"]["metadata"]["created_time"])


def test_ids_sort_by_time(vb365: Vb365, tenant: None, vault: VaultServer, mount: str) -> None:
    """Whoever lists the mailbox sees what came first, first."""
    for _ in range(8):
        assert vb365("rotate", "acme", "--no-wait")[0] == 0

    found = ids_of(vault, mount)
    assert len(found) == 8
    assert found == sorted(found, key=lambda each: created(vault, mount, each))


def test_the_id_begins_with_the_entity_of_whom_vault_knows(
    vb365: Vb365, tenant: None, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it may be written under either policy; a token that is nobody's has a plain one."""
    assert vb365("register", "--verified-requesters")[0] == 0
    assert vb365("register", "--verified-requesters", "--check")[0] == 0
    assert vb365("register", "--check")[0] == 0
    assert vb365("register", "--no-verified-requesters", "--check")[0] == 8
    alice = vault.person(f"alice-{mount}", f"{mount}-operator")
    monkeypatch.setenv("VAULT_TOKEN", alice.token)
    for _ in range(3):
        assert vb365("rotate", "acme", "--no-wait")[0] == 0

    found = ids_of(vault, mount)
    assert all(each.startswith(f"{alice.entity}.") and is_request_id(each) for each in found)
    assert found == sorted(found, key=lambda each: created(vault, mount, each))

    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-operator"))
    code, _, err = vb365("rotate", "acme", "--no-wait")
    assert (code, "permission denied" in err) == (4, True)

    monkeypatch.setenv("VAULT_TOKEN", vault.token)
    assert vb365("register", "--no-verified-requesters")[0] == 0
    monkeypatch.setenv("VAULT_TOKEN", alice.token)
    assert vb365("rotate", "acme", "--no-wait")[0] == 0
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-operator"))
    assert vb365("rotate", "acme", "--no-wait")[0] == 0
    assert [each.startswith(f"{alice.entity}.") for each in ids_of(vault, mount)].count(True) == 4
