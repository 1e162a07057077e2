"""A TCP load balancer before a cluster, as operators run one: it asks each node's health and sends only to healthy nodes."""

import contextlib
import itertools
import socket
import threading
from collections.abc import Collection, Sequence

from tests.servers.node import Node
from tests.simulators.sockets import pump


class Balancer:
    """Spreads connections in turn over the nodes whose ``sys/health`` answers one of `healthy`, asked twice a second.

    With 200 alone that is the node that leads; with 429 and 473 the standbys too. When a node stops being healthy its
    connections are cut. A connection that finds no healthy node is closed at once.
    """

    def __init__(self, nodes: Sequence[Node], healthy: Collection[int] = (200,)) -> None:
        """Listen, and wait for the first round of health checks."""
        self._nodes, self._healthy = nodes, healthy
        self._up: list[Node] = []
        self._turn = itertools.count()
        self._pipes: dict[str, set[socket.socket]] = {node.name: set() for node in nodes}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._look()
        for work in (self._watch, self._accept):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Stop, and cut every connection."""
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, too: else it would take one more connection
        self._listener.close()
        for node in self._nodes:
            self._cut(node)

    def up(self) -> list[str]:
        """Return the names of the healthy nodes."""
        return [node.name for node in self._up]

    def _watch(self) -> None:
        while not self._over.wait(0.5):
            self._look()

    def _look(self) -> None:
        up = [node for node in self._nodes if node.health(1.0) in self._healthy]
        gone = [node for node in self._up if node not in up]
        self._up = up
        for node in gone:
            self._cut(node)

    def _cut(self, node: Node) -> None:
        with self._lock:
            pipes, self._pipes[node.name] = self._pipes[node.name], set()
        for end in pipes:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            up = self._up
            node = up[next(self._turn) % len(up)] if up else None
            threading.Thread(target=self._serve, args=(client, node), daemon=True).start()

    def _serve(self, client: socket.socket, node: Node | None) -> None:
        """Pass bytes both ways until either side ends."""
        with client:
            if node is None:
                return
            try:
                server = socket.create_connection(("127.0.0.1", node.port), timeout=2)
            except OSError:
                return
            server.settimeout(None)
            with server:
                with self._lock:
                    self._pipes[node.name] |= {client, server}
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()
                with self._lock:
                    self._pipes[node.name] -= {client, server}
