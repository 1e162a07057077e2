"""What a term of leadership knows and shows, within the process, against a real OpenBao."""

from collections.abc import Callable
from typing import Any

import pytest

from scheduler.service import Service
from scheduler.settings import Settings
from scheduler.term import Term
from tests.openbao import OpenBao
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.vault.environment import read

pytestmark = pytest.mark.vault


@pytest.fixture
def service(openbao: OpenBao, mount: str) -> Service:
    """Return a service that isn't running; it leads when a test says so, and nobody may be called."""
    return Service(Settings(mount=mount), read({"VAULT_ADDR": openbao.url, "VAULT_TOKEN": openbao.token}), "me:1", None)


def lead(service: Service, look: Callable[[Term], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Lead for one term: until `look` has looked."""

    def holds() -> bool:
        assert service._term is not None
        look(service._term)
        return False

    monkeypatch.setattr(service._leadership, "holds", holds)
    service._lead()


def test_a_term_begins_with_nothing_known(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an admin changed while somebody else led holds from the first call on (ADR 0008)."""
    old = ServerSpec(url="https://old.invalid"), TenantSpec(server="vbr")
    new = ServerSpec(url="https://new.invalid"), TenantSpec(server="vbr", paused=True)
    seen: list[tuple[str, bool]] = []

    def look(term: Term) -> None:
        specs = term._world.specs
        server, tenant = specs.server("vbr"), specs.tenant("acme")
        assert server is not None
        assert tenant is not None
        seen.append((server.url, tenant.paused))

    for version, (server, tenant) in enumerate((old, new)):
        service._store.write("vbr", server, cas=version)
        service._store.write("acme", tenant, cas=version)
        lead(service, look, monkeypatch)

    assert seen == [(old[0].url, False), (new[0].url, True)]
