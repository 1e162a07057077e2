"""``python -m tests.cluster``: three services beside a server of three nodes; the leaders are killed, a node is sealed.

Prints each second who leads, what was done, and what consumers that read each second hold; then the figures. The services
and the consumers use one address, a load balancer that sends only to healthy nodes: to the one that leads, or with
``--balance any`` to the standbys too.
"""

import argparse
import hashlib
import itertools
import json
import signal
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from tests.servers.node import ACTIVE, SERVING, Cluster, fresh_mount
from tests.service.deployment import ORGANIZATION, Deployment, now
from tests.simulators.http import Fault
from tests.simulators.tls import Authority
from tests.vault.balancer import Balancer

#: Seconds that Veeam takes to answer, so that what is killed is killed in the middle of something.
LATENCY = 0.5
BALANCE = {"leader": {ACTIVE}, "any": SERVING}


@dataclass(frozen=True)
class Script:
    """What is played: so many tenants and seconds, and what is done at which second."""

    tenants: int
    token_life: int
    seconds: int
    events: dict[int, str]


FULL = Script(
    50, 180, 400,
    {
        20: "kill the leading service", 50: "start the service",
        70: "kill the leading node", 110: "start the node",
        140: "seal the leading node", 180: "unseal the node",
        200: "stop the leading service", 210: "start the service",
    },
)  # fmt: skip


@dataclass
class Second:
    """What was seen in one second."""

    at: int
    done: str = ""
    service: str = ""
    nodes: str = ""
    rotations: int = 0
    #: Of what consumers hold: the oldest token's age and the shortest life left, in seconds.
    worst_age: float = 0.0
    least_left: float = 0.0
    reads_refused: int = 0
    expired: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        held = f"oldest token {self.worst_age:5.1f} s, least life left {self.least_left:5.1f} s"
        end = f"{'  EXPIRED ' + ' '.join(self.expired) if self.expired else ''}{'  <- ' + self.done if self.done else ''}"
        leads = f"leads: service {self.service or '-':<7} node {self.nodes or '-':<6}"
        return f"{self.at:4d} s  {leads} rotations {self.rotations:4d}  {held}  reads refused {self.reads_refused:3d}{end}"


class Consumers:
    """One a tenant: reads each second, keeps what it read last, and asks Veeam whether that still works."""

    def __init__(self, deployment: Deployment, url: str, names: list[str]) -> None:
        self.deployment, self.names = deployment, names
        self.held: dict[str, dict[str, Any]] = {}
        #: Reads that were older than the one before: a standby that lags answered.
        self.went_back = 0
        self._url = url
        self._headers = {"X-Vault-Token": deployment.vault.token_for(f"{deployment.mount}-consumer")}
        self._pool = ThreadPoolExecutor(10)

    def read(self) -> int:
        """Read every token; return how many reads failed."""
        return sum(not done for done in self._pool.map(self._read, self.names))

    def _read(self, name: str) -> bool:
        path = f"{self._url}/v1/{self.deployment.mount}/data/tokens/{name}"
        try:
            answer = requests.get(path, headers=self._headers, timeout=5)
        except requests.RequestException:
            return False
        if not answer.ok:
            return False
        token = answer.json()["data"]["data"]
        if token["generation"] < self.held.get(name, token)["generation"]:
            self.went_back += 1
        self.held[name] = token
        return True

    def expired(self) -> list[str]:
        """Return whose token Veeam refuses now."""
        return [name for name, token in self.held.items() if not self.deployment.veeam.accepts(token["access_token"])]

    def ages(self) -> tuple[float, float]:
        """Return the age of the oldest token held and the shortest life left, in seconds."""
        at = now()
        issued = min(datetime.fromisoformat(token["issued_at"]) for token in self.held.values())
        expires = min(datetime.fromisoformat(token["expires_at"]) for token in self.held.values())
        return (at - issued).total_seconds(), (expires - at).total_seconds()


class Trial:
    """A cluster, its balancer, three services and the consumers."""

    def __init__(self, script: Script, balance: str, directory: Path, say: Callable[[str], None]) -> None:
        """Start all of it, and sign every tenant in."""
        self.script, self._say = script, say
        self.seconds: list[Second] = []
        self.names = [f"t{number}" for number in range(script.tenants)]
        self.cluster = Cluster(directory / "vault")
        self.balancer = Balancer(self.cluster.nodes, BALANCE[balance])
        self.first = Deployment(self.cluster, fresh_mount(), Authority(directory), directory)
        self.first.settings["VAULT_ADDR"] = self.balancer.url
        self.services = [self.first, *(self.first.replica(directory / f"service-{n}") for n in (2, 3))]
        self._away: dict[str, Callable[[], None]] = {}
        self._back: list[threading.Thread] = []
        self.consumers = Consumers(self.first, self.balancer.url, self.names)

    def prepare(self) -> None:
        """Write server and tenants, start the services, and sign every tenant in."""
        first = self.first
        first.veeam.token_life = self.script.token_life
        first.microsoft.auto_approve = 0.0
        first.veeam_server.faults.add(Fault("/token", times=None, hang=LATENCY))
        first.server()
        self._write("servers/vbr", first.document("servers/vbr") | {"connect_timeout": 5, "read_timeout": 5}, cas=1)
        tenant = {
            "server": "vbr",
            "organization": ORGANIZATION,
            "authority": first.microsoft_server.url,
            "consumer_reread": "1s",
        }
        for name in self.names:
            self._write(f"tenants/{name}", tenant)
            # Every version of a credential is kept, so that the end can tell what was known when.
            self.cluster.api("POST", f"{first.mount}/metadata/credentials/{name}", {"max_versions": 10_000})
        for service in self.services:
            service.start()
        for name in self.names:  # spread, so that rotations are
            self._write(f"requests/{name}/{name}", {"action": "sign-in", "reason": "trial"})
            time.sleep(self.script.token_life / 3 / len(self.names))
        first.wait_for("tokens", lambda: all(map(first.generation, self.names)), 90)

    def run(self) -> None:
        """Play the script."""
        begun = time.monotonic()
        for at in range(self.script.seconds):
            time.sleep(max(0.0, begun + at - time.monotonic()))
            second = Second(at)
            if at in self.script.events:
                second.done = self._do(self.script.events[at])
            second.reads_refused = self.consumers.read()
            second.expired = self.consumers.expired()
            second.worst_age, second.least_left = self.consumers.ages()
            second.service = " ".join(
                str(number) for number, each in enumerate(self.services, 1) if each.process and each.leads()
            )
            second.nodes = " ".join(self.balancer.up())
            second.rotations = self.rotations()
            self.seconds.append(second)
            self._say(str(second))

    def _do(self, event: str) -> str:
        what, _, which = event.partition(" the leading ")
        if which == "service":
            number, service = next((n, each) for n, each in enumerate(self.services, 1) if each.process and each.leads())
            self._away["start the service"] = lambda: service.start(ready=False)
            if what == "kill":
                return f"kill service {number} with {self._kill_in_the_middle(service)} rotations under way"
            service.stop()
            return f"stop service {number}"
        if which == "node":
            node = self.cluster.leader()
            node.kill() if what == "kill" else node.seal()

            def back() -> None:
                if what == "kill":
                    node.start()
                node.unseal()

            self._away["start the node" if what == "kill" else "unseal the node"] = back
            return f"{what} node {node.name}"
        self._return(event)
        return event

    def _return(self, event: str) -> None:
        """Bring back who went last, on a thread: the consumers go on meanwhile."""
        self._back.append(threading.Thread(target=self._away.pop(event)))
        self._back[-1].start()

    def _kill_in_the_middle(self, service: Deployment) -> int:
        """SIGKILL a service while rotations of its are under way, and return how many those are."""
        deadline = time.monotonic() + self.script.token_life
        while time.monotonic() < deadline:
            service.signal(signal.SIGSTOP)
            under_way = self._under_way()
            if under_way:
                service.kill()
                return under_way
            service.signal(signal.SIGCONT)
            time.sleep(0.05)
        raise AssertionError("nothing is ever rotated")

    def _under_way(self) -> int:
        return sum(self.first.document(f"credentials/{name}").get("state") == "rotating" for name in self.names)

    def rotations(self) -> int:
        """Return how many pairs Veeam gave after the sign-ins."""
        return sum(p.outcome == "ok" for p in self.first.veeam.presented) - len(self.names)

    def presented_in_vain(self) -> list[str]:
        """Return each refresh token that was presented again although it stood in the store that it had been accepted.

        That is known from the moment when the pair that was given for it was written.
        """
        stored: dict[str, datetime] = {}
        for name in self.names:
            for written_at, credential in self._versions(name):
                pair = credential.get("pair")
                if pair:
                    sha = hashlib.sha256(pair["refresh_token"].encode()).hexdigest()
                    stored.setdefault(sha, written_at)
        seen = defaultdict(list)
        for each in self.first.veeam.presented:
            if each.grant == "refresh_token":
                seen[each.sha256].append(each)
        found = []
        for sha, times in seen.items():
            for earlier, later in itertools.pairwise(times):
                known = stored.get(earlier.given_sha256) if earlier.outcome == "ok" else None
                if known is not None and known < later.at:
                    found.append(f"{sha[:12]} presented at {later.at}, known since {known}")
        return found

    def again(self) -> int:
        """Return how many refresh tokens were presented more than once, for whatever reason."""
        return len(self.first.presented_again())

    def finish(self) -> list[str]:
        """Bring back who is away, wait until every service is well, and return what is wrong in the end."""
        for event in list(self._away):
            self._return(event)
        for thread in self._back:
            thread.join()
        wrong = []
        for number, service in enumerate(self.services, 1):
            try:
                service.wait_for("ready", lambda each=service: each.get("/readyz") == 200, 30)  # type: ignore[misc]
            except AssertionError:
                service.get("/readyz")
                wrong.append(f"service {number} isn't ready: {service.printed[-1]}")
        leading = [number for number, service in enumerate(self.services, 1) if service.leads()]
        if len(leading) != 1:
            wrong.append(f"services {leading} lead")
        if len(self.first.microsoft.codes) != len(self.names):
            wrong.append("a person was asked again")
        states = {name: self.first.document(f"credentials/{name}")["state"] for name in self.names}
        wrong += [f"{name} is {state}" for name, state in states.items() if state not in {"active", "rotating"}]
        return wrong

    def figures(self) -> dict[str, object]:
        """Return what was seen, in numbers."""
        seconds = self.seconds
        return {
            "tenants": len(self.names),
            "seconds": len(seconds),
            "rotations": self.rotations(),
            "reads": len(seconds) * len(self.names),
            "reads_refused": sum(second.reads_refused for second in seconds),
            "seconds_with_reads_refused": sum(second.reads_refused > 0 for second in seconds),
            "seconds_without_leading_service": sum(not second.service for second in seconds),
            "seconds_with_two_leading_services": sum(" " in second.service for second in seconds),
            "expired_reads": sum(len(second.expired) for second in seconds),
            "reads_older_than_the_one_before": self.consumers.went_back,
            "oldest_token_seconds": round(max(second.worst_age for second in seconds), 1),
            "least_life_left_seconds": round(min(second.least_left for second in seconds), 1),
            "refresh_tokens_presented_again": self.again(),
            "refresh_tokens_presented_again_with_known_outcome": len(self.presented_in_vain()),
            "calls_by_grant_and_outcome": self._calls(),
        }

    def close(self) -> None:
        """Stop everything."""
        for service in self.services[1:]:
            service.kill()
            self.first.printed.append(service.log())
        self.first.close()
        self.balancer.close()
        self.cluster.stop()

    def _calls(self) -> dict[str, int]:
        counted: dict[str, int] = defaultdict(int)
        for each in self.first.veeam.presented:
            counted[f"{each.grant} {each.outcome}"] += 1
        return dict(counted)

    def _write(self, path: str, data: dict[str, Any], cas: int = 0) -> None:
        self.cluster.api("POST", f"{self.first.mount}/data/{path}", {"options": {"cas": cas}, "data": data})

    def _versions(self, name: str) -> Iterator[tuple[datetime, dict[str, Any]]]:
        """Return every version of a credential, oldest first, and when it was written."""
        path = f"credentials/{name}"
        url, mount = self.cluster.url, self.first.mount
        with requests.Session() as session:
            session.headers["X-Vault-Token"] = self.cluster.token
            versions = session.get(f"{url}/v1/{mount}/metadata/{path}", timeout=15).json()["data"]["versions"]
            for number in sorted(map(int, versions)):
                data = session.get(f"{url}/v1/{mount}/data/{path}?version={number}", timeout=15).json()["data"]
                yield _time(data["metadata"]["created_time"]), data["data"]


def _time(text: str) -> datetime:
    """Read Vault's time, whose nanoseconds Python doesn't take."""
    whole, _, part = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{part[:6]:0<6}").replace(tzinfo=UTC)


@contextmanager
def trial(script: Script, balance: str, directory: Path, say: Callable[[str], None]) -> Iterator[Trial]:
    """Return a trial that was played, with everything still running."""
    made = Trial(script, balance, directory, say)
    try:
        made.prepare()
        made.run()
        yield made
    finally:
        made.close()


def main() -> int:
    """Play the whole of it and tell whether the promises held."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("--balance", choices=sorted(BALANCE), default="leader", help="the nodes that are sent to")
    parser.add_argument("--tenants", type=int, default=FULL.tenants)
    parser.add_argument("--seconds", type=int, default=FULL.seconds)
    parser.add_argument("--dir", type=Path, help="where logs are kept [default: nowhere]")
    options = parser.parse_args()
    script = Script(options.tenants, FULL.token_life, options.seconds, FULL.events)
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.dir or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        with trial(script, options.balance, directory, lambda text: print(text, flush=True)) as played:
            wrong = [*played.finish(), *played.presented_in_vain()]
            figures = played.figures()
    print(json.dumps(figures, indent=2))
    print("\n".join(wrong) or "nothing else is wrong")
    # Standbys that are read from lag for a moment; the node that leads doesn't.
    went_back = options.balance == "leader" and figures["reads_older_than_the_one_before"]
    return 1 if wrong or figures["expired_reads"] or went_back else 0


if __name__ == "__main__":
    sys.exit(main())
