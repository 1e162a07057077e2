"""Scopes: what Veeam's page lets an application ask for, and what was asked for and not granted. Pure.

Microsoft takes scopes in any case and order, and Microsoft Graph's with or without its address. It leaves out
`offline_access` and OpenID's scopes where it says what it granted, names the others in any of these ways, and names more
than was asked for: whatever else the application has been granted.
"""

from collections.abc import Mapping
from typing import Final

OFFLINE_ACCESS: Final = "offline_access"
OPENID: Final = frozenset({"openid", "profile", "email"})
#: Microsoft Graph's addresses, by the sign-in origin of the cloud (learn.microsoft.com, "National cloud deployments").
GRAPH: Final[Mapping[str, tuple[str, ...]]] = {
    "https://login.microsoftonline.com": ("https://graph.microsoft.com/",),
    "https://login.microsoftonline.us": ("https://graph.microsoft.us/", "https://dod-graph.microsoft.us/"),
    "https://login.partner.microsoftonline.cn": ("https://microsoftgraph.chinacloudapi.cn/",),
}
#: The name by which Microsoft knows Graph itself, in every cloud.
_BY_ID: Final = "00000003-0000-0000-c000-000000000000/"
_EVERY_GRAPH: Final = (*(address for addresses in GRAPH.values() for address in addresses), _BY_ID)

#: Veeam Backup for Microsoft 365, "Authorization for restore, modern app-only authentication": one of each.
DIRECTORY: Final = frozenset({"directory.read.all", "directory.readwrite.all", "directory.accessasuser.all"})
USER: Final = frozenset({"user.read", "user.readwrite", "user.readbasic.all", "user.read.all", "user.readwrite.all"})

#: Permissions that hold others in them: who was granted the one wasn't denied the other.
_HOLDS: Final[Mapping[str, frozenset[str]]] = {
    "directory.readwrite.all": frozenset({"directory.read.all"}),
    "user.readwrite.all": USER,
    "user.read.all": frozenset({"user.read", "user.readbasic.all"}),
    "user.readwrite": frozenset({"user.read"}),
}


def is_veeams(scope: str, authority: str) -> bool:
    """Tell whether this is a choice that Veeam's page allows, in any order and case."""
    words = {_bare(word, GRAPH.get(authority, _EVERY_GRAPH)) for word in scope.split()}
    permissions = words - OPENID - {OFFLINE_ACCESS}
    whole = OFFLINE_ACCESS in words and bool(permissions & DIRECTORY) and bool(permissions & USER)
    return whole and permissions <= DIRECTORY | USER


def asks_for_refresh(scope: str) -> bool:
    """Tell whether a refresh token is asked for. Veeam's assertion is one with a refresh token."""
    return OFFLINE_ACCESS in scope.casefold().split()


def withheld(asked: str, granted: str) -> tuple[str, ...]:
    """Return the words that were asked for and aren't among what was granted; nothing if nothing was said."""
    given = {_bare(word, _EVERY_GRAPH) for word in granted.replace(",", " ").split()}
    given |= {held for word in given for held in _HOLDS.get(word, ())}
    if not given:
        return ()
    whole = {_resource(word) for word in given if word.rpartition("/")[2] == ".default"}
    silent = OPENID | {OFFLINE_ACCESS}
    wanted = {_bare(word, _EVERY_GRAPH): word for word in asked.split()}
    # `.default` is never granted by its name: it stands for whatever was consented to.
    named = {bare: word for bare, word in wanted.items() if bare not in given | silent and not bare.endswith(".default")}
    return tuple(word for bare, word in named.items() if _resource(bare) not in whole)


def _resource(bare: str) -> str:
    """Return whose permission a scope is: an empty text for Microsoft Graph. Its `.default` stands for all of them."""
    return bare.rpartition("/")[0].rstrip("/")


def _bare(word: str, addresses: tuple[str, ...]) -> str:
    """Return a scope without the address of Microsoft Graph, in the case in which scopes are compared.

    A resource whose own name ends in a slash is written with two (learn.microsoft.com, "Scopes and permissions").
    """
    folded = word.casefold()
    return next((folded.removeprefix(address).lstrip("/") for address in addresses if folded.startswith(address)), folded)
