"""What consumers get: reads of ``tokens/NAME`` beside reads of the same content in a plain KV mount."""

import http.client
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from bench import loader
from bench.report import Table, percentile, spread
from bench.stage import Measured, Stage

THREADS = 4


def measure(stage: Stage, deployment: Measured, name: str, rounds: int, seconds: float) -> list[Table]:
    """Take turns: the token as a consumer reads it, and the same content elsewhere."""
    plain, path = stage.plain_mount(), f"tokens/{name}"
    loader.load(stage.vault, plain, [(path, deployment.document(path))])
    stage.vault.api(
        "PUT", f"sys/policies/acl/{plain}", {"policy": f'path "{plain}/data/tokens/*" {{ capabilities = ["read"] }}'}
    )
    readers = {
        "tokens/NAME": (deployment.mount, stage.vault.token_for(f"{deployment.mount}-consumer")),
        "plain KV": (plain, stage.vault.token_for(plain)),
    }
    seen: dict[str, list[list[float]]] = {what: [] for what in readers}
    for _ in range(rounds):
        for what, (mount, token) in readers.items():
            seen[what].append(_read(stage.vault.url, f"{mount}/data/{path}", token, seconds))
    table = Table(f"Consumers, {THREADS} at once", ("what", "reads/s", "median ms", "99th percentile ms"))
    for what, samples in seen.items():
        table.add(
            what,
            spread([len(times) / seconds for times in samples], 0),
            spread([statistics.median(times) * 1000 for times in samples], 2),
            spread([percentile(times, 0.99) * 1000 for times in samples], 2),
        )
    return [table]


def _read(url: str, path: str, token: str, seconds: float) -> list[float]:
    """Read for so long with all threads; return what each read took."""
    until = time.monotonic() + seconds

    def reader(_: int) -> list[float]:
        parts, times = urlsplit(url), []
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=10)
        while (began := time.monotonic()) < until:
            connection.request("GET", f"/v1/{path}", headers={"X-Vault-Token": token})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.client.OK or b"access_token" not in content:
                raise RuntimeError(f"reading {path}: {answer.status}")
            times.append(time.monotonic() - began)
        connection.close()
        return times

    with ThreadPoolExecutor(THREADS) as readers:
        return [took for times in readers.map(reader, range(THREADS)) for took in times]
