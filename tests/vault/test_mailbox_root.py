"""One LIST of the mount's root shows whether anybody wrote anything, against a real server."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from scheduler.clocks import SystemClock
from scheduler.held import HeldBack
from tests.servers.node import VaultServer
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.vault import policies
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.mailbox import A_TENANT, REPORTS, Mailbox
from vault_plugin.vault.store import KvStore

pytestmark = pytest.mark.vault
BOTH = {"requests", REPORTS}
NEW = ("{}/metadata/", "{}/metadata/+", "{}/metadata/reports/", "{}/metadata/reports/+")


@dataclass
class Service:
    """A mailbox as the service has it, with a token of its policy."""

    vault: VaultServer
    mount: str
    mailbox: Mailbox
    held: HeldBack
    listed: list[str]

    def write(self, path: str) -> None:
        self.vault.api("POST", f"{self.mount}/data/{path}", {"options": {"cas": 0}, "data": {}})

    def stands(self, path: str) -> bool:
        return self.vault.request("GET", f"{self.mount}/metadata/{path}").ok


@pytest.fixture
def service(vault: VaultServer, mount: str) -> Iterator[Service]:
    listed: list[str] = []
    made = Connection(
        read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token_for(f"{mount}-service")}),
        lambda kind: listed.append(kind) if kind.startswith("LIST") else None,
    )
    store = KvStore(made, Login(made, LoginSettings()), mount)
    held = HeldBack(store.answers, SystemClock())
    yield Service(vault, mount, Mailbox(store, held), held, listed)
    made.close()


def test_the_root_shows_which_kinds_hold_anything(service: Service) -> None:
    """By one LIST, whatever else stands in the mount."""
    service.write("tenants/acme")
    assert service.mailbox.kinds() == {"tenants"}
    service.write("reports/acme")
    service.write("requests/acme/1")

    service.listed.clear()
    assert service.mailbox.kinds() == {"tenants", *BOTH}
    assert len(service.listed) == 1
    assert service.mailbox.reports() == ["acme"]
    assert service.mailbox.take("acme")
    assert service.mailbox.kinds() == {"tenants", "requests"}
    assert service.mailbox.take("acme"), "what is gone already is gone"


def test_what_is_none_of_ours_at_the_root_is_deleted_a_few_at_a_time(service: Service) -> None:
    """A document that is called like a kind, too. What lies in folders isn't ours to see, and stops nothing."""
    junk = [f"junk{number}" for number in range(A_TENANT)] + ["requests", "+", "tenants"]
    for name in junk:
        service.write(name)
    service.write("folder/x")
    service.write("tenants/acme")
    assert service.mailbox.kinds() == {"tenants"}
    assert sum(map(service.stands, junk)) == len(junk) - A_TENANT
    assert service.mailbox.kinds() == {"tenants"}

    assert not any(map(service.stands, junk))
    assert service.stands("folder/x")
    assert service.stands("tenants/acme")


def test_a_registration_of_before_stops_nothing_and_is_told(service: Service) -> None:
    """Its policy lacks the root: both are listed themselves, and /readyz says what to do."""
    rules = dict(policies.policies(service.mount)[f"{service.mount}-service"])
    for path in NEW:
        del rules[path.format(service.mount)]
    name = f"sys/policies/acl/{service.mount}-service"
    service.vault.api("POST", name, {"policy": policies.render(rules, service.mount)})
    service.write("requests/acme/1")
    for _ in range(3):
        assert service.mailbox.kinds() == BOTH
        assert [name for name, _ in service.mailbox.waiting(())] == ["acme"]
        assert service.mailbox.reports() == []

    assert sum("held back: /:" in line for line in service.held.lines()) == 1
    trouble = service.held.trouble("/")
    assert trouble is None or "register" in trouble.remedy
    assert sum(kind.startswith("LIST") for kind in service.listed) == 1 + 3 + 1 + 3, "one of the root, one of reports/"

    whole = policies.render(policies.policies(service.mount)[f"{service.mount}-service"], service.mount)
    service.vault.api("POST", name, {"policy": whole})
    service.held.forget()
    assert service.mailbox.kinds() == {"requests"}


def test_a_folder_that_is_empty_again_is_held_back_no_longer(service: Service) -> None:
    """It is listed only while the root shows it: nobody would notice that it can be read again."""
    service.held.takes(StoreUnavailable("500", reason="VaultError"), "requests/")
    service.write("requests/acme/1")
    service.mailbox.kinds()
    assert service.held.holds("requests/")
    service.vault.api("DELETE", f"{service.mount}/metadata/requests/acme/1")
    service.mailbox.kinds()
    assert not service.held.holds("requests/")
