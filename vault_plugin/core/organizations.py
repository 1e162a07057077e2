"""The form of an organization's name: what Veeam documents, what may work, and what names no tenant. Pure.

Veeam's page: the name "in the *.onmicrosoft.com format", which VB365 then compares in its exact case. Microsoft takes more in
that place: other domains of the tenant, its GUID, and words that mean *whichever tenant the person is of*.
"""

import re
from collections.abc import Mapping
from typing import Final

from vault_plugin.core.names import is_tenant_id

#: Whoever signs in chooses the tenant: another one at each sign-in. The GUID is that of all consumers' accounts.
ALIASES: Final = frozenset({"common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad"})

#: A tenant's first domain, by the sign-in origin of the cloud.
EXAMPLES: Final[Mapping[str, str]] = {
    "https://login.microsoftonline.com": "contoso.onmicrosoft.com",
    "https://login.microsoftonline.us": "contoso.onmicrosoft.us",
    "https://login.partner.microsoftonline.cn": "contoso.partner.onmschina.cn",
}
_DOCUMENTED: Final = re.compile(
    r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.(?:onmicrosoft\.(?:com|us|de)|partner\.onmschina\.cn)", re.IGNORECASE
)


def is_alias(organization: str) -> bool:
    """Tell whether this names no tenant, but whichever the person who signs in is of."""
    return organization.casefold() in ALIASES


def is_documented(organization: str) -> bool:
    """Tell whether this is a tenant's first domain, the form that Veeam documents."""
    return _DOCUMENTED.fullmatch(organization) is not None


def trouble(organization: str, authority: str) -> tuple[str, str]:
    """Return what is wrong with this form and what to do, or empty texts."""
    form = EXAMPLES.get(authority, EXAMPLES["https://login.microsoftonline.com"])
    if is_alias(organization):
        text = f"{organization} names no organization: whoever signs in would choose the tenant"
        remedy = f"Name the organization: vb365 tenant set NAME --organization {form}, in the exact case that VB365 shows."
        return text, f"{remedy} Then sign in: vb365 sign-in NAME."
    if is_documented(organization):
        return "", ""
    what = "a tenant's GUID" if is_tenant_id(organization) else "not a tenant's first domain"
    text = f"{organization} is {what}, and VB365 knows an organization by that domain"
    return text, f"If VB365 rejects it: vb365 tenant set NAME --organization {form}, in the exact case that VB365 shows."
