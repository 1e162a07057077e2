"""What stands in front of Microsoft and answers in its place, and how long an answer asks to wait: over real HTTPS."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.simulators.http import Fault, Request, Response, Server
from tests.simulators.tls import Authority
from vault_plugin.core.credential import Assertion
from vault_plugin.core.errors import AuthorizationServerError, AuthorizationServerUnavailable, GrantRejected
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.microsoft.messages import assertion_of

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
STORED = {"access_token": "simtok-a", "refresh_token": "simtok-r"}
Call = Callable[[MicrosoftClient, Binding], object]
CALLS: dict[str, Call] = {
    "device code": lambda client, binding: client.request_device_code(binding),
    "poll": lambda client, binding: client.poll(binding, Secret("simtok-d"), NOW),
    "renewal": lambda client, binding: client.refresh(binding, held(), NOW),
}


def held() -> Assertion:
    return assertion_of(STORED, NOW, signed_in_at=NOW, account="a")


@pytest.fixture
def served(authority: Authority) -> Iterator[Server]:
    def unexpected(_request: Request) -> Response:
        raise AssertionError("a fault answers")

    server = Server(unexpected, authority.shared_context)
    yield server
    server.close()


def error_of(call: str, served: Server, authority: Authority, response: Response) -> AuthorizationServerError:
    served.faults.add(Fault("/", times=None, response=response))
    binding = Binding(authority=served.url, client_id="c", scope="s", organization="contoso.onmicrosoft.com", server="vbr")
    with pytest.raises(AuthorizationServerError) as caught:
        CALLS[call](MicrosoftClient(str(authority.ca_file)), binding)
    return caught.value


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("response", "words"),
    [
        (Response(200, b"<html>Welcome to our guests' network</html>"), "a page (status 200)"),
        (Response(200, b"\xef\xbb\xbf\r\n<!DOCTYPE html>"), "a page (status 200)"),
        (Response(403, b"<html>Blocked by the filter</html>"), "a page (status 403)"),
        (Response(503, b"<html>squid: connection failed</html>"), "a page (status 503)"),
        (Response(200, b"OK"), "a text (status 200)"),
        (Response(403, b"Access denied by policy"), "a text (status 403)"),
        (Response(403, b'{"message": "Forbidden"}'), "JSON of another form (status 403)"),
        # A gateway's own words, though they are OAuth's: Microsoft says more than that.
        (Response(403, b'{"error": "access_denied", "message": "Blocked by policy"}'), "JSON of another form (status 403)"),
        (Response(401, b'{"error": "invalid_client"}'), "JSON of another form (status 401)"),
        (Response(400, b'{"error": "invalid_request", "message": "blocked"}'), "JSON of another form (status 400)"),
        (
            Response(403, b'{"timestamp": "2026-11-24T12:00:00Z", "status": 403, "error": "access_denied", "path": "/x"}'),
            "JSON of another form (status 403)",
        ),
        (Response(400, b'{"error": "invalid_grant", "error_description": ""}'), "JSON of another form (status 400)"),
        (Response(503, b'{"error": "unauthorized_client", "status": 503}'), "JSON of another form (status 503)"),
        (Response(403, b'{"error": {"code": 403, "message": "no"}, "path": "/x"}'), "JSON of another form (status 403)"),
        (Response(200, b'"quota"'), "JSON of another form (status 200)"),
        (Response(200, b"[]"), "JSON of another form (status 200)"),
        (Response(200, b'{"error": "invalid_grant", "error": "x"}'), "JSON of another form (status 200)"),
        # What isn't strictly JSON is read only where it brings tokens, and those are clear.
        (Response(200, b'{"error": "x", "error": "y", "access_token": "simtok"}'), "JSON of another form (status 200)"),
        (Response(200, b'{"access_token": "simtok-1", "access_token": "simtok-2"}'), "JSON of another form (status 200)"),
        (Response(200, b'{"access_token": NaN, "device_code": "x"}'), "JSON of another form (status 200)"),
        (Response(400, b'{"access_token": "simtok-1", "expires_in": NaN}'), "JSON of another form (status 400)"),
        (Response(511, b"<html>Log in to the network</html>"), "a network's or a proxy's own sign-in (status 511)"),
        (Response(511), "a network's or a proxy's own sign-in (status 511)"),
        (Response(407, b""), "a network's or a proxy's own sign-in (status 407)"),
        (
            Response(302, b"", {"Location": "https://portal.example:8443/login?to=x"}),
            "a redirect to portal.example (status 302)",
        ),
        (Response(307, b"", {"Location": "http://10.0.0.1/"}), "a redirect to 10.0.0.1 (status 307)"),
        (Response(302, b"", {"Location": "http://[fe80::1]/"}), "a redirect to fe80::1 (status 302)"),
        (Response(303, b"", {"Location": "https://user:pass@portal.example/"}), "a redirect to portal.example (status 303)"),
        (Response(302, b"", {"Location": "/login"}), "a redirect (status 302)"),
        (Response(302, b"", {"Location": "https://evil<b>x/"}), "a redirect (status 302)"),
        (Response(302, b"", {"Location": "http://[:::/"}), "a redirect (status 302)"),
        (Response(301), "a redirect (status 301)"),
        # Whatever it carries: a redirect is no answer of Microsoft's.
        (Response(302, json.dumps(STORED | {"error": "invalid_grant"}).encode()), "a redirect (status 302)"),
        (Response(302, json.dumps(STORED).encode()), "a redirect (status 302)"),
    ],
)
def test_what_stands_in_microsofts_place_is_told_and_is_no_verdict(
    call: str, response: Response, words: str, served: Server, authority: Authority
) -> None:
    """With what to look at. It passes, and nothing that is stored is touched."""
    told = error_of(call, served, authority, response)

    assert isinstance(told, AuthorizationServerUnavailable)
    assert told.reason == "NotMicrosoft"
    assert words in str(told)
    assert "portal" in told.remedy()
    assert "vb365 tenant show NAME" in told.remedy()
    assert "pass@" not in str(told)
    assert (told.code, told.error) == (None, "")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (Response(429, b"Too Many Requests"), "Throttled"),
        (Response(429, b"<html>slow down</html>"), "Throttled"),
        (Response(429), "Throttled"),
        (Response(503), "Unavailable"),
        (Response(500, b" \r\n"), "Unavailable"),
        (Response(403), "AnswerUnusable"),
        (Response(204), "AnswerUnusable"),
        (Response(200, b'{"access_token": null}'), "AnswerUnusable"),
    ],
)
def test_what_microsoft_may_have_said_itself_is_not_laid_to_a_proxy(
    call: str, response: Response, reason: str, served: Server, authority: Authority
) -> None:
    """It throttles in plain text, and an empty answer tells nothing of who sent it."""
    told = error_of(call, served, authority, response)

    assert isinstance(told, AuthorizationServerUnavailable)
    assert told.reason == reason


@pytest.mark.parametrize(
    ("said", "pause"),
    [
        ({"Retry-After": "17"}, timedelta(seconds=17)),
        ({"Retry-After": "0"}, timedelta(seconds=1)),
        ({"Retry-After": "86400"}, timedelta(minutes=5)),
        ({"Retry-After": "soon"}, None),
        ({}, None),
        # By the clock of the answer, which may be far from ours.
        (
            {"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"},
            timedelta(seconds=30),
        ),
        ({"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT"}, timedelta(seconds=1)),
    ],
)
@pytest.mark.parametrize("status", [429, 503, 400])
def test_a_pause_is_read_in_both_forms_and_bounded(
    status: int, said: dict[str, str], pause: timedelta | None, served: Server, authority: Authority
) -> None:
    """Between a second and five minutes (RFC 9110 section 10.2.3)."""
    body = b'{"error": "invalid_grant", "error_codes": [50196]}'

    assert error_of("renewal", served, authority, Response(status, body, said)).retry_after == pause


def test_a_pause_until_a_date_without_a_clock_of_its_own_is_by_ours(served: Server, authority: Authority) -> None:
    """The answer says no time."""
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    told = error_of("poll", served, authority, Response(429, b"", {"Retry-After": until, "Date": "none"}))

    assert told.retry_after is not None
    assert timedelta(seconds=80) < told.retry_after <= timedelta(seconds=100)


def test_an_answer_with_tokens_and_the_status_of_an_error_is_an_answer(served: Server, authority: Authority) -> None:
    """And one of status 200 with an error is an error."""
    served.faults.add(Fault("/", response=Response(400, json.dumps(STORED | {"expires_in": 3600}).encode())))
    binding = Binding(authority=served.url, client_id="c", scope="s", organization="o", server="vbr")
    renewed = MicrosoftClient(str(authority.ca_file)).refresh(
        binding, assertion_of(STORED, NOW, signed_in_at=NOW, account=""), NOW
    )
    assert renewed.refreshable

    told = error_of("renewal", served, authority, Response(200, json.dumps(STORED | {"error": "invalid_grant"}).encode()))
    assert isinstance(told, GrantRejected)
