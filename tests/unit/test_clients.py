"""The clients of Microsoft and Veeam over real HTTPS: trust, timeouts, versions, and answers of any form."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulators.http import Fault, Request, Response, Server
from tests.simulators.sockets import hang_up, read_request
from tests.simulators.tls import Authority
from tests.simulators.veeam import VeeamSimulator
from vault_plugin.core.errors import (
    AuthorizationServerError,
    AuthorizationServerUnavailable,
    BackupServerError,
    BackupServerFaulty,
    BackupServerUnavailable,
    ClientRejected,
    EndpointRefused,
    Error,
    GrantRejected,
    TenantAdminRequired,
    TokenRejected,
)
from vault_plugin.core.ports import PollResult, TokenAnswer
from vault_plugin.core.secret import Secret
from vault_plugin.core.tenants import Binding, ServerSpec
from vault_plugin.microsoft import messages as microsoft
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.microsoft.verdicts import DEFAULTS, ROWS
from vault_plugin.veeam import messages as veeam_messages
from vault_plugin.veeam.client import VeeamClient
from vault_plugin.veeam.forms import parse as veeam_parse

ORGANIZATION = "contoso.onmicrosoft.com"
ASSERTION = Secret(json.dumps({"access_token": "simtok-a", "refresh_token": "simtok-r"}))
TIMEOUT = timedelta(seconds=10)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
BINDING = Binding(authority="https://localhost:1", client_id="c", scope="s", organization=ORGANIZATION, server="vbr")


@pytest.fixture
def veeam() -> VeeamSimulator:
    return VeeamSimulator(lambda: datetime.now(UTC))


@pytest.fixture
def served(veeam: VeeamSimulator, authority: Authority) -> Iterator[Server]:
    server = Server(veeam, authority.shared_context)
    yield server
    server.close()


def spec(server: Server, authority: Authority, **more: object) -> ServerSpec:
    return ServerSpec(url=server.url, ca_pem=authority.pem).replace(**more)


def called(client: VeeamClient, server: ServerSpec, token: Secret) -> str:
    """Return the name of the organization that this token is for."""
    seen = client.organization(server, token)
    assert seen is not None
    return seen.name


# --- Veeam -----------------------------------------------------------------------------------------------------------


def test_no_cookie_and_no_netrc_goes_with_another_tenants_request(
    veeam: VeeamSimulator, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old version's antiforgery cookie, and a password for the server's host."""
    seen: list[dict[str, str]] = []

    def watched(request: Request) -> Response:
        seen.append(request.headers)
        answer = veeam(request)
        return Response(answer.status, answer.body, {**answer.headers, "Set-Cookie": "sim-antiforgery=1; Path=/; Secure"})

    (tmp_path / "netrc").write_text("machine localhost login somebody password simtok-netrc")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = Server(watched, authority.shared_context)
    client, asked = VeeamClient(), spec(server, authority)
    pair = client.exchange(asked, ORGANIZATION, ASSERTION, TIMEOUT)
    assert called(client, asked, pair.access_token) == ORGANIZATION
    server.close()

    assert [headers.get("cookie") for headers in seen] == [None, None]
    assert "authorization" not in seen[0]
    assert seen[1]["authorization"] == f"Bearer {pair.access_token.reveal()}"


@pytest.mark.parametrize("version", ["v4", "v5", "v6", "v7", "v8"])
def test_every_version_exchanges_refreshes_and_proves(
    version: str, veeam: VeeamSimulator, served: Server, authority: Authority
) -> None:
    """With the antiforgery flag from v7 on, for the refresh too."""
    client, server = VeeamClient(), spec(served, authority, api_version=version)
    first = client.exchange(server, ORGANIZATION, ASSERTION, TIMEOUT)
    second = client.refresh(server, first.refresh_token, TIMEOUT)

    assert second.expires_in == timedelta(hours=1)
    assert second.token_type == "Bearer"
    assert called(client, server, second.access_token) == ORGANIZATION
    if version in ("v7", "v8"):
        client.logout(server, second.access_token)
        assert not veeam.accepts(second.access_token.reveal())


@pytest.mark.parametrize(
    ("versions", "said", "remedy"),
    [
        ({"v7", "v6"}, "doesn't serve v8; it serves v7, v6", "vb365 server set SERVER --api-version v7"),
        ({"v8"}, "serves v8, but no tokens", "restore operator authentication only"),
        (set(), "no version of VB365's API", "url and api_version"),
    ],
)
def test_a_version_that_is_switched_off_is_told_from_a_wrong_address(
    versions: set[str], said: str, remedy: str, veeam: VeeamSimulator, served: Server, authority: Authority
) -> None:
    """Both answer 404; the versions that are served are asked for, anonymously."""
    veeam.versions = versions
    served.faults.add(Fault("/token", response=Response(404)))
    with pytest.raises(EndpointRefused, match=said) as caught:
        VeeamClient().exchange(spec(served, authority), ORGANIZATION, ASSERTION, TIMEOUT)

    assert caught.value.reason == "EndpointNotServed"
    assert remedy in caught.value.remedy()


def test_what_is_served_is_asked_for_with_patience_and_what_is_not_known_is_not_claimed(
    veeam: VeeamSimulator, served: Server, authority: Authority
) -> None:
    """A server that needs a moment for each answer; and one that leaves a question open."""
    veeam.versions = {"v7"}
    served.faults.add(Fault("/ServiceInstance", times=None, hang=0.3))
    with pytest.raises(EndpointRefused, match="it serves v7"):
        VeeamClient().exchange(spec(served, authority), ORGANIZATION, ASSERTION, TIMEOUT)

    served.faults.clear()
    veeam.versions = set()
    served.faults.add(Fault("/v8/ServiceInstance", drop="before"))
    with pytest.raises(EndpointRefused, match="didn't answer which versions"):
        VeeamClient().exchange(spec(served, authority), ORGANIZATION, ASSERTION, TIMEOUT)


def test_a_short_time_leaves_half_of_it_for_the_answer(served: Server, authority: Authority) -> None:
    """Shorter than the server's time to connect: a token's last seconds."""
    server = spec(served, authority, connect_timeout=timedelta(seconds=30))
    served.faults.add(Fault("/token", hang=1))

    assert VeeamClient().exchange(server, ORGANIZATION, ASSERTION, timedelta(seconds=10))


@pytest.mark.parametrize("shape", ["oauth", "rest", "empty"])
def test_a_refusal_of_any_shape_is_veeams_verdict(
    shape: str, veeam: VeeamSimulator, served: Server, authority: Authority
) -> None:
    """The organization's case counts; the remedy says so."""
    veeam.error_shape = shape
    with pytest.raises(TokenRejected) as caught:
        VeeamClient().exchange(spec(served, authority), ORGANIZATION.upper(), ASSERTION, TIMEOUT)

    assert caught.value.status == 400
    assert "exactly this case" in caught.value.remedy()


@pytest.mark.parametrize(
    ("response", "kind", "reason"),
    [
        (Response(500), BackupServerFaulty, "ServerError"),
        (Response(200, b"<html>"), BackupServerFaulty, "GatewayAnswered"),
        (Response(200, b"{}"), BackupServerFaulty, "AnswerUnusable"),
        (Response(200, b'{"access_token":"simtok","expires_in":1}'), BackupServerFaulty, "AnswerUnusable"),
        (Response(404), EndpointRefused, "EndpointNotServed"),
        (Response(400, b"<html>a proxy's page</html>"), BackupServerFaulty, "GatewayAnswered"),
        (Response(401), TokenRejected, "RejectedByVeeam"),
        (Response(403), BackupServerFaulty, "ServerError"),
        (Response(302, b"", {"Location": "https://evil.example/"}), EndpointRefused, "Redirected"),
        (Response(429, b"slow", {"Retry-After": "17"}), BackupServerUnavailable, "Throttled"),
        (Response(502), BackupServerUnavailable, "Unavailable"),
        (Response(503), BackupServerUnavailable, "Unavailable"),
        (Response(200, b"x" * (2 * 1024 * 1024 + 1)), BackupServerUnavailable, "AnswerTooLarge"),
    ],
)
def test_answers_are_classed_by_what_to_do(
    response: Response, kind: type[BackupServerError], reason: str, served: Server, authority: Authority
) -> None:
    """No redirect is followed, no body is shown."""
    served.faults.add(Fault("/token", response=response))
    with pytest.raises(kind) as caught:
        VeeamClient().refresh(spec(served, authority), Secret("simtok"), TIMEOUT)

    assert caught.value.reason == reason
    if response.status == 429:
        assert caught.value.retry_after == timedelta(seconds=17)


def test_a_hanging_server_costs_its_timeout_and_no_more(served: Server, authority: Authority) -> None:
    """Its own, not the connection's, and not what the server would take."""
    served.faults.add(Fault("/token", hang=120))
    began = time.monotonic()
    with pytest.raises(BackupServerUnavailable) as caught:
        VeeamClient().refresh(spec(served, authority), Secret("simtok"), timedelta(seconds=1))

    assert time.monotonic() - began < 60
    assert caught.value.reason == "Timeout"


def test_nobody_there_is_told_from_silence(authority: Authority) -> None:
    """Connection refused."""
    server = ServerSpec(url="https://localhost:1", ca_pem=authority.pem)
    with pytest.raises(BackupServerUnavailable) as caught:
        VeeamClient().refresh(server, Secret("simtok"), TIMEOUT)

    assert caught.value.reason == "ConnectionFailed"


def test_trust_is_the_servers_own(
    veeam: VeeamSimulator, served: Server, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA that isn't trusted is refused with the remedy; REQUESTS_CA_BUNDLE doesn't override a server's choice."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ssl.get_default_verify_paths().cafile or "")
    client = VeeamClient()
    with pytest.raises(BackupServerUnavailable) as caught:
        client.exchange(ServerSpec(url=served.url), ORGANIZATION, ASSERTION, TIMEOUT)
    assert caught.value.reason == "CertificateNotTrusted"
    assert "--ca-file" in caught.value.remedy()

    assert isinstance(client.exchange(spec(served, authority), ORGANIZATION, ASSERTION, TIMEOUT), TokenAnswer)
    assert isinstance(client.exchange(ServerSpec(url=served.url, insecure=True), ORGANIZATION, ASSERTION, TIMEOUT), TokenAnswer)
    bundle = VeeamClient(str(authority.ca_file))
    assert isinstance(bundle.exchange(ServerSpec(url=served.url), ORGANIZATION, ASSERTION, TIMEOUT), TokenAnswer)


def test_a_pinned_certificate_is_trusted_and_no_other(veeam: VeeamSimulator, authority: Authority) -> None:
    """Self-signed, with another name: the fingerprint decides."""
    context, fingerprint = authority.self_signed()
    server = Server(veeam, context)
    good = ServerSpec(url=server.url, fingerprint_sha256=fingerprint)
    assert isinstance(VeeamClient().exchange(good, ORGANIZATION, ASSERTION, TIMEOUT), TokenAnswer)

    bad = ServerSpec(url=server.url, fingerprint_sha256="ab" * 32)
    with pytest.raises(BackupServerUnavailable) as caught:
        VeeamClient().exchange(bad, ORGANIZATION, ASSERTION, TIMEOUT)
    assert caught.value.reason == "CertificateNotTrusted"
    server.close()


def test_an_expired_certificate_and_another_name_are_refused(veeam: VeeamSimulator, authority: Authority) -> None:
    """Even by the right CA."""
    server = Server(veeam, authority.context(expired=True))
    with pytest.raises(BackupServerUnavailable, match="expired"):
        VeeamClient().exchange(spec(server, authority), ORGANIZATION, ASSERTION, TIMEOUT)
    server.close()


@given(st.integers(100, 599), st.binary() | st.recursive(st.none() | st.text() | st.integers() | st.floats(allow_nan=False), lambda c: st.lists(c) | st.dictionaries(st.text(), c)).map(lambda v: json.dumps(v).encode()))  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_any_answer_at_all_is_a_pair_or_an_error_of_ours(status: int, body: bytes) -> None:
    """Each parser, on any bytes."""
    try:
        assert isinstance(veeam_messages.token_answer(veeam_parse(status, body, {}, NOW), "testing"), TokenAnswer)
    except BackupServerError as error:
        assert error.remedy()
    for read in (lambda answer: microsoft.poll_result(answer, NOW), microsoft.device_authorization):
        try:
            read(microsoft.parse(status, body))
        except AuthorizationServerError as error:
            assert error.remedy()


# --- Microsoft -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ROWS)
def test_every_code_has_a_text_and_a_remedy(code: int) -> None:
    """And its class; only 70000 must be seen twice."""
    body = {"error": "invalid_grant", "error_codes": [code], "error_description": f"AADSTS{code}: simtok", "trace_id": "t"}
    error = microsoft.error_of(microsoft.Answer(400, body), "testing")

    assert type(error) is ROWS[code].verdict
    assert str(code) in str(error)
    assert error.remedy()
    assert error.trace_id == "t"
    assert error.confirm == (code == 70000)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error": "invalid_grant", "error_codes": [424242]}, GrantRejected),
        (400, {"error": "interaction_required"}, GrantRejected),
        (401, {"error": "invalid_client"}, ClientRejected),
        (400, {"error": "invalid_scope"}, ClientRejected),
        (400, {"error": "invalid_grant", "error_description": "AADSTS53003: blocked"}, TenantAdminRequired),
        (400, {"error": "something_new"}, AuthorizationServerError),
        (503, {}, AuthorizationServerError),
        (429, {"error": "temporarily_unavailable"}, AuthorizationServerError),
    ],
)
def test_unknown_codes_get_the_safe_default_of_their_error(status: int, body: dict[str, object], kind: type[Error]) -> None:
    """Everything else is tried again."""
    error = microsoft.error_of(microsoft.Answer(status, body), "testing")

    assert isinstance(error, kind)
    assert error.retryable == (kind is AuthorizationServerError)
    assert set(DEFAULTS) >= {"invalid_grant", "invalid_client"}


def test_interval_and_life_are_clamped() -> None:
    """1 s and more, 30 s to an hour; 5 s where Microsoft says nothing (RFC 8628 section 3.2). Never sooner than asked."""
    body = {"device_code": "simtok", "user_code": "ABC", "verification_url": "https://x"}
    plain = microsoft.device_authorization(microsoft.Answer(200, body))
    wild = microsoft.device_authorization(microsoft.Answer(200, body | {"interval": 0, "expires_in": "999999"}))

    assert (plain.interval, plain.expires_in) == (timedelta(seconds=5), timedelta(minutes=15))
    assert (wild.interval, wild.expires_in) == (timedelta(seconds=1), timedelta(hours=1))
    for asked in (61, 120, "600"):
        slow = microsoft.device_authorization(microsoft.Answer(200, body | {"interval": asked}))
        assert slow.interval == timedelta(seconds=int(asked))
    assert "ABC" in plain.message


def test_a_refresh_answer_is_merged_over_the_stored_json() -> None:
    """What is missing keeps its old value; unknown keys survive."""
    old = {"access_token": "simtok1", "refresh_token": "simtok2", "id_token": "simtok3", "foci": "1", "expires_in": 5}
    held = microsoft.assertion_of(old, NOW, signed_in_at=NOW, account="a")

    new = microsoft.renewed(
        microsoft.Answer(200, {"access_token": "simtok4", "expires_in": 3599}), held, NOW + timedelta(days=1)
    )

    merged = json.loads(new.json_text.reveal())
    assert merged == old | {"access_token": "simtok4", "expires_in": 3599}
    assert new.expires_at == NOW + timedelta(days=1, seconds=3599)
    assert new.refreshable


def test_microsoft_out_of_reach_is_unavailable(authority: Authority) -> None:
    """And an untrusted certificate says how to trust it."""
    with pytest.raises(AuthorizationServerError) as caught:
        MicrosoftClient().request_device_code(BINDING)
    assert caught.value.retryable
    assert not caught.value.sent

    server = Server(lambda _request: Response(200), authority.shared_context)
    with pytest.raises(AuthorizationServerError) as caught:
        MicrosoftClient(ssl.get_default_verify_paths().cafile).request_device_code(BINDING.replace(authority=server.url))
    assert caught.value.reason == "CertificateNotTrusted"
    assert "VB365_CA_BUNDLE" in caught.value.remedy()
    assert not caught.value.sent
    server.close()


def test_a_poll_that_microsoft_may_have_seen_says_so(authority: Authority) -> None:
    """A connection that ends without an answer, and one whose answer is no TLS: the person's approval may be in it."""
    server = Server(lambda _request: Response(200), authority.shared_context)
    server.faults.add(Fault("/token", drop="before"))
    with pytest.raises(AuthorizationServerUnavailable) as caught:
        poll(server.url, authority)
    assert (caught.value.reason, caught.value.sent) == ("ConnectionBroken", True)
    server.close()

    def garble(listener: socket.socket) -> None:
        client, _ = listener.accept()
        raw = client.dup()
        with raw, authority.shared_context.wrap_socket(client, server_side=True) as tls, tls.makefile("rb") as stream:
            read_request(stream)  # head and body come one after the other: what is left unread makes a reset of the end
            raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
            hang_up(raw)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=garble, args=(listener,), daemon=True)
        thread.start()
        with pytest.raises(AuthorizationServerUnavailable) as caught:
            poll(f"https://localhost:{listener.getsockname()[1]}", authority)
        thread.join()
    assert (caught.value.reason, caught.value.sent) == ("TlsFailed", True)


def poll(url: str, authority: Authority) -> PollResult:
    return MicrosoftClient(str(authority.ca_file)).poll(BINDING.replace(authority=url), Secret("simtok-d"), NOW)


def test_a_ca_that_cannot_be_used_is_trouble_of_that_server_only(served: Server, authority: Authority) -> None:
    """Nothing was sent; the remedy names the command. A bundle that vanished says so, too."""
    broken = ServerSpec(url=served.url, ca_pem="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(BackupServerUnavailable, match="PEM") as caught:
        VeeamClient().refresh(broken, Secret("simtok"), TIMEOUT)
    assert "--ca-file" in caught.value.remedy()
    with pytest.raises(BackupServerUnavailable, match="bundle") as caught:
        VeeamClient("/nowhere.pem").refresh(ServerSpec(url=served.url), Secret("simtok"), TIMEOUT)
    assert "VB365_CA_BUNDLE" in caught.value.remedy()
    assert served.log == []
