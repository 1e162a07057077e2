"""A person signs in, declines, comes late, is blocked, is somebody else; the service dies in between."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene
from tests.simulators.http import Fault, Response
from vault_plugin.core.lifecycle import sign_in as signing_in
from vault_plugin.core.published import Prompt
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State

MINUTE = timedelta(minutes=1)


def test_a_sign_in_ends_with_a_published_token_that_veeam_accepts(scene: Scene) -> None:
    """From the request to the token in six verbs."""
    credential = scene.signed_in()

    assert credential.state is State.ACTIVE
    assert credential.reason is Reason.SIGNED_IN
    assert scene.veeam.accepts(scene.token())
    assert credential.assertion is not None
    assert credential.assertion.account == f"admin@{ORGANIZATION}"


def test_the_code_is_shown_while_pending_and_gone_afterwards(scene: Scene) -> None:
    """prompts/ has the code; status/ never has."""
    scene.ask("sign-in", reason="restore of mail")
    shown: Prompt = scene.document(Prompt)
    scene.status()

    assert shown.user_code
    assert shown.claimed_by == "alice"
    assert shown.why == "restore of mail"
    scene.approve()
    scene.poll()
    scene.complete()
    assert not scene.document(Prompt).user_code


def test_nothing_of_the_assertion_stays_in_the_sign_in(scene: Scene) -> None:
    """Older versions of sign-ins/ are destroyed once the credential has the grant."""
    scene.signed_in()

    kept = scene.store.kept(SignIn, "acme")
    assert all(version is None or "assertion" not in version for version in kept.values())


def test_a_second_request_shows_the_first_code(scene: Scene) -> None:
    """One live sign-in per tenant."""
    scene.ask("sign-in", "r1")
    first = scene.document(Prompt).user_code

    assert scene.ask("sign-in", "r2") == "Joined"
    assert scene.document(Prompt).user_code == first


def test_a_request_handled_before_a_crash_has_no_second_effect(scene: Scene) -> None:
    """The same id again returns the same outcome and asks Microsoft for nothing."""
    scene.ask("sign-in", "r1")
    codes = len(scene.microsoft.codes)

    assert scene.ask("sign-in", "r1") == "CodeShown"
    assert len(scene.microsoft.codes) == codes


def test_polling_obeys_the_interval_and_slow_down(scene: Scene) -> None:
    """slow_down adds five seconds for good (RFC 8628 section 3.5)."""
    scene.ask("sign-in")
    scene.poll()
    early = signing_in.poll(scene.world, "acme", scene.last)
    assert not early.asked
    assert len([p for p in scene.microsoft.presented if p.grant == "device_code"]) == 1
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, b'{"error":"slow_down"}')))

    scene.poll()

    assert scene.document(SignIn).interval == timedelta(seconds=10)
    scene.approve()
    scene.poll()
    assert scene.document(SignIn).state is SignInState.APPROVED


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_clock_that_is_set_puts_no_poll_off(scene: Scene, minutes: int) -> None:
    """It is polled within its interval, so that an approval is kept: the code dies by Microsoft's clock."""
    scene.ask("sign-in")
    scene.poll()
    scene.approve()
    scene.clock.set(minutes * MINUTE)
    scene.clock.advance(scene.document(SignIn).interval)

    signing_in.poll(scene.world, "acme", scene.last)

    assert scene.document(SignIn).state is SignInState.APPROVED
    scene.complete()
    assert scene.credential().state is State.ACTIVE


def test_a_clock_that_is_set_back_puts_no_exchange_off(scene: Scene) -> None:
    """An error of the future was stored before: nobody knows what is left of the wait."""
    scene.approved()
    scene.clock.advance(MINUTE)
    scene.veeam_server.faults.add(Fault("/token", response=Response(500)))
    scene.complete()
    waits = scene.complete()
    assert waits is not None
    assert waits.action.reason is Reason.BACKING_OFF

    scene.clock.set(timedelta(seconds=-30))
    scene.complete()

    assert scene.credential().state is State.ACTIVE


@pytest.mark.parametrize(
    ("code", "outcome", "words"),
    [
        (53003, Reason.BLOCKED_BY_TENANT_POLICY, "Conditional Access"),
        (530035, Reason.BLOCKED_BY_TENANT_POLICY, "security defaults"),
    ],
)
def test_a_policy_that_blocks_is_said_in_plain_words(scene: Scene, code: int, outcome: Reason, words: str) -> None:
    """The operator learns what blocks, what to do, and the trace id."""
    scene.ask("sign-in")
    scene.microsoft.blocked[ORGANIZATION] = code
    scene.approve()
    scene.poll()

    status = scene.status()
    assert status.sign_in is not None
    assert status.sign_in.outcome == outcome
    assert words in status.sign_in.text
    assert "administrator" in status.sign_in.remedy
    assert status.sign_in.code == code
    assert status.sign_in.trace_id


def test_declining_and_expiring_are_told_apart(scene: Scene) -> None:
    """Both say that the operator may ask again."""
    scene.ask("sign-in", "r1")
    scene.microsoft.decline(scene.document(Prompt).user_code)
    scene.poll()
    assert scene.document(SignIn).outcome is Reason.DECLINED
    assert "vb365 sign-in" in scene.document(SignIn).remedy

    scene.ask("sign-in", "r2")
    scene.clock.advance(901)
    scene.poll()
    assert scene.document(SignIn).outcome is Reason.EXPIRED


def test_the_last_poll_comes_at_expiry(scene: Scene) -> None:
    """Who approves in the last second isn't lost to an interval."""
    scene.ask("sign-in")
    scene.clock.advance(899)
    scene.approve()

    scene.poll()

    assert scene.document(SignIn).state is SignInState.APPROVED


def test_somebody_else_than_expected_is_refused(scene: Scene) -> None:
    """The tokens of a wrong account are dropped."""
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(expected_account="backup@contoso.onmicrosoft.com")
    scene.approved()

    ended: SignIn = scene.document(SignIn)
    assert ended.outcome is Reason.WRONG_ACCOUNT
    assert "backup@contoso.onmicrosoft.com" in ended.text
    assert ended.assertion is None
    assert not scene.veeam.presented


def test_another_tenant_than_before_is_refused(scene: Scene) -> None:
    """Its tokens are dropped; the pair that stands serves on, and the same tenant may sign in again."""
    scene.signed_in()
    presented = len(scene.veeam.presented)
    scene.microsoft.moved[ORGANIZATION] = "fabrikam.onmicrosoft.com"
    scene.approved("r2")

    ended: SignIn = scene.document(SignIn)
    assert ended.outcome is Reason.WRONG_TENANT
    assert ended.assertion is None
    assert scene.complete() is None
    assert len(scene.veeam.presented) == presented
    assert scene.credential().state is State.ACTIVE

    scene.microsoft.moved.clear()
    scene.approved("r3")
    assert scene.document(SignIn).state is SignInState.APPROVED


def test_who_is_expected_is_what_the_tenant_says_when_somebody_signs_in(scene: Scene) -> None:
    """A second request joins a code that was made before: whoever it expects, no other account comes in by it."""
    acme = scene.specs.tenants["acme"]
    scene.ask("sign-in", "r1")
    scene.specs.tenants["acme"] = acme.replace(expected_account="backup@contoso.onmicrosoft.com")
    assert scene.ask("sign-in", "r2") == "Joined"
    scene.approve()
    scene.poll()
    assert scene.document(SignIn).outcome is Reason.WRONG_ACCOUNT

    scene.ask("sign-in", "r3")
    scene.specs.tenants["acme"] = acme.replace(expected_account=f"Admin@{ORGANIZATION}")
    scene.approve()
    scene.poll()
    assert scene.document(SignIn).state is SignInState.APPROVED


def test_a_lost_answer_ends_as_approval_lost_and_says_so(scene: Scene) -> None:
    """Tokens handed out, process dead before they were stored: the one window that no client can close."""
    scene.ask("sign-in")
    scene.poll()
    scene.approve()
    scene.microsoft_server.faults.add(Fault("/token", drop="after"))
    lost = scene.poll()
    assert lost.last is not None
    assert lost.last.doubt

    scene.poll(known=False)

    assert scene.document(SignIn).outcome is Reason.APPROVAL_LOST
    assert "once more" in scene.status().remedy


def test_a_restart_in_the_middle_of_polling_loses_nothing(scene: Scene) -> None:
    """A poll that was answered pending before the crash is simply asked again."""
    scene.ask("sign-in")
    scene.poll()
    scene.approve()

    scene.poll(known=False)

    assert scene.document(SignIn).state is SignInState.APPROVED


@pytest.mark.parametrize(
    "fault",
    [
        Fault("/token", response=Response(503)),
        Fault("/token", response=Response(429, b"Too Many Requests", {"Retry-After": "60"})),
        Fault("/token", response=Response(200, b"<html>")),
        Fault("/token", drop="before"),
    ],
    ids=["503", "429", "html", "dropped"],
)
def test_microsofts_bad_moments_end_no_sign_in(scene: Scene, fault: Fault) -> None:
    """Whatever isn't a verdict is asked again."""
    scene.ask("sign-in")
    scene.approve()
    scene.microsoft_server.faults.add(fault)
    polled = scene.poll()
    assert polled.error is not None
    assert scene.document(SignIn).state is SignInState.PENDING

    scene.poll()

    assert scene.document(SignIn).state is SignInState.APPROVED


def test_cancelling_leaves_the_working_token_alone(scene: Scene) -> None:
    """Asking a person again never disturbs what works (blue/green)."""
    scene.signed_in()
    token = scene.token()
    scene.ask("sign-in", "r2")
    sign_in_id = scene.document(SignIn).id

    assert scene.ask("cancel", "r3", sign_in_id=sign_in_id) == "Cancelled"
    assert scene.document(SignIn).outcome is Reason.CANCELLED
    assert scene.token() == token
    assert scene.credential().state is State.ACTIVE


def test_cancelling_an_old_sign_in_does_nothing(scene: Scene) -> None:
    """Cancel names the sign-in's id."""
    scene.ask("sign-in", "r1")

    assert scene.ask("cancel", "r2", sign_in_id="another") == "Refused"
    assert scene.document(SignIn).state is SignInState.PENDING


def test_an_approval_that_races_with_cancel_is_kept(scene: Scene) -> None:
    """A poll that was claimed when cancel came is finished first."""
    scene.ask("sign-in")
    scene.approve()
    sign_in_id = scene.document(SignIn).id
    microsoft_poll = scene.world.microsoft.poll

    class Racing:
        def __getattr__(self, name: str) -> object:
            return getattr(scene_microsoft, name)

        def poll(self, *arguments: object) -> object:
            answer = microsoft_poll(*arguments)  # type: ignore[arg-type]
            scene.ask("cancel", "r9", sign_in_id=sign_in_id)
            return answer

    scene_microsoft = scene.world.microsoft
    object.__setattr__(scene.world, "microsoft", Racing())
    scene.poll()

    assert scene.document(SignIn).state is SignInState.APPROVED


def test_an_old_request_is_nobodys_wish(scene: Scene) -> None:
    """A sign-in older than ten minutes when first seen is answered Expired and not executed."""
    from vault_plugin.core.lifecycle.requests import Asked, handle
    from vault_plugin.core.published import Request

    asked = Asked("acme", "old", scene.clock.now() - timedelta(minutes=11), Request(action="sign-in"))

    assert handle(scene.world, asked).outcome == "Expired"
    assert not scene.microsoft.codes


def test_an_approval_is_kept_when_somebody_joins_while_microsoft_is_asked(scene: Scene) -> None:
    """The portal posts a second sign-in as the person approves: both are answered by the same tokens."""
    scene.ask("sign-in")
    scene.approve()
    microsoft, joined = scene.world.microsoft, []

    class Slow:
        """Microsoft, whose answer takes as long as another request."""

        def __getattr__(self, name: str) -> object:
            return getattr(microsoft, name)

        def poll(self, *arguments: Any) -> object:
            answer = microsoft.poll(*arguments)
            joined.append(scene.ask("sign-in", "r2"))
            return answer

    scene.world = replace(scene.world, microsoft=cast("Any", Slow()))
    scene.poll()

    assert joined == ["Joined"]
    assert scene.document(SignIn).state is SignInState.APPROVED
    assert {entry.id for entry in scene.document(SignIn).handled} == {"r1", "r2"}
