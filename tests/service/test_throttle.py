"""The service under VB365's own throttle of 1 a second and 5 a minute: no call too many, and none fewer than there are places."""

import time
from collections.abc import Callable

import pytest

from tests.service.deployment import Deployment
from tests.simulators.http import Server
from tests.simulators.tls import Authority

pytestmark = [pytest.mark.vault, pytest.mark.slow]

NAMES = ("acme", "initech", "globex", "umbrella")


@pytest.fixture
def throttled(deployment: Deployment) -> Deployment:
    """Return a deployment whose VB365 throttles, logouts too, with four tenants that are signed in."""
    deployment.veeam.throttle = {"second": 1, "minute": 5, "hour": 1500}
    deployment.veeam.throttle_logouts = True
    deployment.veeam.token_life = 3600
    deployment.microsoft.auto_approve = 0.0
    deployment.ok("server", "set", "vbr", "--url", deployment.veeam_server.url, "--ca-file", str(deployment.ca))
    for name in NAMES:
        deployment.tenant(name)
    deployment.start()
    for name in NAMES:
        deployment.ask("sign-in", name)
    deployment.wait_for("a token of each", lambda: all(map(deployment.generation, NAMES)), 15)
    return deployment


def rotated(deployment: Deployment, names: tuple[str, ...], within: float) -> float:
    """Ask for a rotation of each; return how long the last took."""
    began, before = time.monotonic(), {name: deployment.generation(name) for name in names}
    for name in names:
        deployment.ask("rotate", name)
    newer: Callable[[], bool] = lambda: all(deployment.generation(name) > before[name] for name in names)  # noqa: E731
    deployment.wait_for("a rotation of each", newer, within)
    return time.monotonic() - began


def test_no_call_too_many_whatever_happens(throttled: Deployment, authority: Authority) -> None:
    """Sign-ins, a crash in a full minute, a logout, an outage: the server never refuses one, and all are rotated."""
    throttled.kill()
    throttled.start()
    took = rotated(throttled, NAMES, 75)
    assert took > 10, "one place of five was left: what was called before the crash is remembered"
    assert throttled.veeam.throttled == 0

    throttled.ask("revoke", "umbrella")
    throttled.wait_for("a revocation", lambda: throttled.status("umbrella").get("state") == "revoked", 10)
    rotated(throttled, NAMES[:3], 75)
    assert throttled.veeam.throttled == 0, "the logout took a place"

    port = throttled.veeam_server.port
    throttled.veeam_server.close()
    throttled.ask("rotate")
    throttled.wait_for("an outage", lambda: throttled.events("called")[-1].get("reason") == "ConnectionFailed", 75)
    presented, generation = len(throttled.veeam.presented), throttled.generation("initech")
    throttled.ask("rotate", "initech")
    time.sleep(12)
    throttled.veeam_server = Server(throttled.veeam, authority.shared_context, port)
    throttled.wait_for("a call as soon as it answers", lambda: throttled.generation("initech") > generation, 10)
    throttled.wait_for("a word", lambda: throttled.events("server_back"), 2)
    assert len(throttled.veeam.presented) == presented + 1
    assert throttled.veeam.throttled == 0
    assert throttled.accepted("initech")
    assert throttled.stop() == 0
