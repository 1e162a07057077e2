"""The write rule of DESIGN 4 against a real server behind a proxy that loses, delays and repeats."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.servers.node import VaultServer
from tests.simulators.http import Request, Response, Server
from tests.simulators.tls import Authority
from tests.vault.proxy import LossyProxy, Trick
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreDenied, StoreUnavailable, VersionConflict
from vault_plugin.patience import Patience
from vault_plugin.vault.answer import NoAnswer
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read
from vault_plugin.vault.login import Login, LoginSettings
from vault_plugin.vault.store import KvStore

pytestmark = pytest.mark.vault
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FIRST, SECOND = Credential(since=NOW, generation=1), Credential(since=NOW, generation=2)
PATH = "/data/credentials/acme"


class Lossy:
    """A store behind the proxy, and what it reported."""

    def __init__(self, vault: VaultServer, mount: str, **settings: str) -> None:
        self.proxy = LossyProxy(vault.url)
        self.events: list[str] = []
        connection = Connection(read({"VAULT_ADDR": self.proxy.url, "VAULT_TOKEN": vault.token} | settings))
        login = Login(connection, LoginSettings())
        self.store = KvStore(connection, login, mount, lambda event, **_: self.events.append(event))

    def trick(self, kind: str, method: str = "POST", **more: object) -> None:
        self.proxy.tricks.append(Trick(method, PATH, kind, **more))  # type: ignore[arg-type]


class Hasty(Patience):
    """Waits for nothing, and remembers for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[timedelta] = []

    def wait(self, pause: timedelta, *, may_give_up: bool) -> bool:
        self.pauses.append(pause)
        return True


@pytest.fixture
def lossy(vault: VaultServer, mount: str) -> Iterator[Lossy]:
    made = Lossy(vault, mount)
    yield made
    made.proxy.close()


def test_a_lost_answer_is_recognised_as_my_own_write(lossy: Lossy) -> None:
    """Case 2: the repeated bytes lose against themselves; the write_id says that it was me."""
    lossy.trick("lose")

    assert lossy.store.write("acme", FIRST, cas=0) == 1
    assert lossy.events == ["write_unclear", "write_was_mine"]


def test_an_unclear_write_is_repeated_with_the_same_bytes_before_anything_is_read(lossy: Lossy) -> None:
    """Case 3: never read first, never rebuild."""
    lossy.trick("answer", response=Response(500, b'{"errors":["local node not active but active cluster node not found"]}'))
    lossy.trick("answer", response=Response(503, b'{"errors":["Vault is sealed"]}'))

    assert lossy.store.write("acme", FIRST, cas=0) == 1

    writes = [body for method, path, body in lossy.proxy.seen if PATH in path]
    assert [method for method, path, _ in lossy.proxy.seen if PATH in path] == ["POST"] * 3
    assert len(set(writes)) == 1
    assert lossy.events == ["write_unclear", "write_unclear", "write_repeated_and_done"]


@pytest.mark.parametrize("status", [412, 429, 472, 473, 502, 504])
def test_every_unclear_status_is_repeated(lossy: Lossy, status: int) -> None:
    """Hvac shows several of these alike."""
    lossy.trick("answer", response=Response(status, b'{"errors":[]}'))

    assert lossy.store.write("acme", FIRST, cas=0) == 1


#: What a load balancer's maintenance page, or somebody else's service, answers in Vault's place.
NOT_VAULTS = [b"<html>Back soon</html>", b"", b"{}", b"[]", b'{"status":"ok"}', b'{"data":{}}', b'{"data":{"version":"1"}}']


@pytest.mark.parametrize("body", NOT_VAULTS)
def test_a_success_that_isnt_vaults_is_no_success(lossy: Lossy, body: bytes) -> None:
    """Else a pair that stands nowhere would be dropped: case 3, like no answer."""
    lossy.trick("answer", response=Response(200, body))

    assert lossy.store.write("acme", FIRST, cas=0) == 1

    writes = [body for method, path, body in lossy.proxy.seen if PATH in path]
    assert len(writes) == 2
    assert len(set(writes)) == 1
    assert lossy.events == ["write_unclear", "write_repeated_and_done"]
    assert lossy.store.read(Credential, "acme").version == 1


@pytest.mark.parametrize("body", NOT_VAULTS)
def test_a_page_in_vaults_place_is_neither_a_document_nor_an_empty_folder(lossy: Lossy, body: bytes) -> None:
    """What nobody answered isn't known."""
    page = Response(200, body)
    lossy.trick("answer", "GET", response=page)
    lossy.proxy.tricks.append(Trick("GET", "/metadata/credentials", "answer", response=page))

    for ask in (lambda: lossy.store.read(Credential, "acme"), lambda: lossy.store.names(Credential)):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        assert caught.value.reason == "VaultAnswerUnusable"


@pytest.mark.parametrize("status", [200, 400, 403, 404, 405, 429, 500, 503])
def test_a_page_in_vaults_place_deletes_nothing(lossy: Lossy, status: int) -> None:
    """It is asked again."""
    lossy.store.write("acme", FIRST, cas=0)
    path = "/metadata/credentials/acme"
    lossy.store.connection.patience = Hasty()
    lossy.proxy.tricks.append(Trick("DELETE", path, "answer", response=Response(status, NOT_VAULTS[0]), lasting=True))
    with pytest.raises(StoreUnavailable) as caught:
        lossy.store.forget("credentials/acme")

    assert caught.value.reason == "VaultAnswerUnusable"
    assert f"status {status}" in str(caught.value)
    lossy.proxy.tricks.clear()
    lossy.store.forget("credentials/acme")
    assert lossy.store.read(Credential, "acme").version == 0


def test_a_delayed_copy_changes_nothing(vault: VaultServer, mount: str) -> None:
    """A request that lands a second later meets its own repetition and is refused by check-and-set."""
    lossy = Lossy(vault, mount)
    lossy.trick("late", delay=1.0)
    lossy.store.write("acme", FIRST, cas=0)
    lossy.store.write("acme", SECOND, cas=1)
    lossy.proxy.close()

    document = vault.document(mount, "credentials/acme")
    assert document["generation"] == 2


def test_a_repeated_request_is_one_write(lossy: Lossy) -> None:
    """The second copy's answer is a mismatch; it is read and was mine."""
    lossy.trick("twice")

    assert lossy.store.write("acme", FIRST, cas=0) == 1
    assert lossy.store.read(Credential, "acme").version == 1
    assert lossy.events == ["write_was_mine"]


def test_somebody_elses_write_is_never_overwritten(lossy: Lossy, vault: VaultServer, mount: str) -> None:
    """Lost answer and another writer: lost, decide anew."""
    lossy.store.write("acme", FIRST, cas=0)
    lossy.trick("answer", response=Response(500, b"{}"))
    other = Lossy(vault, mount)
    other.store.write("acme", SECOND, cas=1)
    other.proxy.close()

    with pytest.raises(VersionConflict):
        lossy.store.write("acme", FIRST, cas=1)

    assert lossy.store.read(Credential, "acme").document.generation == 2  # type: ignore[union-attr]
    assert lossy.events[-1] == "write_lost"


def test_a_stale_read_decides_nothing(lossy: Lossy) -> None:
    """A read older than my cas is read again."""
    lossy.store.write("acme", FIRST, cas=0)
    lossy.trick("lose")
    lossy.trick("answer", "GET", response=Response(404, b'{"errors":[]}'))

    assert lossy.store.write("acme", SECOND, cas=1) == 2
    assert "read_stale" in lossy.events


def test_the_first_write_may_be_given_up_and_says_so(lossy: Lossy) -> None:
    """Before its deadline, with the outcome unknown."""
    for _ in range(10):
        lossy.trick("answer", response=Response(503, b'{"errors":["Vault is sealed"]}'))

    with pytest.raises(StoreUnavailable) as caught:
        lossy.store.write("acme", FIRST, cas=0, give_up_after=timedelta(seconds=1))

    assert caught.value.reason == "VaultSealed"
    assert lossy.events[-1] == "write_given_up"


def test_a_stop_ends_first_writes_at_once_and_others_after_a_grace(lossy: Lossy) -> None:
    """SIGTERM: pairs that aren't stored yet are offered for a while."""
    for _ in range(50):
        lossy.trick("answer", response=Response(503, b"{}"))
    lossy.store.patience.stop(timedelta(seconds=1))
    before = time.monotonic()

    with pytest.raises(StoreUnavailable):
        lossy.store.write("acme", FIRST, cas=0, give_up_after=timedelta(seconds=60))
    assert lossy.events == ["write_unclear", "write_given_up"]
    with pytest.raises(StoreUnavailable):
        lossy.store.write("acme", FIRST, cas=0)
    assert 0.8 < time.monotonic() - before < 60, "the grace, and not the minute that the first write had"


def test_missing_rights_keep_what_is_in_memory(vault: VaultServer, mount: str) -> None:
    """Case 4, alive: report; the write isn't given up as long as it may not be."""
    denied = Lossy(vault, mount, VAULT_TOKEN=vault.token_for(f"{mount}-operator"))

    with pytest.raises(StoreDenied):
        denied.store.write("acme", FIRST, cas=0, give_up_after=timedelta(seconds=1))

    assert denied.events == ["write_denied", "write_given_up"]
    denied.proxy.close()


@pytest.mark.parametrize("status", [400, 413])
def test_a_refusal_keeps_what_is_in_memory_and_is_tried_again_in_a_minute(lossy: Lossy, status: int) -> None:
    """Case 5: a limit that an admin may raise, or our fault. It is no lost check-and-set: nothing is read."""
    refused = Response(status, b'{"errors":["request body too large"]}')
    lossy.trick("answer", response=refused)
    lossy.store.connection.patience = hasty = Hasty()

    assert lossy.store.write("acme", FIRST, cas=0) == 1

    writes = [body for method, path, body in lossy.proxy.seen if PATH in path]
    assert [method for method, path, _ in lossy.proxy.seen if PATH in path] == ["POST"] * 2
    assert len(set(writes)) == 1
    assert hasty.pauses == [timedelta(seconds=60)]
    assert lossy.events == ["write_refused", "write_repeated_and_done"]


@pytest.mark.parametrize("status", [400, 413])
def test_a_refused_write_that_may_be_given_up_is(lossy: Lossy, status: int) -> None:
    """A minute is longer than its deadline."""
    lossy.trick("answer", response=Response(status, b'{"errors":["request body too large"]}'))

    with pytest.raises(StoreUnavailable, match="request body too large") as caught:
        lossy.store.write("acme", FIRST, cas=0, give_up_after=timedelta(seconds=10))

    assert caught.value.reason == f"Vault{status}"
    assert lossy.events == ["write_refused", "write_given_up"]


def test_one_redirect_is_followed(lossy: Lossy) -> None:
    """A standby that doesn't forward names the active node."""
    lossy.store.write("acme", FIRST, cas=0)
    target = f"{lossy.proxy.target}/v1/{lossy.store.mount}{PATH}"
    lossy.trick("answer", "GET", response=Response(307, b"", {"Location": target}))

    assert lossy.store.read(Credential, "acme").version == 1


def test_a_redirect_from_https_to_http_is_not_followed(authority: Authority) -> None:
    """The token would be read on the way."""
    seen: list[Request] = []

    def plain(request: Request) -> Response:
        seen.append(request)
        return Response(200, b'{"data":{"keys":["acme"]}}')

    behind = Server(plain)
    front = Server(lambda request: Response(307, b"", {"Location": f"{behind.url}{request.path}"}), authority.shared_context)
    settings = {"VAULT_ADDR": front.url, "VAULT_CACERT": str(authority.ca_file), "VAULT_TOKEN": "simtok-vault"}
    connection = Connection(read(settings))
    with pytest.raises(NoAnswer, match="from https to http"):
        connection.list("/v1/vb365/metadata/credentials")
    connection.close()
    front.close()
    behind.close()

    assert [(method, path) for method, path, _ in front.log] == [("GET", "/v1/vb365/metadata/credentials")]
    assert seen == []


def test_an_answer_without_end_is_not_read(lossy: Lossy) -> None:
    """2 MiB at most."""
    lossy.trick("answer", "GET", response=Response(200, b"x" * (2 * 1024 * 1024 + 1)))

    with pytest.raises(StoreUnavailable, match="2 MiB"):
        lossy.store.read(Credential, "acme")
