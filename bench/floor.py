"""``python -m bench.floor``: what a rotation costs without us. The same Vault calls and one POST, plain `requests`, no logic.

Each tenant has a connection of its own to Vault and one to Veeam, opened before anything is measured and kept from rotation
to rotation. Reads one JSON object of settings from stdin, then a number of seconds a line; answers each with what it did in
them.
"""

import json
import os
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from bench.documents import refresh_token
from bench.process import cpu_seconds

#: Status is written beside the rotations, as the service does.
STATUS_WRITERS = 2


def session() -> requests.Session:
    """Return a session that holds one connection."""
    made = requests.Session()
    made.mount("http://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
    made.mount("https://", HTTPAdapter(pool_connections=1, pool_maxsize=1))
    made.trust_env = False  # a CA bundle named there would override `verify`
    return made


@dataclass
class Tenant:
    """A name and its two connections, versions and a refresh token, nothing else. One thread has it at a time."""

    name: str
    refresh: str
    vault: requests.Session = field(default_factory=session)
    veeam: requests.Session = field(default_factory=session)
    versions: dict[str, int] = field(default_factory=lambda: {"tokens": 1, "status": 0})


class Floor:
    """The script. A tenant that nobody works for waits in `free`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Open each tenant's connections."""
        self.vault, self.veeam = settings["vault"], settings["veeam"]
        self.documents, self.concurrency = settings["documents"], settings["concurrency"]
        self.free: SimpleQueue[Tenant] = SimpleQueue()
        for name in settings["names"]:
            tenant = Tenant(name, refresh_token(name))
            tenant.vault.headers["X-Vault-Token"] = settings["token"]
            tenant.veeam.verify = settings["ca"]
            self.read(tenant)
            tenant.veeam.get(f"{self.veeam}/v8/health", timeout=10).raise_for_status()
            self.free.put(tenant)

    def read(self, tenant: Tenant) -> int:
        """Read a credential, and return its version."""
        answer = tenant.vault.get(f"{self.vault}/credentials/{tenant.name}", timeout=10)
        answer.raise_for_status()
        return int(answer.json()["data"]["metadata"]["version"])

    def write(self, tenant: Tenant, kind: str, document: str, cas: int) -> int:
        """Write one document."""
        body = {"options": {"cas": cas}, "data": self.documents[document]}
        answer = tenant.vault.post(f"{self.vault}/{kind}/{tenant.name}", json=body, timeout=10)
        answer.raise_for_status()
        return int(answer.json()["data"]["version"])

    def rotate(self, tenant: Tenant) -> None:
        """Read, record, call, store, publish."""
        version = self.write(tenant, "credentials", "started", self.read(tenant))
        form = {"grant_type": "refresh_token", "refresh_token": tenant.refresh, "disable_antiforgery_token": "true"}
        given = tenant.veeam.post(f"{self.veeam}/v8/token", data=form, timeout=10)
        given.raise_for_status()
        tenant.refresh = given.json()["refresh_token"]
        self.write(tenant, "credentials", "credentials", version)
        self.write_latest(tenant, "tokens")

    def write_latest(self, tenant: Tenant, kind: str) -> None:
        """Write a document whose version we know."""
        tenant.versions[kind] = self.write(tenant, kind, kind, tenant.versions[kind])

    def tell(self, tenant: Tenant) -> None:
        """Write the status, and let the tenant go."""
        self.write_latest(tenant, "status")
        self.free.put(tenant)

    def run(self, seconds: float) -> dict[str, float]:
        """Rotate for so long."""
        began, cpu = time.monotonic(), cpu_seconds(os.getpid())
        with ThreadPoolExecutor(STATUS_WRITERS) as writers, ThreadPoolExecutor(self.concurrency) as workers:

            def work(_: int) -> int:
                told: list[Future[None]] = []
                while time.monotonic() - began < seconds:
                    tenant = self.free.get()
                    self.rotate(tenant)
                    told.append(writers.submit(self.tell, tenant))
                for future in told:
                    future.result()
                return len(told)

            rotations = sum(workers.map(work, range(self.concurrency)))
        elapsed = time.monotonic() - began
        return {"rotations": rotations, "seconds": elapsed, "cpu": cpu_seconds(os.getpid()) - cpu}


def main() -> int:
    """Serve the commands."""
    floor = Floor(json.loads(sys.stdin.readline()))
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(floor.run(float(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
