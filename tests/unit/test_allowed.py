"""What a tenant may ask of Microsoft without a setting, what a setting allows, and the forms of an organization's name."""

import itertools

import pytest

from scheduler.settings import load
from vault_plugin.core.errors import BindingRefused
from vault_plugin.core.organizations import is_alias, is_documented, trouble
from vault_plugin.core.tenants import (
    DEFAULT_CLIENT_ID,
    DEFAULT_SCOPE,
    Allowed,
    Binding,
    TenantSpec,
    bind,
    check_allowed,
    check_new,
)

DIRECTORY = ("Directory.Read.All", "Directory.ReadWrite.All", "Directory.AccessAsUser.All")
USER = ("User.Read", "User.ReadWrite", "User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All")
ORGANIZATION = "contoso.onmicrosoft.com"


def binding(**changes: object) -> Binding:
    return bind("acme", TenantSpec(server="vbr", organization=ORGANIZATION).replace(**changes))


def allowed(clients: str) -> Allowed:
    return load({"VB365_CLIENTS": clients}).allowed


def test_every_choice_of_veeams_page_needs_no_setting() -> None:
    """One Directory and one User permission, and `offline_access`, in any order; OpenID's scopes beside."""
    for directory, user in itertools.product(DIRECTORY, USER):
        for words in itertools.permutations((directory, user, "offline_access")):
            check_new("acme", binding(scope=" ".join(words)), Allowed())
        check_new("acme", binding(scope=f"openid {user} profile offline_access {directory}"), Allowed())


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "Directory.AccessAsUser.All User.ReadWrite.All offline_access"},
        {"scope": DEFAULT_SCOPE},
        {"scope": "directory.accessasuser.all USER.READWRITE.ALL Offline_Access"},
        {"scope": "  User.Read   Directory.Read.All  offline_access "},
        {"scope": "openid profile email User.Read Directory.Read.All offline_access"},
        {"scope": "https://graph.microsoft.com/User.Read https://graph.microsoft.com/Directory.Read.All offline_access"},
        {"scope": "https://graph.microsoft.com/User.Read Directory.Read.All openid offline_access"},
        {"cloud": "usgov", "scope": "https://graph.microsoft.us/User.Read Directory.Read.All offline_access"},
        {"cloud": "dod", "scope": "https://dod-graph.microsoft.us/User.Read Directory.Read.All offline_access"},
        {
            "cloud": "china",
            "scope": "https://microsoftgraph.chinacloudapi.cn/User.Read Directory.Read.All offline_access",
        },
        {"client_id": DEFAULT_CLIENT_ID.upper()},
    ],
)
def test_what_microsoft_takes_for_the_same_needs_no_setting(changes: dict[str, str]) -> None:
    """Any case, any blanks, and Microsoft Graph's own address of the tenant's cloud."""
    check_new("acme", binding(**changes), Allowed())


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "Directory.AccessAsUser.All User.ReadWrite.All"},
        {"scope": "Directory.AccessAsUser.All offline_access"},
        {"scope": "User.ReadWrite.All offline_access"},
        {"scope": "offline_access"},
        {"scope": "Directory.AccessAsUser.All User.ReadWrite.All Mail.Read offline_access"},
        {"scope": "Directory.AccessAsUser.All User.ReadWrite.All offline_access https://graph.microsoft.com/.default"},
        {"scope": "https://graph.microsoft.com/.default offline_access"},
        {"scope": "/User.Read Directory.Read.All offline_access"},
        {"scope": "https://evil.example/User.Read Directory.Read.All offline_access"},
        {"scope": "https://graph.microsoft.com.evil.example/User.Read Directory.Read.All offline_access"},
        {"cloud": "china", "scope": "https://graph.microsoft.com/User.Read Directory.Read.All offline_access"},
        {"scope": "https://graph.microsoft.us/User.Read Directory.Read.All offline_access"},
    ],
)
@pytest.mark.parametrize("clients", ["", "x", "scope:Mail.Read offline_access"])
def test_any_other_scope_needs_a_setting(changes: dict[str, str], clients: str) -> None:
    """More than that, less than that, or another address."""
    for check in (check_allowed, check_new):
        with pytest.raises(BindingRefused) as caught:
            check("acme", binding(**changes), allowed(clients))
        assert caught.value.reason == "ScopeNotAllowed"
        assert "scope:*" in caught.value.remedy()
    check_new("acme", binding(**changes), allowed(f"scope:{binding(**changes).scope}"))
    check_new("acme", binding(**changes), allowed("scope:*"))


def test_a_listed_scope_is_taken_in_any_order_and_case() -> None:
    """As Microsoft takes it."""
    check_new("acme", binding(scope="OFFLINE_ACCESS mail.read"), allowed("scope: Mail.Read offline_access"))


def test_any_client_is_not_any_scope() -> None:
    """`*` is for clients, `scope:*` for scopes. What was signed in by the older meaning is still sent where it came from."""
    other = {"client_id": "11111111-2222-3333-4444-555555555555"}
    check_new("acme", binding(**other), allowed("*"))
    with pytest.raises(BindingRefused, match="client_id"):
        check_new("acme", binding(**other), allowed("scope:*"))

    check_allowed("acme", binding(scope="Mail.Read offline_access"), allowed("*"))
    with pytest.raises(BindingRefused, match="scope"):
        check_new("acme", binding(scope="Mail.Read offline_access"), allowed("*"))
    check_new("acme", binding(scope="Mail.Read offline_access", **other), allowed("*, scope:*"))


@pytest.mark.parametrize("name", ["common", "COMMON", "Organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"])
def test_words_that_mean_whichever_tenant_are_refused_for_a_new_sign_in_only(name: str) -> None:
    """By the organization, or by the tenant's own name where no organization is given."""
    for tenant in (TenantSpec(server="vbr", organization=name), TenantSpec(server="vbr")):
        refused = bind(name, tenant)
        check_allowed(name, refused, Allowed())
        with pytest.raises(BindingRefused) as caught:
            check_new(name, refused, Allowed())
        assert caught.value.reason == "OrganizationNotAllowed"
        assert ORGANIZATION in caught.value.remedy()
    assert is_alias(name)


@pytest.mark.parametrize(
    ("authority", "form"),
    [
        ("https://login.microsoftonline.com", "contoso.onmicrosoft.com"),
        ("https://login.microsoftonline.us", "contoso.onmicrosoft.us"),
        ("https://login.partner.microsoftonline.cn", "contoso.partner.onmschina.cn"),
        ("https://sim:1", "contoso.onmicrosoft.com"),
    ],
)
@pytest.mark.parametrize("name", ["common", "contoso.com", "0c2b32f1-9f3c-4b5a-8f77-5f7f6a8f0d11", "onmicrosoft.com"])
def test_the_remedy_names_the_form_of_the_tenants_cloud(authority: str, form: str, name: str) -> None:
    """With the command."""
    assert f"vb365 tenant set NAME --organization {form}" in trouble(name, authority)[1]


@pytest.mark.parametrize(
    ("name", "documented"),
    [
        ("contoso.onmicrosoft.com", True),
        ("Contoso-1.OnMicrosoft.Com", True),
        ("contoso.onmicrosoft.us", True),
        ("contoso.onmicrosoft.de", True),
        ("contoso.partner.onmschina.cn", True),
        ("contoso.onmschina.cn", False),
        ("contoso.mail.onmicrosoft.com", False),
        ("onmicrosoft.com", False),
        ("contoso.onmicrosoft.com.evil.example", False),
        ("contoso.com", False),
    ],
)
def test_the_form_that_veeam_documents(name: str, documented: bool) -> None:  # noqa: FBT001 - a table's column
    """A tenant's first domain, and those of the sovereign clouds."""
    assert is_documented(name) is documented
    assert (trouble(name, "https://a") == ("", "")) is documented
