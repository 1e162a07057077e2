"""Documents of which only the newest counts: tokens, prompts, status. And offering a decided change until it stands."""

from collections.abc import Callable
from datetime import timedelta

from vault_plugin.core.credential import Credential
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import VersionConflict
from vault_plugin.core.lifecycle.gather import credential_of
from vault_plugin.core.ports import D, World


def write_latest(
    world: World, name: str, document: D, replaces: Callable[[D], bool], *, patience: timedelta, rank: int = 0
) -> bool:
    """Write the document unless what stands there must not be replaced by it; tell whether it stands now.

    Costs one request where this process wrote the version before, and two more where somebody else did. `rank` orders what
    threads of this process write at once: nothing is written unread over what this process wrote with the same or a higher.

    Raises:
        StoreUnavailable, StoreDenied: Vault's trouble; nothing is known of the write.
    """
    key = (document.kind, name)
    known = world.versions.pop(key, None)
    cas = known[0] if known is not None and (known[1] < rank or not rank) else None
    while True:
        if cas is None:
            stored = world.store.read(type(document), name)
            if stored.document is not None and not replaces(stored.document):
                return False
            cas = stored.version
        try:
            version = world.store.write(name, document, cas=cas, give_up_after=patience)
        except VersionConflict:
            cas = None
        else:
            world.versions[key] = (version, rank)
            return True


def offer(
    world: World,
    name: str,
    version: int,
    current: Credential,
    change: Callable[[Credential], Credential | None],
    give_up_after: timedelta | None = None,
) -> tuple[Credential, bool]:
    """Offer a change until it is stored or superseded (`change` returns None). Never gives up unless told when.

    Where somebody else wrote and it was deleted then, `change` is asked with what stands for that: it must not be written.

    Returns:
        The credential that stands now, and whether it is what was offered.

    Raises:
        StoreError: Vault's trouble, if it may be given up.
    """
    while True:
        wanted = change(current)
        if wanted is None:
            return current, False
        try:
            world.store.write(name, wanted, cas=version, give_up_after=give_up_after)
        except VersionConflict:
            stored = world.store.read(Credential, name, patient=give_up_after is None)
            version, current = stored.version, credential_of(stored, world.clock.now())
        else:
            return wanted, True


def replaces_always(_: Document) -> bool:
    """Let any document be replaced."""
    return True
