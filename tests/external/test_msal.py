"""MSAL Python, Microsoft's own client, against our Microsoft simulator; and against an assertion that we obtained."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msal
import pytest

from tests.simulators.http import Server
from tests.simulators.microsoft import MicrosoftSimulator
from tests.simulators.tls import Authority
from vault_plugin.core.ports import Approved
from vault_plugin.core.tenants import DEFAULT_CLIENT_ID, DEFAULT_SCOPE, Binding
from vault_plugin.microsoft.client import MicrosoftClient

pytestmark = pytest.mark.external
ORGANIZATION = "contoso.onmicrosoft.com"
SCOPES = ["Directory.AccessAsUser.All", "User.ReadWrite.All"]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def microsoft(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[MicrosoftSimulator]:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.ca_file))
    simulator = MicrosoftSimulator(now)
    simulator.interval = 1
    server = Server(simulator, authority.shared_context)
    simulator.base_url = server.url
    yield simulator
    server.close()


def application(microsoft: MicrosoftSimulator) -> Any:
    return msal.PublicClientApplication(
        DEFAULT_CLIENT_ID, authority=f"{microsoft.base_url}/{ORGANIZATION}", instance_discovery=False
    )


def test_msal_completes_a_device_flow(microsoft: MicrosoftSimulator) -> None:
    """Pending, approved, tokens with the claims that MSAL checks, and a refresh."""
    app = application(microsoft)
    flow = app.initiate_device_flow(scopes=SCOPES)
    assert flow["user_code"] in flow["message"]
    pending = app.acquire_token_by_device_flow(flow, exit_condition=lambda _flow: True)
    assert pending["error"] == "authorization_pending"
    microsoft.approve(flow["user_code"])
    microsoft.slow_down = False

    tokens = app.acquire_token_by_device_flow(flow)

    assert tokens["access_token"]
    assert tokens["id_token_claims"]["preferred_username"] == "admin@contoso.onmicrosoft.com"
    assert app.acquire_token_by_refresh_token(tokens["refresh_token"], SCOPES)["access_token"]


def test_msal_refreshes_an_assertion_that_we_obtained(microsoft: MicrosoftSimulator, authority: Authority) -> None:
    """Our JSON is what Microsoft's own client expects."""
    client = MicrosoftClient(str(authority.ca_file))
    binding = Binding(
        authority=microsoft.base_url, client_id=DEFAULT_CLIENT_ID, scope=DEFAULT_SCOPE, organization=ORGANIZATION, server="vbr"
    )
    code = client.request_device_code(binding)
    microsoft.approve(code.user_code)
    approved = client.poll(binding, code.device_code, now())
    assert isinstance(approved, Approved)

    stored = json.loads(approved.assertion.json_text.reveal())
    tokens = application(microsoft).acquire_token_by_refresh_token(stored["refresh_token"], SCOPES)

    assert tokens["access_token"]
    assert {"token_type", "scope", "expires_in", "ext_expires_in", "access_token", "refresh_token", "id_token"} <= set(stored)
