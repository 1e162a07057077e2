"""What Microsoft granted: less than was asked for, tokens that are none, and another tenant's."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vault_plugin.core.credential import Assertion
from vault_plugin.core.errors import AuthorizationServerUnavailable, ClientRejected
from vault_plugin.core.ports import Approved, Ended
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import DEFAULT_SCOPE, Binding
from vault_plugin.microsoft import messages

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
STORED = {
    "access_token": "simtok-a1",
    "refresh_token": "simtok-r1",
    "id_token": "simtok-i1",
    "expires_in": 3599,
    "scope": "User.ReadWrite.All Directory.AccessAsUser.All",
    "foci": "1",
}
BINDING = Binding(authority="https://a", client_id="c", scope=DEFAULT_SCOPE, organization="o", server="vbr")
NEW = {"access_token": "simtok-a2", "expires_in": 3600}


def jwt(**claims: object) -> str:
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"simtok.{payload}.x"


def held(tokens: dict[str, Any]) -> Assertion:
    return messages.assertion_of(tokens, NOW, signed_in_at=NOW, account="a")


def renewed(answer: dict[str, Any], stored: dict[str, Any] | None = None, binding: Binding = BINDING) -> Assertion:
    came = messages.parse(200, json.dumps(answer).encode())
    return messages.renewed(came, held(stored or STORED), LATER, binding)


def approved(answer: dict[str, Any], scope: str = DEFAULT_SCOPE) -> Assertion:
    result = messages.poll_result(messages.parse(200, json.dumps(answer).encode()), NOW, scope)
    assert isinstance(result, Approved)
    return result.assertion


def json_of(assertion: Assertion) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(assertion.json_text.reveal())
    return content


# --- renewals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", " ", 5, True, [], {}, ["simtok"], "two\nlines", "simtok-\u00e9", "\ud800"])
@pytest.mark.parametrize("name", ["refresh_token", "id_token"])
def test_what_is_no_token_takes_no_stored_ones_place(name: str, token: object) -> None:
    """The old refresh token lives on at Microsoft; without it a person would be asked."""
    new = renewed(NEW | {name: token})

    assert json_of(new) == STORED | NEW
    assert new.refreshable


@pytest.mark.parametrize("token", [None, "", " ", 5, [], "two\nlines"])
def test_an_answer_without_a_usable_access_token_is_none(token: object) -> None:
    """Nothing is judged, and nothing stored is touched."""
    with pytest.raises(AuthorizationServerUnavailable) as caught:
        renewed({"access_token": token, "refresh_token": "simtok-r2"})

    assert caught.value.reason == "AnswerUnusable"


@pytest.mark.parametrize(
    "more",
    [
        {"scope": None},
        {"scope": ["User.Read"]},
        {"scope": ""},
        {"scope": " "},
        {"foci": None},
        {"refresh_token": None, "id_token": None, "scope": None, "foci": None},
    ],
)
def test_null_replaces_nothing(more: dict[str, Any]) -> None:
    """Whatever the field."""
    assert json_of(renewed(NEW | more)) == STORED | NEW


@pytest.mark.parametrize("said", [None, "soon", 0, -1, "-5", True, [], "", "nan"])
def test_a_life_that_is_none_leaves_the_known_one(said: object) -> None:
    """Else the grant would be renewed again and again, since it seems to have expired on arrival."""
    new = renewed(NEW | {"expires_in": said})

    assert json_of(new)["expires_in"] == 3599
    assert new.expires_at == LATER + timedelta(seconds=3599)


@pytest.mark.parametrize(
    ("said", "life"), [(3600, 3600), ("3600", 3600), (3600.5, 3600.5), (1, 60), (10**12, 28 * 3600), ("1e9", 28 * 3600)]
)
def test_a_life_is_believed_within_bounds(said: object, life: float) -> None:
    """From a minute to the 28 hours that Microsoft gives at most."""
    assert renewed(NEW | {"expires_in": said}).expires_at == LATER + timedelta(seconds=life)


def test_a_life_that_nobody_says_is_read_from_the_token_or_is_short() -> None:
    """A first answer without `expires_in`."""
    begins = int(NOW.timestamp())

    assert approved({"access_token": jwt(iat=begins, exp=begins + 4000)}).expires_at == NOW + timedelta(seconds=4000)
    assert approved({"access_token": "simtok"}).expires_at == NOW + timedelta(minutes=5)
    assert approved({"access_token": jwt(iat="x", exp=begins)}).expires_at == NOW + timedelta(minutes=5)


@pytest.mark.parametrize(
    ("more", "reads"),
    [
        (b'"expires_in": NaN', {"expires_in": None}),
        (b'"expires_in": 1e999', {"expires_in": None}),
        (b'"expires_in": ' + b"9" * 5000, {"expires_in": None}),
        (b'"x": 1, "x": 2', {"x": None}),
        (b'"x": 1, "x": 2, "x": 1', {"x": None}),
        (b'"x": {"y": 1, "y": 2, "z": [Infinity]}', {"x": {"y": None, "z": [None]}}),
        (b'"access_token": "simtok-a", "id_token": "simtok-i", "id_token": "simtok-i"', {"id_token": "simtok-i"}),
        (b'"x": "caf\xe9"', {"x": "caf\ufffd"}),
        (b'"x": 3, "x": 3', {"x": 3}),
    ],
)
def test_an_approval_that_is_not_strictly_json_is_read_as_far_as_it_goes(more: bytes, reads: dict[str, Any]) -> None:
    """It comes only once. What is sent on to Veeam is strict."""
    content = b'{"access_token": "simtok-a", "refresh_token": "simtok-r", ' + more + b"}"
    result = messages.poll_result(messages.parse(200, content), NOW)

    assert isinstance(result, Approved)
    assert json_of(result.assertion).items() >= ({"access_token": "simtok-a", "refresh_token": "simtok-r"} | reads).items()
    assert "NaN" not in result.assertion.json_text.reveal()


@pytest.mark.parametrize("twice", [b'"refresh_token": "simtok-r2"', b'"refresh_token": "simtok-\xe9"', b'"refresh_token": NaN'])
def test_a_token_that_is_not_clear_is_none(twice: bytes) -> None:
    """A sign-in says at once that it lacks it; a renewal keeps the one that is stored."""
    content = b'{"access_token": "simtok-a2", "x": 1, "x": 2, "refresh_token": "simtok-r1", ' + twice + b"}"
    result = messages.poll_result(messages.parse(200, content), NOW)
    assert isinstance(result, Approved)
    assert result.assertion.lacks == ("offline_access",)

    new = messages.renewed(messages.parse(200, content), held(STORED), LATER, BINDING)
    assert json_of(new)["refresh_token"] == STORED["refresh_token"]


# --- whose it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        {"access_token": jwt(tid="other")},
        {"access_token": "simtok", "id_token": jwt(tid="other")},
        {"access_token": jwt(tid="mine"), "id_token": jwt(tid="other")},
        {"access_token": jwt(tid="other"), "id_token": jwt(tid="mine")},
    ],
)
@pytest.mark.parametrize("bound", ["mine", ""])
def test_a_renewal_for_another_tenant_is_refused(answer: dict[str, Any], bound: str) -> None:
    """It takes no stored one's place, and asks no person: an administrator looks. An older record knows it by its tokens."""
    stored = STORED | {"id_token": jwt(tid="mine")}
    with pytest.raises(ClientRejected) as caught:
        renewed(answer, stored, BINDING.replace(tenant_id=bound))

    assert caught.value.reason == "WrongTenant"
    assert "vb365 tenant show NAME" in caught.value.remedy()
    assert "other" not in str(caught.value).split()


@pytest.mark.parametrize(
    "answer", [{"access_token": jwt(tid="MINE")}, {"access_token": "simtok"}, {"access_token": jwt(tid=5)}]
)
def test_a_renewal_for_the_same_tenant_or_of_an_unnamed_one_is_taken(answer: dict[str, Any]) -> None:
    """In any case of letters."""
    assert renewed(answer, binding=BINDING.replace(tenant_id="mine")).obtained_at == LATER
    assert renewed({"access_token": jwt(tid="first")}).obtained_at == LATER


# --- less than was asked for -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"refresh_token": None}, {"refresh_token": ""}, {"refresh_token": 5}])
def test_no_refresh_token_is_noticed(more: dict[str, Any]) -> None:
    """At the sign-in."""
    first = approved({"access_token": "simtok", "expires_in": 3600, **more})

    assert not first.refreshable
    assert first.lacks == ("offline_access",)


@pytest.mark.parametrize(
    ("asked", "granted", "missing"),
    [
        ("User.Read offline_access", "User.Read", ()),
        ("openid profile email offline_access User.Read", "User.Read", ()),
        ("User.Read offline_access", "user.read Mail.Read openid profile email", ()),
        ("User.Read offline_access", "https://graph.microsoft.com/User.Read", ()),
        ("https://graph.microsoft.com/user.read offline_access", "User.Read", ()),
        ("https://microsoftgraph.chinacloudapi.cn/User.Read offline_access", "User.Read", ()),
        ("https://graph.microsoft.com/.default offline_access", "https://graph.microsoft.com/User.Read", ()),
        ("User.Read offline_access", "User.ReadWrite.All", ()),
        ("Directory.Read.All User.Read offline_access", "Directory.ReadWrite.All User.Read.All", ()),
        ("User.Read offline_access", "", ()),
        ("User.Read offline_access", " ", ()),
        ("Directory.Read.All User.Read offline_access", "User.Read", ("Directory.Read.All",)),
        ("User.ReadWrite.All offline_access", "User.Read", ("User.ReadWrite.All",)),
        (
            "https://graph.microsoft.com/Directory.Read.All User.Read",
            "openid",
            ("https://graph.microsoft.com/Directory.Read.All", "User.Read"),
        ),
        ("api://x/y offline_access", "api://x/z", ("api://x/y",)),
        ("User.Read user.read offline_access", "openid", ("user.read",)),
        ("User.Read offline_access", "00000003-0000-0000-c000-000000000000/User.Read", ()),
        ("User.Read offline_access", "https://graph.microsoft.com//User.Read", ()),
        ("User.Read offline_access", "https://graph.microsoft.com/.default", ()),
        ("User.Read api://x/y offline_access", "api://x//.default", ("User.Read",)),
        ("User.Read api://x/y offline_access", "https://graph.microsoft.com/.default", ("api://x/y",)),
        ("Directory.Read.All User.Read", "User.Read,Directory.Read.All", ()),
        ("Directory.Read.All User.Read", "User.Read,Mail.Read", ("Directory.Read.All",)),
    ],
)
def test_a_scope_that_is_narrower_than_asked_is_noticed(asked: str, granted: str, missing: tuple[str, ...]) -> None:
    """As Microsoft names scopes: in any case and form, some left out, and others beside. No false alarms."""
    first = approved({"access_token": "simtok", "refresh_token": "simtok-r", "scope": granted}, asked)

    assert first.lacks == missing


@pytest.mark.parametrize("scope", [None, 5, ["User.Read"]])
def test_a_scope_that_is_not_said_is_the_one_that_was_asked_for(scope: object) -> None:
    """RFC 6749 section 5.1."""
    assert approved({"access_token": "simtok", "refresh_token": "simtok-r", "scope": scope}).lacks == ()


def test_a_renewal_tells_anew_what_is_granted() -> None:
    """An administrator took a permission away, or gave it; an answer that doesn't say leaves what was known."""
    less = renewed(NEW | {"scope": "User.ReadWrite.All"})
    assert less.lacks == ("Directory.AccessAsUser.All",)

    def next_one(answer: dict[str, Any]) -> Assertion:
        return messages.renewed(messages.parse(200, json.dumps(answer).encode()), less, LATER, BINDING)

    assert next_one(NEW).lacks == less.lacks
    assert next_one(NEW | {"scope": None}).lacks == less.lacks
    assert next_one(NEW | {"scope": ""}).lacks == less.lacks
    assert next_one(NEW | {"scope": STORED["scope"]}).lacks == ()


@pytest.mark.parametrize(
    ("id_token", "access_token", "named"),
    [
        ({"tid": "t"}, {"tid": "t", "upn": "a@x"}, ("t", "a@x")),
        ({"preferred_username": "a@x"}, {"tid": "t"}, ("t", "a@x")),
        ({"tid": "t", "preferred_username": "a@x"}, {"tid": "t", "upn": "b@x"}, ("t", "a@x")),
        ({"tid": 5, "preferred_username": 5}, {"tid": "T", "unique_name": "a@x"}, ("T", "a@x")),
        ({"tid": "t", "preferred_username": "\x1b[2J"}, {"tid": "t", "unique_name": "a@x"}, ("t", "a@x")),
        ({}, {}, ("", "")),
    ],
)
def test_tenant_and_account_are_each_taken_from_the_token_that_names_it(
    id_token: dict[str, Any], access_token: dict[str, Any], named: tuple[str, str]
) -> None:
    """An ID token that was asked for without `profile` names no account."""
    assert messages.identity({"id_token": jwt(**id_token), "access_token": jwt(**access_token)}) == named


def test_tokens_of_two_tenants_are_nobodys() -> None:
    """Kept nowhere, and said without a token."""
    body = {"access_token": jwt(tid="a"), "id_token": jwt(tid="b"), "refresh_token": "simtok-r"}
    ended = messages.poll_result(messages.parse(200, json.dumps(body).encode()), NOW)

    assert isinstance(ended, Ended)
    assert ended.outcome is Reason.WRONG_TENANT
    assert "two Microsoft 365 tenants" in ended.text
    assert isinstance(
        messages.poll_result(messages.parse(200, json.dumps(body | {"id_token": jwt(tid="A")}).encode()), NOW), Approved
    )


def test_what_is_shown_of_the_account_is_no_other_remote_text() -> None:
    """The tokens' own name of the account, if it is a line of bounded length."""
    for name, shown in (
        ("admin@contoso.onmicrosoft.com", "admin@contoso.onmicrosoft.com"),
        ("a\x1b[2Jb", ""),
        ("x" * 300, ""),
        (5, ""),
    ):
        assert approved({"access_token": jwt(tid="t", preferred_username=name)}).account == shown
