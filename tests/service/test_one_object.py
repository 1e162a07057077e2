"""One object's error is that object's: it is held back and named, the others go on, and it comes back by itself."""

import json
from collections.abc import Iterator

import pytest

from tests.service.deployment import ORGANIZATION, Deployment
from tests.simulators.http import Request, Response
from tests.vault.proxy import LossyProxy

pytestmark = pytest.mark.vault

BROKEN = Response(500, json.dumps({"errors": ["1 error occurred: storage"]}).encode(), {"Content-Type": "application/json"})


class OneSided(LossyProxy):
    """Answers errors for single paths, for ever."""

    def __init__(self, target: str) -> None:
        self.broken: set[tuple[str, str]] = set()
        #: Credentials of which only an attempt's first write is taken.
        self.unsettled: set[str] = set()
        super().__init__(target)

    def _handle(self, request: Request) -> Response:
        asked = "LIST" if request.query.get("list") else request.method
        settles = request.method == "POST" and request.path.endswith(tuple(self.unsettled))
        if settles and json.loads(request.body)["data"].get("state") != "rotating":
            return BROKEN
        if any(asked == method and request.path.endswith(path) for method, path in self.broken):
            return BROKEN
        return super()._handle(request)


class Troubled:
    """A deployment whose service speaks to Vault through a proxy that answers errors for single paths."""

    def __init__(self, deployment: Deployment, proxy: OneSided) -> None:
        self.service, self.proxy = deployment, proxy
        deployment.settings["VAULT_ADDR"] = proxy.url
        deployment.settings["VB365_LIST_INTERVAL"] = "1s"
        deployment.settings["VB365_REREAD_AFTER"] = "4s"
        deployment.server()
        deployment.tenant()
        deployment.tenant("initech")

    def breaks(self, method: str, path: str) -> None:
        """Let this path alone answer errors, for ever."""
        self.proxy.broken.add((method, f"{self.service.mount}/{path}"))

    def mends(self) -> None:
        self.proxy.broken.clear()
        self.proxy.unsettled.clear()

    def rotates(self, name: str = "acme") -> None:
        """Wait for a newer token that Veeam accepts. A pair that waited to be stored may have expired meanwhile."""
        before = self.service.generation(name)
        newer = lambda: self.service.generation(name) > before and self.service.accepted(name)  # noqa: E731 - asked twice a look
        self.service.wait_for(f"a rotation of {name}", newer, 30)

    def version(self, path: str) -> int:
        answer = self.service.vault.api("GET", f"{self.service.mount}/metadata/{path}")
        return int(answer["data"]["current_version"])

    def body(self) -> str:
        """Return what /readyz says, which must be that all is well."""
        assert self.service.get("/readyz") == 200, self.service.printed[-1]
        return self.service.printed[-1]

    def held(self, path: str) -> bool:
        return f"held back: {path}:" in self.body()


@pytest.fixture
def troubled(deployment: Deployment) -> Iterator[Troubled]:
    proxy = OneSided(deployment.vault.url)
    yield Troubled(deployment, proxy)
    deployment.kill()
    proxy.close()


def both_signed_in(troubled: Troubled) -> None:
    troubled.service.start()
    troubled.service.sign_in()
    troubled.service.sign_in("initech")


def test_an_unreadable_credential_holds_up_nobody_elses_start(troubled: Troubled) -> None:
    """It is named in its status and in /readyz, and goes on when it can be read again; its document isn't touched."""
    service = troubled.service
    both_signed_in(troubled)
    service.kill()
    version = troubled.version("credentials/initech")
    troubled.breaks("GET", "data/credentials/initech")

    service.start()

    troubled.rotates()
    assert troubled.body().startswith("ok\n")
    assert troubled.held("credentials/initech")
    service.wait_for("a word", lambda: service.status("initech").get("reason") == "DocumentUnreadable", 20)
    status = service.status("initech")
    assert status["state"] == "blocked"
    assert "credentials/initech" in status["text"]
    assert f"vault kv rollback -mount={service.mount}" in status["remedy"]
    assert troubled.version("credentials/initech") == version

    troubled.mends()

    troubled.rotates("initech")
    service.wait_for("release", lambda: not troubled.held("credentials/initech"), 20)
    service.wait_for("its status", lambda: service.status("initech").get("reason") != "DocumentUnreadable", 20)


def test_a_credential_that_becomes_unreadable_holds_up_nobody_else(troubled: Troubled) -> None:
    """While the service runs; and the token that stands is left alone."""
    both_signed_in(troubled)
    troubled.breaks("GET", "data/credentials/initech")

    troubled.rotates()
    troubled.service.wait_for("the line", lambda: troubled.held("credentials/initech"), 40)
    troubled.rotates()

    troubled.mends()
    troubled.rotates("initech")


def test_a_credential_that_cant_be_written_holds_up_nobody_else(troubled: Troubled) -> None:
    """Its refresh token isn't spent meanwhile."""
    both_signed_in(troubled)
    troubled.breaks("POST", "data/credentials/initech")

    troubled.service.wait_for("the line", lambda: troubled.held("credentials/initech"), 40)
    troubled.rotates()
    troubled.rotates()

    troubled.mends()
    troubled.rotates("initech")
    assert not troubled.service.presented_again()


def test_pairs_that_cant_be_stored_hold_no_place_of_their_server(troubled: Troubled) -> None:
    """However many there are; they are offered until they are stored, and none is lost."""
    service = troubled.service
    both_signed_in(troubled)
    service.tenant("umbrella")
    service.sign_in("umbrella")
    troubled.proxy.unsettled |= {f"data/credentials/{name}" for name in ("initech", "umbrella")}
    sent = len(service.veeam.presented)
    service.wait_for("two that wait", lambda: len(service.veeam.presented) >= sent + 4, 40)

    troubled.rotates()
    service.wait_for("the line", lambda: troubled.held("credentials/initech"), 20)
    troubled.rotates()

    troubled.mends()
    troubled.rotates("initech")
    troubled.rotates("umbrella")
    assert not troubled.held("credentials/initech")
    assert not service.presented_again()


def test_an_unreadable_sign_in_keeps_nobody_elses_from_being_polled(troubled: Troubled) -> None:
    """Nor its own tenant's credential from being rotated; the status names it."""
    service = troubled.service
    service.start()
    service.sign_in("initech")
    code = service.ask_sign_in()
    service.kill()
    troubled.breaks("GET", "data/sign-ins/initech")
    service.microsoft.approve(code, f"admin@{ORGANIZATION}")

    service.start()

    service.wait_for("a token", service.generation, 20)
    troubled.rotates("initech")
    assert troubled.held("sign-ins/initech")
    service.wait_for("a word", lambda: "sign-ins/initech" in service.status("initech").get("text", ""), 30)
    assert service.status("initech")["state"] in ("active", "rotating")


@pytest.mark.parametrize("kind", ["credentials", "sign-ins", "servers", "tenants", "requests"])
def test_a_list_that_answers_errors_stops_nobody(troubled: Troubled, kind: str) -> None:
    """Names are known from elsewhere; a tenant that is signed in goes on, and requests are answered."""
    service = troubled.service
    both_signed_in(troubled)
    service.kill()
    troubled.breaks("LIST", f"metadata/{kind}")

    service.start()

    troubled.rotates()
    troubled.rotates("initech")
    service.ok("rotate", "acme")
    assert f"{kind}/" in {event["path"] for event in service.events("held_back")}

    troubled.mends()
    service.wait_for("release", lambda: not troubled.held(f"{kind}/"), 40)


def test_a_tenants_unreadable_document_holds_up_that_tenant_only(troubled: Troubled) -> None:
    """Nothing of its secrets is sent, since nobody knows where they may go."""
    service = troubled.service
    both_signed_in(troubled)
    service.kill()
    troubled.breaks("GET", "data/tenants/initech")

    service.start()

    troubled.rotates()
    service.wait_for("a word", lambda: service.status("initech").get("reason") == "DocumentUnreadable", 40)
    assert "tenants/initech" in service.status("initech")["text"]
    assert troubled.held("tenants/initech")

    troubled.mends()
    troubled.rotates("initech")


def test_a_tenant_whose_document_is_unreadable_can_be_removed(troubled: Troubled) -> None:
    """What needs no document is done without."""
    service = troubled.service
    both_signed_in(troubled)
    service.kill()
    troubled.breaks("GET", "data/tenants/initech")
    service.start()

    service.ask("revoke", "initech")

    service.wait_for("the tombstone", lambda: service.status("initech").get("state") == "revoked", 20)
    assert not service.document("tokens/initech").get("access_token")


def test_a_lease_that_answers_errors_for_ever_stops_nobody(troubled: Troubled) -> None:
    """After a minute the service leads without it, and says so; with it as soon as it can be had."""
    service = troubled.service
    both_signed_in(troubled)
    service.kill()
    troubled.breaks("GET", "data/service/leader")
    troubled.breaks("POST", "data/service/leader")

    service.start()

    assert troubled.held("service/leader")
    service.wait_for("a leader", service.leads, 80)
    troubled.rotates()
    assert "leading without the lease" in troubled.body()
    assert service.events("leading_without_lease")

    troubled.mends()

    service.wait_for("the lease", lambda: "lease" not in troubled.body() and not troubled.held("service/leader"), 20)
    troubled.rotates()


def test_an_unreadable_server_stops_neither_another_servers_tenants_nor_a_revocation(troubled: Troubled) -> None:
    """What needs no server is done without."""
    service = troubled.service
    service.server("other")
    options = ("--organization", ORGANIZATION, "--authority", service.microsoft_server.url, "--consumer-reread", "1s")
    service.ok("tenant", "set", "umbrella", "--server", "other", *options)
    both_signed_in(troubled)
    service.sign_in("umbrella")
    service.kill()
    troubled.breaks("GET", "data/servers/other")

    service.start()

    troubled.rotates()
    service.wait_for("a word", lambda: service.status("umbrella").get("reason") == "DocumentUnreadable", 40)
    assert "servers/other" in service.status("umbrella")["text"]
    service.ok("tenant", "remove", "umbrella", "--yes")
    service.wait_for("the tombstone", lambda: service.status("umbrella").get("state") == "revoked", 20)


def test_a_letter_that_answers_errors_is_left_and_the_others_are_read(troubled: Troubled) -> None:
    """The same tenant's, too."""
    service = troubled.service
    both_signed_in(troubled)
    troubled.breaks("GET", "data/requests/acme/broken")
    stray = {"options": {"cas": 0}, "data": {"action": "rotate"}}
    service.vault.api("POST", f"{service.mount}/data/requests/acme/broken", stray)
    service.vault.api("POST", f"{service.mount}/data/requests/initech/a", stray)

    service.ok("rotate", "acme")

    service.wait_for("the line", lambda: troubled.held("requests/acme/broken"), 20)
    troubled.mends()
    path = f"{service.mount}/metadata/requests/acme"
    service.wait_for("an empty folder", lambda: service.vault.request("LIST", path).status_code == 404, 40)


def test_a_folder_that_cant_be_listed_and_a_stray_that_cant_be_deleted_stop_nobody(troubled: Troubled) -> None:
    """The mailbox's other letters are read."""
    service = troubled.service
    both_signed_in(troubled)
    troubled.breaks("LIST", "metadata/requests/initech")
    troubled.breaks("DELETE", "metadata/requests/acme/bad_id")
    stray = {"options": {"cas": 0}, "data": {"action": "rotate"}}
    service.vault.api("POST", f"{service.mount}/data/requests/initech/a", stray)
    service.vault.api("POST", f"{service.mount}/data/requests/acme/bad_id", stray)

    service.ok("rotate", "acme")

    service.wait_for("the lines", lambda: troubled.held("requests/initech/") and troubled.held("requests/acme/bad_id"), 20)


def test_a_letter_that_cant_be_deleted_has_its_effect_once(troubled: Troubled) -> None:
    """And the letters after it have theirs."""
    service = troubled.service
    both_signed_in(troubled)
    troubled.breaks("DELETE", "metadata/requests/acme/first")
    body = {"options": {"cas": 0}, "data": {"action": "rotate"}}
    service.vault.api("POST", f"{service.mount}/data/requests/acme/first", body)
    service.wait_for("the line", lambda: troubled.held("requests/acme/first"), 20)

    service.ok("rotate", "acme")

    handled = [entry["id"] for entry in service.document("credentials/acme")["handled"]]
    assert handled.count("first") == 1
    troubled.mends()
    path = f"{service.mount}/metadata/requests/acme"
    service.wait_for("an empty folder", lambda: service.vault.request("LIST", path).status_code == 404, 40)


@pytest.mark.parametrize("path", ["tokens/initech", "status/initech", "prompts/initech"])
def test_what_cant_be_written_for_others_to_read_holds_up_nobody_else(troubled: Troubled, path: str) -> None:
    """It is named, and written when it can be."""
    service = troubled.service
    both_signed_in(troubled)
    troubled.breaks("POST", f"data/{path}")
    service.ask("sign-in" if path.startswith("prompts") else "rotate", "initech")

    troubled.rotates()
    service.wait_for("the line", lambda: troubled.held(path), 40)
    troubled.rotates()

    troubled.mends()
    service.wait_for("release", lambda: not troubled.held(path), 60)
