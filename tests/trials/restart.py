"""``python -m tests.trials.restart [--throttle default]``: VB365 restarts and forgets all sessions while nothing is due.

Three times with 20 tenants: one token is reported; one rotation falls due afterwards; one falls due during the restart. Prints
how long it took until the first and until everybody held a token that works, and what the bounds are.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.servers.node import VaultServer, fresh_mount
from tests.service.deployment import ORGANIZATION, Deployment
from tests.simulators.http import Server
from tests.simulators.tls import Authority

NAMES = tuple(f"t{number:02}" for number in range(20))
#: With no throttle; with the default one, 12 s more for each call that is needed.
BOUND, EACH_CALL, REPORTED_BOUND = 75.0, 12.0, 10.0
THROTTLES = {"none": {}, "default": {"second": 1, "minute": 5, "hour": 1500}}


class Trial:
    """Twenty tenants with an hour's tokens, and the service."""

    def __init__(self, vault: VaultServer, directory: Path, throttle: str) -> None:
        self.authority, self.throttle = Authority(directory), throttle
        self.deployment = made = Deployment(vault, fresh_mount(), self.authority, directory)
        made.veeam.token_life = 3600
        made.server()
        made.start()
        for name in NAMES:
            made.tenant(name)
            made.ask("sign-in", name)
        for name in NAMES:
            made.wait_for("a code", partial(self.code, name), 30)
            made.microsoft.approve(self.code(name), f"admin@{ORGANIZATION}")
        made.wait_for("all tokens", self.fresh, 60)
        made.veeam.throttle = THROTTLES[throttle]
        made.ok("server", "set", "vbr", "--throttle", "none" if throttle == "none" else "1/5/1500")

    def code(self, name: str) -> str:
        """Return the code that is shown for this tenant, or an empty text."""
        return str(self.deployment.document(f"prompts/{name}").get("user_code", ""))

    def ended(self) -> float:
        """Forget every session; return when that was."""
        self.deployment.veeam.revoke_all()
        return time.monotonic()

    def until(self, seen: Callable[[], bool], bound: float) -> float | None:
        """Return how long it took from now on, or None if it took longer than twice the bound."""
        began = time.monotonic()
        while not seen():
            if time.monotonic() - began > bound * 2:
                return None
            time.sleep(0.2)
        return time.monotonic() - began

    def fresh(self) -> bool:
        return all(map(self.deployment.accepted, NAMES))

    def bound(self) -> float:
        """Return how long everybody may take: each needs an exchange."""
        return BOUND + (EACH_CALL * len(NAMES) if self.throttle == "default" else 0.0)


def reported(trial: Trial) -> list[tuple[str, float | None, float]]:
    """Report one token, as a consumer does."""
    made = trial.deployment
    trial.ended()
    made.ok("report", NAMES[7], "--no-wait")
    first = trial.until(lambda: made.accepted(NAMES[7]), REPORTED_BOUND)
    return [
        ("the reported one", first, REPORTED_BOUND),
        ("all, after it", trial.until(trial.fresh, trial.bound()), trial.bound()),
    ]


def unreported(trial: Trial) -> list[tuple[str, float | None, float]]:
    """Let a rotation fall due after the restart."""
    trial.ended()
    trial.deployment.ask("rotate", NAMES[3])
    return [("all, after the next rotation that fell due", trial.until(trial.fresh, trial.bound()), trial.bound())]


def failures(made: Deployment) -> list[object]:
    """Return the calls of rotations that brought nothing."""
    return [event for event in made.events("called") if event["outcome"] == "failed"]


def in_between(trial: Trial) -> list[tuple[str, float | None, float]]:
    """Let a rotation fall due while VB365 is away, and again when it is back."""
    made = trial.deployment
    failed = len(failures(made))
    made.veeam_server.close()
    made.ask("rotate", NAMES[3])
    made.wait_for("an outage", lambda: len(failures(made)) > failed, 30)
    trial.ended()
    made.veeam_server = Server(made.veeam, trial.authority.shared_context, made.veeam_port.number)
    made.ask("rotate", NAMES[3])
    return [("all, after the outage's end", trial.until(trial.fresh, trial.bound()), trial.bound())]


def main() -> int:
    """Return 1 if a bound didn't hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials.restart", description=__doc__)
    parser.add_argument("--throttle", choices=sorted(THROTTLES), default="none")
    chosen = parser.parse_args().throttle
    wrong = 0
    with tempfile.TemporaryDirectory() as directory:
        vault = VaultServer(Path(directory))
        try:
            trial = Trial(vault, Path(directory), chosen)
            try:
                for run in (reported, unreported, in_between):
                    for what, took, bound in run(trial):
                        wrong += took is None or took > bound
                        print(f"{what}: {'never' if took is None else f'{took:.1f} s'} (bound {bound:.0f} s)", flush=True)
            finally:
                trial.deployment.close()
        finally:
            vault.stop()
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
