"""Microsoft grants less than was asked for, answers for somebody else, or says what nobody knows; forms that name no tenant."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene
from tests.simulators.http import Fault, Response
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Prompt
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import Allowed

ALIASES = ["common", "Common", "organizations", "CONSUMERS", "9188040D-6c67-4c5b-b112-36a304b66dad"]
MAIL = "Mail.Read offline_access"


def less(scene: Scene, **instead: Any) -> None:
    """Let Microsoft's answers hold this instead; None leaves a field out, and ... makes it null."""

    def alter(_grant: str, tokens: dict[str, object]) -> dict[str, object]:
        left = {name: value for name, value in tokens.items() if name not in instead}
        return left | {name: None if value is ... else value for name, value in instead.items() if value is not None}

    scene.microsoft.alter = alter


# --- less than was asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, ..., "", 5])
def test_a_sign_in_without_a_refresh_token_says_at_once_that_a_person_will_be_needed(scene: Scene, token: object) -> None:
    """In the sign-in's status, before Veeam has answered and afterwards, and in the tenant's."""
    scene.veeam.wants_refresh_token = False
    less(scene, refresh_token=token)
    scene.approved()
    before = scene.status()
    scene.complete()
    scene.prove()
    after = scene.status()

    for told in (before.sign_in, after.sign_in, after):
        assert told is not None
        assert "gave no refresh token: a person is needed when Veeam's session ends" in told.text
        assert "offline_access" in told.remedy
        assert "vb365 sign-in acme" in told.remedy
    assert (after.state, after.reason) == ("active", "SignedIn")
    assert after.sign_in is not None
    assert after.sign_in.outcome == Reason.SIGNED_IN


def test_when_veeams_session_ends_the_missing_refresh_token_is_the_trail(scene: Scene) -> None:
    """Not VB365's settings: nothing is wrong there."""
    scene.veeam.wants_refresh_token = False
    less(scene, refresh_token=None)
    scene.signed_in()
    scene.clock.advance(timedelta(hours=3))
    scene.veeam.revoke_all()
    scene.rotate()
    told = scene.status()

    assert told.text.startswith("Microsoft gave no refresh token")
    assert told.remedy.startswith("See that the app may keep access (offline_access")


def test_a_sign_in_that_veeam_refuses_for_want_of_a_refresh_token_says_so_first(scene: Scene) -> None:
    """What Veeam says of it leads elsewhere."""
    less(scene, refresh_token=None)
    scene.approved()
    scene.veeam_server.faults.add(Fault("/token", times=None, response=Response(400, b'{"error": "invalid_grant"}')))
    scene.complete()
    told = scene.status()

    assert told.sign_in is not None
    assert "gave no refresh token" in told.sign_in.text
    assert told.sign_in.remedy.startswith("See that the app may keep access")
    assert told.text.startswith("Microsoft gave no refresh token")


def test_a_narrower_scope_is_told_by_the_words_that_were_asked_for(scene: Scene) -> None:
    """In the sign-in's status and in the tenant's; and no more, once it is granted."""
    less(scene, scope="openid User.ReadWrite.All")
    scene.signed_in()
    told = scene.status()

    assert told.sign_in is not None
    for seen in (told, told.sign_in):
        assert seen.text == "Microsoft granted less than was asked for: without Directory.AccessAsUser.All"
        assert "administrator" in seen.remedy

    less(scene)
    scene.clock.advance(timedelta(days=4))
    scene.veeam_server.faults.add(Fault("/token", response=Response(400, b'{"error": "invalid_grant"}')))
    scene.rotate()
    assert "less than" not in scene.status().text


@pytest.mark.parametrize(
    "scope", [None, ..., "", 5, "https://graph.microsoft.com/user.readwrite.all DIRECTORY.ACCESSASUSER.ALL Mail.Read"]
)
def test_what_is_granted_in_other_words_is_no_alarm(scene: Scene, scope: object) -> None:
    """As Microsoft names scopes."""
    less(scene, scope=scope)
    scene.signed_in()
    told = scene.status()

    assert told.text == ""
    assert told.sign_in is not None
    assert told.sign_in.text == ""


@pytest.mark.parametrize(
    "instead", [{"refresh_token": ...}, {"refresh_token": ""}, {"refresh_token": 0, "id_token": ..., "scope": ...}]
)
def test_a_renewal_that_brings_null_costs_no_sign_in(scene: Scene, instead: dict[str, Any]) -> None:
    """The stored refresh token is presented next time, and lives on at Microsoft."""
    scene.signed_in()
    less(scene, **instead)
    for _ in range(3):
        scene.clock.advance(timedelta(days=4))
        scene.veeam.revoke_all()  # nothing but a renewal brings a new pair
        scene.rotate()
        assert scene.credential().reason is Reason.REASSERTED
        assertion = scene.credential().assertion
        assert assertion is not None
        assert assertion.refreshable
    assert scene.credential().state is State.ACTIVE


@pytest.mark.parametrize("life", [..., None, 0, -1, "soon"])
def test_a_renewal_with_a_life_that_is_none_is_exchanged_once(scene: Scene, life: object) -> None:
    """Not renewed again and again, since it seems to have expired on arrival."""
    scene.signed_in()
    less(scene, expires_in=life)
    scene.clock.advance(timedelta(days=1))
    scene.veeam_server.faults.add(Fault("/token", response=Response(400, b'{"error": "invalid_grant"}')))
    presented = len(scene.microsoft.presented)
    scene.rotate()

    assert scene.credential().reason is Reason.REASSERTED
    assert len(scene.microsoft.presented) == presented + 1


# --- somebody else's answer ------------------------------------------------------------------------------------------


def test_a_renewal_for_another_tenant_replaces_nothing_and_asks_no_person(scene: Scene) -> None:
    """An administrator is asked; and it heals by itself, if it was a stray answer."""
    scene.signed_in()
    stored = scene.credential().assertion
    scene.microsoft.moved[ORGANIZATION] = "other.onmicrosoft.com"
    scene.clock.advance(timedelta(days=1))
    scene.veeam_server.faults.add(Fault("/token", response=Response(400, b'{"error": "invalid_grant"}')))
    scene.rotate()
    told = scene.status()

    assert scene.credential().assertion == stored
    assert (told.state, told.reason) == ("blocked", "Misconfigured")
    assert told.last_error is not None
    assert told.last_error.reason == "WrongTenant"
    assert "another Microsoft 365 tenant" in told.text

    scene.microsoft.moved.clear()
    scene.clock.advance(timedelta(hours=2))
    scene.rotate()
    assert scene.credential().state is State.ACTIVE


def test_a_sign_in_to_another_tenant_than_the_organizations_guid_is_refused(scene: Scene) -> None:
    """Nothing was signed in before that could be compared."""
    guid = "0c2b32f1-9f3c-4b5a-8f77-5f7f6a8f0d11"
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(organization=guid.upper())
    scene.microsoft.moved[guid.upper()] = "other.onmicrosoft.com"
    scene.approved()
    ended: SignIn = scene.document(SignIn)

    assert (ended.state, ended.outcome, ended.assertion) == (SignInState.ENDED, Reason.WRONG_TENANT, None)
    assert guid.upper() in ended.text

    scene.microsoft.moved.clear()
    scene.veeam.organizations.add(guid.upper())
    scene.approved("r2")
    scene.complete()
    assert scene.credential().state is State.ACTIVE


def test_the_tenant_that_signed_in_before_is_known_in_any_case(scene: Scene) -> None:
    """As a renewal knows it."""
    scene.signed_in()
    stored = scene.store.read(Credential, "acme")
    assert stored.document is not None
    assert stored.document.binding is not None
    upper = stored.document.binding.replace(tenant_id=stored.document.binding.tenant_id.upper())
    scene.store.write("acme", stored.document.replace(binding=upper), cas=stored.version)
    scene.approved("r2")

    assert scene.document(SignIn).outcome is not Reason.WRONG_TENANT


@pytest.mark.parametrize("token", [None, ..., ""])
def test_a_later_sign_in_without_a_refresh_token_keeps_the_stored_one(scene: Scene, token: object) -> None:
    """It is the same person's, and lives: nothing never replaces a token. The sign-in says that it brought none."""
    scene.signed_in()
    kept = _refresh_token(scene)
    less(scene, refresh_token=token)
    scene.approved("r2")
    scene.complete()

    assert _refresh_token(scene) == kept
    held = scene.credential().assertion
    assert held is not None
    assert (held.refreshable, held.lacks) == (True, ())
    told = scene.status().sign_in
    assert told is not None
    assert "gave no refresh token" in told.text


def test_what_isnt_kept_of_an_earlier_sign_in(scene: Scene) -> None:
    """A refresh token that Microsoft has called dead, and another person's."""
    scene.veeam.wants_refresh_token = False
    scene.signed_in()
    less(scene, refresh_token=None)
    scene.approved("r2")
    stored = scene.document(SignIn)
    assert stored.assertion is not None
    other = stored.replace(assertion=stored.assertion.replace(account="somebody@else"))
    scene.store.write("acme", other, cas=scene.store.read(SignIn, "acme").version)
    scene.complete()
    assert _refresh_token(scene) is None

    less(scene)
    scene.approved("r3")
    scene.complete()
    scene.microsoft.revoke(ORGANIZATION, 50173)
    scene.veeam.revoke_all()
    scene.clock.advance(timedelta(days=1))
    scene.rotate()
    less(scene, refresh_token=None)
    scene.approved("r4")
    scene.complete()
    assert _refresh_token(scene) is None


@pytest.mark.parametrize("account", ["", "alice@contoso"])
def test_a_refresh_token_is_kept_only_where_the_tokens_name_the_same_person(scene: Scene, account: str) -> None:
    """Two whom no token names may be two persons; a tenant id is the same in any case."""
    scene.veeam.wants_refresh_token = False
    scene.signed_in()
    kept = _refresh_token(scene)
    held = scene.store.read(Credential, "acme")
    assert held.document is not None
    assert held.document.binding is not None
    assert held.document.assertion is not None
    known = held.document.binding.tenant_id
    bound = held.document.binding.replace(tenant_id=known.upper() if account else known)
    named = held.document.assertion.replace(account=account.upper())
    scene.store.write("acme", held.document.replace(binding=bound, assertion=named), cas=held.version)
    less(scene, refresh_token=None)
    scene.approved("r2")
    stored = scene.store.read(SignIn, "acme")
    assert stored.document is not None
    assert stored.document.assertion is not None
    nobody = stored.document.replace(assertion=stored.document.assertion.replace(account=account))
    scene.store.write("acme", nobody, cas=stored.version)
    scene.complete()

    assert _refresh_token(scene) == (kept if account else None)


def _refresh_token(scene: Scene) -> object:
    held = scene.credential().assertion
    assert held is not None
    return json.loads(held.json_text.reveal()).get("refresh_token")


# --- errors that nobody knows ----------------------------------------------------------------------------------------


def test_an_unknown_policy_blocks_and_asks_no_person(scene: Scene) -> None:
    """`invalid_grant` with a number of that family."""
    scene.signed_in()
    scene.microsoft.blocked[ORGANIZATION] = 530037
    scene.clock.advance(timedelta(days=1))
    scene.veeam_server.faults.add(Fault("/token", response=Response(400, b'{"error": "invalid_grant"}')))
    scene.rotate()
    told = scene.status()

    assert (told.state, told.reason) == ("blocked", "BlockedByTenantPolicy")
    assert "AADSTS530037" in told.text
    assert "administrator" in told.remedy


def test_an_unknown_error_is_shown_while_it_is_tried_again(scene: Scene) -> None:
    """Its word and its number; and there is something to do about it."""
    scene.signed_in()
    scene.microsoft.blocked[ORGANIZATION] = 424242
    scene.microsoft.says[424242] = {"error": "tenant_is_asleep"}
    scene.clock.advance(timedelta(days=1))
    scene.veeam_server.faults.add(Fault("/token", response=Response(400, b'{"error": "invalid_grant"}')))
    scene.rotate()
    told = scene.status()

    assert told.last_error is not None
    assert told.last_error.reason == "UnknownError"
    assert "tenant_is_asleep (AADSTS424242)" in told.text
    assert "Nothing to do" not in told.remedy


def test_a_final_error_ends_a_sign_in_at_the_poll(scene: Scene) -> None:
    """`invalid_resource`, 500011: no poll changes that."""
    scene.ask("sign-in")
    body = {"error": "invalid_resource", "error_codes": [500011]}
    scene.microsoft_server.faults.add(Fault("/token", response=Response(400, json.dumps(body).encode())))
    scene.poll()
    ended: SignIn = scene.document(SignIn)

    assert (ended.state, ended.outcome) == (SignInState.ENDED, Reason.MISCONFIGURED)
    assert "--scope" in ended.remedy


# --- forms and scopes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ALIASES)
def test_a_sign_in_for_whichever_tenant_is_refused(scene: Scene, alias: str) -> None:
    """Also where the document was written by somebody else than our command line. Status says so before anybody asks."""
    tenant = scene.specs.tenants["acme"]
    scene.specs.tenants["acme"] = tenant.replace(organization=alias)
    told = scene.status()
    assert f"{alias} names no organization" in told.text
    assert told.remedy.startswith("Name the organization: vb365 tenant set acme --organization contoso.onmicrosoft.com")

    assert scene.ask("sign-in") == "Refused"
    assert scene.microsoft.codes == {}
    assert scene.document(Prompt) is None


def test_a_standing_credential_of_whichever_tenant_goes_on_and_is_warned_about(scene: Scene) -> None:
    """An upgrade ends nothing that works; only a new sign-in is refused."""
    scene.veeam.organizations.add("common")
    scene.signed_in()
    credential = scene.credential()
    assert credential.binding is not None
    stored = scene.store.read(type(credential), "acme")
    standing = credential.replace(binding=credential.binding.replace(organization="common"))
    scene.store.write("acme", standing, cas=stored.version)
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(organization="common")
    scene.until_due()
    scene.rotate()
    told = scene.status()

    assert (told.state, told.generation) == ("active", 2)
    assert "common names no organization" in told.text
    assert scene.ask("sign-in", "r2") == "Refused"


@pytest.mark.parametrize(
    "form", ["contoso.com", "contoso.mail.onmicrosoft.com", "contoso", "0c2b32f1-9f3c-4b5a-8f77-5f7f6a8f0d11"]
)
def test_another_form_is_warned_about_until_a_token_was_proved(scene: Scene, form: str) -> None:
    """Then Veeam itself has said that it is the organization's name."""
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(organization=form)
    told = scene.status()
    assert told.text.startswith(form)
    assert "--organization contoso.onmicrosoft.com" in told.remedy

    scene.veeam.organizations.add(form)
    scene.signed_in()
    assert scene.status().text == ""


@pytest.mark.parametrize(
    "form", ["contoso.onmicrosoft.com", "Contoso.OnMicrosoft.US", "a-1.partner.onmschina.cn", "old.onmicrosoft.de"]
)
def test_the_documented_forms_are_not_warned_about(scene: Scene, form: str) -> None:
    """In any case, and those of the sovereign clouds."""
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(organization=form)

    assert scene.status().text == ""


def test_any_client_is_not_any_scope_but_what_was_signed_in_goes_on(scene: Scene) -> None:
    """`*` allowed both, once: the standing credential rotates and is warned about; `scope:*` lets one sign in anew."""
    before = scene.world
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(scope=MAIL)
    scene.world = replace(before, allowed=replace(before.allowed, scopes=frozenset({"*"})))
    scene.signed_in()

    scene.world = replace(before, allowed=replace(before.allowed, clients=frozenset({"*"})))
    scene.until_due()
    scene.rotate()
    told = scene.status()
    assert (told.state, told.generation) == ("active", 2)
    assert "a new sign-in is refused" in told.text
    assert "scope:*" in told.remedy
    assert scene.ask("sign-in", "r2") == "Refused"

    both = Allowed(before.allowed.authorities, frozenset({"*"}), frozenset({"*"}))
    scene.world = replace(before, allowed=both)
    assert scene.status().text == ""
    assert scene.ask("sign-in", "r3") == "CodeShown"
