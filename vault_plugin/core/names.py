"""Names of tenants and servers: a security boundary, checked in one place.

A name becomes a segment of a Vault path and of a policy. A tenant called ``+`` would make a per-tenant policy read every
token, and a quote would inject policy rules.
"""

import re

from vault_plugin.core.errors import NameRefused

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REQUEST_ID = re.compile(r"[0-9a-zA-Z.-]{1,64}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
LONGEST = 128


def check_name(name: str, what: str = "tenant") -> str:
    """Return `name` if it may stand in a path and a policy (DESIGN 4, "Names").

    Raises:
        NameRefused: it may not.
    """
    if len(name) > LONGEST or not _NAME.fullmatch(name):
        msg = f"{name[:LONGEST]!r} is not a name for a {what}"
        raise NameRefused(msg)
    return name


def is_name(name: str) -> bool:
    """Tell whether `check_name` would take it."""
    return len(name) <= LONGEST and _NAME.fullmatch(name) is not None


def is_request_id(text: str) -> bool:
    """Tell whether this may be the ID of a request: what Vault shows in LIST and we may put into a path."""
    return _REQUEST_ID.fullmatch(text) is not None and text.strip(".") != ""


def is_tenant_id(text: str) -> bool:
    """Tell whether this is a Microsoft 365 tenant's GUID and not its name."""
    return _GUID.fullmatch(text) is not None


def is_organization(text: str) -> bool:
    """Tell whether this can be an organization's name: a DNS name in any case, or a tenant's GUID."""
    return _ORGANIZATION.fullmatch(text) is not None and ".." not in text
