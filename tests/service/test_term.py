"""What a term of leadership knows and shows, within the process, against a real server."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.service import Service
from scheduler.settings import Settings
from scheduler.term import Term
from tests.servers.node import VaultServer
from vault_plugin.core.credential import Credential
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import ServerSpec, TenantSpec, bind
from vault_plugin.vault.environment import read

pytestmark = pytest.mark.vault


@pytest.fixture
def service(vault: VaultServer, mount: str) -> Service:
    """Return a service that isn't running; it leads when a test says so, and nobody may be called."""
    return Service(Settings(mount=mount), read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}), "me:1", None)


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


def gauges(service: Service) -> dict[str, float]:
    """Return what monitoring reads now, except of Vault itself."""
    shown = {}
    for metric in service._metrics.registry.collect():
        for sample in metric.samples if metric.type == "gauge" else ():
            shown[f"{sample.name} {' '.join(sample.labels.values())}".strip()] = sample.value
    return {name: value for name, value in shown.items() if "vault" not in name}


def test_who_leads_no_more_shows_what_one_that_never_led_shows(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last values would stand for ever, and wake somebody for an outage that is over."""
    now, hour = datetime.now(UTC), timedelta(hours=1)
    tenant = TenantSpec(server="vbr")
    binding = bind("acme", tenant)
    sign_in = SignIn(
        id="1", binding=binding, interval=timedelta(minutes=1), next_poll_at=now + hour, started_at=now, expires_at=now + hour
    )
    service._store.write("vbr", ServerSpec(url="https://vbr.invalid"), cas=0)
    service._store.write("acme", tenant, cas=0)
    service._store.write("acme", sign_in, cas=0)
    service._store.write("acme", Credential(since=now, binding=binding), cas=0)
    before, during = gauges(service), dict[str, float]()

    def look(term: Term) -> None:
        term._sign_ins.load("acme")
        term.sweep()
        service._metrics.told_time("https://vbr.invalid", now + hour, now)
        during.update(gauges(service))

    lead(service, look, monkeypatch)

    assert during["vb365_pending_sign_ins"] == 1
    assert {name.split()[0] for name in during.keys() - before.keys()} == {
        "vb365_clock_offset_seconds",
        "vb365_credential_state",
        "vb365_lane_capacity_ratio",
        "vb365_lane_closed",
        "vb365_lane_due",
        "vb365_lane_shared",
    }
    assert gauges(service) == before
