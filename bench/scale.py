"""Memory per tenant, restart to ready, and what an idle service uses, with many tenants."""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from bench import documents, loader
from bench.report import Table, verdict
from bench.stage import Measured, Stage

DUE = 20
LONGEST_START = 30.0
LARGEST_SHARE = 2.0
LARGEST_EACH = 10_000
SERVERS = 4
MOST = 10_000


def due_names(size: int) -> list[str]:
    """Return who is due when the service starts with so many tenants."""
    return [f"due-{size}-{number:02}" for number in range(DUE)]


def measure(
    stage: Stage, sizes: tuple[int, int], idle_seconds: float, meanwhile: Callable[[Measured], None], say: Callable[[str], None]
) -> list[Table]:
    """Start the service with each number of tenants; `meanwhile` is done while it idles with the smaller one."""
    deployment = stage.deployment()
    stage.veeam.set(delay=0, token_life=documents.LIFE.total_seconds())
    loader.load(stage.vault, deployment.mount, ((f"servers/s{number}", stage.server()) for number in range(SERVERS)))
    table = Table(
        "Many tenants", ("tenants", "ready after s", "what was due is rotated after s", "all read after s", "memory MB")
    )
    memory: dict[int, int] = {}
    ready: dict[int, float] = {}
    share, there = 0.0, 0
    for starts, size in enumerate(sizes, 1):
        began = time.monotonic()
        loader.load(stage.vault, deployment.mount, _seeds(there, size))
        say(f"{size} tenants written in {time.monotonic() - began:.1f} s")
        there, began = size, time.monotonic()
        ready[size] = deployment.start_timed()
        deployment.wait_for("due tenants", lambda: deployment.rotations() >= DUE, 30)
        rotated = time.monotonic() - began
        _wait_until_all_is_read(deployment, starts)
        read = time.monotonic() - began
        memory[size] = deployment.memory()
        table.add(str(size), f"{ready[size]:.1f}", f"{rotated:.1f}", f"{read:.1f}", f"{memory[size] / 1e6:.1f}")
        say(f"{size} tenants: ready after {ready[size]:.1f} s, {memory[size] / 1e6:.1f} MB")
        if size == sizes[0]:
            share = _idle(deployment, idle_seconds, meanwhile)
        deployment.stop()
    each = (memory[sizes[1]] - memory[sizes[0]]) / (sizes[1] - sizes[0])
    limits = Table("Limits", ("what", "measured", "must be", "reached"))
    limits.add(f"memory a tenant, {sizes[0]} to {sizes[1]}", f"{each / 1000:.1f} kB", "10 kB", verdict(each < LARGEST_EACH))
    least = f"{LONGEST_START:.0f} s" if sizes[1] == MOST else f"{LONGEST_START:.0f} s with {MOST}"
    limits.add(f"ready with {sizes[1]}", f"{ready[sizes[1]]:.1f} s", least, verdict(ready[sizes[1]] < LONGEST_START))
    limits.add(
        f"idle with {sizes[0]}, over {idle_seconds:.0f} s", f"{share:.1f} % of a core", "2 %", verdict(share < LARGEST_SHARE)
    )
    return [table, limits]


def _seeds(there: int, size: int) -> loader.Documents:
    now, due = datetime.now(UTC), due_names(size)
    for number, name in enumerate((*due, *(f"idle-{number:05}" for number in range(there, size - DUE if not there else size)))):
        yield from documents.tenant(name, f"s{number % SERVERS}", now, due=name in due)


def _wait_until_all_is_read(deployment: Measured, starts: int) -> None:
    deployment.wait_for("all that is read once", lambda: len(deployment.events("all_read")) == starts, 300)


def _idle(deployment: Measured, seconds: float, meanwhile: Callable[[Measured], None]) -> float:
    """Return the share of a core that it uses, in percent; nobody asks it anything meanwhile."""
    began, cpu = time.monotonic(), deployment.cpu()
    meanwhile(deployment)
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    return (deployment.cpu() - cpu) / (time.monotonic() - began) * 100
