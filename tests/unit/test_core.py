"""Secrets, names, documents, tenants."""

import copy
import json
import pickle
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vault_plugin.core import errors
from vault_plugin.core.documents import parse_duration
from vault_plugin.core.errors import BindingRefused, DocumentMalformed, NameRefused
from vault_plugin.core.names import check_mount, check_name, fill, is_organization, is_request_id
from vault_plugin.core.published import Request, Token
from vault_plugin.core.secret import MASK, REVEAL, Secret
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec, bind, changed_fields, check_allowed

SECOND = timedelta(seconds=1)


# --- Secret ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [str, repr, "{}".format, lambda s: f"{s}", lambda s: str([s])])
def test_a_secret_prints_as_stars(shown: Any) -> None:
    """However it is turned into text."""
    assert "hunter2" not in shown(Secret("hunter2"))
    assert MASK in shown(Secret("hunter2"))


def test_a_secret_pickles_as_stars_and_copies_as_itself() -> None:
    """What leaves the process is masked; a copy of a document keeps it."""
    secret = Secret("hunter2")

    assert b"hunter2" not in pickle.dumps(secret)
    assert copy.deepcopy([secret])[0].reveal() == "hunter2"


def test_a_secret_serialises_in_clear_only_for_vault() -> None:
    """A model's dump is masked unless the context says otherwise."""
    token = Token(access_token=Secret("hunter2"))

    assert "hunter2" not in token.model_dump_json()
    assert "hunter2" not in repr(token)
    assert json.loads(token.model_dump_json(context=REVEAL))["access_token"] == "hunter2"
    assert token.to_vault()["access_token"] == "hunter2"


def test_secrets_compare_by_value_and_never_to_text() -> None:
    """Empty is false."""
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_a_wrong_document_is_refused_without_its_values() -> None:
    """Validation names the fields."""
    with pytest.raises(DocumentMalformed) as caught:
        Token.from_vault("tokens/acme", {"access_token": ["hunter2"], "generation": "hunter2"})

    assert "generation" in str(caught.value)
    assert "hunter2" not in str(caught.value)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["acme", "a", "emea-acme", "contoso.onmicrosoft.com", "a1.b-2", "x" * 128])
def test_names_like_lower_case_dns_names_are_taken(name: str) -> None:
    """DESIGN 4."""
    assert check_name(name) == name


BAD = ["", "+", "*", "a*", "a b", 'a"b', "a?b", "a/b", "ACME", "ünï", "-a", "a-", "a..b", ".a", "a.", "a_b", "a\n", "x" * 129]


@pytest.mark.parametrize("name", BAD)
def test_names_that_could_widen_a_policy_are_refused(name: str) -> None:
    """Wildcards, quotes, slashes, capitals."""
    with pytest.raises(NameRefused):
        check_name(name)


def test_organizations_keep_their_case_and_request_ids_their_bounds() -> None:
    """Neither can leave its path segment."""
    assert is_organization("Contoso.OnMicrosoft.com")
    assert not is_organization("con/toso")
    assert not is_organization("a..b")
    assert is_request_id("01a20cab-0a03-760a-9d9f-19daa272f390")
    assert not is_request_id("..")
    assert not is_request_id("a/b")
    assert not is_request_id("x" * 65)


@pytest.mark.parametrize("mount", ["vb365", "/vb365/", "team/vb365", "Team_1/vb.365-x"])
def test_mounts_are_paths_of_plain_segments(mount: str) -> None:
    """Slashes around it are no part of it."""
    assert check_mount(mount) == mount.strip("/")


@pytest.mark.parametrize(
    "mount", ["", "/", "+", "a/+", "a*", "a b", 'x"y', "a//b", "../sys", "a/..", "a\nb", "{{x}}", "x" * 129]
)
def test_a_mount_that_could_widen_a_policy_is_refused(mount: str) -> None:
    """As names are."""
    with pytest.raises(NameRefused):
        check_mount(mount)


def test_a_remedys_open_names_are_filled_as_whole_words() -> None:
    """Variables whose names contain one stay; what isn't known stays open."""
    text = "vb365 status NAME, vb365 server show SERVER, VAULT_NAMESPACE, VAULT_TLS_SERVER_NAME, MOUNT-admin"

    filled = "vb365 status a.b, vb365 server show vbr, VAULT_NAMESPACE, VAULT_TLS_SERVER_NAME, team-vb365-admin"
    assert fill(text, tenant="a.b", server="vbr", mount="team/vb365") == filled
    assert fill(text, tenant="\\1") == text.replace("NAME,", "\\1,", 1)
    assert fill(text) == text


# --- documents -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), (90, 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("1.5h", 5400)]
)
def test_durations_are_read_as_vault_users_write_them(text: object, seconds: int) -> None:
    """Numbers are seconds."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "-5m", "5 m", "5x", None, True])
def test_what_is_no_duration_is_refused(text: object) -> None:
    """Bad input gets a clear error."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_a_spec_written_by_bao_kv_put_is_all_text() -> None:
    """And is read all the same."""
    tenant = TenantSpec.from_vault("tenants/acme", {"server": "vbr", "paused": "true", "consumer_reread": "90s"})
    server = ServerSpec.from_vault("servers/vbr", {"url": "https://vbr:4443/", "throttle": "2/9/100", "insecure": "false"})

    assert tenant.paused is True
    assert tenant.consumer_reread == timedelta(seconds=90)
    assert server.url == "https://vbr:4443"
    assert str(server.throttle) == "2/9/100"


def test_unknown_fields_survive_and_newer_schemas_are_not_touched() -> None:
    """ADR 5."""
    tenant = TenantSpec.from_vault("tenants/acme", {"server": "vbr", "colour": "blue"})

    assert tenant.replace(paused=True).to_vault()["colour"] == "blue"
    with pytest.raises(DocumentMalformed, match="schema 2"):
        TenantSpec.from_vault("tenants/acme", {"server": "vbr", "schema": 2})


def test_a_request_with_extra_keys_is_refused() -> None:
    """Nobody writes what nobody reads."""
    with pytest.raises(ValidationError):
        Request.model_validate({"action": "rotate", "evil": 1})
    with pytest.raises(ValidationError):
        Request.model_validate({"action": "drop"})


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c))
)
def test_whatever_stands_in_vault_is_read_or_refused_clearly(data: object) -> None:
    """Never another exception than ours."""
    for model in (TenantSpec, ServerSpec, Token):
        with suppress(DocumentMalformed):
            assert isinstance(model.from_vault("kind/name", data), model)


# --- tenants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://vbr",
        "https://",
        "https://u:p@vbr",
        "https://vbr/path",
        "https://vbr?x=1",
        "ftp://vbr",
        "vbr:4443",
        "https://vbr:x",
    ],
)
def test_a_server_is_an_https_origin(url: str) -> None:
    """No user info, no path, no query."""
    with pytest.raises(ValidationError):
        ServerSpec(url=url)


def test_a_server_has_one_trust() -> None:
    """A fingerprint is 64 digits, with or without colons."""
    with pytest.raises(ValidationError):
        ServerSpec(url="https://vbr", insecure=True, fingerprint_sha256="a" * 64)
    with pytest.raises(ValidationError):
        ServerSpec(url="https://vbr", fingerprint_sha256="abc")

    assert ServerSpec(url="https://vbr", fingerprint_sha256=":".join(["AB"] * 32)).fingerprint_sha256 == "ab" * 32


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"authority": "https://evil.example"}, "AuthorityNotAllowed"),
        ({"client_id": "11111111-2222-3333-4444-555555555555"}, "ClientIdNotAllowed"),
        ({"scope": "Mail.Read offline_access"}, "ScopeNotAllowed"),
    ],
)
def test_what_the_service_does_not_allow_is_refused(changes: dict[str, str], reason: str) -> None:
    """The remedy names the setting."""
    tenant = TenantSpec(server="vbr").replace(**changes)
    with pytest.raises(BindingRefused) as caught:
        check_allowed("acme", bind("acme", tenant), Allowed())

    assert caught.value.reason == reason
    assert "VB365_" in caught.value.remedy()


def test_listed_authorities_clients_and_scopes_are_allowed() -> None:
    """By the service's settings only."""
    tenant = TenantSpec(server="vbr", authority="https://sim:1", client_id="x", scope="y")
    allowed = Allowed(frozenset({"https://sim:1"}), frozenset({"x"}), frozenset({"y"}))

    check_allowed("acme", bind("acme", tenant), allowed)
    check_allowed("acme", bind("acme", tenant), Allowed(frozenset({"https://sim:1"}), frozenset({"*"})))


def test_a_changed_field_is_named() -> None:
    """Whatever says where a secret may go."""
    bound = bind("acme", TenantSpec(server="vbr"))

    assert changed_fields(bound, bind("acme", TenantSpec(server="vbr2", cloud="china"))) == ("authority", "server")
    assert changed_fields(bound.replace(tenant_id="t"), bound) == ()


# --- errors ----------------------------------------------------------------------------------------------------------


def test_every_error_says_what_to_do_and_stands_in_the_tree() -> None:
    """The module's docstring draws them all."""
    waiting, seen = [errors.Error], []
    while waiting:
        kind = waiting.pop()
        seen.append(kind)
        waiting += [sub for sub in kind.__subclasses__() if sub.__module__ == errors.__name__]
    assert len(seen) >= 20
    for kind in seen:
        assert kind.__name__ in (errors.__doc__ or "")
        assert kind("text").remedy()


def test_a_tenant_that_names_a_wild_server_is_malformed_like_any_other() -> None:
    """Whoever reads documents knows one error for it."""
    with pytest.raises(DocumentMalformed, match="server"):
        TenantSpec.from_vault("tenants/acme", {"server": "+"})
