"""The service as a process, against a real server and both simulators; the operator uses the real command line."""

import copy
import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import requests

from tests.secrecy import leaks, watch
from tests.servers.node import Cluster, VaultServer, clean_environment
from tests.simulators.http import Server
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.sockets import HeldPort
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read

ROOT = Path(__file__).resolve().parents[2]
ORGANIZATION = "contoso.onmicrosoft.com"

#: A busy machine takes so many times as long. Nothing is proved by haste: what is fast is measured by `make bench`.
PATIENT = 3


def now() -> datetime:
    return datetime.now(UTC)


class Running(Protocol):
    """A process, as `subprocess.Popen` shows it."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def terminate(self) -> None: ...


class Deployment:
    """One mount, one service, both simulators."""

    def __init__(self, vault: VaultServer | Cluster, mount: str, authority: Authority, directory: Path) -> None:
        self.vault, self.mount, self.directory = vault, mount, directory
        self.ca = authority.ca_file
        self.microsoft, self.veeam = MicrosoftSimulator(now), VeeamSimulator(now)
        self.microsoft.interval = 1
        self.veeam.token_life = 20
        self.microsoft_server = Server(self.microsoft, authority.shared_context)
        self.veeam_port = HeldPort()  # a test may close the server and bring it back
        self.veeam_server = Server(self.veeam, authority.shared_context, self.veeam_port.number)
        self.microsoft.base_url = self.microsoft_server.url
        connection = Connection(read({"VAULT_ADDR": vault.url, "VAULT_TOKEN": vault.token}))
        plan = registration.Plan(mount=mount, auth="approle", auth_mount=f"approle-{mount}", enable_auth=True)
        registration.apply(connection, plan)
        made = registration.app_role_credentials(connection, plan, wrap=False)
        assert made.secret_id is not None
        watch(made.secret_id.reveal())
        (directory / "secret-id").write_text(made.secret_id.reveal())
        self.held = HeldPort()
        self.settings = {
            "VAULT_ADDR": vault.url,
            "VB365_MOUNT": mount,
            "VB365_VAULT_AUTH": "approle",
            "VB365_VAULT_AUTH_MOUNT": plan.at,
            "VB365_VAULT_ROLE_ID": made.role_id,
            "VB365_VAULT_SECRET_ID_FILE": str(directory / "secret-id"),
            "VB365_AUTHORITIES": self.microsoft_server.url,
            "VB365_CA_BUNDLE": str(authority.ca_file),
            "VB365_HTTP_ADDR": f"127.0.0.1:{self.port}",
            "VB365_LOG_LEVEL": "debug",
        }
        self.program = "scheduler"
        self.process: Running | None = None
        self.printed: list[str] = []

    def close(self) -> None:
        """Stop everything; no secret of anybody's, Vault's included, may have been logged, printed or measured."""
        if self.process is not None:
            self.kill()
        self.microsoft_server.close()
        self.veeam_server.close()
        self.veeam_port.close()
        self.held.close()
        for text in (*self.printed, self.log()):
            assert not leaks(text), "a secret in what was logged, printed or measured"

    @property
    def port(self) -> int:
        """The health port, which is this service's while it runs and while it doesn't."""
        return self.held.number

    def replica(self, directory: Path) -> "Deployment":
        """Return a second service of the same deployment, not started, with a log and a port of its own."""
        directory.mkdir()
        other = copy.copy(self)
        other.directory, other.process, other.held = directory, None, HeldPort()
        other.settings = self.settings | {"VB365_HTTP_ADDR": f"127.0.0.1:{other.port}"}
        return other

    # --- the service -------------------------------------------------------------------------------------------------

    def start(self, *, ready: bool = True, **settings: str) -> None:
        """Start the service and wait until it is ready, unless told otherwise."""
        log = (self.directory / "service.log").open("ab")
        environment = clean_environment() | self.settings | settings
        environment.pop("REQUESTS_CA_BUNDLE", None)
        command = [sys.executable, "-m", self.program]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log, stdout=log)
        if ready:
            self.wait_for("ready", lambda: self.get("/readyz") == 200, 20)

    def kill(self) -> None:
        """SIGKILL it."""
        if self.process is not None:
            self.signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM it, and return its exit status."""
        assert self.process is not None
        self.process.terminate()
        status = self.process.wait(PATIENT * 40)
        self.process = None
        return status

    def get(self, path: str) -> int:
        """Return the status of the health port's answer, or 0."""
        try:
            answer = requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENT * 5)
        except requests.RequestException:
            return 0
        self.printed.append(answer.text)
        return answer.status_code

    def metric(self, sample: str) -> float:
        """Return the value of one sample of the metrics, named with its labels; 0 where there is none."""
        if self.get("/metrics") != 200:
            return 0.0
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.printed[-1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    def leads(self) -> bool:
        """Tell whether it says so in its metrics."""
        return self.metric("vb365_leader") == 1

    def log(self) -> str:
        path = self.directory / "service.log"
        return path.read_text() if path.exists() else ""

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the log's lines with this event."""
        whole = (line for line in self.log().splitlines() if f'"event": "{event}"' in line and line.endswith("}"))
        return [line for line in map(json.loads, whole) if line["event"] == event]

    # --- the operator ------------------------------------------------------------------------------------------------

    def vb365(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the command line."""
        environment = clean_environment() | {
            "VAULT_ADDR": self.vault.url, "VAULT_TOKEN": token or self.vault.token, "VB365_MOUNT": self.mount,
            "HOME": str(self.directory), "COLUMNS": "200",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "vault_plugin.cli", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if arguments[0] != "token":
            self.printed.append(done.stdout + done.stderr)
        return done

    def ok(self, *arguments: str) -> str:
        """Run a command that must succeed."""
        done = self.vb365(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def server(self, name: str = "vbr") -> None:
        self.ok("server", "set", name, "--url", self.veeam_server.url, "--ca-file", str(self.ca), "--throttle", "none")

    def tenant(self, name: str = "acme") -> None:
        options = ("--organization", ORGANIZATION, "--authority", self.microsoft_server.url, "--consumer-reread", "1s")
        self.ok("tenant", "set", name, "--server", "vbr", *options)

    def ask_sign_in(self, name: str = "acme") -> str:
        """Ask for a code and return it."""
        printed = self.ok("sign-in", name, "--no-wait")
        found = re.search(r"Enter\s+([A-Z0-9]{9})\b", printed)
        assert found, printed
        return found[1]

    def sign_in(self, name: str = "acme") -> None:
        """Sign in, and wait for the token."""
        self.microsoft.approve(self.ask_sign_in(name), f"admin@{ORGANIZATION}")
        self.wait_for("a token", lambda: self.generation(name) > 0, 15)

    def ask(self, action: str, name: str = "acme") -> None:
        """Post a request, as the command line does, and wait for nothing."""
        path = f"{self.mount}/data/requests/{name}/{uuid.uuid4()}"
        self.vault.api("POST", path, {"options": {"cas": 0}, "data": {"action": action, "reason": "test"}})

    # --- what stands -------------------------------------------------------------------------------------------------

    def wait_for(self, what: str, seen: Callable[[], object], seconds: float) -> None:
        """Wait until it is so; fail if it isn't in a multiple of the time that it takes on a machine with nothing else to do."""
        deadline = time.monotonic() + PATIENT * seconds
        while not seen():
            if time.monotonic() > deadline:
                raise AssertionError(f"no {what} within {PATIENT * seconds:.0f} s\n{self.log()[-3000:]}")
            time.sleep(0.1)

    def document(self, path: str) -> dict[str, Any]:
        return self.vault.document(self.mount, path)

    def generation(self, name: str = "acme") -> int:
        return int(self.document(f"tokens/{name}").get("generation", 0))

    def accepted(self, name: str = "acme") -> bool:
        """Tell whether Veeam accepts what a consumer reads now."""
        return self.veeam.accepts(self.document(f"tokens/{name}").get("access_token", ""))

    def status(self, name: str = "acme") -> dict[str, Any]:
        document = self.document(f"status/{name}")
        self.printed.append(json.dumps(document))
        return document

    def presented_again(self) -> list[str]:
        """Return the refresh tokens (hashed) that Veeam has seen more than once."""
        seen = Counter(p.sha256 for p in self.veeam.presented if p.grant == "refresh_token")
        return [sha for sha, count in seen.items() if count > 1]
