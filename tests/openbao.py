"""The real OpenBao server and agent of the development environment, on free loopback ports, stopped by their own process id."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import requests


def binary() -> str:
    """Return the path of ``bao``: beside this Python, or on the PATH.

    Raises:
        RuntimeError: there is none; run ``make dev``.
    """
    found = shutil.which("bao", path=str(Path(sys.executable).parent)) or shutil.which("bao")
    if found is None:
        raise RuntimeError("bao isn't installed: make dev")
    return found


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would point at another Vault or configure our service."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "VB365_"))}


class OpenBao:
    """A server of one node, initialised and unsealed, with storage that survives `restart`."""

    def __init__(self, directory: Path) -> None:
        """Write the configuration and start."""
        self.directory = directory
        (directory / "data").mkdir(parents=True, exist_ok=True)
        self.port, self.cluster_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self._key = ""
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "storage": {"raft": {"path": str(directory / "data"), "node_id": "a", "performance_multiplier": 1}},
            "listener": {
                "tcp": {
                    "address": f"127.0.0.1:{self.port}",
                    "cluster_address": f"127.0.0.1:{self.cluster_port}",
                    "tls_disable": True,
                }
            },
            "api_addr": self.url,
            "cluster_addr": f"https://127.0.0.1:{self.cluster_port}",
            "ui": False,
        }
        (directory / "config.json").write_text(json.dumps(config))
        self.start()
        keys = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self._key, self.token = keys["keys_base64"][0], keys["root_token"]
        self.unseal()

    # --- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process and wait until it answers (sealed, if it was initialised before)."""
        log = (self.directory / "server.log").open("ab")
        command = [binary(), "server", f"-config={self.directory / 'config.json'}"]
        self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment())
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                requests.get(f"{self.url}/v1/sys/seal-status", timeout=1)
            except requests.RequestException:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError((self.directory / "server.log").read_text()[-2000:])

    def unseal(self) -> None:
        """Unseal, and wait until it serves."""
        self.api("PUT", "sys/unseal", {"key": self._key})
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if requests.get(f"{self.url}/v1/sys/health", timeout=5).status_code == 200:
                return
            time.sleep(0.05)
        raise RuntimeError("OpenBao doesn't get active")

    def seal(self) -> None:
        """Seal it."""
        self.api("PUT", "sys/seal")

    def kill(self) -> None:
        """SIGKILL the process."""
        self._signal(signal.SIGKILL)

    def stop(self) -> None:
        """Stop the process."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    # --- use ---------------------------------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: object = None, token: str | None = None, **headers: str
    ) -> requests.Response:
        """Send one request, as root unless told otherwise."""
        return requests.request(
            method,
            f"{self.url}/v1/{path}",
            json=body,
            headers={"X-Vault-Token": self.token if token is None else token, **headers},
            timeout=15,
        )

    def api(self, method: str, path: str, body: object = None, token: str | None = None) -> dict[str, Any]:
        """Send one request that must succeed."""
        answer = self.request(method, path, body, token)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        return dict(answer.json()) if answer.content else {}

    def token_for(self, *policies: str, **more: object) -> str:
        """Return a token with these policies and without the default one."""
        body = {"policies": list(policies), "no_default_policy": True, "no_parent": True, **more}
        return str(self.api("POST", "auth/token/create", body)["auth"]["client_token"])

    def cli(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``bao`` against this server."""
        environment = self._environment() | {"BAO_ADDR": self.url, "BAO_TOKEN": self.token if token is None else token}
        return subprocess.run([binary(), *arguments], capture_output=True, text=True, env=environment, timeout=30, check=False)

    def document(self, mount: str, path: str) -> dict[str, Any]:
        """Return what stands at a path of a KV v2 mount, or an empty object."""
        answer = self.request("GET", f"{mount}/data/{path}")
        return dict(answer.json()["data"]["data"] or {}) if answer.ok else {}

    def _environment(self) -> dict[str, str]:
        return clean_environment() | {"HOME": str(self.directory)}


def fresh_mount() -> str:
    """Return a name for a mount of a test's own."""
    return f"m{secrets.token_hex(4)}"
