"""Rotation on each rung, its failures, two replicas, and what an operator changes meanwhile."""

from datetime import timedelta
from typing import Any

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene, goes_on
from tests.simulators.http import Fault, Response, Server
from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import VersionConflict
from vault_plugin.core.lifecycle.gather import Seen
from vault_plugin.core.lifecycle.rotate import step
from vault_plugin.core.policy import Do
from vault_plugin.core.ports import TokenAnswer
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.core.timing import Policy

SECOND = timedelta(seconds=1)
POLICY = Policy()


def test_a_due_pair_is_refreshed_and_the_consumer_sees_it(scene: Scene) -> None:
    """Rung 1, published under the next generation."""
    scene.signed_in()
    old = scene.token()
    scene.until_due()

    done = scene.step()

    assert done.called is Rung.REFRESH
    assert scene.publish()
    assert scene.token() != old
    assert scene.veeam.accepts(scene.token())
    assert scene.credential().generation == 2


def test_nothing_is_done_before_it_is_due(scene: Scene) -> None:
    """Asking early costs one read and no call."""
    scene.signed_in()
    writes = len(scene.store.writes)

    done = scene.step()

    assert done.action.do is Do.HOLD
    assert len(scene.store.writes) == writes


def test_a_rotation_costs_two_writes_of_the_credential(scene: Scene) -> None:
    """Started and concluded."""
    scene.signed_in()
    scene.until_due()
    before = len(scene.store.writes)

    scene.step()

    assert [path for path, _ in scene.store.writes[before:]] == ["credentials/acme"] * 2


def test_a_dead_veeam_session_heals_by_exchanging_the_assertion_again(scene: Scene) -> None:
    """Rung 2, without a person."""
    scene.signed_in()
    scene.clock.advance(1)
    scene.veeam.revoke_all()
    scene.ask("rotate", "r2")

    done = scene.rotate()

    assert done.called is Rung.EXCHANGE
    assert scene.credential().reason is Reason.REEXCHANGED


def test_an_old_assertion_is_renewed_at_microsoft_first(scene: Scene) -> None:
    """Rung 3, without a person."""
    scene.signed_in()
    scene.clock.advance(timedelta(hours=2))
    scene.veeam.revoke_all()

    done = scene.rotate()

    assert done.called is Rung.EXCHANGE
    assert scene.credential().reason is Reason.REASSERTED
    assert scene.credential().state is State.ACTIVE


def test_a_person_is_asked_only_on_microsofts_verdict(scene: Scene) -> None:
    """Rung 4: state, reason, remedy; the old token is served until it expires."""
    scene.signed_in()
    token = scene.token()
    scene.veeam.revoke_all()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.clock.advance(timedelta(hours=2))

    scene.rotate()
    assert scene.status().state == "blocked", "the refusal of the refresh token isn't confirmed"
    scene.refused_again()

    status = scene.status()
    assert status.state == "needs_sign_in"
    assert status.reason == "GrantRejected"
    assert "vb365 sign-in" in status.remedy
    assert scene.token() == token
    assert scene.credential().assertion is not None


def test_a_sick_veeam_never_asks_a_person(scene: Scene) -> None:
    """Veeam rejects what Microsoft has just renewed: blocked, and retried by itself."""
    scene.signed_in()
    scene.veeam.revoke_all()
    scene.veeam.reject_assertions = True
    scene.clock.advance(timedelta(hours=2))
    scene.rotate()
    assert scene.credential().state is State.BLOCKED
    assert scene.credential().reason is Reason.REJECTED_BY_VEEAM

    scene.veeam.reject_assertions = False
    scene.clock.advance(timedelta(minutes=16))
    scene.rotate()

    assert scene.credential().state is State.ACTIVE


def test_a_tenant_policy_blocks_without_asking_for_a_sign_in(scene: Scene) -> None:
    """An admin must act; signing in again would bring nothing."""
    scene.signed_in()
    scene.veeam.revoke_all()
    scene.microsoft.blocked[ORGANIZATION] = 53003
    scene.clock.advance(timedelta(hours=2))

    scene.rotate()

    assert scene.credential().state is State.BLOCKED
    assert scene.credential().reason is Reason.BLOCKED_BY_TENANT_POLICY


def test_an_ambiguous_verdict_counts_only_when_seen_twice(scene: Scene) -> None:
    """AADSTS70000 is known to pass."""
    scene.signed_in()
    scene.veeam.revoke_all()
    scene.microsoft.revoke(ORGANIZATION, 70000)
    scene.clock.advance(timedelta(hours=2))
    scene.rotate()
    assert scene.credential().state is State.ACTIVE

    scene.clock.advance(POLICY.confirm_after - SECOND)
    scene.ask("rotate", "r2")
    scene.rotate()
    assert scene.credential().state is State.ACTIVE, "twice at once is once"

    scene.clock.advance(SECOND)
    scene.ask("rotate", "r3")
    scene.rotate()
    assert scene.credential().state is State.BLOCKED, "Microsoft's verdict stands, Veeam's isn't confirmed"
    scene.refused_again()

    assert scene.credential().state is State.NEEDS_SIGN_IN


@pytest.mark.parametrize("clock", ["wall", "boot"])
@pytest.mark.parametrize("late", [False, True])
def test_an_attempt_that_was_recorded_too_late_sends_nothing(scene: Scene, clock: str, late: bool) -> None:  # noqa: FBT001
    """By the wall clock or by the time since boot: the wall clock may be set meanwhile."""
    scene.signed_in()
    scene.until_due()
    original, time = scene.store.write, POLICY.store_timeout + POLICY.deadline_margin + late * SECOND

    def slow(name: str, document: Document, **more: Any) -> int:
        scene.store.write = original  # type: ignore[method-assign]
        version = original(name, document, **more)
        if clock == "boot":
            scene.clock.advance(time)
        scene.clock.set(time if clock == "wall" else -time)
        return version

    scene.store.write = slow  # type: ignore[method-assign]
    done = scene.step()

    assert (done.called is None) == late
    assert len(scene.veeam.presented) == (1 if late else 2)
    assert scene.credential().generation == (1 if late else 2)
    if late:
        assert done.error is not None
        assert done.error.reason == "TooLate"
        assert scene.step().called is Rung.EXCHANGE, "taken up again, and sent"


def test_a_call_leaves_time_for_another_try_before_the_pair_expires(scene: Scene) -> None:
    """Its timeout is a quarter of what is left, if that is less than the server's."""
    scene.signed_in()
    pair = scene.credential().pair
    assert pair is not None
    scene.clock.advance(pair.life - 40 * SECOND)
    refresh, timeouts = scene.world.veeam.refresh, list[timedelta]()

    def timed(server: ServerSpec, token: Secret, timeout: timedelta) -> TokenAnswer:
        timeouts.append(timeout)
        return refresh(server, token, timeout)

    scene.world.veeam.refresh = timed  # type: ignore[method-assign,assignment]
    scene.step()

    assert timeouts == [10 * SECOND]


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/token", response=Response(500)),
        Fault("/token", response=Response(429, b"slow", {"Retry-After": "7"})),
        Fault("/token", response=Response(503)),
        Fault("/token", response=Response(200, b"<html>login</html>", {"Content-Type": "text/html"})),
        Fault("/token", drop="before"),
    ],
    ids=["500", "429", "503", "html", "dropped"],
)
def test_trouble_of_veeams_marks_nothing_bad(scene: Scene, fault: Fault) -> None:
    """The pair stays, the token stays, the next try succeeds on the same rung."""
    scene.signed_in()
    scene.until_due()
    scene.veeam_server.faults.add(fault)
    failed = scene.step()
    assert failed.error is not None
    assert scene.credential().state is State.ACTIVE
    assert scene.credential().reason is Reason.RETRYING

    scene.clock.advance(timedelta(minutes=5))
    assert scene.step().called is Rung.REFRESH
    assert scene.credential().generation == 2


def test_a_rejected_refresh_token_goes_first_only_while_microsoft_says_nothing(scene: Scene) -> None:
    """Veeam's verdict stands in the store; Microsoft is away, and the token has expired: it is tried once more before Microsoft."""
    scene.signed_in()
    scene.veeam.revoke_all()
    scene.clock.advance(timedelta(hours=2))
    scene.microsoft_server.faults.add(Fault("/token", times=None, response=Response(503)))
    scene.rotate()
    assert scene.credential().state is State.ACTIVE

    scene.microsoft_server.faults.clear()
    scene.clock.advance(timedelta(minutes=20))
    scene.rotate()

    assert scene.credential().reason is Reason.REASSERTED
    assert len([one for one in scene.veeam.presented if one.grant == "refresh_token"]) == 2


def test_two_replicas_at_once_spend_a_refresh_token_once(scene: Scene) -> None:
    """The first write is the lock: the second replica sees it, or loses its check-and-set."""
    scene.signed_in()
    scene.until_due()
    other = scene.replica()
    original = scene.store.write

    def racing(name: str, document: object, **more: object) -> int:
        scene.store.write = original  # type: ignore[method-assign]
        step(other, "acme")
        return original(name, document, **more)  # type: ignore[arg-type]

    scene.store.write = racing  # type: ignore[method-assign]
    with pytest.raises(VersionConflict):
        scene.step()

    assert len([p for p in scene.veeam.presented if p.grant == "refresh_token"]) == 1
    assert scene.credential().generation == 2


def test_another_replicas_attempt_is_left_alone_until_its_lease_is_over(scene: Scene) -> None:
    """Measured as "seen unchanged for that long" on the asker's own clock."""
    scene.signed_in()
    scene.until_due()
    scene.veeam_server.faults.add(Fault("/token", drop="after"))
    other = scene.replica("other:1")
    credential = _crash_after_call(scene)
    attempt = credential.attempt
    assert attempt is not None

    early = step(other, "acme", Seen(attempt.id, attempt.lease / 2))
    assert early.action.reason is Reason.IN_FLIGHT

    done = step(other, "acme", Seen(attempt.id, attempt.lease))
    assert done.action.reason is Reason.TAKEN_OVER
    assert done.called is Rung.EXCHANGE
    assert not scene.presented_again()


def _crash_after_call(scene: Scene):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Let the process die after its refresh was sent and before anything of it is stored."""

    class Died(BaseException):
        pass

    original = scene.world.veeam.refresh

    def dies(*arguments: object) -> object:
        try:
            original(*arguments)  # type: ignore[arg-type]
        finally:
            raise Died

    scene.world.veeam.refresh = dies  # type: ignore[method-assign,assignment]
    with pytest.raises(Died):
        scene.step()
    scene.world.veeam.refresh = original  # type: ignore[method-assign]
    return scene.credential()


def test_an_operator_who_moves_the_authority_gets_nothing(scene: Scene) -> None:
    """Rotation stops with ConfigurationChanged; his host's log stays empty; setting it back resumes."""
    scene.signed_in()
    evil = Server(lambda _request: Response(200))
    good = scene.specs.tenants["acme"]
    scene.specs.tenants["acme"] = good.replace(authority=evil.url.replace("http://", "https://"))
    scene.clock.advance(timedelta(hours=2))
    scene.veeam.revoke_all()

    done = scene.step()

    assert done.action.reason is Reason.CONFIGURATION_CHANGED
    assert "authority" in scene.status().text
    assert scene.ask("sign-in", "r2") == "Refused"
    assert evil.log == []
    evil.close()
    scene.specs.tenants["acme"] = good
    scene.rotate()
    assert scene.credential().reason is Reason.REASSERTED


def test_a_spec_that_vanishes_destroys_nothing(scene: Scene) -> None:
    """TenantRemoved until it is back with the same binding."""
    scene.signed_in()
    spec = scene.specs.tenants.pop("acme")
    scene.until_due()
    assert scene.step().action.reason is Reason.TENANT_REMOVED

    scene.specs.tenants["acme"] = spec
    assert scene.step().called is Rung.REFRESH


def test_a_paused_tenant_is_left_alone(scene: Scene) -> None:
    """The published token lives on."""
    scene.signed_in()
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(paused=True)
    scene.until_due()

    assert scene.step().action.reason is Reason.PAUSED
    assert scene.ask("rotate", "r2") == "Refused"


def test_revoking_logs_out_and_leaves_no_secret(scene: Scene) -> None:
    """A tombstone at tokens/, no readable older version anywhere."""
    scene.signed_in()
    token = scene.token()

    assert scene.ask("revoke", "r2") == "Revoked"

    assert not scene.veeam.accepts(token)
    assert scene.credential().state is State.REVOKED
    for path, held in scene.store._paths.items():
        readable = [version for version in held.versions.values() if version is not None]
        assert "simtok" not in str(readable), path
    assert scene.step().action.reason is Reason.REVOKED


def test_a_revoked_tenant_comes_back_by_signing_in(scene: Scene) -> None:
    """Final until a new sign-in; generations go on growing."""
    scene.signed_in()
    scene.ask("revoke", "r2")
    generation = scene.credential().generation

    scene.ask("sign-in", "r3")
    scene.approve()
    scene.poll()
    scene.complete()
    scene.publish()

    assert scene.credential().state is State.ACTIVE
    assert scene.credential().generation == generation + 1
    assert scene.veeam.accepts(scene.token())


def test_keep_alive_renews_an_idle_assertion_under_the_same_journal(scene: Scene) -> None:
    """After three days without rung 3 Microsoft's grant is used once."""
    scene.veeam.token_life = 10 * 86400
    scene.signed_in()
    scene.clock.advance(timedelta(days=3, minutes=1))

    done = scene.step()

    assert done.called is Rung.REASSERT
    assert scene.credential().state is State.ACTIVE
    assert scene.credential().reason is Reason.KEPT_ALIVE
    assert scene.credential().generation == 1


def test_unknown_fields_of_a_newer_version_survive_a_rotation(scene: Scene) -> None:
    """An older replica must not erase what a newer one wrote."""
    scene.signed_in()
    held = scene.store._paths["credentials/acme"]
    current = held.versions[held.version]
    assert current is not None
    current["from_the_future"] = {"a": 1}
    scene.until_due()

    scene.step()

    newest = held.versions[held.version]
    assert newest is not None
    assert newest["from_the_future"] == {"a": 1}


def test_an_attempt_with_which_nothing_can_go_on_asks_a_person(scene: Scene) -> None:
    """No refresh token of Microsoft's, the assertion too old, Veeam's session gone: there is no grant left.

    The refresh token is presented again, and its refusal confirmed, before anybody is asked.
    """
    scene.signed_in()
    held = scene.store.read(Credential, "acme")
    assert held.document is not None
    assert held.document.assertion is not None
    poor = held.document.replace(assertion=held.document.assertion.replace(refreshable=False))
    scene.store.write("acme", poor, cas=held.version)
    scene.until_due()
    scene.veeam.revoke_all()
    assert goes_on(scene.step())
    scene.clock.advance(timedelta(hours=2))

    scene.step()
    assert scene.credential().state is State.BLOCKED
    scene.refused_again()

    assert scene.credential().state is State.NEEDS_SIGN_IN
    assert scene.credential().attempt is None
