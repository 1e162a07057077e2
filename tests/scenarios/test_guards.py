"""Guards that are seldom needed, each where it is: a race, a restart, a clock, a server that was changed."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.fakes.clock import FakeClock
from tests.scenarios.stage import Scene
from tests.scenarios.term import HOUR, MINUTE, SECOND, PlayedTerm, form_of
from tests.simulators.http import Fault, Request, Response, Server
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import ServerSpec, TenantSpec, Throttle

# --- a secret goes only where it came from ---------------------------------------------------------------------------


@pytest.fixture
def moved_to(scene: Scene, authority: Authority) -> Iterator[VeeamSimulator]:
    """Return another VB365 server, which a test can have the tenant moved to under the name `new`."""
    other = VeeamSimulator(scene.clock.others)
    server = Server(other, authority.shared_context)
    scene.specs.servers["new"] = ServerSpec(url=server.url, ca_pem=authority.pem)
    yield other
    server.close()


def test_a_new_server_never_sees_the_refresh_token_of_the_old_one(scene: Scene, moved_to: VeeamSimulator) -> None:
    """The old one gave a token for somebody else; the tenant moves, a person signs in, and the new server refuses the grant."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"name": "evil.onmicrosoft.com"}')))
    held = scene.signed_in()
    assert held.state is State.BLOCKED
    assert held.pair is not None
    secret = held.pair.refresh_token.reveal()
    moved_to.reject_assertions = True
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(server="new")
    scene.approved("r2")
    scene.complete()
    assert scene.credential().state is State.BLOCKED

    for number in range(8):
        scene.ask("rotate", f"r{number + 3}")
        scene.rotate()
        scene.clock.advance(20 * MINUTE)

    seen = {presented.sha256 for presented in moved_to.presented}
    assert seen
    assert sha256(secret.encode()).hexdigest() not in seen


# --- what overtakes what ---------------------------------------------------------------------------------------------


def test_a_revocation_overtakes_a_sign_in_that_is_approved_while_it_is_made(scene: Scene) -> None:
    """A code is asked for and approved while the session is being ended at Veeam: nobody is signed in again behind it."""
    scene.signed_in()

    def meanwhile() -> None:
        scene.approved("r3")

    scene.veeam_server.faults.add(Fault("/logout", meanwhile=meanwhile))
    assert scene.ask("revoke", "r2") == "Revoked"
    assert scene.document(SignIn).state is SignInState.APPROVED
    exchanged = len(scene.veeam.presented)

    scene.complete()

    assert scene.document(SignIn).state is SignInState.ENDED
    assert scene.document(SignIn).outcome is Reason.REVOKED
    assert scene.document(SignIn).assertion is None
    assert scene.credential().state is State.REVOKED
    assert len(scene.veeam.presented) == exchanged


def test_a_sign_in_that_is_asked_for_after_a_revocation_counts(scene: Scene) -> None:
    """The operator wants the tenant back."""
    scene.signed_in()
    scene.ask("revoke", "r2")
    scene.approved("r3")

    scene.complete()

    assert scene.credential().state is State.ACTIVE


# --- clocks ----------------------------------------------------------------------------------------------------------


class Suspended(FakeClock):
    """A machine that sleeps: the boot-time clock goes on; the wall clock may be set back meanwhile."""

    slept = timedelta(0)

    def boottime(self) -> timedelta:
        return super().boottime() + self.slept


def test_nothing_is_called_after_a_sleep_though_the_wall_clock_was_set_back(scene: Scene) -> None:
    """Somebody else has taken the attempt over by now; the wall clock alone wouldn't tell."""
    scene.signed_in()
    scene.until_due()
    clock = Suspended(scene.clock.now())
    write = scene.store.write
    store = SimpleNamespace(read=scene.store.read, destroy=scene.store.destroy)

    def slow(name: str, document: Any, **more: Any) -> int:
        version = write(name, document, **more)
        clock.slept += 10 * MINUTE
        return version

    store.write = slow
    called = len(scene.veeam.presented)

    done = step(replace(scene.world, clock=clock, store=cast("Any", store)), "acme")

    assert isinstance(done.error, StoreUnavailable)
    assert done.error.reason == "TooLate"
    assert len(scene.veeam.presented) == called


# --- Microsoft -------------------------------------------------------------------------------------------------------


def needs_renewal(played: PlayedTerm) -> None:
    """Write a credential that is due soon, whose refresh token may be in use, and whose assertion has expired."""
    held = played.credential("acme", age=36 * MINUTE, grant_age=2 * HOUR)
    assert isinstance(held.pair, TokenPair)
    played.write("acme", held.replace(pair=held.pair.replace(doubtful=True)))


@pytest.mark.parametrize("status", [503, 429])
def test_microsofts_trouble_is_not_met_again_at_once(played: PlayedTerm, status: int) -> None:
    """An eighth of what is left of the token, about two minutes here; it is asked again by itself."""

    def sick(call: str, _: Request) -> Response | None:
        played.leads = len(played.made("microsoft token")) < 50  # else it would be asked for ever at one time
        return Response(status) if call == "microsoft token" else None

    needs_renewal(played)
    played.instead = sick
    played.lead()

    while not played.made("microsoft token"):
        played.play(SECOND)
    played.play(MINUTE)
    assert len(played.made("microsoft token")) == 1
    played.play(14 * MINUTE)

    assert 3 <= len(played.made("microsoft token")) <= 15


def test_a_renewal_asks_for_the_scope_that_was_signed_in_for(played: PlayedTerm) -> None:
    """Microsoft answers with what it granted, in words of its own; asked for that, it would grant less each time."""
    scopes = list[str]()

    def narrower(call: str, request: Request) -> Response | None:
        if call != "microsoft token":
            return None
        scopes.append(form_of(request)["scope"])
        body = b'{"access_token": "simtok-a", "refresh_token": "simtok-b", "scope": "User.Read", "expires_in": 3600}'
        return Response(200, body)

    held = played.credential("acme", grant_age=timedelta(days=4))
    assert held.binding is not None
    assert held.assertion is not None
    narrow = Secret('{"access_token": "simtok-a", "refresh_token": "simtok-b", "scope": "User.Read"}')
    played.write("acme", held.replace(assertion=held.assertion.replace(json_text=narrow)))
    played.instead = narrower
    played.lead()

    assert scopes == [held.binding.scope]


# --- a lane's places -------------------------------------------------------------------------------------------------


def test_a_session_that_is_ended_because_somebody_was_faster_occupies_a_place(played: PlayedTerm) -> None:
    """The pair of an exchange is superseded by a revocation: its session is ended, and the server counts that call."""
    played.server("vbr", throttle=Throttle(per_second=0, per_minute=2, per_hour=0))
    played.credential("other", age=36 * MINUTE)
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    played.approve("acme")

    def overtaken(call: str, _: Request) -> Response | None:
        held = played.stands(Credential, "acme")
        if call == "veeam token" and held is not None and held.state is State.ROTATING:
            played.write("acme", held.revoked(played.clock.now()))
        return None

    played.instead = overtaken
    while not played.made("veeam logout"):
        played.play(SECOND)
    played.instead = lambda _call, _request: None
    counted = [*played.made("veeam token"), *played.made("veeam logout")]
    played.ask("other", "rotate", "r2")
    played.play(5 * MINUTE)

    first = next(at for at in played.made("veeam token") if at not in counted)
    assert first - counted[-1] >= MINUTE


def test_a_request_speaks_of_the_documents_as_they_are_now(played: PlayedTerm) -> None:
    """What was written just before it by another client holds from that request on."""
    played.credential("acme")
    played.lead()
    played.write("acme", played.stands(TenantSpec, "acme").replace(paused=True))
    played.ask("acme", "rotate", "r1")

    played.play(5 * SECOND)

    assert not played.letters.posted
    assert played.calls == []
