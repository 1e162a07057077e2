"""``python -m bench.floor``: what a rotation costs without us. The same Vault calls and one POST, plain `requests`, no logic.

Reads one JSON object of settings from stdin, then a number of seconds a line; answers each with what it did in them.
"""

import json
import os
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from bench.documents import refresh_token
from bench.process import cpu_seconds

#: Status is written beside the rotations, as the service does.
STATUS_WRITERS = 2


@dataclass
class Floor:
    """The script's state: versions and refresh tokens, nothing else."""

    vault: str
    token: str
    veeam: str
    ca: str
    documents: dict[str, Any]
    names: deque[str]
    versions: dict[str, int] = field(default_factory=dict)
    refresh: dict[str, str] = field(default_factory=dict)
    local: threading.local = field(default_factory=threading.local)

    @property
    def session(self) -> requests.Session:
        """Return this thread's session."""
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
            self.local.session.headers["X-Vault-Token"] = self.token
            self.local.veeam = requests.Session()
            self.local.veeam.verify = self.ca
            self.local.session.trust_env = self.local.veeam.trust_env = False  # a CA bundle named there would override `verify`
        session: requests.Session = self.local.session
        return session

    def write(self, path: str, document: str, cas: int) -> int:
        """Write one document."""
        body = {"options": {"cas": cas}, "data": self.documents[document]}
        answer = self.session.post(f"{self.vault}/{path}", json=body, timeout=10)
        answer.raise_for_status()
        return int(answer.json()["data"]["version"])

    def rotate(self, name: str) -> None:
        """Read, record, call, store, publish."""
        answer = self.session.get(f"{self.vault}/credentials/{name}", timeout=10)
        version = answer.json()["data"]["metadata"]["version"]
        version = self.write(f"credentials/{name}", "started", version)
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.refresh.get(name) or refresh_token(name),
            "disable_antiforgery_token": "true",
        }
        given = self.local.veeam.post(f"{self.veeam}/v8/token", data=form, timeout=10)
        given.raise_for_status()
        self.refresh[name] = given.json()["refresh_token"]
        self.write(f"credentials/{name}", "credentials", version)
        self.write_latest("tokens", name)

    def write_latest(self, kind: str, name: str) -> None:
        """Write a document whose version we know."""
        path = f"{kind}/{name}"
        self.versions[path] = self.write(path, kind, self.versions.get(path, 1 if kind == "tokens" else 0))

    def run(self, seconds: float, concurrency: int) -> dict[str, float]:
        """Rotate for so long."""
        began, cpu = time.monotonic(), cpu_seconds(os.getpid())
        with ThreadPoolExecutor(STATUS_WRITERS) as writers, ThreadPoolExecutor(concurrency) as workers:

            def work(_: int) -> int:
                told: list[Future[None]] = []
                while time.monotonic() - began < seconds:
                    name = self.names.popleft()
                    self.rotate(name)
                    told.append(writers.submit(self.write_latest, "status", name))
                    self.names.append(name)
                for future in told:
                    future.result()
                return len(told)

            rotations = sum(workers.map(work, range(concurrency)))
        elapsed = time.monotonic() - began
        return {"rotations": rotations, "seconds": elapsed, "cpu": cpu_seconds(os.getpid()) - cpu}


def main() -> int:
    """Serve the commands."""
    settings = json.loads(sys.stdin.readline())
    floor = Floor(
        vault=settings["vault"],
        token=settings["token"],
        veeam=settings["veeam"],
        ca=settings["ca"],
        documents=settings["documents"],
        names=deque(settings["names"]),
    )
    for line in iter(sys.stdin.readline, ""):
        print(json.dumps(floor.run(float(line), settings["concurrency"])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
