"""What every measurement stands on: a real server (``SERVER``), the simulated Veeam, the real service. Each a process."""

import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from bench import documents
from bench.process import cpu_seconds, resident_bytes
from tests.servers.node import VaultServer, clean_environment, fresh_mount
from tests.service.deployment import ROOT, Deployment
from tests.simulators.tls import Authority
from vault_plugin.vault import registration
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.environment import read

LOOK = 0.02
#: Lines of the service's metrics; the value of the first label in the alphabet is the outcome, or the request's kind.
COUNTED = re.compile(
    r'vb365_(?P<name>rotations|vault_requests)_total\{(?:outcome|kind)="(?P<last>[^"]*)".*\} (?P<value>[0-9.e+]+)'
)


@dataclass
class Counters:
    """Calls of attempts by outcome, and requests to Vault by kind."""

    rotations: dict[str, float]
    vault_requests: dict[str, float]


class Veeam:
    """The simulator's process."""

    def __init__(self, directory: Path, names: Iterable[str]) -> None:
        """Start it with a session for each of these names."""
        directory.mkdir()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.simulator", "--dir", str(directory)],
            cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("".join(f"{name}\n" for name in names))
        self._process.stdin.close()
        ready = json.loads(self._process.stdout.readline())
        self.url, self.ca = str(ready["url"]), str(ready["ca"])

    def set(self, **wanted: float) -> None:
        """Change how it answers."""
        requests.post(f"{self.url}/_bench/set", json=wanted, verify=self.ca, timeout=10).raise_for_status()

    def close(self) -> None:
        """Stop it."""
        self._process.terminate()
        self._process.wait(10)


class Measured(Deployment):
    """A mount and its service, with what it has used and counted."""

    @property
    def pid(self) -> int:
        """Return the service's process id."""
        assert self.process is not None
        return self.process.pid

    def cpu(self) -> float:
        """Return the CPU seconds that the service has used."""
        return cpu_seconds(self.pid)

    def memory(self) -> int:
        """Return the bytes that the service holds."""
        return resident_bytes(self.pid)

    def start_timed(self, seconds: float = 120) -> float:
        """Start the service; return how long it took until it said that it is ready."""
        began = time.monotonic()
        self.start(ready=False)
        while self.get("/readyz") != requests.codes.ok:
            if time.monotonic() - began > seconds:
                raise RuntimeError(f"not ready: {self.log()[-2000:]}")
            time.sleep(LOOK)
        return time.monotonic() - began

    def counters(self) -> Counters:
        """Return what the service has counted, all of one moment."""
        text = requests.get(f"http://127.0.0.1:{self.port}/metrics", timeout=10).text
        counters = Counters(defaultdict(float), {})
        for line in text.splitlines():
            found = COUNTED.fullmatch(line)
            if found and found["name"] == "rotations":
                counters.rotations[found["last"]] += float(found["value"])
            elif found:
                counters.vault_requests[found["last"]] = float(found["value"])
        return counters

    def rotations(self) -> float:
        """Return how many calls brought a pair."""
        return self.counters().rotations["accepted"]


class Stage:
    """The server under test and the simulated Veeam; deployments are made on it."""

    def __init__(self, directory: Path, names: Iterable[str]) -> None:
        """Start both; the simulator knows a session for each of these names."""
        self.directory = directory
        self.authority = Authority(directory)
        self.vault = VaultServer(directory / "vault")
        self.veeam = Veeam(directory / "veeam", names)
        self._deployments: list[Measured] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for deployment in self._deployments:
            deployment.close()
        self.veeam.close()
        self.vault.stop()

    def deployment(self) -> Measured:
        """Return a service's mount, registered; the service isn't started."""
        mount = fresh_mount()
        connection = Connection(read({"VAULT_ADDR": self.vault.url, "VAULT_TOKEN": self.vault.token}))
        registration.apply(connection, registration.Plan(mount=mount))
        connection.close()
        directory = self.directory / mount
        directory.mkdir()
        made = Measured(self.vault, mount, self.authority, directory)
        made.settings["VB365_LOG_LEVEL"] = "info"
        self._deployments.append(made)
        return made

    def plain_mount(self) -> str:
        """Return a KV v2 mount with the settings of ours, in which nobody lives."""
        mount = fresh_mount()
        self.vault.api("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})
        self.wait_for_mount(mount)
        self.vault.api("POST", f"{mount}/config", {"max_versions": 2, "cas_required": True})
        return mount

    def wait_for_mount(self, mount: str) -> None:
        """Wait until a new KV v2 mount has set itself up."""
        for _ in range(500):
            if self.vault.request("GET", f"{mount}/config").ok:
                return
            time.sleep(LOOK)
        raise RuntimeError(f"{mount} doesn't get ready")

    def server(self) -> dict[str, Any]:
        """Return the document of a server that is the simulator."""
        return documents.server(self.veeam.url, Path(self.veeam.ca).read_text()).to_vault()
