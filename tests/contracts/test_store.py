"""One suite for the store's port: the store in memory and the real one must behave alike, and before HashiCorp's rules, too."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from tests.fakes.memory_store import MemoryStore
from tests.servers.hashicorp import HashiCorpProxy
from tests.servers.node import VaultServer
from vault_plugin.core.credential import Credential
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import DocumentMalformed, VersionConflict
from vault_plugin.core.ports import Store, Stored
from vault_plugin.core.published import Token
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.store import KvStore

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture(
    params=["memory", pytest.param("vault", marks=pytest.mark.vault), pytest.param("hashicorp", marks=pytest.mark.vault)]
)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Return each kind of store, empty."""
    if request.param == "memory":
        yield MemoryStore()
        return
    server: VaultServer = request.getfixturevalue("vault")
    mount = request.getfixturevalue("mount")
    with ExitStack() as stack:
        url = server.url
        if request.param == "hashicorp":
            proxy = HashiCorpProxy(server.url)
            stack.callback(proxy.close)
            url = proxy.url
        connection = Connection(read({"VAULT_ADDR": url, "VAULT_TOKEN": server.token}))
        stack.callback(connection.close)
        yield KvStore(connection, Login(connection, LoginSettings()), mount)


def test_what_was_never_written_is_absent(store: Store) -> None:
    """Version 0 is the next cas."""
    assert store.read(Credential, "acme").version == 0
    assert store.read(Credential, "acme").document is None


def test_a_write_with_the_right_version_stands(store: Store) -> None:
    """Versions count from one."""
    assert store.write("acme", Credential(since=NOW), cas=0) == 1
    assert store.write("acme", Credential(since=NOW, generation=2), cas=1) == 2

    read_back = store.read(Credential, "acme")
    assert read_back.version == 2
    assert read_back.document is not None
    assert read_back.document.generation == 2


@pytest.mark.parametrize("cas", [0, 2])
def test_a_write_with_another_version_is_refused(store: Store, cas: int) -> None:
    """Nothing of it stands."""
    store.write("acme", Credential(since=NOW, generation=7), cas=0)

    with pytest.raises(VersionConflict):
        store.write("acme", Credential(since=NOW, generation=8), cas=cas)

    document = store.read(Credential, "acme").document
    assert document is not None
    assert document.generation == 7


def test_names_are_listed_by_kind(store: Store) -> None:
    """A kind without documents has no names."""
    store.write("acme", Credential(since=NOW), cas=0)
    store.write("globex", Credential(since=NOW), cas=0)

    assert list(store.names(Credential)) == ["acme", "globex"]
    assert list(store.names(Token)) == []


def test_a_destroyed_version_keeps_its_number(store: Store) -> None:
    """The fence stays: the next write goes on counting."""
    store.write("acme", Credential(since=NOW), cas=0)
    store.destroy(Credential, "acme", [1])

    assert store.read(Credential, "acme") == Stored(1, None, destroyed=True)
    assert store.read(Credential, "acme").gone
    assert not store.read(Credential, "acme").deleted
    with pytest.raises(VersionConflict):
        store.write("acme", Credential(since=NOW), cas=0)
    assert store.write("acme", Credential(since=NOW), cas=1) == 2


def test_a_deleted_version_is_neither_absent_nor_destroyed(store: Store) -> None:
    """It keeps its number, and can be written over and brought back."""
    store.write("acme", Credential(since=NOW, generation=7), cas=0)
    delete(store)

    assert store.read(Credential, "acme") == Stored(1, None)
    assert store.read(Credential, "acme").deleted
    assert not store.read(Credential, "other").deleted
    assert not store.read(Credential, "other").gone
    assert store.write("acme", Credential(since=NOW), cas=1) == 2
    assert not store.read(Credential, "acme").gone


def test_a_malformed_document_tells_its_version(store: Store) -> None:
    """Whoever owns the path can write over it."""
    store.write("acme", Garbled(), cas=0)

    with pytest.raises(DocumentMalformed) as raised:
        store.read(Credential, "acme")

    assert raised.value.version == 1
    assert store.write("acme", Credential(since=NOW), cas=1) == 2


def test_a_store_that_is_there_answers(store: Store) -> None:
    """Whatever stands in it."""
    assert store.answers()


class Garbled(Document):
    """What isn't a credential."""

    kind = "credentials"


def delete(store: Store) -> None:
    if isinstance(store, MemoryStore):
        store.delete(Credential, "acme")
    else:
        assert isinstance(store, KvStore)
        assert store.connection.kv.delete_latest_version_of_secret("credentials/acme", mount_point=store.mount).status == 204


def test_destroying_nothing_is_nothing(store: Store) -> None:
    """It may be repeated, and asked for nothing."""
    store.destroy(Credential, "acme", [])
    assert store.read(Credential, "acme").version == 0
