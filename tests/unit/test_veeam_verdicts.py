"""What an answer from VB365's address means: VB365's own verdicts, and what only looks like one. Over real HTTPS."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.simulators.http import Fault, Response, Server
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.errors import (
    About,
    BackupServerError,
    BackupServerFaulty,
    BackupServerUnavailable,
    EndpointRefused,
    TokenRejected,
)
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import ServerSpec
from vault_plugin.veeam.client import VeeamClient
from vault_plugin.veeam.forms import JUDGING, PASSING

ORGANIZATION = "contoso.onmicrosoft.com"
TOKEN = Secret("simtok-token")
TIMEOUT = timedelta(seconds=10)
REJECTED, FAULTY, AWAY, REFUSED = TokenRejected, BackupServerFaulty, BackupServerUnavailable, EndpointRefused
V8 = {"message": "Invalid refresh token.", "errorCode": None, "stackTrace": None}


def answer(status: int, body: object = b"", **headers: str) -> Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, content, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[Server]:
    server = Server(VeeamSimulator(lambda: datetime.now(UTC)), authority.shared_context)
    yield server
    server.close()


@pytest.fixture(scope="module")
def client() -> VeeamClient:
    return VeeamClient()


@pytest.fixture
def spec(server: Server, authority: Authority) -> Iterator[ServerSpec]:
    yield ServerSpec(url=server.url, ca_pem=authority.pem)
    server.faults.clear()


def refused(client: VeeamClient, spec: ServerSpec, server: Server, response: Response) -> BackupServerError:
    """Let the token endpoint answer so, to a refresh and to an exchange, and return what that means."""
    server.faults.add(Fault("/token", times=2, response=response))
    with pytest.raises(BackupServerError) as refresh:
        client.refresh(spec, TOKEN, TIMEOUT)
    with pytest.raises(BackupServerError) as exchange:
        client.exchange(spec, ORGANIZATION, TOKEN, TIMEOUT)
    assert type(refresh.value) is type(exchange.value)
    assert "simtok" not in str(refresh.value)
    return refresh.value


VB365S_OWN = {
    "v4": answer(400, {"error": "Authorization Error", "error_description": "Invalid credential"}),
    "v5 katana": answer(400, {"error": "invalid_grant"}),
    "v5 401": answer(401, {"error": "invalid_grant", "error_description": "The refresh token has expired"}),
    "v6": answer(400, {"message": "Invalid credential"}),
    "v6 401": answer(401, {"message": "The refresh token is invalid or was used before."}),
    "v6 scope": answer(400, {"message": "The assertion was obtained without offline_access."}),
    "v7": answer(400, {"message": "Invalid credentials", "errorCode": None}),
    "v7 in gateways' words": answer(401, {"message": "Unauthorized", "errorCode": None}),
    "v8": answer(400, V8),
    "v8 401": answer(401, V8),
    "v8 code": answer(400, V8 | {"errorCode": "ParameterValidationFailure"}),
    "v8 trace": answer(400, V8 | {"stackTrace": "   at Veeam.Archiver.REST.TokenController.Refresh()"}),
    "a later version's key": answer(400, V8 | {"traceId": "00-1"}),
    "a later version's key in OAuth's style": answer(400, {"error": "invalid_grant", "somethingNew": 1}),
    "in OAuth's style on v8": answer(400, {"error": "invalid_client"}),
    "empty": answer(400),
    "empty 401": answer(401),
    "empty 401 of ASP.NET Core's": answer(401, WWW_Authenticate='Bearer error="invalid_token"'),
    "of any media type": answer(400, V8, Content_Type="text/plain"),
    "with a mark of UTF-8": answer(400, b"\xef\xbb\xbf" + json.dumps(V8).encode()),
}


@pytest.mark.parametrize("name", VB365S_OWN)
def test_veeams_own_refusal_is_a_verdict(name: str, client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """In each version's form, asked for by that version, and empty."""
    version = name.partition(" ")[0] if name.startswith(("v4", "v5", "v6", "v7")) else "v8"
    error = refused(client, spec.replace(api_version=version), server, VB365S_OWN[name])

    assert isinstance(error, TokenRejected)
    assert error.reason == "RejectedByVeeam"
    assert error.about is About.SENT
    assert "exactly this case" in error.remedy()


GATEWAYS = {
    "AWS forbids": answer(403, {"message": "Forbidden"}),
    "AWS without a path": answer(403, {"message": "Missing Authentication Token"}),
    "AWS 401": answer(401, {"message": "Unauthorized"}),
    "AWS Cognito": answer(401, {"message": "The incoming token has expired"}),
    "AWS 400": answer(400, {"message": "Bad Request"}),
    "AWS says so": answer(400, {"message": "Invalid credential"}, x_amzn_ErrorType="ForbiddenException"),
    "AWS authorizer": answer(403, {"Message": "User is not authorized to access this resource"}),
    "Kong without a key": answer(401, {"message": "No API key found in request"}),
    "Kong 3": answer(401, {"message": "Unauthorized", "request_id": "7d1f"}),
    "Kong credentials": answer(401, {"message": "Invalid authentication credentials"}),
    "Kong address": answer(403, {"message": "Your IP address is not allowed"}),
    "Kong oauth2": answer(401, {"error": "invalid_token", "error_description": "The access token is invalid"}),
    "APISIX": answer(401, {"message": "Missing API key found in request"}),
    "APIM": answer(401, {"statusCode": 401, "message": "Access denied due to missing subscription key."}),
    "Tyk": answer(401, {"error": "Authorization field missing"}),
    "WSO2": answer(401, {"code": 900901, "message": "Invalid Credentials", "description": "Access failure"}),
    "Apigee": answer(401, {"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}}),
    "Google": answer(401, {"error": {"code": 401, "message": "Invalid credential", "status": "UNAUTHENTICATED"}}),
    "Okta": answer(401, {"errorCode": "E0000011", "errorSummary": "Invalid token provided"}),
    "Salesforce": answer(401, [{"message": "Session expired", "errorCode": "INVALID_SESSION_ID"}]),
    "a number as a code": answer(400, {"message": "Invalid credential", "errorCode": 17}),
    "Entra's application proxy": answer(400, {"error": "invalid_grant", "error_codes": [70008], "trace_id": "t"}),
    "problem+json": answer(401, {"type": "about:blank", "title": "Unauthorized", "status": 401}),
    "FastAPI": answer(401, {"detail": "Not authenticated"}),
    "one word": answer(403, {"error": "Forbidden"}),
    "GraphQL": answer(400, {"errors": [{"message": "Invalid credential"}]}),
    "nginx": answer(401, b"<html><head><title>401 Authorization Required</title></head></html>"),
    "F5": answer(403, b"<html><body>The requested URL was rejected. Your support ID is: 123</body></html>"),
    "IIS": answer(400, b"<!DOCTYPE HTML><HTML><BODY><h2>Bad Request - Invalid Hostname</h2></BODY></HTML>"),
    "Envoy": answer(403, b"RBAC: access denied"),
    "Envoy's JWT filter": answer(401, b"Jwt is missing"),
    "Traefik": answer(401, b"Unauthorized\n"),
    "a JSON text": answer(401, "Unauthorized"),
    "a JSON null": answer(401, b"null"),
    "a JSON list": answer(400, []),
    "an empty object": answer(400, {}),
    "Negotiate": answer(401, WWW_Authenticate="Negotiate, NTLM"),
    "Basic": answer(401, WWW_Authenticate='Basic realm="proxy"'),
    "RFC 9209": answer(400, V8, Proxy_Status="edge; error=http_request_denied"),
    "an AWS load balancer": answer(401, b"", Server="awselb/2.0"),
    "Azure's gateway": answer(400, V8, Server="Microsoft-Azure-Application-Gateway/v2"),
    "Squid": answer(400, b"", X_Squid_Error="ERR_INVALID_REQ 0"),
    "Spring": answer(401, {"timestamp": "2026", "status": 401, "error": "invalid_grant", "path": "/v8/token"}),
    "Cloudflare": answer(403, b"", cf_mitigated="challenge"),
    "XML": answer(403, b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_what_a_gateway_answers_is_no_verdict(name: str, client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """It says nothing about what was sent; who answered, and what to do, is told."""
    error = refused(client, spec, server, GATEWAYS[name])

    assert isinstance(error, BackupServerFaulty)
    assert error.reason == "GatewayAnswered"
    assert "in front of VB365 answered" in str(error)
    assert "gateway or proxy" in error.remedy()


BEHIND = {
    **{code: answer(400, V8 | {"errorCode": code}) for code in PASSING},
    "a code that isn't known": answer(400, V8 | {"errorCode": "SomethingNew"}),
    "its server": answer(400, V8 | {"message": "Could not connect to net.tcp://127.0.0.1:9194/. TCP error code 10061"}),
    "in another language": answer(400, {"message": "net.tcp://vb365:9194/: Verbindung verweigert"}),
    "the same on v4": answer(400, {"error": "Authorization Error", "error_description": "There was no endpoint listening at net.tcp"}),
    "a backup proxy": answer(400, {"message": "Backup proxy is offline"}),
    "its database": answer(400, V8 | {"message": "Npgsql.NpgsqlException: Exception while reading from stream"}),
    "a time": answer(401, V8 | {"message": "The operation has timed out."}),
    "it starts": answer(400, {"message": "Veeam Backup for Microsoft 365 Service is not running"}),
    "a bug": answer(400, V8 | {"message": "Object reference not set to an instance of an object."}),
    "Microsoft behind it": answer(400, V8 | {"message": "AADSTS50196: The server terminated an operation"}),
    "OAuth's own": answer(400, {"error": "temporarily_unavailable"}),
    "500 of any form": answer(500, V8),
}  # fmt: skip


@pytest.mark.parametrize("name", BEHIND)
def test_trouble_behind_veeam_is_no_verdict(name: str, client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """A rejection's status and form, and trouble that passes."""
    error = refused(client, spec, server, BEHIND[name])

    assert isinstance(error, BackupServerFaulty)
    assert error.reason == "ServerError"
    assert error.retryable
    assert "SomethingNew" not in str(error)
    assert "9194" not in str(error)


@pytest.mark.parametrize("body", [b"", b"<html>", {"message": "Forbidden"}, V8, {"error": "invalid_grant"}], ids=str)
@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        *((status, AWAY, "Unavailable") for status in (408, 502, 503, 504, *range(520, 531), 598)),
        (429, AWAY, "Throttled"),
        (407, AWAY, "Unavailable"),
        (511, AWAY, "Unavailable"),
        (404, REFUSED, "EndpointNotServed"),
        (405, REFUSED, "EndpointNotServed"),
        (410, REFUSED, "EndpointNotServed"),
        (421, REFUSED, "EndpointNotServed"),
        (413, FAULTY, "RequestRefused"),
        (431, FAULTY, "RequestRefused"),
        *((status, REFUSED, "Redirected") for status in (300, 301, 302, 303, 307, 308)),
        *((status, FAULTY, "GatewayAnswered") for status in (304, 305, 306, 310)),
        (500, FAULTY, "ServerError"),
    ],
)
def test_a_status_that_decides_does_so_whatever_the_body(
    status: int, kind: type[BackupServerError], reason: str, body: object, client: VeeamClient, spec: ServerSpec, server: Server
) -> None:
    """An outage of the lane, a wrong address, somebody's limit: nothing was judged."""
    error = refused(client, spec, server, answer(status, body))

    assert (type(error), error.reason) == (kind, reason)


@pytest.mark.parametrize("status", [400, 402, 406, 409, 411, 415, 418, 422, 423, 426, 451, 505, 507])
def test_what_nobody_expects_is_no_verdict(status: int, client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """Whoever says it."""
    error = refused(client, spec, server, answer(status, b"<html>"))

    assert isinstance(error, BackupServerFaulty)
    assert f"answered {status}" in str(error)


def test_the_throttle_is_known_by_its_words(client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """Its status is a setting of its; and its text is JSON or plain."""
    words = "API calls quota exceeded! maximum admitted 5 per Minute."
    for status, body in itertools.product((409, 403, 400, 429), (words, words.encode(), {"message": words})):
        error = refused(client, spec, server, answer(status, body, Retry_After="17"))
        assert (type(error), error.reason) == (AWAY, "Throttled")
        assert error.retry_after == timedelta(seconds=17)


@pytest.mark.parametrize(
    ("header", "wait"),
    [("17", 17), ("0", 1), ("86400", 300), ("Sun, 06 Nov 1994 08:50:00 GMT", 23), ("soon", None)],
)
def test_retry_after_comes_in_two_forms_and_in_bounds(
    header: str, wait: int | None, client: VeeamClient, spec: ServerSpec, server: Server
) -> None:
    """A date is by the answer's own clock."""
    at = "Sun, 06 Nov 1994 08:49:37 GMT"
    error = refused(client, spec, server, answer(503, Retry_After=header, Date=at))

    assert error.retry_after == (None if wait is None else timedelta(seconds=wait))


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://portal.example:8443/login?token=simtok-secret", "redirects to portal.example"),
        ("//VB365.other.example/v8/token", "redirects to vb365.other.example"),
        ("https://[2001:db8::1]/x", "redirects to 2001:db8::1"),
        ("https://user:simtok@10.0.0.7/", "redirects to 10.0.0.7"),
        ("/v8/Token/", "it redirects"),
        ("https://bad\u00e4 host/", "it redirects"),
        ("https://-evil-.example<script>/", "it redirects"),
        ("https://[bad", "it redirects"),
    ],
)
def test_a_redirect_is_a_wrong_address_and_never_followed(
    location: str, said: str, client: VeeamClient, spec: ServerSpec, server: Server
) -> None:
    """The host that it names is told, and nothing else of it."""
    calls = len(server.log)
    error = refused(client, spec, server, answer(307, b"", Location=location))

    assert isinstance(error, EndpointRefused)
    assert str(error).endswith(said)
    assert "vb365 server set SERVER --url" in error.remedy()
    assert len(server.log) == calls + 2


def test_an_operators_only_server_is_told_from_a_gateway(client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """403 in VB365's own form: it gives nobody tokens, whatever was sent."""
    for status in (400, 401, 403):
        error = refused(client, spec, server, answer(status, V8 | {"errorCode": "ResourceAccessDenied"}))
        assert isinstance(error, EndpointRefused)
        assert "restore operator authentication only" in error.remedy()

    error = refused(client, spec, server, answer(400, {"error": "unsupported_grant_type"}))
    assert isinstance(error, EndpointRefused)
    assert "--api-version" in error.remedy()


@pytest.mark.parametrize(
    ("response", "kind", "about"),
    [
        (answer(401), REJECTED, About.SENT),
        (answer(401, {"Message": "Authorization has been denied for this request."}), REJECTED, About.SENT),
        (answer(401, V8), REJECTED, About.SENT),
        (answer(403), FAULTY, None),
        (answer(403, {"message": "Only restore operators are admitted."}), FAULTY, None),
        (answer(403, {"message": "Forbidden"}), FAULTY, None),
        (answer(401, {"message": "Unauthorized"}), FAULTY, None),
        (answer(401, {"message": "Invalid credential"}), FAULTY, None),
        (answer(401, {"error": "invalid_request", "error_description": "The access token is missing"}), FAULTY, None),
        (answer(401, {"error": "invalid_client"}), FAULTY, None),
        (answer(401, {"error": "Authorization Error", "error_description": "Invalid credential"}), REJECTED, About.SENT),
        (answer(401, WWW_Authenticate="Negotiate"), FAULTY, None),
        (answer(400, V8), FAULTY, None),
        (answer(400), FAULTY, None),
        (answer(401, V8 | {"errorCode": "ProxyOffline"}), FAULTY, None),
        (answer(522), AWAY, None),
        (answer(302, b"", Location="/login"), REFUSED, None),
        (answer(200, {"type": "Office365"}), FAULTY, None),
    ],
)
def test_an_access_token_is_judged_by_401_alone(
    response: Response,
    kind: type[BackupServerError],
    about: About | None,
    client: VeeamClient,
    spec: ServerSpec,
    server: Server,
) -> None:
    """Everything else says nothing of it."""
    server.faults.add(Fault("/Organization", response=response))
    with pytest.raises(kind) as caught:
        client.organization(spec, TOKEN)

    assert caught.value.status == response.status
    assert getattr(caught.value, "about", None) is about


def test_who_is_told_that_he_may_not_is_known(client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """403 in VB365's own form: the token works, though the organization isn't told."""
    server.faults.add(Fault("/Organization", response=answer(403, V8 | {"errorCode": "ResourceAccessDenied"})))
    assert client.organization(spec, TOKEN) is None


PAIR = {"access_token": "simtok-a", "refresh_token": "simtok-r", "token_type": "bearer"}


@pytest.mark.parametrize("status", [200, 201, 202, 203, 207, 299])
def test_any_success_with_a_pair_is_a_pair(status: int, client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """v8 unified its codes. Without a pair, none of them is one."""
    server.faults.add(Fault("/token", response=answer(status, PAIR | {"expires_in": 900})))
    assert client.refresh(spec, TOKEN, TIMEOUT).expires_in == timedelta(minutes=15)

    server.faults.add(Fault("/token", response=answer(status, V8)))
    with pytest.raises(BackupServerFaulty, match=f"answered {status} without") as caught:
        client.refresh(spec, TOKEN, TIMEOUT)
    assert caught.value.reason == "AnswerUnusable"


ISO, RFC = "2026-01-01T10:00:00", "Thu, 01 Jan 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({".issued": f"{ISO}Z", ".expires": "2026-01-01T11:00:00Z"}, 3600),
        ({".issued": ISO, ".expires": "2026-01-01T11:00:00"}, 3600),
        ({".issued": f"{ISO}.1234567+02:00", ".expires": "2026-01-01T10:00:00.1234567Z"}, 7200),
        ({".issued": RFC, ".expires": "Thu, 01 Jan 2026 10:15:00 GMT"}, 900),
        ({".issued": ISO, ".expires": "Thu, 01 Jan 2026 10:15:00 GMT"}, 900),
        ({"expires_in": None, ".issued": RFC, ".expires": "Thu, 01 Jan 2026 10:15:00 GMT"}, 900),
        ({"expires_in": "soon", ".issued": RFC, ".expires": "Thu, 01 Jan 2026 10:15:00 GMT"}, 900),
        ({"expires_in": 60, ".issued": RFC, ".expires": "Thu, 01 Jan 2026 10:15:00 GMT"}, 60),
        ({"expires_in": "60"}, 60),
        ({".issued": RFC, ".expires": RFC}, None),
        ({".issued": "2026-01-01T11:00:00Z", ".expires": f"{ISO}Z"}, None),
        ({".issued": "0001-01-01T00:00:00", ".expires": "9999-12-31T23:59:59"}, None),
        ({".issued": "0001-01-01T00:00:00+14:00", ".expires": ISO}, None),
        ({".issued": RFC}, None),
        ({".issued": 0, ".expires": 3600}, None),
        ({".issued": "x" * 10**6, ".expires": ISO}, None),
    ],
)
def test_without_a_life_it_is_the_time_between_issued_and_expires(
    fields: dict[str, object], seconds: int | None, client: VeeamClient, spec: ServerSpec, server: Server
) -> None:
    """Both by the server's own clock; only if that is a sane length."""
    server.faults.add(Fault("/token", response=answer(200, PAIR | fields)))
    if seconds is None:
        with pytest.raises(BackupServerFaulty, match="without a usable token pair"):
            client.refresh(spec, TOKEN, TIMEOUT)
    else:
        assert client.refresh(spec, TOKEN, TIMEOUT).expires_in == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("response", "trouble"),
    [
        *((answer(status), None) for status in (200, 301, 400, 401, 403, 404, 500)),
        (answer(401, b"<html>"), None),
        *((answer(status), AWAY) for status in (408, 429, 502, 503, 504, 521)),
    ],
)
def test_whether_it_is_there_is_asked_anonymously(
    response: Response, trouble: type[BackupServerError] | None, client: VeeamClient, spec: ServerSpec, server: Server
) -> None:
    """Any answer that isn't trouble of the whole server is one."""
    server.faults.add(Fault("/ServiceInstance", response=response))
    if trouble is None:
        client.alive(spec)
    else:
        with pytest.raises(trouble) as caught:
            client.alive(spec)
        assert caught.value.sent
    assert server.log[-1] == ("GET", "/v8/ServiceInstance", response.status)


def test_what_never_left_says_so(client: VeeamClient, spec: ServerSpec, server: Server) -> None:
    """Refused, no such name, a certificate that isn't trusted: the throttle can't have counted it. What broke off can."""
    for nowhere in (
        spec.replace(url="https://localhost:1"),
        spec.replace(url="https://nowhere.invalid"),
        ServerSpec(url=spec.url),
        ServerSpec(url=spec.url, fingerprint_sha256="ab" * 32),
    ):
        with pytest.raises(BackupServerUnavailable) as caught:
            client.refresh(nowhere, TOKEN, TIMEOUT)
        assert not caught.value.sent, str(caught.value)

    server.faults.add(Fault("/token", drop="before"))
    with pytest.raises(BackupServerUnavailable) as caught:
        client.refresh(spec, TOKEN, TIMEOUT)
    assert caught.value.sent


def test_the_table_knows_each_code_of_veeams_schema() -> None:
    """Each either judges what was sent or passes; none does both."""
    assert not set(JUDGING) & set(PASSING)
    assert len(JUDGING) + len(PASSING) + 1 == 10
