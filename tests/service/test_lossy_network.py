"""The service behind a proxy that loses Vault's answers, delays requests by seconds and repeats them."""

import itertools
import threading
import time

import pytest

from tests.service.deployment import Deployment
from tests.simulators.http import Response
from tests.vault.proxy import LossyProxy, Trick

pytestmark = [pytest.mark.vault, pytest.mark.slow]

UNAVAILABLE = Response(503, b'{"errors":["Vault is sealed"]}')
#: The cases of the write rule that the log must show.
CASES = {"write_unclear", "write_was_mine", "write_repeated_and_done"}
#: So many rounds are played at least, and then until the log shows the cases.
LEAST, MOST = 10, 60


class Trouble(threading.Thread):
    """Plays a trick on one of the service's writes after the other, until it is told that it is over."""

    def __init__(self, proxy: LossyProxy, mount: str) -> None:
        super().__init__()
        self._proxy, self._path = proxy, f"{mount}/data/"
        self._over = threading.Event()

    def run(self) -> None:
        kinds = itertools.cycle(["lose", "twice", "answer", "late"])
        while not self._over.wait(0.7):
            if len(self._proxy.tricks) > 1:
                continue  # no more than one trick waits for the next write: else a slow retry would meet nothing but tricks
            kind = next(kinds)
            response = UNAVAILABLE if kind == "answer" else None
            self._proxy.tricks.append(Trick("POST", self._path, kind, delay=2.0, response=response))

    def end(self) -> None:
        self._over.set()
        self.join()
        self._proxy.tricks.clear()


def rotate(deployment: Deployment, generations: dict[str, list[int]]) -> None:
    """Ask for a rotation of each, and wait until the newest token that Veeam gave is what consumers read."""
    before = {name: seen[-1] for name, seen in generations.items()}
    for name in generations:
        deployment.ask("rotate", name)

    def rotated() -> bool:
        time.sleep(0.5)
        look(deployment, generations)
        return all(seen[-1] > before[name] for name, seen in generations.items())

    deployment.wait_for("rotation of each", rotated, 60)
    deployment.wait_for("token of each that works", lambda: all(map(deployment.accepted, generations)), 60)


def look(deployment: Deployment, generations: dict[str, list[int]]) -> None:
    """Note the generation that consumers read now."""
    for name, seen in generations.items():
        seen.append(deployment.generation(name))


def test_nothing_is_lost_behind_a_lossy_network(deployment: Deployment) -> None:
    """Sign-ins and rotations: each token that Veeam gave is stored or superseded, and the log shows the rule's cases.

    Tokens outlive the test, and a rotation ends the token before: what consumers can use is the newest that Veeam gave, or
    nothing. So the test waits for states; how soon a rotation comes is no part of it.
    """
    proxy = LossyProxy(deployment.vault.url)
    deployment.veeam.token_life = 3600
    deployment.veeam.refresh_tokens = "single"
    deployment.veeam.old_access = "dies"
    deployment.server()
    generations: dict[str, list[int]] = {"acme": [], "globex": []}
    for name in generations:
        deployment.tenant(name)
    deployment.start(VAULT_ADDR=proxy.url, VAULT_CLIENT_TIMEOUT="3s")
    trouble = Trouble(proxy, deployment.mount)
    trouble.start()
    try:
        for name in generations:
            deployment.sign_in(name)
        look(deployment, generations)
        for number in range(1, MOST + 1):
            rotate(deployment, generations)
            if number >= LEAST and all(map(deployment.events, CASES)):
                break
    finally:
        trouble.end()
        assert deployment.stop() == 0
        proxy.close()

    for name, seen in generations.items():
        assert seen == sorted(seen), f"{name}: a generation went back"
        assert seen[-1] >= 4
        assert deployment.accepted(name)
    assert deployment.presented_again() == []
    assert {event for event in CASES if deployment.events(event)} == CASES
    given = [p.given_sha256 for p in deployment.veeam.presented if p.outcome == "ok"]
    spent = {p.sha256 for p in deployment.veeam.presented if p.grant == "refresh_token"}
    sessions = [p for p in deployment.veeam.presented if p.grant == "assertion" and p.outcome == "ok"]
    assert len(set(given) - spent) == len(sessions), "every pair but each session's newest was used for the next"
    assert len(sessions) - 2 <= len(deployment.events("write_given_up")), "a new session only where a first write was given up"
