"""What Microsoft's errors mean: numbers, families, suberrors, and answers that contradict themselves."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from vault_plugin.core.errors import (
    AuthorizationServerError,
    AuthorizationServerUnavailable,
    ClientRejected,
    Error,
    GrantRejected,
    TenantAdminRequired,
)
from vault_plugin.core.ports import Ended, Pending
from vault_plugin.core.states import Reason
from vault_plugin.microsoft import messages
from vault_plugin.microsoft.verdicts import DEFAULTS, OPEN, PASSING, ROWS, SUBERRORS

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
#: What every server of OAuth's says beside an error, in its own words.
TEXT = {"error_description": "grant request is invalid"}


def error_of(body: dict[str, Any], status: int = 400) -> AuthorizationServerError:
    return messages.error_of(messages.parse(status, json.dumps(body).encode()), "testing")


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", ["invalid_grant", "interaction_required", "access_denied", "something_new"])
@pytest.mark.parametrize("code", [53006, 53009, 53012, 53999, 530001, 530021, 530031, 530037, 530099, 5300351, 530003512])
def test_an_unknown_number_of_the_policies_family_is_an_admins(error: str, code: int) -> None:
    """A person who signs in again meets the same policy. Five digits and more; the number is told."""
    told = error_of({"error": error, "error_codes": [code]})

    assert type(told) is TenantAdminRequired
    assert told.code == code
    assert f"AADSTS{code}" in str(told)
    assert "administrator" in told.remedy()


@pytest.mark.parametrize("code", [5300, 530, 153003, 535])
def test_what_only_looks_like_that_family_is_not_of_it(code: int) -> None:
    """Too short, or with other digits before."""
    assert type(error_of({"error": "invalid_grant", "error_codes": [code]})) is GrantRejected


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (500341, TenantAdminRequired, "UserUnknown"),
        (500571, TenantAdminRequired, "UserDisabled"),
        (501051, TenantAdminRequired, "UserNotAssigned"),
        (500011, ClientRejected, "ResourceNotFound"),
        (500014, ClientRejected, "ResourceNotFound"),
        (650052, ClientRejected, "ResourceNotFound"),
        (7000215, ClientRejected, "ClientRejected"),
        (9002332, ClientRejected, "RequestRejected"),
        (9002341, GrantRejected, "InteractionRequired"),
        (700003, GrantRejected, "DeviceDeleted"),
        (700005, GrantRejected, "OtherTenant"),
        (90123, TenantAdminRequired, "AccessDenied"),
        # Those that nobody knows are read by the error.
        (700083, GrantRejected, "GrantRejected"),
        (500331, GrantRejected, "GrantRejected"),
        (900384, GrantRejected, "GrantRejected"),
        (700009, GrantRejected, "GrantRejected"),
        (9002399, GrantRejected, "GrantRejected"),
    ],
)
def test_a_longer_number_says_nothing_by_its_first_five_digits(code: int, kind: type[Error], reason: str) -> None:
    """900384 has nothing to do with 90038, the other cloud: it has a row of its own, or none."""
    told = error_of({"error": "invalid_grant", "error_codes": [code]})

    assert (type(told), told.reason) == (kind, reason)
    assert not told.confirm


@pytest.mark.parametrize("code", [53999, 530037, 5300351])
@pytest.mark.parametrize("error", [error for error in DEFAULTS if error not in OPEN])
def test_an_unknown_number_of_the_policies_family_never_contradicts_the_error(error: str, code: int) -> None:
    """A client that isn't known, or a code that expired, is that: only a number of its own row says otherwise."""
    told = error_of({"error": error, "error_codes": [code]})

    assert (type(told), told.reason) == (DEFAULTS[error].verdict, DEFAULTS[error].reason)
    assert told.code == code


@pytest.mark.parametrize("error", [*DEFAULTS, "something_new"])
@pytest.mark.parametrize("code", [code for code, row in ROWS.items() if row.verdict is AuthorizationServerUnavailable])
def test_what_microsoft_documents_as_passing_is_passing_whatever_the_error(error: str, code: int) -> None:
    """A person is asked for nothing, though it says `invalid_grant`; and is told what to do if it doesn't pass."""
    told = error_of({"error": error, "error_codes": [code]})

    assert told.retryable
    assert "If it stays" in told.remedy()


@pytest.mark.parametrize("error", PASSING)
def test_an_error_that_says_later_is_passing_whatever_the_number(error: str) -> None:
    """Microsoft: react to the error; the number is a hint."""
    assert error_of({"error": error, "error_codes": [50173]}).retryable


@pytest.mark.parametrize(
    ("codes", "decides"),
    [
        ([50173, 53003], 53003),
        ([53003, 50173], 53003),
        ([424242, 50173], 50173),
        ([70000, 50173], 50173),
        ([50173, 90033], 90033),
        ([53003, 50196], 50196),
        ([50076, 700016], 700016),
        ([50173, 53777], 53777),
        ([424242, 434343], 424242),
    ],
)
def test_of_several_numbers_the_one_decides_that_asks_the_least_of_a_person(codes: list[int], decides: int) -> None:
    """What is passing first, then what an administrator must do, then a sign-in; the number that decided is told."""
    assert error_of({"error": "invalid_grant", "error_codes": codes}).code == decides


@pytest.mark.parametrize(
    "said",
    [
        {"error_codes": ["53003"]},
        {"error_codes": ["AADSTS53003"]},
        {"error_codes": [53003.0]},
        {"error_codes": 53003},
        {"error_codes": [None, True, {}, [], -5, 10**30, "1" * 5000, "x", 53003]},
        {"error_description": "AADSTS53003: Access has been blocked.\r\nTrace ID: 1\r\nTimestamp: 2026-11-24"},
        {"error_description": "  AADSTS53003 blocked"},
        {"error_description": "Blocked (AADSTS53003)."},
        {"error_codes": [], "error_description": "AADSTS53003: blocked"},
        {"error_uri": "https://login.microsoftonline.com/error?code=53003"},
        # Seen so in Microsoft's own tests: the number of the description is the true one.
        {"error_codes": [70000], "error_description": "AADSTS53003: blocked"},
    ],
)
def test_a_number_is_read_wherever_and_however_it_stands(said: dict[str, Any]) -> None:
    """In the list, as text, in the description with any line ends, in the link."""
    told = error_of({"error": "invalid_grant", **said})

    assert (type(told), told.code) == (TenantAdminRequired, 53003)


@pytest.mark.parametrize(
    "said",
    [
        {"error_codes": "soon"},
        {"error_codes": {"53003": 1}},
        {"error_codes": [10**12]},
        {"error_description": "AADSTS\u0665\u0663\u0660\u0660\u0663: digits, but not Microsoft's"},
        {"error_description": ["AADSTS53003"]},
    ],
)
def test_what_is_no_number_is_none(said: dict[str, Any]) -> None:
    """The error's own default counts."""
    told = error_of({"error": "invalid_grant", **said})

    assert (type(told), told.code) == (GrantRejected, None)


# --- suberror --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suberror", SUBERRORS)
@pytest.mark.parametrize("more", [{}, {"error_codes": [424242]}])
def test_a_suberror_decides_where_the_number_is_unknown(suberror: str, more: dict[str, Any]) -> None:
    """And its text and remedy are told."""
    told = error_of({"error": "invalid_grant", "suberror": suberror, **more})

    assert (type(told), told.reason) == (SUBERRORS[suberror].verdict, SUBERRORS[suberror].reason)
    assert told.remedy() == SUBERRORS[suberror].remedy


@pytest.mark.parametrize(
    ("error", "code", "suberror", "kind", "reason"),
    [
        # As Microsoft sends it where Intune must protect the app.
        ("unauthorized_client", 70000, "protection_policy_required", TenantAdminRequired, "AppNotProtected"),
        ("invalid_grant", 50076, "message_only", TenantAdminRequired, "BlockedByTenantPolicy"),
        ("invalid_grant", 53003, "basic_action", TenantAdminRequired, "BlockedByConditionalAccess"),
        ("invalid_grant", 50173, "bad_token", GrantRejected, "GrantRevoked"),
        ("invalid_grant", 90033, "bad_token", AuthorizationServerUnavailable, "ServiceUnavailable"),
        ("invalid_grant", 424242, "something_else", GrantRejected, "GrantRejected"),
        ("invalid_grant", 70000, "bad_token", GrantRejected, "GrantInvalid"),
    ],
)
def test_a_suberror_and_a_number_that_differ(error: str, code: int, suberror: str, kind: type[Error], reason: str) -> None:
    """A known number stands, unless the suberror says that a person can't help."""
    told = error_of({"error": error, "error_codes": [code], "suberror": suberror})

    assert (type(told), told.reason) == (kind, reason)


def test_an_ambiguous_number_must_be_seen_twice_whatever_the_suberror() -> None:
    """70000 was seen for tokens that worked a moment later."""
    assert error_of({"error": "invalid_grant", "error_codes": [70000], "suberror": "bad_token"}).confirm
    assert not error_of({"error": "invalid_grant", "error_codes": [50173], "suberror": "bad_token"}).confirm


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        {"error": "invalid_resource", "error_description": "AADSTS"},
        {"error": "invalid_target", "error_description": "AADSTS"},
        {"error": "x", "error_codes": [500011]},
    ],
)
def test_an_error_that_is_known_to_be_final_ends_a_sign_in(said: dict[str, Any]) -> None:
    """The scope names what isn't there: no poll changes that."""
    ended = messages.poll_result(messages.parse(400, json.dumps(said).encode()), NOW)

    assert isinstance(ended, Ended)
    assert ended.outcome is Reason.MISCONFIGURED
    assert "--scope" in ended.remedy


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("something_new", "something_new"),
        ("x" * 41, ""),
        ("Simtok-A-1", ""),
        ("two words", ""),
        ("line\nbreak", ""),
        ("\u0455omething", ""),
    ],
)
def test_an_unknown_error_is_tried_again_and_shown(error: str, shown: str) -> None:
    """By its word, if it has an error word's form: remote text is not shown. There is something to do about it."""
    told = error_of({"error": error, "trace_id": "0000aaaa-11bb-cccc-dd33-eeeeee333333"})

    assert told.retryable
    assert told.reason == "UnknownError"
    assert str(told).endswith(f"isn't known here: {shown}" if shown else "isn't known here")
    assert "Nothing to do" not in told.remedy()
    assert told.trace_id == "0000aaaa-11bb-cccc-dd33-eeeeee333333"


@pytest.mark.parametrize("trace_id", ["a b", "x" * 65, "<b>", "a\n", 5, None])
def test_a_trace_id_is_shown_only_in_the_form_of_one(trace_id: object) -> None:
    """It is remote text, too."""
    assert error_of({"error": "invalid_grant", "trace_id": trace_id}).trace_id == ""


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        # A failing server's word on the grant is none, unless the number is known.
        (503, {"error": "invalid_grant"}, AuthorizationServerUnavailable),
        (500, {"error": "invalid_grant", "error_codes": [424242]}, AuthorizationServerUnavailable),
        (429, {"error": "invalid_grant", "suberror": "bad_token"}, AuthorizationServerUnavailable),
        (503, {"error": "invalid_grant", "error_codes": [50173]}, GrantRejected),
        # The status of an answer with an error isn't looked at.
        (200, {"error": "invalid_grant", "error_codes": [50173]}, GrantRejected),
        (404, {"error": "invalid_grant", "error_codes": [50173]}, GrantRejected),
        (200, {"error": "invalid_grant", "access_token": "simtok"}, GrantRejected),
        (400, {"error_codes": [53003]}, TenantAdminRequired),
    ],
)
def test_the_error_decides_and_not_the_status(status: int, body: dict[str, Any], kind: type[Error]) -> None:
    """Except where the status says that the server fails."""
    assert type(error_of(body, status)) is kind


# --- polls -----------------------------------------------------------------------------------------------------------


def poll(body: dict[str, Any], status: int = 400) -> object:
    return messages.poll_result(messages.parse(status, json.dumps(body).encode()), NOW)


def test_a_number_says_that_nobody_signed_in_yet_whatever_the_error() -> None:
    """70016 is Microsoft's number of `authorization_pending`."""
    assert poll({"error": "invalid_grant", "error_codes": [70016]}) == Pending()
    assert poll({"error": "authorization_pending", "error_codes": [424242]}) == Pending()


@pytest.mark.parametrize(
    ("body", "outcome", "spent"),
    [
        ({"error": "authorization_declined", "error_codes": [70018]}, Reason.DECLINED, False),
        ({"error": "access_denied", **TEXT}, Reason.DECLINED, False),
        ({"error": "access_denied", "error_codes": [65004]}, Reason.DECLINED, False),
        ({"error": "authorization_declined", "error_codes": [987654]}, Reason.DECLINED, False),
        ({"error": "invalid_grant", "error_codes": [65004], "suberror": "consent_required"}, Reason.DECLINED, False),
        # Something else denied access: a provider, a policy, or what isn't known here.
        ({"error": "access_denied", "error_codes": [90123]}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "access_denied", "error_codes": [987654]}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "access_denied", "error_codes": [65004, 987654]}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "access_denied", "suberror": "message_only"}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "access_denied", "error_codes": [50076]}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "error_codes": [65004]}, Reason.DECLINED, False),
        ({"error": "access_denied", "error_codes": [53003]}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "authorization_declined", "error_codes": [65001]}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "expired_token", **TEXT}, Reason.EXPIRED, False),
        ({"error": "expired_token", "error_codes": [53999]}, Reason.EXPIRED, False),
        ({"error": "invalid_grant", "error_codes": [70020]}, Reason.EXPIRED, False),
        ({"error": "bad_verification_code", "error_codes": [70018]}, Reason.GRANT_REJECTED, True),
        ({"error": "bad_verification_code", "error_codes": [987654]}, Reason.GRANT_REJECTED, True),
        ({"error": "invalid_grant", **TEXT}, Reason.GRANT_REJECTED, True),
        ({"error": "invalid_grant", "error_codes": [70000], "suberror": "bad_token"}, Reason.GRANT_REJECTED, True),
        ({"error": "invalid_grant", "error_codes": [54005]}, Reason.GRANT_REJECTED, True),
        # A verdict on the person or the tenant says nothing of the code.
        ({"error": "invalid_grant", "error_codes": [50076]}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "error_codes": [500121]}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "error_codes": [59999]}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "error_codes": [59999], "suberror": "basic_action"}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "error_codes": [70000], "suberror": "client_mismatch"}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "suberror": "something_new"}, Reason.GRANT_REJECTED, False),
        ({"error": "invalid_grant", "error_codes": [53003]}, Reason.BLOCKED_BY_TENANT_POLICY, False),
        ({"error": "invalid_grant", "error_codes": [7000218]}, Reason.MISCONFIGURED, False),
    ],
)
def test_how_a_sign_in_ends(body: dict[str, Any], outcome: Reason, spent: bool) -> None:  # noqa: FBT001 - a table's column
    """Both names of each pair, and the number where the error is another's."""
    ended = poll(body)

    assert isinstance(ended, Ended)
    assert (ended.outcome, ended.spent) == (outcome, spent)


@pytest.mark.parametrize("error", ["expired_token", "access_denied", "bad_verification_code"])
def test_a_passing_number_ends_no_sign_in(error: str) -> None:
    """It is polled again until the code expires."""
    with pytest.raises(AuthorizationServerUnavailable):
        poll({"error": error, "error_codes": [90033]})
