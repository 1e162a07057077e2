"""Names of tenants, servers and mounts: a security boundary, checked in one place; and the names that a remedy leaves open.

A name becomes a segment of a Vault path and of a policy. A tenant called ``+`` would make a per-tenant policy read every
token, and a quote would inject policy rules.
"""

import re

from vault_plugin.core.errors import NameRefused

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REQUEST_ID = re.compile(r"[0-9a-zA-Z.-]{1,64}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_OPEN = re.compile(r"\b(?:NAME|SERVER|MOUNT)\b")
_GUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
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


def check_mount(mount: str) -> str:
    """Return `mount`, without slashes around it, if it may stand in a path and a policy.

    Raises:
        NameRefused: it may not.
    """
    path = mount.strip("/")
    if len(path) > LONGEST or not _MOUNT.fullmatch(path):
        msg = f"{mount[:LONGEST]!r} is not a path for a mount"
        remedy = "Use letters, digits, dots, hyphens and underscores, in segments joined by slashes, like vb365 or team/vb365."
        raise NameRefused(msg, remedy=remedy)
    return path


def fill(text: str, *, tenant: str = "", server: str = "", mount: str = "") -> str:
    """Return a remedy with the names that it leaves open, as whole words: NAME is the tenant's, SERVER the server's.

    MOUNT is what the policies' names begin with. What isn't known stays open.
    """
    known = {"NAME": tenant, "SERVER": server, "MOUNT": mount.replace("/", "-")}
    return _OPEN.sub(lambda word: known[word[0]] or word[0], text)


def is_request_id(text: str) -> bool:
    """Tell whether this may be the ID of a request: what Vault shows in LIST and we may put into a path."""
    return _REQUEST_ID.fullmatch(text) is not None and text.strip(".") != ""


def is_tenant_id(text: str) -> bool:
    """Tell whether this is a Microsoft 365 tenant's GUID and not its name."""
    return _GUID.fullmatch(text) is not None


def is_organization(text: str) -> bool:
    """Tell whether this can be an organization's name: a DNS name in any case, or a tenant's GUID."""
    return _ORGANIZATION.fullmatch(text) is not None and ".." not in text
