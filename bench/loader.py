"""Writes many documents into a KV mount, fast: nothing is read, nothing is retried."""

import http.client
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from tests.openbao import OpenBao

THREADS = 16

Documents = Iterable[tuple[str, dict[str, Any]]]


def load(bao: OpenBao, mount: str, documents: Documents) -> int:
    """Write each document to its path, which must be absent; return how many there were.

    Raises:
        RuntimeError: OpenBao refused one.
    """
    source, lock = iter(documents), threading.Lock()
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda _: _write(bao, mount, _taken(source, lock)), range(THREADS)))


def _taken(source: Iterator[tuple[str, dict[str, Any]]], lock: threading.Lock) -> Documents:
    while True:
        with lock:
            taken = next(source, None)
        if taken is None:
            return
        yield taken


def _write(bao: OpenBao, mount: str, documents: Documents) -> int:
    parts, written = urlsplit(bao.url), 0
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    headers = {"X-Vault-Token": bao.token, "Content-Type": "application/json"}
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
