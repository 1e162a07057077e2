"""The processes of the demo, each started with what it needs and stopped by its own process id."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import requests

from tests.agent import Agent
from tests.servers.node import VaultServer, clean_environment
from tests.simulators.sockets import HeldPort

ROOT = Path(__file__).resolve().parent.parent


class Stage:
    """The server, the simulators, and a place for the service."""

    def __init__(self, directory: Path, *, token_life: int, organization: str) -> None:
        """Start the server and the simulators."""
        self.directory = directory
        self._service: subprocess.Popen[bytes] | None = None
        self._port = HeldPort()
        self.http = f"127.0.0.1:{self._port.number}"
        self.vault = VaultServer(directory / "vault")
        command = [sys.executable, "-m", "tests.simulators", "--dir", str(directory / "simulators"), "--interval", "1"]
        command += ["--token-life", str(token_life), "--organization", organization]
        self._simulators = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=clean_environment())
        line = self._simulators.stdout.readline() if self._simulators.stdout else ""
        if not line:
            self.close()
            raise RuntimeError("the simulators didn't start")
        ready = json.loads(line)
        self.microsoft, self.veeam, self.ca = ready["microsoft"], ready["veeam"], ready["ca"]

    def close(self) -> None:
        """Stop everything."""
        if self._service is not None:
            self.stop_service()
        self._simulators.terminate()
        self._simulators.wait(10)
        self.vault.stop()
        self._port.close()

    # --- the operator ------------------------------------------------------------------------------------------------

    def vb365(self, *arguments: str, show: bool = True) -> str:
        """Run the command line as the root operator; print what it prints.

        Raises:
            RuntimeError: it failed.
        """
        print(f"   $ vb365 {' '.join(_short(word) for word in arguments)}", flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "vault_plugin.cli", *arguments],
            cwd=ROOT, env=self._operator(), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        for line in (done.stdout + done.stderr).splitlines() if show else ():
            print(f"     {line}", flush=True)
        if done.returncode:
            raise RuntimeError(f"vb365 {' '.join(arguments[:3])} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def register(self) -> None:
        """Register, and hand the service its role id and secret id."""
        made = json.loads(
            self.vb365("--format", "json", "register", "--auth", "approle", "--enable-auth", "--no-wrap", "--consumer", "acme",
                       show=False)
        )  # fmt: skip
        for result in made["results"]:
            print(f"     {result['outcome']:9} {result['object']}")
        self._role_id = made["role_id"]
        secret = self.directory / "secret-id"
        secret.touch(mode=0o600)
        secret.write_text(made["secret_id"])

    def sign_in(self, tenant: str, *, approve: bool) -> None:
        """Run ``vb365 sign-in`` and, if asked to, click on the simulator's page."""
        command = [sys.executable, "-m", "vault_plugin.cli", "sign-in", tenant, "--reason", "demo"]
        print(f"   $ vb365 sign-in {tenant} --reason demo", flush=True)
        process = subprocess.Popen(
            command, cwd=ROOT, env=self._operator(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        code = ""
        for line in process.stdout or ():
            print(f"     {line.rstrip()}", flush=True)
            found = re.search(r"Enter\s+([A-Z0-9]{8,9})\b", line)
            if found and not code:
                code = found[1]
                if approve:
                    self._click(code)
        if process.wait(30):
            raise RuntimeError(f"vb365 sign-in ended with {process.returncode}")

    def _click(self, code: str) -> None:
        form = {"user_code": code, "account": "admin@contoso.onmicrosoft.com", "do": "approve"}
        answer = requests.post(f"{self.microsoft}/device", data=form, verify=self.ca, timeout=10)
        if "Signed in" not in answer.text:
            raise RuntimeError("the simulator's page refused the code")

    def _operator(self) -> dict[str, str]:
        columns = {"COLUMNS": os.environ.get("COLUMNS", "140"), "HOME": str(self.directory)}
        return clean_environment() | columns | {"VAULT_ADDR": self.vault.url, "VAULT_TOKEN": self.vault.token}

    # --- the service -------------------------------------------------------------------------------------------------

    def start_service(self) -> None:
        """Start the service and wait until it is ready."""
        environment = clean_environment() | {
            "VAULT_ADDR": self.vault.url,
            "VB365_VAULT_AUTH": "approle",
            "VB365_VAULT_ROLE_ID": self._role_id,
            "VB365_VAULT_SECRET_ID_FILE": str(self.directory / "secret-id"),
            "VB365_AUTHORITIES": self.microsoft,
            "VB365_CA_BUNDLE": self.ca,
            "VB365_HTTP_ADDR": self.http,
        }
        log = (self.directory / "service.log").open("ab")
        self._service = subprocess.Popen([sys.executable, "-m", "scheduler"], cwd=ROOT, env=environment, stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self._service.poll() is None:
            try:
                if requests.get(f"http://{self.http}/readyz", timeout=2).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise RuntimeError(f"the service isn't ready:\n{(self.directory / 'service.log').read_text()[-2000:]}")

    def kill_service(self) -> None:
        """SIGKILL it."""
        if self._service is not None:
            self._service.send_signal(signal.SIGKILL)
            self._service.wait()
            self._service = None

    def stop_service(self) -> int:
        """SIGTERM it and return its exit status."""
        if self._service is None:
            return 0
        self._service.terminate()
        status = self._service.wait(40)
        self._service = None
        return status

    # --- the consumer, and what was seen -----------------------------------------------------------------------------

    def consumer(self, tenant: str) -> Agent:
        """Start an agent of the server's that renders this tenant's token into a file."""
        # An agent looks its own token up: the default policy allows that, and nothing in this mount.
        self._consumer_token = self.vault.token_for(f"vb365-consumer-{tenant}", no_default_policy=False)
        return Agent(self.directory / "consumer", self.vault.url, self._consumer_token, f"vb365/data/tokens/{tenant}")

    def accepted(self, access_token: str) -> bool:
        """Ask VB365 (the simulator) whether it would serve this token now."""
        answer = requests.post(f"{self.veeam}/_sim/accepts", json={"access_token": access_token}, verify=self.ca, timeout=10)
        return bool(answer.json()["accepted"])

    def presented_twice(self) -> int:
        """Return how many refresh tokens VB365 has seen more than once."""
        presented = requests.get(f"{self.veeam}/_sim/state", verify=self.ca, timeout=10).json()["presented"]
        counts = Counter(entry["sha256"] for entry in presented if entry["grant"] == "refresh_token")
        return sum(count > 1 for count in counts.values())

    def denied(self, tenant: str) -> list[str]:
        """Return the paths beside its own that the consumer's token can read: none, if all is well."""
        paths = [f"{kind}/{tenant}" for kind in ("credentials", "sign-ins", "status", "prompts", "tenants")]
        paths += ["servers/vbr1", "tokens/globex"]
        return [
            path
            for path in paths
            if self.vault.request("GET", f"vb365/data/{path}", token=self._consumer_token).status_code != 403
        ]


def _short(word: str) -> str:
    return word if len(word) < 60 else f"{word[:20]}…{hashlib.sha256(word.encode()).hexdigest()[:6]}"
