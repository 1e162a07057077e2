"""Where the requests of docs/servers.md go: to the server under test, or to a proxy before it; and what came back."""

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.servers.node import Node, VaultServer, fresh_mount

FORWARD = {"X-Vault-Inconsistent": "forward-active-node"}


@dataclass(frozen=True)
class Said:
    """An answer. `headers` have names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @cached_property
    def content(self) -> dict[str, Any]:
        """Return the JSON object, or an empty one."""
        try:
            content = json.loads(self.body)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def under(self, path: str) -> object:
        """Return what stands under a dotted path of the JSON.

        Raises:
            KeyError: nothing does.
        """
        found: Any = self.content
        for name in path.split("."):
            if not isinstance(found, dict):
                raise KeyError(path)
            found = found[name]
        return found


class Others:
    """Servers of their own for the rows that seal one or ask a standby, started when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._nodes: list[Node] = []

    @cached_property
    def sealed(self) -> Node:
        """Return a sealed one."""
        server = VaultServer(self._directory / "sealed")
        self._nodes.append(server)
        server.seal()
        return server

    @cached_property
    def pair(self) -> tuple[Node, Node]:
        """Return one that leads, and its standby."""
        leader = Node(self._directory / "leader", "a")
        self._nodes.append(leader)
        leader.initialise()
        standby = Node(self._directory / "standby", "b", (leader,))
        self._nodes.append(standby)
        standby.key, standby.token = leader.key, leader.token
        standby.unseal((429,))
        leader.api("POST", "sys/mounts/shared", {"type": "kv"})
        _until_done(lambda: "no handler" not in standby.request("GET", "shared/none").text)
        return leader, standby

    def stop(self) -> None:
        """Stop them."""
        for node in self._nodes:
            node.stop()


class Place:
    """A KV v2 mount of a row's own, as ``vb365 register`` makes it. What is asked goes to `url`; what prepares it, to `server`."""

    def __init__(self, server: VaultServer, url: str, others: Others) -> None:
        self.server, self.others, self._url = server, others, url
        self.mount = fresh_mount()
        server.api("POST", f"sys/mounts/{self.mount}", {"type": "kv", "options": {"version": "2"}})
        _until_done(lambda: server.request("POST", f"{self.mount}/config", {"cas_required": True, "max_versions": 3}).ok)

    def ask(
        self, method: str, path: str, body: object = None, *, token: str | None = None, url: str = "", **headers: str
    ) -> Said:
        """Send one request as it is given, as root unless told otherwise; a `body` of bytes goes as it is."""
        parts = urlsplit(url or self._url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        whose = self.server.token if token is None else token
        sent = {"Content-Type": "application/json"} | ({"X-Vault-Token": whose} if whose else {}) | headers
        try:
            connection.request(method, f"/v1/{path}", content, sent)
            answer = connection.getresponse()
            return Said(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def write(self, path: str, content: object, *, cas: int | None = None, **headers: str) -> Said:
        """Write a document."""
        options = {} if cas is None else {"options": {"cas": cas}}
        return self.ask("POST", f"{self.mount}/data/{path}", options | {"data": content}, **headers)

    def read(self, path: str, **headers: str) -> Said:
        """Read a document."""
        return self.ask("GET", f"{self.mount}/data/{path}", **headers)

    def prepare(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Do what must be done before; it must succeed."""
        return self.server.api(method, path, body)

    def stands(self, path: str = "a") -> None:
        """See that a document of version 1 stands there."""
        self.prepare("POST", f"{self.mount}/data/{path}", {"options": {"cas": 0}, "data": {"is": path}})

    def role(self, **more: object) -> tuple[str, str, str]:
        """Return an AppRole mount, and the ids of its role."""
        at = f"approle-{self.mount}"
        self.prepare("POST", f"sys/auth/{at}", {"type": "approle"})
        self.prepare("POST", f"auth/{at}/role/r", {"token_no_default_policy": True, "token_policies": [], **more})
        role_id = self.prepare("GET", f"auth/{at}/role/r/role-id")["data"]["role_id"]
        secret_id = self.prepare("POST", f"auth/{at}/role/r/secret-id", {})["data"]["secret_id"]
        return at, role_id, secret_id


def _until_done(done: Callable[[], bool], times: int = 50) -> None:
    """Try until it is done; OpenBao makes a new mount ready in its own time, and at a standby later."""
    for _ in range(times):
        if done():
            return
        time.sleep(0.1)
    raise RuntimeError("a new mount doesn't become ready")
