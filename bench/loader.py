"""Writes many documents into a KV mount, fast: nothing is read, nothing is retried."""

import http.client
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from tests.servers.node import VaultServer

THREADS = 16

Documents = Iterable[tuple[str, dict[str, Any]]]


def load(vault: VaultServer, mount: str, documents: Documents) -> int:
    """Write each document to its path, which must be absent; return how many there were.

    Raises:
        RuntimeError: the server refused one.
    """
    source, lock = iter(documents), threading.Lock()
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda _: _write(vault, mount, _taken(source, lock)), range(THREADS)))


def _taken(source: Iterator[tuple[str, dict[str, Any]]], lock: threading.Lock) -> Documents:
    while True:
        with lock:
            taken = next(source, None)
        if taken is None:
            return
        yield taken


def _write(vault: VaultServer, mount: str, documents: Documents) -> int:
    parts, written = urlsplit(vault.url), 0
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"X-Vault-Token": vault.token, "Content-Type": "application/json"}
    for path, content in documents:
        body = json.dumps({"options": {"cas": 0}, "data": content})
        connection.request("POST", f"/v1/{mount}/data/{path}", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise RuntimeError(f"writing {path}: {answer.status}")
        written += 1
    connection.close()
    return written
