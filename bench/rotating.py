"""Rotations per second and CPU per rotation, beside the floor; Vault requests per rotation and per failed try."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from bench import documents, loader
from bench.report import Table, spread, verdict
from bench.stage import Measured, Stage
from tests.servers.node import clean_environment
from tests.service.deployment import ROOT
from vault_plugin.core.lanes import IN_FLIGHT

SERVERS = 4
CONCURRENCY = SERVERS * IN_FLIGHT
#: A token of LIFE seconds is due after a third of it, and none is reached again before it has expired: somebody is always due,
#: and calls have the server's own timeouts.
TENANTS = 200
LIFE = 3
NAMES = [f"turn-{number:03}" for number in range(TENANTS)]
FLOOR_NAMES = [f"floor-{number:03}" for number in range(TENANTS)]
ALL_NAMES = (*NAMES, *FLOOR_NAMES)
#: The floor holds two connections a tenant; Veeam's end of them and of as many of the service's is in one process.
OPEN_FILES = 2 * TENANTS + 256
DELAYS = (0, 100)
AT_LEAST = {0: 0.7, 100: 0.9}
SETTLE = 1.0


@dataclass
class Round:
    """What one of the two did in one stretch of time."""

    rate: float
    cpu_ms: float
    requests: dict[str, float] = field(default_factory=dict)


class FloorProcess:
    """The floor's process, which keeps each tenant's connections from round to round."""

    def __init__(self, stage: Stage, mount: str, samples: dict[str, Any]) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.floor"],
            cwd=ROOT, env=clean_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        settings = {
            "vault": f"{stage.vault.url}/v1/{mount}/data",
            "token": stage.vault.token,
            "veeam": stage.veeam.url,
            "ca": stage.veeam.ca,
            "documents": samples,
            "names": FLOOR_NAMES,
            "concurrency": CONCURRENCY,
        }
        self._send(json.dumps(settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)

    def run(self, seconds: float) -> Round:
        """Let it rotate for so long."""
        assert self._process.stdout is not None
        self._send(str(seconds))
        did = json.loads(self._process.stdout.readline())
        return Round(did["rotations"] / did["seconds"], did["cpu"] / did["rotations"] * 1000)

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()


def prepare(stage: Stage) -> tuple[Measured, str]:
    """Write what both need; return the service's deployment and the floor's mount."""
    deployment, mount, now = stage.deployment(), stage.plain_mount(), datetime.now(UTC)
    stage.veeam.set(token_life=LIFE, delay=0)
    loader.load(stage.vault, deployment.mount, ((f"servers/s{number}", stage.server()) for number in range(SERVERS)))
    for each, names in ((deployment.mount, NAMES), (mount, FLOOR_NAMES)):
        loader.load(stage.vault, each, _seeds(names, now))
    return deployment, mount


def _seeds(names: list[str], now: datetime) -> loader.Documents:
    for number, name in enumerate(names):
        yield from documents.tenant(name, f"s{number % SERVERS}", now, due=True)


def samples(deployment: Measured) -> dict[str, Any]:
    """Return the documents that the service wrote: the floor writes the same sizes."""
    kinds = ("credentials", "tokens", "status")
    found: dict[str, Any] = {kind: deployment.document(f"{kind}/{NAMES[0]}") for kind in kinds}
    stored = found["credentials"]
    attempt = {
        "id": "0193b5a0-0000-7000-8000-000000000000",
        "instance": "localhost:9365",
        "purpose": "rotation",
        "ladder": ["refresh", "exchange", "reassert"],
        "generation": stored["generation"],
        "session": stored["session"],
        "before": "active",
        **dict.fromkeys(("before_since", "started_at", "deadline"), stored["since"]),
        "renewed": False,
        "climbed": False,
        "rejections": [],
    }
    return found | {"started": stored | {"state": "rotating", "reason": "RotationStarted", "attempt": attempt}}


def warm_up(deployment: Measured) -> None:
    """Start the service and wait until it has rotated each tenant once, and read what it reads after a start."""
    deployment.start_timed()
    deployment.wait_for("all that is read once", lambda: deployment.events("all_read"), 120)
    deployment.wait_for("warm service", lambda: deployment.rotations() >= TENANTS * 1.3, 120)


def wait_until_it_flows(deployment: Measured) -> None:
    """Wait for a few rotations: after a stop the service renews its lease first."""
    before = deployment.rotations()
    deployment.wait_for("rotations", lambda: deployment.rotations() >= before + TENANTS / 4, 30)


def service_round(deployment: Measured, seconds: float, outcome: str = "accepted") -> Round:
    """Watch the service for so long."""
    began, cpu, before = time.monotonic(), deployment.cpu(), deployment.counters()
    time.sleep(seconds)
    elapsed, used, after = time.monotonic() - began, deployment.cpu() - cpu, deployment.counters()
    rotations = after.rotations[outcome] - before.rotations[outcome]
    asked = {
        kind: (count - before.vault_requests.get(kind, 0)) / rotations
        for kind, count in after.vault_requests.items()
        if kind.partition("/")[2] in ("credentials", "tokens", "status")
    }
    return Round(rotations / elapsed, used / rotations * 1000, {kind: each for kind, each in asked.items() if each})


@contextlib.contextmanager
def paused(pid: int) -> Iterator[None]:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def measure(stage: Stage, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Table]:
    """Take turns with the floor: while it runs, the service is stopped for less than its lease, and goes on afterwards."""
    deployment, mount = prepare(stage)
    warm_up(deployment)
    rows: dict[int, list[tuple[Round, Round]]] = defaultdict(list)
    with FloorProcess(stage, mount, samples(deployment)) as floor:
        for number in range(rounds):
            for delay in DELAYS:
                stage.veeam.set(delay=delay / 1000)
                wait_until_it_flows(deployment)
                ours = service_round(deployment, seconds)
                with paused(deployment.pid):
                    floor.run(SETTLE)
                    theirs = floor.run(seconds)
                rows[delay].append((ours, theirs))
                say(f"round {number + 1}: {delay} ms: {ours.rate:.1f} a second, floor {theirs.rate:.1f}")
    stage.veeam.set(delay=0, fails=1)
    time.sleep(SETTLE)
    failed = service_round(deployment, seconds, "failed")
    stage.veeam.set(fails=0)
    deployment.stop()
    return [_rates(rows), _requests([pair[0] for pair in rows[0]], failed)]


def _rates(rows: dict[int, list[tuple[Round, Round]]]) -> Table:
    title = f"Rotations, {TENANTS} tenants on {SERVERS} servers, {CONCURRENCY} calls in flight"
    columns = (
        "Veeam answers after",
        "rotations/s",
        "floor/s",
        "ratio",
        "must be",
        "reached",
        "CPU ms each",
        "floor's",
        "ratio",
    )
    table = Table(title, columns)
    for delay, pairs in rows.items():
        ratios = [ours.rate / theirs.rate for ours, theirs in pairs]
        table.add(
            f"{delay} ms",
            spread([ours.rate for ours, _ in pairs]),
            spread([theirs.rate for _, theirs in pairs]),
            spread(ratios, 2),
            f"{AT_LEAST[delay]:.2f}",
            verdict(statistics.median(ratios) >= AT_LEAST[delay]),
            spread([ours.cpu_ms for ours, _ in pairs]),
            spread([theirs.cpu_ms for _, theirs in pairs]),
            spread([ours.cpu_ms / theirs.cpu_ms for ours, theirs in pairs], 2),
        )
    return table


def _requests(steady: list[Round], failed: Round) -> Table:
    table = Table("Vault requests", ("of", "requests", "status beside it", "which", "must be", "reached"))
    for what, rounds, most in (("a rotation, steady", steady, 5.0), ("a failed try", [failed], 3.0)):
        kinds = sorted({kind for each in rounds for kind in each.requests})
        means = {kind: sum(each.requests.get(kind, 0) for each in rounds) / len(rounds) for kind in kinds}
        status = sum(value for kind, value in means.items() if kind.endswith("/status"))
        total = sum(means.values())
        counted = total if most == 5.0 else total - status
        which = ", ".join(f"{kind} {value:.2f}" for kind, value in means.items())
        table.add(what, f"{total - status:.2f}", f"{status:.2f}", which, f"{most:.0f}", verdict(counted <= most + 0.1))
    return table
