"""``vb365 report`` with a consumer's token: what it may say, and what it is told."""

import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.conftest import Vb365
from tests.servers.node import VaultServer
from vault_plugin.cli import report
from vault_plugin.core.errors import StoreDenied
from vault_plugin.vault.store import KvStore

pytestmark = pytest.mark.vault


def publish(vault: VaultServer, mount: str, generation: int, **more: object) -> None:
    """Write a token as the service does."""
    now = datetime.now(UTC)
    token = {"schema": 1, "access_token": f"simtok-{generation}", "issued_at": now.isoformat(), "generation": generation}
    token |= {"expires_at": (now + timedelta(hours=1)).isoformat()} | more
    vault.api("POST", f"{mount}/data/tokens/acme", {"options": {"cas": generation - 1}, "data": token})


@pytest.fixture
def consumer(vb365: Vb365, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch) -> Vb365:
    """Return the command line in the hands of a consumer of a tenant that has a token."""
    publish(vault, mount, 1)
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-consumer"))
    monkeypatch.setattr(report, "REPLACED_WITHIN", 1.0)
    return vb365


def stands(vault: VaultServer, mount: str) -> bool:
    return vault.request("GET", f"{mount}/metadata/reports/acme").ok


def service(vault: VaultServer, mount: str, then: Callable[[], None] = lambda: None) -> threading.Thread:
    """Take the report when it comes, and do something then."""

    def take() -> None:
        deadline = time.monotonic() + 60
        while not stands(vault, mount) and time.monotonic() < deadline:
            time.sleep(0.05)
        vault.api("DELETE", f"{mount}/metadata/reports/acme")
        then()

    thread = threading.Thread(target=take)
    thread.start()
    return thread


def test_a_dead_token_is_replaced_and_that_is_shown(consumer: Vb365, vault: VaultServer, mount: str) -> None:
    """Seen by the generation that stands in Vault."""
    thread = service(vault, mount, lambda: publish(vault, mount, 2))
    code, out, err = consumer("report", "acme", "--format", "json")
    thread.join()
    assert code == 0, err
    shown = json.loads(out.splitlines()[-1])
    assert (shown["outcome"], shown["generation"]) == ("replaced", 2)
    assert "simtok" not in out + err


def test_a_token_that_isnt_replaced_is_told_as_far_as_a_consumer_may_know(
    consumer: Vb365, vault: VaultServer, mount: str
) -> None:
    """It reads no status."""
    thread = service(vault, mount)
    code, out, err = consumer("report", "acme")
    thread.join()
    assert code == 0, err
    assert "not replaced" in out


def test_who_may_read_the_status_is_told_that_the_token_works(
    consumer: Vb365, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it says where the token waits for its lane."""
    monkeypatch.setenv("VAULT_TOKEN", vault.token)
    now = datetime.now(UTC)
    status = {"schema": 1, "tenant": "acme", "state": "active", "reason": "Refreshed", "updated_at": now.isoformat()}

    def tell(cas: int, **more: str) -> Callable[[], None]:
        def write() -> None:
            body = {"options": {"cas": cas}, "data": status | more}
            vault.api("POST", f"{mount}/data/status/acme", body)

        return write

    thread = service(vault, mount, tell(0, proved_at=(now + timedelta(minutes=1)).isoformat()))
    code, out, _ = consumer("report", "acme")
    thread.join()
    assert (code, "works" in out) == (0, True)

    thread = service(vault, mount, tell(1, text="VB365 has lost its sessions; about 40 s from now"))
    code, out, _ = consumer("report", "acme")
    thread.join()
    assert (code, "about 40 s from now" in out) == (0, True)


def test_a_second_report_is_already_reported(consumer: Vb365, vault: VaultServer, mount: str) -> None:
    """Vault refuses to write over it: that is success, since it can be read."""
    assert "already" not in consumer("report", "acme", "--no-wait")[1]
    code, out, _ = consumer("report", "acme", "--no-wait")
    assert (code, "already reported" in out) == (0, True)
    assert stands(vault, mount)


def test_a_report_that_is_deleted_between_is_created_anew(
    consumer: Vb365, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """403, and then nothing stands there: try again."""
    create, refusals = KvStore.create, iter([StoreDenied("403"), StoreDenied("403")])

    def refused(self: KvStore, path: str, content: dict[str, object]) -> None:
        for error in refusals:
            raise error
        create(self, path, content)

    monkeypatch.setattr(KvStore, "create", refused)
    assert consumer("report", "acme", "--no-wait")[0] == 0
    assert stands(vault, mount)


def test_who_has_no_right_is_told_so(consumer: Vb365, vault: VaultServer, mount: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer's policy of before: it reads tokens, and can't report nor look."""
    rule = f'path "{mount}/data/tokens/+" {{ capabilities = ["read"] }}'
    vault.api("POST", f"sys/policies/acl/{mount}-before", {"policy": rule})
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-before"))
    code, _, err = consumer("report", "acme")
    assert (code, "vb365 register" in err) == (4, True)
    monkeypatch.setenv("VAULT_TOKEN", vault.token_for(f"{mount}-operator"))
    assert consumer("report", "acme")[0] == 4


def test_nobody_takes_it(consumer: Vb365, monkeypatch: pytest.MonkeyPatch) -> None:
    """No service runs."""
    monkeypatch.setattr(report, "TAKEN_WITHIN", 1.0)
    assert consumer("report", "acme")[0] == 7


def test_there_is_nothing_to_report(consumer: Vb365, vault: VaultServer, mount: str) -> None:
    """No such token, or it was revoked."""
    assert consumer("report", "globex")[0] == 3
    tombstone = {"schema": 1, "generation": 2, "revoked_at": "2026-11-24T12:00:00Z"}
    vault.api("POST", f"{mount}/data/tokens/acme", {"options": {"cas": 1}, "data": tombstone})
    code, _, err = consumer("report", "acme")
    assert (code, "revoked" in err) == (3, True)
    assert not stands(vault, mount)
