"""Our Microsoft client against npm's oidc-provider, a certified OAuth server: device flow and refresh."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.external.oidc import OidcProvider
from vault_plugin.core.errors import GrantRejected
from vault_plugin.core.ports import Approved, Ended, Pending
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import DEFAULT_CLIENT_ID, Binding
from vault_plugin.microsoft.client import MicrosoftClient

pytestmark = pytest.mark.external
ORGANIZATION = "contoso.onmicrosoft.com"
SCOPE = "Directory.AccessAsUser.All openid profile offline_access"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    directory = tmp_path_factory.mktemp("oidc")
    made = OidcProvider(directory, ORGANIZATION, DEFAULT_CLIENT_ID, ["Directory.AccessAsUser.All", "profile"])
    yield made
    made.close()


@pytest.fixture
def binding(provider: OidcProvider) -> Binding:
    return Binding(authority=provider.url, client_id=DEFAULT_CLIENT_ID, scope=SCOPE, organization=ORGANIZATION, server="vbr")


def now() -> datetime:
    return datetime.now(UTC)


def test_our_client_completes_a_device_flow_and_refreshes(provider: OidcProvider, binding: Binding) -> None:
    """Pending, a person at the real pages, approved, renewed with every key kept."""
    client = MicrosoftClient(str(provider.ca))
    code = client.request_device_code(binding)
    assert isinstance(client.poll(binding, code.device_code, now()), Pending)

    page = provider.sign_in(code.verification_uri, code.user_code, "admin@contoso.onmicrosoft.com")
    assert "Success" in page
    approved = client.poll(binding, code.device_code, now())

    assert isinstance(approved, Approved)
    assert approved.account == "admin@contoso.onmicrosoft.com"
    assert approved.tenant_id == "00000000-0000-0000-0000-000000000001"
    assert approved.assertion.refreshable
    renewed = client.refresh(binding, approved.assertion, now())
    before, after = (json.loads(a.json_text.reveal()) for a in (approved.assertion, renewed))
    assert set(before) <= set(after)
    assert after["refresh_token"] != before["refresh_token"]
    with pytest.raises(GrantRejected):
        client.refresh(binding, approved.assertion, now())


def test_a_person_who_declines_at_the_page_ends_the_sign_in(provider: OidcProvider, binding: Binding) -> None:
    """RFC 8628's access_denied, where Microsoft says authorization_declined."""
    client = MicrosoftClient(str(provider.ca))
    code = client.request_device_code(binding)

    provider.decline(code.verification_uri, code.user_code)
    answer = client.poll(binding, code.device_code, now())

    assert isinstance(answer, Ended)
    assert answer.outcome is Reason.DECLINED


def test_an_unknown_code_is_over_and_may_have_been_used(provider: OidcProvider, binding: Binding) -> None:
    """invalid_grant where Microsoft says bad_verification_code."""
    answer = MicrosoftClient(str(provider.ca)).poll(binding, Secret("nobody"), now())

    assert isinstance(answer, Ended)
    assert answer.spent


def test_a_wrong_client_is_our_misconfiguration(provider: OidcProvider, binding: Binding) -> None:
    """401 invalid_client."""
    from vault_plugin.core.errors import ClientRejected

    with pytest.raises(ClientRejected):
        MicrosoftClient(str(provider.ca)).request_device_code(binding.replace(client_id="nobody"))
