"""What every test shares: no token from any simulator may be seen anywhere it doesn't belong."""

import logging
from collections.abc import Iterator

import pytest

from tests.openbao import OpenBao, fresh_mount
from tests.simulators.tls import Authority
from vault_plugin.core import errors
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read

#: Every secret that the simulators and the test factory make carries this.
MARKER = "simtok"


@pytest.fixture(autouse=True)
def no_token_is_seen(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail any test in which a token shows up in a log record or in an error of ours."""
    caplog.set_level(logging.DEBUG)
    made: list[errors.Error] = []
    begin = errors.Error.__init__

    def remember(self: errors.Error, message: str, *, reason: str = "", remedy: str = "") -> None:
        made.append(self)
        begin(self, message, reason=reason, remedy=remedy)

    monkeypatch.setattr(errors.Error, "__init__", remember)
    yield
    for record in caplog.records:
        assert MARKER not in record.getMessage(), "a token in a log record"
    for error in made:
        assert MARKER not in f"{error!s}{error!r}{vars(error)}{error.remedy()}", "a token in an error"


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Return a CA for the whole run."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session")
def openbao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """Return a real OpenBao for the whole run, unsealed."""
    server = OpenBao(tmp_path_factory.mktemp("openbao"))
    yield server
    server.stop()


@pytest.fixture
def mount(openbao: OpenBao) -> str:
    """Return a fresh mount, registered, for one test."""
    name = fresh_mount()
    connection = Connection(read({"VAULT_ADDR": openbao.url, "VAULT_TOKEN": openbao.token}))
    registration.apply(connection, registration.Plan(mount=name))
    connection.close()
    return name
