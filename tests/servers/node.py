"""The real server under test, OpenBao or HashiCorp Vault, on free loopback ports, stopped by its own process id."""

import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.servers.binary import binary, server

#: Statuses of ``sys/health``.
ACTIVE = 200
SERVING = {ACTIVE, 429, 473}
SEALED = {503, 501}


def free_port() -> int:
    """Return a port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would point at another Vault or configure our service."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("VAULT_", "BAO_", "VB365_"))}


@dataclass(frozen=True)
class Person:
    """Somebody whom Vault knows."""

    token: str
    entity: str


class Client:
    """Speaks to `url` as root unless told otherwise. `directory` is the home of whatever is run."""

    url: str
    token: str
    directory: Path

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

    def person(self, name: str, *policies: str) -> Person:
        """Return somebody new who logs in by a password, and has these policies without the default one."""
        self.request("POST", "sys/auth/userpass", {"type": "userpass"})  # refused where it is enabled
        user = {"password": "open", "token_policies": list(policies), "token_no_default_policy": True}
        self.api("POST", f"auth/userpass/users/{name}", user)
        auth = self.api("POST", f"auth/userpass/login/{name}", {"password": "open"})["auth"]
        return Person(auth["client_token"], auth["entity_id"])

    def cli(self, *arguments: str, token: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run the server's own command line against it."""
        environment = self._environment() | {"VAULT_ADDR": self.url, "VAULT_TOKEN": self.token if token is None else token}
        return subprocess.run([binary(), *arguments], capture_output=True, text=True, env=environment, timeout=30, check=False)

    def document(self, mount: str, path: str) -> dict[str, Any]:
        """Return what stands at a path of a KV v2 mount, or an empty object."""
        answer = self.request("GET", f"{mount}/data/{path}")
        return dict(answer.json()["data"]["data"] or {}) if answer.ok else {}

    def _environment(self) -> dict[str, str]:
        return clean_environment() | {"HOME": str(self.directory)}


class Node(Client):
    """One server process with storage that survives it, sealed and not initialised. `peers` are nodes to join."""

    def __init__(self, directory: Path, name: str = "a", peers: Sequence["Node"] = ()) -> None:
        """Write the configuration and start."""
        self.directory, self.name = directory, name
        (directory / "data").mkdir(parents=True, exist_ok=True)
        self.port, self.cluster_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token, self.key = "", ""
        self._process: subprocess.Popen[bytes] | None = None
        raft: dict[str, object] = {"path": str(directory / "data"), "node_id": name, "performance_multiplier": 1}
        raft["max_entry_size"] = 8 << 20  # other storages take documents that are larger than raft's default, too
        if peers:
            raft["retry_join"] = [{"leader_api_addr": peer.url} for peer in peers]
        config: dict[str, object] = {
            "storage": {"raft": raft},
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
        if server() == "vault":
            config["disable_mlock"] = True  # with raft it wants to be told; OpenBao doesn't know it
        (directory / "config.json").write_text(json.dumps(config))
        self.start()

    def initialise(self) -> None:
        """Make it the first of its cluster, and unseal it."""
        keys = self.api("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        self.key, self.token = keys["keys_base64"][0], keys["root_token"]
        self.unseal({ACTIVE})

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

    def unseal(self, until: Collection[int] = SERVING) -> None:
        """Unseal, and wait until its health is one of these: by default until it leads or stands by."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self.health() in SEALED:  # a joining node takes the key only when it knows its cluster
                self.request("PUT", "sys/unseal", {"key": self.key})
            if self.health() in until:
                return
            time.sleep(0.05)
        raise RuntimeError(f"node {self.name} doesn't serve")

    def health(self, seconds: float = 5) -> int:
        """Return the status of ``sys/health``, or 0 without an answer in so many seconds."""
        try:
            return requests.get(f"{self.url}/v1/sys/health", timeout=seconds).status_code
        except requests.RequestException:
            return 0

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


class VaultServer(Node):
    """A server of one node, initialised and unsealed, with storage that survives a restart."""

    def __init__(self, directory: Path) -> None:
        """Start, initialise and unseal."""
        super().__init__(directory)
        self.initialise()

    def unseal(self, until: Collection[int] = (ACTIVE,)) -> None:
        """Unseal, and wait until it leads: there is nobody else."""
        super().unseal(until)


class Cluster(Client):
    """Three nodes with raft storage. What it is asked for itself goes to the node that leads."""

    def __init__(self, directory: Path) -> None:
        """Start the nodes; the first is initialised, the others join it."""
        self.directory = directory
        self.nodes: list[Node] = []
        try:
            self._form()
        except BaseException:
            self.stop()
            raise

    def _form(self) -> None:
        first = Node(self.directory / "a", "a")
        self.nodes.append(first)
        first.initialise()
        self.token = first.token
        quick = {"server_stabilization_time": "1s"}  # a node that joined may vote so long after
        first.api("POST", "sys/storage/raft/autopilot/configuration", quick)
        for name in ("b", "c"):
            node = Node(self.directory / name, name, tuple(self.nodes))
            self.nodes.append(node)
            node.key, node.token = first.key, first.token
            node.unseal()
        self.wait_for_voters(3)

    @property
    def url(self) -> str:  # type: ignore[override]  # the leader moves
        """Return the address of the node that leads."""
        return self.leader().url

    def find_leader(self) -> Node | None:
        """Return the node that says that it leads, or None while there is none."""
        return next((node for node in self.nodes if node.health() == ACTIVE), None)

    def leader(self, seconds: float = 30) -> Node:
        """Return the node that leads, once there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.find_leader()
            if found is not None:
                return found
            time.sleep(0.1)
        raise RuntimeError("no node leads")

    def wait_for_voters(self, count: int) -> None:
        """Wait until so many nodes may vote: only then does losing one not matter."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            servers = self.api("GET", "sys/storage/raft/configuration")["data"]["config"]["servers"]
            if sum(server["voter"] for server in servers) == count:
                return
            time.sleep(0.2)
        raise RuntimeError(f"fewer than {count} nodes vote")

    def seal(self) -> None:
        """Seal the node that leads."""
        self.leader().seal()

    def unseal(self) -> None:
        """Unseal every node that runs and is sealed."""
        for node in self.nodes:
            if node.health() in SEALED:
                node.unseal()

    def stop(self) -> None:
        """Stop every node."""
        for node in self.nodes:
            node.stop()


def fresh_mount() -> str:
    """Return a name for a mount of a test's own."""
    return f"m{secrets.token_hex(4)}"
