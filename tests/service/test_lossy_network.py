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


def test_nothing_is_lost_behind_a_lossy_network(deployment: Deployment) -> None:
    """Sign-ins and a minute of rotations: each token that Veeam gave is stored or superseded, and the log shows the rule's cases."""
    proxy = LossyProxy(deployment.vault.url)
    deployment.veeam.token_life = 30
    deployment.veeam.refresh_tokens = "single"
    deployment.server()
    for name in ("acme", "globex"):
        deployment.tenant(name)
    deployment.start(VAULT_ADDR=proxy.url, VAULT_CLIENT_TIMEOUT="3s")
    over = threading.Event()

    def misbehave() -> None:
        kinds = itertools.cycle(["lose", "twice", "answer", "late"])
        while not over.wait(0.7):
            if len(proxy.tricks) > 1:
                continue  # no more than one trick waits for the next write: else a slow retry would meet nothing but tricks
            kind = next(kinds)
            response = UNAVAILABLE if kind == "answer" else None
            proxy.tricks.append(Trick("POST", f"{deployment.mount}/data/", kind, delay=2.0, response=response))

    trouble = threading.Thread(target=misbehave)
    trouble.start()
    try:
        for name in ("acme", "globex"):
            deployment.sign_in(name)
        generations: dict[str, list[int]] = {"acme": [], "globex": []}
        refused: list[str] = []
        begun = time.monotonic()
        while time.monotonic() < begun + 50 or (
            min(map(deployment.generation, generations)) < 4 and time.monotonic() < begun + 150
        ):
            time.sleep(1)
            for name, seen in generations.items():
                seen.append(deployment.generation(name))
                if not deployment.accepted(name):
                    refused.append(f"{name} at generation {seen[-1]}")
    finally:
        over.set()
        trouble.join()
        proxy.tricks.clear()
        assert deployment.stop() == 0
        proxy.close()

    assert refused == []
    for name, seen in generations.items():
        assert seen == sorted(seen), f"{name}: a generation went back"
        assert seen[-1] >= 4
    assert deployment.presented_again() == []
    logged = {event for event in ("write_unclear", "write_was_mine", "write_repeated_and_done") if deployment.events(event)}
    assert logged == {"write_unclear", "write_was_mine", "write_repeated_and_done"}
    given = [p.given_sha256 for p in deployment.veeam.presented if p.outcome == "ok"]
    spent = {p.sha256 for p in deployment.veeam.presented if p.grant == "refresh_token"}
    sessions = [p for p in deployment.veeam.presented if p.grant == "assertion" and p.outcome == "ok"]
    assert len(set(given) - spent) == len(sessions), "every pair but each session's newest was used for the next"
    assert len(sessions) - 2 <= len(deployment.events("write_given_up")), "a new session only where a first write was given up"
