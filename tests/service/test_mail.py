"""The mailbox and whoever empties it, in this process, against a real server; Microsoft is one that hangs."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scheduler.clocks import SystemClock
from scheduler.mail import Mail
from scheduler.metrics import Metrics
from scheduler.specs import SpecCache
from scheduler.term import EXECUTORS
from scheduler.timers import Timers
from tests.servers.node import VaultServer
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import ClientRejected
from vault_plugin.core.ports import Letter, World
from vault_plugin.core.published import Request
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.mailbox import Mailbox
from vault_plugin.vault.store import KvStore

pytestmark = pytest.mark.vault


class Office:
    """One mailbox and its service, which looks when it is told to."""

    def __init__(self, vault: VaultServer, mount: str) -> None:
        self.vault, self.mount = vault, mount
        self.connection = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
        self.store = KvStore(self.connection, Login(self.connection, LoginSettings()), mount)
        self.mailbox = Mailbox(self.store)
        self.released, self.asked = threading.Event(), threading.Semaphore(0)
        clock = SystemClock()
        specs = SpecCache(self.store, clock)
        ids = itertools.count(1)
        world = World(
            store=self.store,
            specs=specs,
            microsoft=cast("Any", SimpleNamespace(request_device_code=self._hang)),
            veeam=cast("Any", None),
            clock=clock,
            policy=Policy(),
            allowed=Allowed(),
            instance="me:1",
            new_id=lambda: f"id-{next(ids)}",
        )
        self.metrics = Metrics()
        self.timers = Timers(EXECUTORS)
        self.done: list[tuple[str, str]] = []
        effect = lambda name, action: self.done.append((name, action))  # noqa: E731
        self.mail = Mail(world, self.mailbox, specs, self.timers, self.metrics, effect)
        self.store.write("vbr", ServerSpec(url="https://vbr.example:4443"), cas=0)
        self.timers.start()

    def _hang(self, _: object) -> None:
        self.asked.release()
        self.released.wait()
        raise ClientRejected("Microsoft says no")

    def close(self) -> None:
        self.released.set()
        self.timers.stop()
        self.connection.close()

    def tenant(self, name: str) -> None:
        self.store.write(name, TenantSpec(server="vbr", organization="contoso.onmicrosoft.com"), cas=0)

    def post(self, name: str, request_id: str, action: Any, **more: str) -> None:
        self.mailbox.post(Letter(name, request_id), Request(action=action, **more))

    def waits(self, name: str) -> bool:
        return self.vault.request("LIST", f"{self.mount}/metadata/requests/{name}").ok

    def look_until(self, seen: Callable[[], object]) -> None:
        """Look into the mailbox until it is so."""
        deadline = time.monotonic() + 60
        while not seen():
            assert time.monotonic() < deadline, "not in time"
            self.mail.collect()
            time.sleep(0.05)


@pytest.fixture
def office(vault: VaultServer, mount: str) -> Iterator[Office]:
    made = Office(vault, mount)
    yield made
    made.close()


def test_what_came_first_is_handled_first_however_much_waits(office: Office) -> None:
    """Whatever ids the writers chose: Vault's own time counts."""
    office.tenant("acme")
    ids = [f"{letter}-1" for letter in "lkjihgfedcba"]
    for each in ids:
        office.post("acme", each, "cancel", sign_in_id="another")

    office.look_until(lambda: not office.waits("acme"))

    credential = office.store.read(Credential, "acme").document
    assert credential is not None
    assert [entry.id for entry in credential.handled] == ids


def test_a_request_larger_than_an_answer_may_be_is_dropped(office: Office) -> None:
    """Some storages take it. It holds up nobody, whether it came first or last, and only its path is told."""
    office.tenant("acme")
    parts = {f"part{number}": "simtok" * (1 << 17) for number in range(3)}  # HashiCorp's takes no string of more than 1 MiB
    huge = {"options": {"cas": 0}, "data": {"action": "rotate", **parts}}
    office.vault.api("POST", f"{office.mount}/data/requests/acme/huge", huge)
    office.post("acme", "good", "apply")

    office.look_until(lambda: not office.waits("acme"))

    assert office.done == [("acme", "apply")]
    assert office.metrics.registry.get_sample_value("vb365_requests_dropped_total") == 1


def test_nobody_but_a_sign_in_waits_for_microsoft(office: Office) -> None:
    """However many hang there: others are answered, and what else the same tenants ask for."""
    names = [f"a{number:03}" for number in range(120)]  # more than a round, and than there are threads for Microsoft
    for name in names:
        office.tenant(name)
        office.post(name, "1", "sign-in")
        office.post(name, "2", "rotate")
    for name in ("zeta", "zulu"):
        office.tenant(name)
    office.mail.collect()
    assert office.asked.acquire(timeout=30)
    office.post("zeta", "1", "rotate")
    office.post("zulu", "1", "revoke")

    office.look_until(lambda: len(office.done) == 2 + len(names))

    assert sorted(office.done) == [*((name, "rotate") for name in names), ("zeta", "rotate"), ("zulu", "revoke")]
    office.released.set()
    office.look_until(lambda: len(office.done) == 2 + 2 * len(names))
    assert sorted(name for name, action in office.done if action == "sign-in") == names
