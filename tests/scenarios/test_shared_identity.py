"""Two tenants, one account of one Microsoft 365 tenant: the later sign-in is refused, whoever it is, and names nobody."""

from typing import Any

import pytest

from tests.scenarios.term import HOUR, MINUTE, SECOND, PlayedTerm
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Status
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import TenantSpec, bind

ACCOUNT = "admin@acme.onmicrosoft.com"
PLACE = "acme.onmicrosoft.com"


def sign_in(played: PlayedTerm, name: str, request_id: str, account: str, *, directory: str = PLACE) -> SignIn:
    """Ask for a code, let somebody sign in with it, and return what became of it."""
    played.microsoft.moved[f"{name}.onmicrosoft.com"] = directory
    show(played, name, request_id)
    enter(played, name, account)
    played.play(30 * SECOND)
    ended: SignIn = played.stands(SignIn, name)
    return ended


def show(played: PlayedTerm, name: str, request_id: str) -> None:
    played.ask(name, "sign-in", request_id)
    played.play(4 * SECOND)


def enter(played: PlayedTerm, name: str, account: str) -> None:
    code = next(code for code in played.microsoft.pending() if code.tenant.startswith(name))
    played.microsoft.approve(code.user_code, account)


@pytest.fixture
def two(played: PlayedTerm) -> PlayedTerm:
    """Return a term in which acme is signed in, and beta isn't."""
    played.tenant("acme")
    played.tenant("beta")
    played.lead()
    assert sign_in(played, "acme", "r1", ACCOUNT).outcome is Reason.SIGNED_IN
    return played


@pytest.mark.parametrize("account", [ACCOUNT, ACCOUNT.upper()])
def test_the_later_sign_in_is_refused(two: PlayedTerm, account: str) -> None:
    """Its tokens are dropped before Veeam sees them; the operator learns what to do and not who the other one is."""
    called = len(two.made("veeam token"))

    ended = sign_in(two, "beta", "r2", account)

    assert ended.outcome is Reason.SIGNED_IN_ELSEWHERE
    assert ended.assertion is None
    assert len(two.made("veeam token")) == called
    assert two.stands(Credential, "beta") is None
    told: Status = two.stands(Status, "beta")
    assert told.sign_in is not None
    assert told.reason == "SignedInElsewhere"
    assert "vb365 sign-in beta" in told.sign_in.remedy
    assert "acme" not in told.model_dump_json().casefold()
    assert two.stands(Credential, "acme").state is State.ACTIVE


@pytest.mark.parametrize("again", [False, True], ids=["at once", "after a restart"])
def test_others_are_not_refused(two: PlayedTerm, again: bool) -> None:  # noqa: FBT001 - a table's column
    """Another account of the same tenant, or the same name in another; and oneself, as often as it takes."""
    if again:
        two.again()
    assert sign_in(two, "beta", "r2", "backup@acme.onmicrosoft.com").outcome is Reason.SIGNED_IN
    assert sign_in(two, "beta", "r3", ACCOUNT, directory="beta.onmicrosoft.com").outcome is Reason.WRONG_TENANT
    assert sign_in(two, "acme", "r4", ACCOUNT).outcome is Reason.SIGNED_IN


def test_a_restart_forgets_nobody(two: PlayedTerm) -> None:
    """It is read from the credentials."""
    two.again()

    assert sign_in(two, "beta", "r2", ACCOUNT).outcome is Reason.SIGNED_IN_ELSEWHERE


def test_one_organization_on_two_servers_may_be_signed_in_twice(played: PlayedTerm) -> None:
    """Both specs say so, whatever the case."""
    acme = played.tenant("acme")
    played.tenant("beta")
    played.write("beta", acme.replace(organization=acme.organization.upper()))
    played.veeam.organizations.add(acme.organization.upper())
    played.lead()
    assert sign_in(played, "acme", "r1", ACCOUNT).outcome is Reason.SIGNED_IN
    show(played, "beta", "r2")
    played.microsoft.moved[acme.organization.upper()] = PLACE
    code = next(code for code in played.microsoft.pending() if code.tenant.startswith("ACME"))
    played.microsoft.approve(code.user_code, ACCOUNT)
    played.play(30 * SECOND)

    assert played.stands(SignIn, "beta").outcome is Reason.SIGNED_IN
    assert "signed in for another organization" not in played.stands(Status, "beta").text


@pytest.mark.parametrize("action", ["revoke", "remove"])
def test_who_was_revoked_holds_nothing(two: PlayedTerm, action: Any) -> None:
    """The account is free for another tenant."""
    two.ask("acme", action, "r9")
    two.play(4 * SECOND)

    assert sign_in(two, "beta", "r2", ACCOUNT).outcome is Reason.SIGNED_IN


@pytest.mark.parametrize("away", [False, True], ids=["Veeam well", "Veeam away"])
def test_of_two_sign_ins_that_race_one_is_refused(played: PlayedTerm, away: bool) -> None:  # noqa: FBT001 - a table's column
    """Both codes are shown, and both are entered; with Veeam away, neither is exchanged before both are approved."""
    for name in ("acme", "beta"):
        played.tenant(name)
        played.microsoft.moved[f"{name}.onmicrosoft.com"] = PLACE
    played.lead()
    show(played, "acme", "r1")
    show(played, "beta", "r2")
    if away:
        played.veeam.reject_assertions = True
    enter(played, "acme", ACCOUNT)
    enter(played, "beta", ACCOUNT)
    played.play(MINUTE)

    outcomes = {played.stands(SignIn, name).outcome for name in ("acme", "beta")}
    assert Reason.SIGNED_IN_ELSEWHERE in outcomes
    assert len(outcomes) == 2


def test_two_that_were_approved_before_a_restart_are_told_apart_at_adoption(two: PlayedTerm) -> None:
    """An approval of an older version, or of another leader, was checked by nobody."""
    played, acme = two, two.stands(Credential, "acme")
    spec: TenantSpec = played.stands(TenantSpec, "beta")
    now = played.clock.now()
    approved = SignIn(
        id="s9", state=SignInState.APPROVED, binding=bind("beta", spec).replace(tenant_id=acme.binding.tenant_id),
        interval=5 * SECOND, next_poll_at=now, started_at=now, expires_at=now + HOUR,
        assertion=acme.assertion.replace(json_text=Secret('{"access_token": "simtok-other"}')),
    )  # fmt: skip
    played.write("beta", approved)
    called = len(played.made("veeam token"))
    played.again()
    played.play(30 * SECOND)

    assert played.stands(SignIn, "beta").outcome is Reason.SIGNED_IN_ELSEWHERE
    assert played.stands(SignIn, "beta").assertion is None
    assert len(played.made("veeam token")) == called


def test_standing_ones_go_on_and_are_warned_about(two: PlayedTerm) -> None:
    """An upgrade ends nothing."""
    acme = two.stands(Credential, "acme")
    beta = two.credential("beta", age=36 * MINUTE)
    assert beta.binding is not None
    bound = beta.binding.replace(tenant_id=acme.binding.tenant_id.upper())
    two.write("beta", beta.replace(binding=bound, assertion=acme.assertion.replace(account=ACCOUNT.upper())))
    two.again()
    two.play(10 * MINUTE)

    assert two.generation("beta") == 2
    told: Status = two.stands(Status, "beta")
    assert told.state == "active"
    assert "signed in for another organization here already" in told.text
    assert "--organization" in told.remedy
    assert "acme" not in told.replace(account="").model_dump_json().casefold()
