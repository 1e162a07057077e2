"""``python -m tests.trials.outage``: VB365 is away for a while, in each way in which it can be, and what its tenants' consumers hold.

Ten tenants with 60-second tokens, read each second and shown to VB365. Dead tokens are counted in tenant-seconds. The outage
itself forces those of tokens that end before it does; whatever is more is ours. And after its end each tenant that was due
meanwhile must have a new token within seconds.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from tests.cluster import Consumers
from tests.servers.node import VaultServer, fresh_mount
from tests.service.deployment import ORGANIZATION, Deployment, now
from tests.simulators.http import Fault, Response, Server
from tests.simulators.tls import Authority


@dataclass(frozen=True)
class Script:
    """So many tenants, and seconds that tokens live and the outage lasts; and how soon after it each must have a new token."""

    tenants: int = 10
    token_life: int = 60
    away: int = 40
    within: float = 8


@dataclass(frozen=True)
class Seen:
    """What one outage cost."""

    kind: str
    #: Tenant-seconds of dead tokens: those that the outage forced, and the others.
    forced: int
    beyond: int
    #: How many were due when it ended, and how long after its end the last of them had a new token.
    due: int
    seconds: float

    def wrong(self, script: Script) -> bool:
        """Tell whether it is more than was promised."""
        return self.beyond > 0 or self.seconds > script.within

    def __str__(self) -> str:
        dead = f"dead tokens: {self.forced} tenant-seconds forced, {self.beyond} beyond"
        return f"{self.kind:<8} {dead}; {self.due} were due, the last has a new token {self.seconds:.1f} s after the end"


#: How VB365 can be away, by what is done to it.
FAULTS = {
    "503": Fault("/", times=None, response=Response(503, b"<html>Service Unavailable</html>")),
    "521": Fault("/", times=None, response=Response(521)),
    "drops": Fault("/", times=None, drop="before"),
    "hangs": Fault("/", times=None, hang=3600),
}
KINDS = ("refused", "503", "drops")


class Trial:
    """A service with its tenants signed in, and one consumer for each."""

    def __init__(self, script: Script, vault: VaultServer, authority: Authority, directory: Path) -> None:
        """Start all of it, and spread the tenants over the time between two rotations."""
        self.script, self._authority = script, authority
        self.deployment = deployment = Deployment(vault, fresh_mount(), authority, directory)
        self.names = [f"t{number}" for number in range(script.tenants)]
        deployment.microsoft.auto_approve = 0.0
        deployment.veeam.token_life = script.token_life
        deployment.server()
        tenant = {
            "server": "vbr",
            "organization": ORGANIZATION,
            "authority": deployment.microsoft_server.url,
            "consumer_reread": "1s",
        }
        for name in self.names:
            self._write(f"tenants/{name}", tenant)
        deployment.start()
        for name in self.names:
            deployment.ask("sign-in", name)
            time.sleep(script.token_life / 3 / script.tenants)
        deployment.wait_for("tokens", lambda: all(map(deployment.generation, self.names)), 30)
        self._consumers = Consumers(deployment, vault.url, self.names)

    def play(self, kind: str, say: Callable[[str], None]) -> Seen:
        """Let VB365 be away, and be back; return what that cost."""
        deployment, script = self.deployment, self.script
        self._consumers.read()
        before = {name: datetime.fromisoformat(token["expires_at"]) for name, token in self._consumers.held.items()}
        back = self._leave(kind)
        end = time.monotonic() + script.away
        forced = beyond = 0
        while (at := time.monotonic()) < end:
            self._consumers.read()
            dead = set(self._consumers.expired())
            unavoidable = {name for name in dead if before[name] <= now()}
            forced, beyond = forced + len(unavoidable), beyond + len(dead - unavoidable)
            time.sleep(max(0.0, min(at + 1, end) - time.monotonic()))
        back()
        ended, ended_at = time.monotonic(), now()
        due = {
            name
            for name, token in self._consumers.held.items()
            if datetime.fromisoformat(token["next_rotation_at"]) <= ended_at
        }
        waits, next_read, last = set(due), ended, 0.0
        while time.monotonic() < ended + script.token_life:
            if time.monotonic() >= next_read:
                next_read += 1
                self._consumers.read()
                beyond += len(self._consumers.expired())
            for name in list(waits):
                token = deployment.document(f"tokens/{name}")
                if datetime.fromisoformat(token["issued_at"]) + timedelta(seconds=1) > ended_at:
                    waits.discard(name)
                    last = time.monotonic() - ended
            if not waits and time.monotonic() > ended + script.within:
                break
            time.sleep(0.1)
        seen = Seen(kind, forced, beyond, len(due), float("inf") if waits else last)
        say(str(seen))
        return seen

    def settle(self) -> None:
        """Wait until every tenant was rotated once more."""
        deployment = self.deployment
        generations = {name: deployment.generation(name) for name in self.names}
        deployment.wait_for(
            "rotations",
            lambda: all(deployment.generation(name) > generations[name] for name in self.names),
            self.script.token_life,
        )

    def close(self) -> None:
        """Stop everything."""
        self.deployment.close()

    def _leave(self, kind: str) -> Callable[[], None]:
        deployment = self.deployment
        if kind == "refused":
            port = deployment.veeam_server.port
            deployment.veeam_server.close()

            def listen() -> None:
                deployment.veeam_server = Server(deployment.veeam, self._authority.shared_context, port)

            return listen
        deployment.veeam_server.faults.add(FAULTS[kind])
        return deployment.veeam_server.faults.clear

    def _write(self, path: str, data: dict[str, str]) -> None:
        deployment = self.deployment
        deployment.vault.api("POST", f"{deployment.mount}/data/{path}", {"options": {"cas": 0}, "data": data})


def main() -> int:
    """Play each kind of outage, and tell whether the promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials.outage", description=__doc__)
    parser.add_argument("--kind", action="append", choices=sorted({*KINDS, *FAULTS}), help=f"[default: {' '.join(KINDS)}]")
    parser.add_argument("--tenants", type=int, default=Script.tenants)
    parser.add_argument("--away", type=int, default=Script.away, help="seconds that an outage lasts")
    options = parser.parse_args()
    script = Script(options.tenants, away=options.away)
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        vault = VaultServer(directory / "vault")
        try:
            trial = Trial(script, vault, Authority(directory), directory)
            try:
                seen = []
                for kind in options.kind or KINDS:
                    trial.settle()
                    seen.append(trial.play(kind, lambda text: print(text, flush=True)))
            finally:
                trial.close()
        finally:
            vault.stop()
    wrong = [each.kind for each in seen if each.wrong(script)]
    print(f"beyond what was promised: {', '.join(wrong)}" if wrong else "as promised")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
