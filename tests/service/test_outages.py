"""One service process that survives, one after the other, every outage of Vault, Veeam and Microsoft, with no person's help.

After each outage the process is the same, it is ready, the tenant is active, and it rotates: the fixture checks that.
"""

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.servers.node import VaultServer, fresh_mount
from tests.service.deployment import Deployment
from tests.simulators.http import Fault, Response, Server
from tests.simulators.tls import Authority
from tests.vault.proxy import LossyProxy, Trick

pytestmark = [pytest.mark.vault, pytest.mark.slow]

#: Timers that let an outage be seen, and its end, within a test's patience.
QUICK = {
    "VAULT_CLIENT_TIMEOUT": "5s",
    "VB365_MAILBOX_INTERVAL": "1s",
    "VB365_SWEEP_INTERVAL": "1s",
    "VB365_LIST_INTERVAL": "2s",
}
NO_SPACE = Response(500, b'{"errors":["write /data/raft.db: no space left on device"]}')
HTML = {"Content-Type": "text/html"}


@dataclass
class Stage:
    """A service that runs behind a proxy to Vault, with one tenant signed in."""

    service: Deployment
    proxy: LossyProxy
    #: Lines of the log before the test.
    seen: int = 0

    def logged(self, event: str, **fields: object) -> list[dict[str, object]]:
        """Return the test's own lines of the log with this event and these fields."""
        found = self.service.events(event)[self._before(event) :]
        return [line for line in found if fields.items() <= line.items()]

    def _before(self, event: str) -> int:
        lines = self.service.log().splitlines()[: self.seen]
        return sum(f'"event": "{event}"' in line for line in lines)

    def wait_logged(self, event: str, seconds: float = 12, **fields: object) -> None:
        self.service.wait_for(f"{event} {fields}", lambda: self.logged(event, **fields), seconds)

    def unready(self, seconds: float = 12) -> None:
        """Wait until the service says that it isn't ready; it lives, and its metrics agree."""
        self.service.wait_for("not ready", lambda: self.service.get("/readyz") == 503, seconds)
        assert self.service.get("/livez") == 200

    def rotated(self, seconds: float = 20) -> None:
        """Wait for a rotation, asked for now."""
        generation = self.service.generation()
        self.service.ask("rotate")
        self.service.wait_for("a rotation", lambda: self.service.generation() > generation, seconds)

    def closed(self) -> bool:
        return self.service.metric('vb365_lane_closed{server="vbr"}') == 1

    def last_error(self) -> dict[str, object]:
        return dict(self.service.status().get("last_error") or {})

    def veeam_fails(self, fault: Fault, reason: str) -> None:
        """Let Veeam fail until the log and the status say why; the credential stays what it is."""
        self.service.veeam_server.faults.add(fault)
        self.service.ask("rotate")
        self.wait_logged("called", outcome="failed", reason=reason, tenant="acme")
        self.service.wait_for("a status", lambda: self.last_error().get("reason") == reason, 5)
        assert self.service.status()["state"] == "active"


@pytest.fixture(scope="module")
def running(vault: VaultServer, authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Return the one service, started and signed in."""
    service = Deployment(vault, fresh_mount(), authority, tmp_path_factory.mktemp("outages"))
    proxy = LossyProxy(vault.url)
    service.veeam.token_life = 60
    service.microsoft.auto_approve = 0.0
    service.server()
    document = service.document("servers/vbr") | {"connect_timeout": 1, "read_timeout": 1}
    vault.api("POST", f"{service.mount}/data/servers/vbr", {"options": {"cas": 1}, "data": document})
    service.tenant()
    service.settings |= QUICK | {"VAULT_ADDR": proxy.url}
    service.start()
    service.ask("sign-in")
    service.wait_for("a token", service.generation, 15)
    yield Stage(service, proxy)
    proxy.away, proxy.delay = False, 0
    proxy.tricks.clear()
    assert service.stop() == 0
    service.close()
    proxy.close()


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    """Return the service for one outage; when it is over, the same process goes on by itself."""
    service, proxy = running.service, running.proxy
    running.seen = len(service.log().splitlines())
    assert service.process is not None
    yield running
    proxy.away, proxy.delay = False, 0
    proxy.tricks.clear()
    service.veeam_server.faults.clear()
    service.microsoft_server.faults.clear()
    service.wait_for("readiness", lambda: service.get("/readyz") == 200, 20)
    running.rotated(40)
    service.wait_for("a lane that is open", lambda: not running.closed(), 5)
    service.wait_for("a status that is well", lambda: not running.last_error(), 5)
    assert service.process.poll() is None, "it is the process that was started"
    assert service.accepted()
    assert service.status()["state"] == "active"
    assert service.metric("vb365_vault_up") == 1
    assert len(service.microsoft.codes) == 1, "no person was asked again"
    assert service.events("round_broke") == service.events("step_broke") == []


# --- Vault -----------------------------------------------------------------------------------------------------------


def test_vault_is_restarted(stage: Stage, vault: VaultServer) -> None:
    vault.kill()
    try:
        stage.unready()
        assert stage.service.metric("vb365_vault_up") == 0
        assert stage.logged("vault_trouble", reason="VaultUnreachable")
    finally:
        vault.start()
    stage.wait_logged("vault_trouble", reason="VaultSealed")
    vault.unseal()
    stage.wait_logged("vault_back", seconds=20)


def test_vault_is_out_of_reach_while_a_pair_is_in_flight(stage: Stage) -> None:
    """The pair is kept in memory and stored when Vault is back: nothing is presented twice, nothing else is asked for."""
    service = stage.service
    presented = len(service.veeam.presented)
    generation = service.generation()
    service.veeam_server.faults.add(Fault("/token", meanwhile=lambda: setattr(stage.proxy, "away", True)))
    service.ask("rotate")
    stage.unready()
    assert service.metric("vb365_vault_up") == 0
    stage.wait_logged("write_unclear", path="credentials/acme", reason="VaultUnreachable")
    time.sleep(3)
    stage.proxy.away = False

    service.wait_for("the pair", lambda: service.generation() == generation + 1, 15)
    assert len(service.veeam.presented) == presented + 1
    assert stage.logged("write_repeated_and_done", path="credentials/acme")


def test_vault_answers_slowly(stage: Stage) -> None:
    """Half a second a request, of the five that it waits for one: it rotates all the same, and stays ready."""
    stage.proxy.delay = 0.5
    stage.rotated(30)
    assert stage.service.get("/readyz") == 200
    assert stage.service.accepted()


def test_vault_answers_too_late(stage: Stage) -> None:
    """What was written although no answer came in time is recognised: nothing is done twice."""
    stage.service.veeam_server.faults.add(Fault("/token", meanwhile=lambda: setattr(stage.proxy, "delay", 6.0)))
    stage.service.ask("rotate")
    stage.unready(20)
    stage.wait_logged("write_unclear", path="credentials/acme", reason="VaultUnreachable")
    assert "no whole answer within" in str(stage.logged("vault_trouble")[-1]["error"])
    assert stage.service.metric("vb365_vault_up") == 0
    stage.proxy.delay = 0
    outcomes = ("write_was_mine", "write_repeated_and_done")  # whichever copy came first
    stage.service.wait_for("an outcome", lambda: any(stage.logged(each, path="credentials/acme") for each in outcomes), 20)


def test_our_login_is_revoked(stage: Stage, vault: VaultServer) -> None:
    """It logs in again within the request that met it; nobody waits."""
    logins = stage.service.metric('vb365_vault_writes_total{event="logged_in_again"}')
    revoke_login(stage, vault)

    stage.wait_logged("logged_in_again", 5)
    assert stage.service.metric('vb365_vault_writes_total{event="logged_in_again"}') == logins + 1
    assert stage.service.get("/readyz") == 200
    stage.rotated()


def test_our_login_expires(stage: Stage, vault: VaultServer) -> None:
    """A role whose tokens live for two seconds: each end of a token is a login, and work goes on."""
    role = f"auth/approle-{stage.service.mount}/role/{stage.service.mount}-service"
    before = {key: value for key, value in vault.api("GET", role)["data"].items() if key != "local_secret_ids"}
    vault.api("POST", role, before | {"token_period": 2})
    try:
        revoke_login(stage, vault)
        stage.service.wait_for("three logins", lambda: len(stage.logged("logged_in_again")) >= 3, 12)
        stage.rotated()
        assert stage.service.get("/readyz") == 200
    finally:
        vault.api("POST", role, before)
        revoke_login(stage, vault)


def test_our_rights_are_taken_and_given_back(stage: Stage, vault: VaultServer) -> None:
    """A policy that was changed under the service: it says so, reads no verdict from it, and goes on when it is right again."""
    policy = f"sys/policies/acl/{stage.service.mount}-service"
    rules = vault.api("GET", policy)["data"]["policy"]
    credential = stage.service.document("credentials/acme")
    vault.api("PUT", policy, {"policy": 'path "auth/token/lookup-self" { capabilities = ["read"] }'})
    try:
        stage.unready()
        stage.wait_logged("vault_trouble", reason="PermissionDenied")
        assert stage.service.metric("vb365_vault_up") == 1, "it answers"
        time.sleep(3)
        assert stage.service.document("credentials/acme") == credential
    finally:
        vault.api("PUT", policy, {"policy": rules})


def test_vaults_disk_is_full(stage: Stage) -> None:
    """Writes fail, reads don't: no refresh token is spent, because the first write of an attempt is the proof."""
    presented = len(stage.service.veeam.presented)
    stage.service.ask("rotate")
    stage.proxy.tricks.append(Trick("POST", f"{stage.service.mount}/data/", "answer", response=NO_SPACE, lasting=True))
    stage.unready(15)
    stage.wait_logged("write_unclear", reason="Vault500")
    assert "no space left on device" in str(stage.logged("vault_trouble")[-1]["error"])
    assert stage.service.metric("vb365_vault_up") == 0
    assert len(stage.service.veeam.presented) <= presented + 1, "the one that was under way when it began"


def revoke_login(stage: Stage, vault: VaultServer) -> None:
    """Revoke every token of our role, as root."""
    display = f"approle-{stage.service.mount}"
    for accessor in vault.api("LIST", "auth/token/accessors")["data"]["keys"]:
        found = vault.request("POST", "auth/token/lookup-accessor", {"accessor": accessor})
        if found.ok and found.json()["data"]["path"] == f"auth/{display}/login":
            vault.api("POST", "auth/token/revoke-accessor", {"accessor": accessor})


# --- Veeam -----------------------------------------------------------------------------------------------------------


def test_veeam_is_down(stage: Stage, authority: Authority) -> None:
    """The lane closes, says so, and opens by a probe."""
    service = stage.service
    port = service.veeam_server.port
    service.veeam_server.close()
    try:
        service.ask("rotate")
        stage.wait_logged("called", outcome="failed", reason="ConnectionFailed")
        service.wait_for("a closed lane", stage.closed, 5)
        service.wait_for("a status", lambda: stage.last_error().get("reason") == "ConnectionFailed", 5)
        assert service.status()["state"] == "active"
        assert service.get("/readyz") == 200, "Veeam's trouble isn't ours"
    finally:
        service.veeam_server = Server(service.veeam, authority.shared_context, port)


def test_veeam_hangs(stage: Stage) -> None:
    """The call ends at its timeout. What Veeam did with it is unknown: that too costs no person."""
    stage.veeam_fails(Fault("/token", times=None, hang=4.0), "Timeout")
    stage.service.wait_for("a closed lane", stage.closed, 5)


def test_veeam_throttles_and_says_for_how_long(stage: Stage) -> None:
    """Nobody calls before the time that it named, even if asked to."""
    stage.veeam_fails(Fault("/token", response=Response(429, b'"quota"', {"Retry-After": "20"})), "Throttled")
    stage.service.ask("rotate")
    stage.service.wait_for("a closed lane", stage.closed, 3)
    stage.service.wait_for("the next call", lambda: len(stage.logged("called")) > 1, 25)
    first, second = (datetime.fromisoformat(str(line["timestamp"])) for line in stage.logged("called")[:2])
    assert second - first >= timedelta(seconds=20)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Response(200, b"<html>It works</html>", HTML), "GatewayAnswered"),
        (Response(200), "AnswerUnusable"),
        (Response(500, b"<html>Error</html>", HTML), "ServerError"),
    ],
    ids=["HTML 200", "empty 200", "HTML 500"],
)
def test_veeam_answers_garbage(stage: Stage, answer: Response, reason: str) -> None:
    """This credential tries again; the lane stays open for the others."""
    stage.veeam_fails(Fault("/token", times=1, response=answer), reason)
    assert not stage.closed()


# --- Microsoft -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/oauth2/v2.0/token", times=None, drop="before"),
        Fault("/oauth2/v2.0/token", times=None, response=Response(503, b"<html>busy</html>", HTML)),
        Fault("/oauth2/v2.0/token", times=None, response=Response(200, b"<html>It works</html>", HTML)),
    ],
    ids=["drops", "503", "garbage"],
)
def test_microsoft_is_down_when_the_ladder_needs_it(stage: Stage, fault: Fault) -> None:
    """Veeam has forgotten its sessions and takes no assertion twice: only rung 3 is left, and it waits for Microsoft."""
    service = stage.service
    service.veeam.assertion_once = True
    service.microsoft_server.faults.add(fault)
    service.veeam.revoke_all()
    try:
        service.ask("rotate")
        stage.wait_logged("called", rung="reassert", outcome="failed")
        service.wait_for("a status", lambda: stage.last_error().get("rung") == "reassert", 5)
        assert service.status()["state"] == "active", "nothing was judged"
        assert not stage.closed(), "Veeam's lane has nothing to do with it"
        assert service.metric('vb365_rotations_total{outcome="failed",rung="reassert"}') >= 1
        service.microsoft_server.faults.clear()
        service.ask("rotate")
        service.wait_for("a token", service.accepted, 15)
        assert stage.logged("called", rung="exchange", outcome="accepted")
    finally:
        service.veeam.assertion_once = False


# --- the wall clock --------------------------------------------------------------------------------------------------


@pytest.fixture
def stepped(deployment: Deployment, tmp_path: Path) -> Deployment:
    """Return a deployment whose service has a wall clock of its own: `set_clock`."""
    deployment.program = "tests.service.stepped"
    deployment.settings |= QUICK | {"STEPPED_BY": str(tmp_path / "step")}
    deployment.microsoft.auto_approve = 0.0
    deployment.veeam.token_life = 3600
    set_clock(deployment, 0)
    deployment.server()
    deployment.tenant()
    return deployment


def set_clock(deployment: Deployment, seconds: float) -> None:
    """Set the service's wall clock so far from the system's."""
    path = Path(deployment.settings["STEPPED_BY"])
    new = path.with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(path)


def counted(deployment: Deployment, steps: int) -> bool:
    """Tell whether the service has logged and counted so many steps."""
    return len(deployment.events("clock_stepped")) == deployment.metric("vb365_clock_steps_total") == steps


def beyond(deployment: Deployment, generation: int) -> bool:
    """Tell whether a newer token is published."""
    return deployment.generation() > generation


def leads_on(deployment: Deployment) -> None:
    """Wait until the lease is renewed, which is due every five seconds."""
    lease = deployment.document("service/leader")
    deployment.wait_for("a renewed lease", lambda: deployment.document("service/leader") != lease, 8)
    assert deployment.leads()
    assert deployment.get("/readyz") == deployment.get("/livez") == 200


def test_the_wall_clock_is_set_while_it_works(stepped: Deployment) -> None:
    """Minutes on, then minutes back: it says so, leads on, and no timer falls silent."""
    stepped.start()
    stepped.ask("sign-in")
    stepped.wait_for("a token", stepped.generation, 15)
    for steps, wanted in enumerate((300, -600), 1):
        set_clock(stepped, wanted)
        stepped.wait_for("a word", functools.partial(counted, stepped, steps), 5)
        generation = stepped.generation()
        stepped.ask("rotate")
        stepped.wait_for("a rotation", functools.partial(beyond, stepped, generation), 10)
        leads_on(stepped)
    assert [line["seconds"] for line in stepped.events("clock_stepped")] == [300.0, -900.0]
    assert stepped.accepted()
    assert stepped.presented_again() == []
    assert stepped.stop() == 0


def test_the_wall_clock_is_set_while_it_waits_for_vault(stepped: Deployment) -> None:
    """A machine that starts with a wrong clock and no Vault: when both are right, nothing is put off by the step."""
    proxy = LossyProxy(stepped.vault.url)
    proxy.away = True
    stepped.start(ready=False, VAULT_ADDR=proxy.url)
    stepped.wait_for("a word", lambda: stepped.events("vault_trouble"), 10)
    set_clock(stepped, 300)
    time.sleep(1)
    proxy.away = False

    stepped.wait_for("readiness", lambda: stepped.get("/readyz") == 200, 15)
    stepped.ask("sign-in")
    stepped.wait_for("a token", stepped.generation, 10)
    leads_on(stepped)
    assert stepped.stop() == 0
    proxy.close()


# --- one of two ------------------------------------------------------------------------------------------------------


def test_a_leader_that_is_cut_off_from_vault_stands_by_when_it_is_back(deployment: Deployment, tmp_path: Path) -> None:
    """The other one leads meanwhile; what was wrong with the rounds of a leader doesn't keep a standby from being ready."""
    proxy = LossyProxy(deployment.vault.url)
    deployment.server()
    deployment.tenant()
    deployment.settings |= QUICK
    second = deployment.replica(tmp_path / "second")
    deployment.start(VAULT_ADDR=proxy.url)
    second.start()
    try:
        proxy.away = True
        deployment.wait_for("not ready", lambda: deployment.get("/readyz") == 503, 10)
        second.wait_for("the other", second.leads, 25)
        assert not deployment.leads(), "it stops before the other begins"
        proxy.away = False
        deployment.wait_for("a standby", lambda: deployment.events("leadership_lost"), 10)
        deployment.wait_for("readiness", lambda: deployment.get("/readyz") == 200, 10)
        assert deployment.metric("vb365_vault_up") == 1
        assert second.leads()
    finally:
        second.kill()
        deployment.printed.append(second.log())
        proxy.close()
