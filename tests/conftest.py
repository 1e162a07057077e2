"""What every test shares: no token from any simulator may be seen anywhere it doesn't belong."""

import logging
from collections.abc import Iterator

import pytest

from tests.secrecy import Watch
from tests.servers.node import VaultServer, fresh_mount
from tests.simulators.tls import Authority
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read


@pytest.fixture(autouse=True)
def no_token_is_seen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail any test in which a token shows up where it doesn't belong: a log, an error, a metric, a `repr`."""
    caplog.set_level(logging.DEBUG)
    watch = Watch()
    with watch.over():
        yield
    for record in caplog.records:
        watch.record(record)
    assert not watch.seen, f"a token in {', '.join(sorted(set(watch.seen)))}"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a CA for the whole run."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    """Return the real server under test for the whole run, unsealed."""
    server = VaultServer(tmp_path_factory.mktemp("vault"))
    yield server
    server.stop()


@pytest.fixture
def mount(vault: VaultServer) -> str:
    """Return a fresh mount, registered, for one test."""
    name = fresh_mount()
    connection = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
    registration.apply(connection, registration.Plan(mount=name))
    connection.close()
    return name
