"""VB365 restarts and forgets all sessions while nothing is due: what consumers hold is dead, and somebody must notice."""

import pytest

from tests.service.deployment import Deployment
from tests.simulators.http import Server
from tests.simulators.tls import Authority

pytestmark = [pytest.mark.vault, pytest.mark.slow]
NAMES = ("a", "b", "c", "d")


def signed_in(deployment: Deployment) -> None:
    """Have four tenants with an hour's tokens, and a service that knows them."""
    deployment.veeam.token_life = 3600
    deployment.server()
    deployment.start()
    for name in NAMES:
        deployment.tenant(name)
        deployment.sign_in(name)


def report(deployment: Deployment, name: str) -> int:
    """Report as a consumer does, with nothing but a request; return Vault's status."""
    token = deployment.vault.token_for(f"{deployment.mount}-consumer")
    path, body = f"{deployment.mount}/data/reports/{name}", {"options": {"cas": 0}, "data": {}}
    return deployment.vault.request("POST", path, body, token=token).status_code


def failed(deployment: Deployment) -> bool:
    """Tell whether a call of a rotation brought nothing."""
    return any(event["outcome"] == "failed" for event in deployment.events("called"))


def test_a_reported_token_is_replaced_and_then_everybodys(deployment: Deployment) -> None:
    """By one report: the second witness is another tenant's token. Nobody's refresh token is presented on the way."""
    signed_in(deployment)
    presented = len(deployment.veeam.presented)
    deployment.veeam.revoke_all()
    assert not any(deployment.accepted(name) for name in NAMES)

    assert report(deployment, "b") == 200
    deployment.wait_for("the reported one", lambda: deployment.accepted("b"), 10)
    deployment.wait_for("all", lambda: all(map(deployment.accepted, NAMES)), 10)

    assert {each.grant for each in deployment.veeam.presented[presented:]} == {"assertion"}
    assert [event["before"] for event in deployment.events("sessions_lost")]
    assert report(deployment, "b") == 200, "the first one is deleted"


def test_a_consumer_that_ends_its_own_session_has_its_own_token_replaced(deployment: Deployment) -> None:
    """And no more than once a minute; the others keep theirs."""
    signed_in(deployment)
    for session in deployment.veeam.sessions:
        session.dead = session is deployment.veeam.sessions[0]
    assert not deployment.accepted("a")
    assert report(deployment, "a") == 200
    deployment.wait_for("a new one", lambda: deployment.accepted("a"), 10)
    assert report(deployment, "a") == 200
    assert report(deployment, "b") == 200
    deployment.wait_for("b was looked at", lambda: deployment.metric('vb365_reports_total{outcome="taken"}') == 2, 10)

    assert [deployment.generation(name) for name in NAMES] == [2, 1, 1, 1]
    assert report(deployment, "a") == 403, "it lies until the minute is over"


def test_what_an_outage_left_dead_is_replaced_when_it_is_over(deployment: Deployment, authority: Authority) -> None:
    """One rotation falls due during the restart; nobody reports, and the others' tokens have most of an hour to live."""
    signed_in(deployment)
    deployment.veeam_server.close()
    deployment.ask("rotate", "a")
    deployment.wait_for("an outage", lambda: failed(deployment), 20)
    deployment.veeam.revoke_all()
    deployment.veeam_server = Server(deployment.veeam, authority.shared_context, deployment.veeam_port.number)
    deployment.ask("rotate", "a")

    deployment.wait_for("all", lambda: all(map(deployment.accepted, NAMES)), 40)


def test_a_refused_refresh_whose_exchange_is_accepted_has_the_others_looked_at(deployment: Deployment) -> None:
    """The restart went unnoticed; the next rotation that falls due notices."""
    signed_in(deployment)
    deployment.veeam.revoke_all()
    deployment.ask("rotate", "a")

    deployment.wait_for("all", lambda: all(map(deployment.accepted, NAMES)), 15)
    assert deployment.events("session_lost")
