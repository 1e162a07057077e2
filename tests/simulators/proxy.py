"""A proxy as companies have one: it opens a tunnel for ``CONNECT``, and sees nothing of what goes through."""

import contextlib
import socket
import ssl
import threading
from typing import Any

from tests.simulators.sockets import hang_up, pump, read_request


class TunnelProxy:
    """Listens on a loopback port; `tunnels` lists the addresses that were asked for."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """Listen; with `tls`, clients speak TLS to the proxy itself."""
        self.tunnels: list[str] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Listen no more; tunnels end with their clients."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, too
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: Any) -> None:
        if self._tls is not None:
            try:
                client = self._tls.wrap_socket(client, server_side=True)
            except OSError:
                return
        with client, client.makefile("rb") as stream:
            method, address = read_request(stream)
            if method != "CONNECT":
                client.sendall(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                hang_up(client)
                return
            self.tunnels.append(address)
            host, _, port = address.rpartition(":")
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                hang_up(client)
                return
            with server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=pump, args=(server, client), daemon=True)
                back.start()
                pump(client, server)
                back.join()
