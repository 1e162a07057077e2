"""Texts of VB365's and of gateways': which are verdicts on what was sent, by the form of the version that was asked."""

import json
from datetime import UTC, datetime

import pytest

from vault_plugin.core.errors import TokenRejected
from vault_plugin.microsoft.verdicts import RETRY, ROWS
from vault_plugin.veeam.forms import PASSING, parse
from vault_plugin.veeam.verdicts import Asked, Row, row_of
from vault_plugin.veeam.words import MICROSOFT

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def row(body: object, version: str = "v8", status: int = 400, asked: Asked = Asked.PAIR) -> Row:
    return row_of(parse(status, json.dumps(body).encode(), {}, NOW, version), asked)


def said(text: str) -> list[tuple[object, str]]:
    """Return a text in each form that VB365 has for it, with the version that writes so."""
    return [
        ({"error": "Authorization Error", "error_description": text}, "v4"),
        ({"error": "invalid_grant", "error_description": text}, "v5"),
        ({"message": text}, "v6"),
        ({"message": text, "errorCode": None}, "v7"),
        ({"message": text, "errorCode": None, "stackTrace": None}, "v8"),
    ]


#: From research on VB365's refusals, from Microsoft's words of dead grants, and what .NET's token handlers say.
VERDICTS = (
    "Invalid credential", "Invalid credentials", "The provided credentials are incorrect", "Invalid refresh token.",
    "The server has rejected the client credentials.", "The logon attempt failed", "The refresh token has expired",
    "The refresh token is invalid or was used before.", "The assertion was obtained without offline_access.",
    "The user name or password is incorrect.", "Tenant authentication is disabled.", "The session has timed out.",
    "Organization contoso.onmicrosoft.com was not found.", "Access is denied.", "The token was revoked.",
    "AADSTS700082: The refresh token has expired due to inactivity.", "AADSTS50173: The provided grant has expired.",
    "IDX10223: Lifetime validation failed. The token is expired.", "The account is disabled.", "The token is being reused.",
    "One or more errors occurred. (Invalid credential)", "An error occurred during authentication: invalid credential",
    "Response status code does not indicate success: 401.", "The assertion isn't valid JSON.",
    "An unsecured or incorrectly secured fault was received from the other party.",
)  # fmt: skip

TROUBLE = (
    *PASSING, "A task was canceled.", "The operation was canceled.", "An error occurred while sending the request.",
    "Name or service not known (login.microsoftonline.com:443)", "Temporary failure in name resolution",
    "Service not available", "The service is not available", "Veeam Backup for Microsoft 365 Service is stopped",
    "Service was stopped", "The server is initializing", "Upgrade is in progress", "Configuration is being updated",
    "The HTTP request to 'x' has exceeded the allotted timeout", "Timed out waiting for the server", "Time out",
    "Response status code does not indicate success: 429", "System.Net.WebException", "Cannot establish connection",
    "System.Net.Http.HttpRequestException: Response status code does not indicate success: 502 (Bad Gateway).",
    "Unable to read data from the transport connection: Broken pipe", 'Status(StatusCode="DeadlineExceeded", Detail="")',
    'Status(StatusCode="Unavailable", Detail="failed to connect")', "AADSTS90014: x", "AADSTS50088: x", "Too many connections",
    "Exception has been thrown by the target of an invocation.", "Lost connection to the server", "Session limit reached",
    "Cannot access a disposed object.", "53300: sorry, too many clients already", "57P03: the database system is starting up",
    "40001: could not serialize access due to concurrent update", "no responders are available for request",
    "The SSL connection could not be established, see inner exception.", "The response ended prematurely.",
    "The remote certificate is invalid according to the validation procedure.", "Failed to validate certificate chain",
    "An existing connection was forcibly closed by the remote host.", "The service isn't running", "One or more errors occurred.",
    "Collection was modified; enumeration operation may not execute.", "Sequence contains no elements", "The pool is exhausted",
    "Not enough storage is available", "The server is restarting", "There is insufficient system memory",
    "The paging file is too small for this operation to complete.", "Value cannot be null. Parameter name: source",
)  # fmt: skip


@pytest.mark.parametrize("text", VERDICTS)
def test_what_judges_what_was_sent_is_a_verdict(text: str) -> None:
    """In each version's form."""
    for body, version in said(text):
        assert row(body, version).next is TokenRejected, version


@pytest.mark.parametrize("text", TROUBLE)
def test_what_tells_of_trouble_that_passes_is_none(text: str) -> None:
    """.NET's, gRPC's, PostgreSQL's, NATS's and Windows' words, in each version's form."""
    for body, version in said(text):
        assert row(body, version).reason in ("ServerError", "GatewayAnswered"), version
    assert row({"message": text, "errorCode": None}, "v7").reason == "ServerError"


#: Of Kong's, APISIX's, AWS's, Express's, Django's and nginx's plugins, with the status that goes with them.
GATEWAYS = (
    "The access token is missing", "No credentials found for given 'iss'", "Bad token; invalid JSON", "Unrecognizable token",
    "Missing authorization in request", "Missing required request parameters: [x]", "Token expired", "Request rejected",
    "Payload too large", "HTTPS required", "Invalid host header", "Please log in", "Session expired", "Country not allowed",
    "Invalid request", "Invalid authentication credentials",
)  # fmt: skip


@pytest.mark.parametrize("text", GATEWAYS)
def test_from_v7_on_a_bare_message_of_others_is_not_veeams(text: str) -> None:
    """These versions declare an errorCode beside it. On v6 it is their own form, unless a gateway is known to say so."""
    for status in (400, 401):
        for version in ("v7", "v8"):
            assert row({"message": text}, version, status).reason == "GatewayAnswered"
        assert row({"message": text}, "v6", status, Asked.BEARER).next is not TokenRejected
    assert row({"message": "Invalid credential"}, "v6").next is TokenRejected
    assert row({"message": "Unrecognizable token"}, "v6").reason == "GatewayAnswered"


@pytest.mark.parametrize(
    "text", ["Invalid credential", "Invalid credentials.", "The refresh token is invalid", "The logon attempt failed"]
)
def test_what_veeam_says_of_a_refusal_is_believed_without_its_code(text: str) -> None:
    """A version that leaves out what is null has refused what was sent all the same."""
    for version in ("v6", "v7", "v8"):
        assert row({"message": text}, version).next is TokenRejected


@pytest.mark.parametrize("status", [400, 401])
@pytest.mark.parametrize("asked", [Asked.PAIR, Asked.BEARER])
def test_a_word_on_the_request_is_none_on_what_was_sent(status: int, asked: Asked) -> None:
    """Kong's oauth2, or VB365 where somebody took a field from the request."""
    told = row({"error": "invalid_request", "error_description": "The access token is missing"}, "v8", status, asked)
    assert told.reason == "RequestRefused"
    assert "gateway" in told.remedy


def test_what_passes_at_microsoft_passes_where_veeam_tells_it() -> None:
    """The two lists are one; `authorization_pending` is no answer to VB365."""
    passing = {code for code, known in ROWS.items() if known.verdict is RETRY} - {70016}
    assert set(MICROSOFT) == passing | {90014}
