"""An organization is known by its id: its name may change at VB365, and a token that may not ask is known all the same."""

from datetime import timedelta

import pytest

from tests.scenarios.stage import ORGANIZATION, Scene
from tests.simulators.http import Fault, Response
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Token
from vault_plugin.core.states import Reason, State

RENAMED = "fabrikam.onmicrosoft.com"
DENIED = Response(403, b'{"message": "Access denied", "errorCode": "ResourceAccessDenied", "stackTrace": null}')


def proved_again(scene: Scene) -> Credential:
    """Rotate and prove, a day later: each server is proved once a day."""
    scene.clock.advance(timedelta(days=1))
    return scene.prove(scene.rotate())


def test_an_organization_that_was_renamed_is_the_same_one(scene: Scene) -> None:
    """Its id is remembered from the first proof: the tenant isn't cut off, and operators are told of the name."""
    held = scene.signed_in()
    assert held.findings.organization_id
    assert scene.status().text == ""
    scene.veeam.renamed[ORGANIZATION] = RENAMED

    assert proved_again(scene).state is State.ACTIVE
    assert scene.publish()
    assert scene.veeam.accepts(scene.token())
    assert RENAMED in scene.status().text
    assert "--organization" in scene.status().remedy


def test_the_same_name_with_another_id_is_another_organization(scene: Scene) -> None:
    """Only what was known before is trusted, and only an unknown id blocks."""
    scene.signed_in()
    scene.veeam.organization_ids[ORGANIZATION] = "another"

    assert proved_again(scene).reason is Reason.WRONG_ORGANIZATION
    assert not scene.publish()
    assert "vb365 tenant revoke acme" in scene.status().remedy

    scene.ask("revoke", "r2")
    scene.approved("r3")
    scene.complete()
    assert scene.prove().findings.organization_id == "another"
    assert scene.publish()


@pytest.mark.parametrize("said", [None, "", 1, True, ["a"], "x" * 300, "a\x07b"])
def test_an_id_that_is_none_leaves_the_word_to_the_name(scene: Scene, said: object) -> None:
    """Of a wrong type, empty, missing, too long, not printable: as before, the name decides."""
    scene.veeam.organization_ids[ORGANIZATION] = said
    held = scene.signed_in()
    assert held.findings.organization_id == ""
    assert held.proved == 1

    scene.veeam.renamed[ORGANIZATION] = RENAMED
    assert proved_again(scene).reason is Reason.WRONG_ORGANIZATION


def test_a_credential_of_before_remembers_the_id_from_its_next_proof_on(scene: Scene) -> None:
    """Its name decides that one time."""
    scene.signed_in()
    stored = scene.store.read(Credential, "acme")
    assert stored.document is not None
    scene.store.write("acme", stored.document.replace(findings=stored.document.findings.elsewhere()), cas=stored.version)

    assert proved_again(scene).findings.organization_id
    scene.veeam.renamed[ORGANIZATION] = RENAMED
    assert proved_again(scene).state is State.ACTIVE


def test_the_case_of_an_id_is_no_difference(scene: Scene) -> None:
    """It is hexadecimal text."""
    held = scene.signed_in()
    scene.veeam.organization_ids[ORGANIZATION] = held.findings.organization_id.upper()

    assert proved_again(scene).state is State.ACTIVE


def test_another_name_without_an_id_tells_nothing_where_an_id_is_known(scene: Scene) -> None:
    """It may be the new name of the same one: told, asked again, and not blocked. The name that is known is its own."""
    scene.signed_in()
    scene.veeam.organization_ids[ORGANIZATION] = None
    assert proved_again(scene).proved == 2, "the same name without an id"
    scene.veeam.renamed[ORGANIZATION] = RENAMED
    held = proved_again(scene)

    assert (held.state, held.proved, held.disproved) == (State.ACTIVE, 2, 0)
    assert scene.publish()
    assert f"no id, and calls the organization {RENAMED}" in scene.status().text
    assert "vb365 server show vbr" in scene.status().remedy
    del scene.veeam.organization_ids[ORGANIZATION]
    scene.until_due()
    assert scene.prove(scene.rotate()).findings.organization_name == RENAMED, "asked again though no day has passed"
    assert "no id" not in scene.status().text

    scene.veeam.organization_ids[ORGANIZATION] = None
    assert proved_again(scene).proved == 5, "the new name is known by now"


def test_another_name_without_an_id_ends_no_distrust(scene: Scene) -> None:
    """A token was proved to be for somebody else: nothing is published until one is proved to be its own."""
    scene.signed_in()
    scene.veeam.organization_ids[ORGANIZATION] = "another"
    assert proved_again(scene).reason is Reason.WRONG_ORGANIZATION
    scene.veeam.organization_ids[ORGANIZATION], scene.veeam.renamed[ORGANIZATION] = None, RENAMED
    assert proved_again(scene).distrusted
    assert not scene.publish()


def test_an_answer_without_a_name_is_known_by_its_id(scene: Scene) -> None:
    """And proves nothing where no id is known yet: the token is published as one that went unproved."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"id": "1"}')))
    held = scene.signed_in()
    assert held.proved == 0
    assert scene.veeam.accepts(scene.token())

    known = scene.prove().findings.organization_id
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, f'{{"id": "{known}"}}'.encode())))
    assert proved_again(scene).proved == 2


def test_a_token_that_may_not_ask_is_published_and_told_as_not_verified(scene: Scene) -> None:
    """VB365 knows it, or it would have answered 401."""
    scene.veeam.denies_organization = True
    held = scene.signed_in()

    assert held.state is State.ACTIVE
    assert scene.veeam.accepts(scene.token())
    assert "not verified" in scene.status().text
    scene.veeam.denies_organization = False
    proved_again(scene)
    assert scene.status().text == ""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response(302, b"", {"Location": "https://portal.example/login"}), "it redirects to portal.example"),
        (Response(404), "the server answered 404"),
        (Response(405), "the server answered 405"),
        (Response(200, b"<html>portal</html>", {"Content-Type": "text/html"}), "in front of VB365 answered"),
        (Response(401, b'{"message": "No credentials found for given \'iss\'"}'), "in front of VB365 answered"),
    ],
)
def test_an_answer_that_proves_nothing_is_told_as_what_it_is(scene: Scene, answer: Response, said: str) -> None:
    """Nobody said that the token is known: it is published, not proved, and the next one is asked about."""
    scene.veeam_server.faults.add(Fault("/organization", response=answer))
    held = scene.signed_in()
    status = scene.status()

    assert held.state is State.ACTIVE
    assert scene.veeam.accepts(scene.token())
    assert held.proved_at is status.proved_at is None
    assert "not verified" in status.text
    assert said in status.text
    assert "VB365 knows it" not in status.text
    assert "vb365 server show vbr" in status.remedy or "--url" in status.remedy
    assert scene.prove().proved_at is None or answer.status not in (404, 405)

    scene.until_due()
    assert scene.prove(scene.rotate()).findings.organization_id
    assert scene.status().text == ""


def test_what_was_known_of_the_token_before_isnt_said_of_this_one(scene: Scene) -> None:
    """VB365 knew that one, and let it not ask; of this one it says nothing."""
    scene.veeam.denies_organization = True
    scene.signed_in()
    scene.veeam_server.faults.add(Fault("/organization", response=Response(302)))
    proved_again(scene)
    assert scene.status().text == "the token is not verified: the server answered 302: it redirects"


def test_a_proof_that_is_answered_the_same_again_costs_no_write(scene: Scene) -> None:
    """A gateway may answer so for weeks."""
    scene.veeam_server.faults.add(Fault("/organization", times=None, response=Response(302)))
    written = scene.signed_in().write_id
    assert scene.prove().write_id == written


def test_a_403_is_no_proof_while_a_wrong_organization_stands(scene: Scene) -> None:
    """Through rotations that go well, too, and through a 401 between."""
    scene.veeam_server.faults.add(Fault("/organization", response=Response(200, b'{"name": "evil.onmicrosoft.com"}')))
    scene.signed_in()
    for answer in (DENIED, Response(401), DENIED):
        scene.veeam_server.faults.add(Fault("/organization", response=answer))
        scene.clock.advance(timedelta(hours=2))
        scene.prove(scene.rotate())
        assert not scene.publish()

    scene.clock.advance(timedelta(hours=2))
    scene.prove(scene.rotate())
    assert scene.publish()


def test_a_403_proves_a_token_whose_predecessor_was_refused(scene: Scene) -> None:
    """Operators only, and then a restriction: 401 said that nobody knew it, 403 says that somebody does."""
    scene.veeam.operators_only = True
    assert scene.signed_in().reason is Reason.NOT_PROVED
    scene.veeam.operators_only, scene.veeam.denies_organization = False, True
    scene.clock.advance(timedelta(minutes=16))
    scene.prove(scene.rotate())

    assert scene.publish()
    assert scene.veeam.accepts(scene.token())


@pytest.mark.parametrize(
    "answer",
    [
        Response(403, b'{"message": "Forbidden"}'),
        Response(403, b"<html>403</html>", {"Content-Type": "text/html"}),
        Response(403),
        Response(403, b'{"errorCode": "Timeout"}'),
        Response(403, b'{"errorCode": ["ResourceAccessDenied"]}'),
        Response(400, b'{"message": "Invalid credential"}'),
    ],
)
def test_what_somebody_in_front_says_proves_nothing(scene: Scene, answer: Response) -> None:
    """Neither that the token works nor that it doesn't: it is published, and asked again."""
    scene.veeam_server.faults.add(Fault("/organization", response=answer))
    held = scene.signed_in()

    assert (held.state, held.proved, held.disproved) == (State.ACTIVE, 0, 0)
    assert scene.store.read(Token, "acme").document is not None


def test_another_organization_in_the_spec_forgets_the_id(scene: Scene) -> None:
    """It is another binding, of which nothing is known."""
    first = scene.signed_in().findings.organization_id
    scene.veeam.organizations.add(RENAMED)
    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(organization=RENAMED)
    scene.ask("sign-in", "r2")
    scene.approve()
    scene.poll()
    scene.complete()
    second = scene.prove()

    assert second.state is State.ACTIVE
    assert second.findings.organization_id not in ("", first)


@pytest.mark.parametrize("active", [False, True])
def test_an_exchange_by_the_old_name_that_is_refused_tells_the_new_one(scene: Scene, *, active: bool) -> None:
    """Blocked, or by a sign-in while the pair still works: what Veeam says doesn't hide what is known to be the cause."""
    scene.signed_in()
    scene.veeam.renamed[ORGANIZATION] = RENAMED
    proved_again(scene)
    scene.veeam.organizations.discard(ORGANIZATION)
    if active:
        scene.approved("r2")
        scene.complete()
        assert scene.credential().state is State.ACTIVE
    else:
        scene.veeam.revoke_all()
        scene.clock.advance(timedelta(days=1))
        scene.rotate()
        assert scene.credential().reason is Reason.REJECTED_BY_VEEAM
    told = scene.status()
    assert RENAMED in told.text
    assert "the assertion" in told.text
    assert "--organization" in told.remedy

    scene.specs.tenants["acme"] = scene.specs.tenants["acme"].replace(organization=RENAMED)
    assert "vb365 tenant set" not in scene.status().remedy, "it was done"
