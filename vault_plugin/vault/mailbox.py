"""The mailbox: operators create requests, consumers reports, and can do nothing else with them; the service deletes them.

They are *metadata*-deleted: a soft delete would leave their names taken. One LIST of the mount's root shows whether there are
any.
"""

import heapq
import itertools
import json
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from pydantic import ValidationError

from vault_plugin.core.errors import DocumentMalformed, StoreDenied, StoreError, StoreUnavailable, VersionConflict
from vault_plugin.core.names import is_name, is_request_id
from vault_plugin.core.ports import Letter
from vault_plugin.core.published import Request
from vault_plugin.vault.answers import error_of, nothing_there
from vault_plugin.vault.ids import made_at
from vault_plugin.vault.store import KvStore

LARGEST: Final = 64 * 1024
A_ROUND: Final = 100
A_TENANT: Final = 5
#: So many of a tenant's are looked at to find those that came first. Ids of ours tell roughly when they were made.
LOOKED_AT: Final = 100
#: A report is a name and nothing else: whoever reads that token says that it is dead.
REPORTS: Final = "reports"
#: What the mount's root may hold.
KINDS: Final = frozenset(
    "servers tenants requests reports approvals account-approvals status prompts sign-ins credentials tokens service".split()
)
#: How the root is called where paths are named.
ROOT: Final = "/"
#: So many paths that are none are told of; more would only fill the log.
REPORTED: Final = 1000


@dataclass(frozen=True)
class Received:
    """A request as it was read: a problem instead of a request where it isn't one. `created_at` is Vault's own time."""

    letter: Letter
    created_at: datetime
    request: Request | None
    problem: str = ""


class Held(Protocol):
    """Who is told of paths that answer errors alone, and says how long they are to be left alone."""

    def takes(self, error: StoreError, path: str) -> bool:
        """Hold the path back; False: it is Vault's trouble, not the path's."""

    def left(self, path: str) -> timedelta:
        """Return how long the path is to be left alone."""

    def release(self, path: str, *verbs: str) -> None:
        """Let it go."""


class Unheld:
    """Leaves nothing alone: every round tries again."""

    def __init__(self, store: KvStore) -> None:
        """Take the store that knows whether Vault answers."""
        self._store = store

    def takes(self, error: StoreError, path: str) -> bool:
        """See `Held.takes`."""
        return bool(path) and error.reason != "NoSuchMount" and self._store.answers()

    def left(self, path: str) -> timedelta:  # noqa: ARG002 - whatever it is
        """See `Held.left`."""
        return timedelta(0)

    def release(self, path: str, *verbs: str) -> None:
        """See `Held.release`."""


class Mailbox:
    """``requests/NAME/ID`` and ``reports/NAME`` of one mount."""

    def __init__(self, store: KvStore, held: Held | None = None) -> None:
        """Take the store whose mount holds the mailbox. Paths that answer errors alone are told to `held`, and left out."""
        self._store = store
        self._held = held or Unheld(store)
        self._refused: set[str] = set()
        #: Where to go on while the mailbox itself can't be listed.
        self._place = 0

    def kinds(self) -> frozenset[str]:
        """LIST the mount's root: return which kinds hold anything at all, and delete what is none of ours.

        Where the root alone can't be listed, those that others write to may hold something.

        Raises:
            StoreError: Vault's trouble.
        """
        if not self._held.left(ROOT):
            with self._apart(ROOT):
                try:
                    keys = self._store.keys("")
                except StoreDenied as error:
                    remedy = "Run vb365 register again: the service's policy is of an older version."
                    raise StoreDenied(str(error), reason=error.reason, remedy=remedy) from None
                junk = (key for key in keys if not key.endswith("/") and not self._held.left(key))
                for key in itertools.islice(junk, A_TENANT):  # a folder's content isn't ours to see
                    self._clear(key)
                found = frozenset(key[:-1] for key in keys if key.endswith("/")) & KINDS
                for kind in {Request.kind, REPORTS} - found:  # nothing is there that could be held back
                    self._held.release(f"{kind}/", "read")
                return found
        return frozenset({Request.kind, REPORTS})

    def reports(self) -> list[str]:
        """Return whose tokens are reported dead; the names are unchecked.

        Raises:
            StoreError: Vault's trouble.
        """
        return [key for key in self._keys(REPORTS) if not key.endswith("/")]

    def take(self, name: str) -> bool:
        """Delete a report; tell whether it is deleted. One that alone can't be is left for later.

        Raises:
            StoreError: Vault's trouble.
        """
        path = f"{REPORTS}/{name}"
        if not self._held.left(path):
            with self._apart(path):
                self._store.forget(path)
                return True
        return False

    def waiting(
        self,
        besides: Container[str],
        known: Callable[[], Sequence[str]] = tuple,
        taken_over: Container[Letter] = (),
    ) -> Iterator[tuple[str, list[Letter]]]:
        """Return each tenant's letters, but for tenants `besides`, until a round's 100 are there. `oldest` chooses from them.

        Those that somebody has `taken_over` lie there until they are answered, and take nobody's place.

        While the mailbox can't be listed as a whole, the folders of tenants that are `known` are looked into in turn.

        What can't be a request by its path (a name or id that isn't ours, a folder in a folder) takes nobody's place: it is
        deleted, and reported by its path only.
        """
        taken = 0
        for key in self._folders(known):
            name = key.rstrip("/")
            if not is_name(name):
                self._clear(f"{Request.kind}/{key}")
                continue
            if name in besides:
                continue
            ids = self._keys(f"{Request.kind}/{name}") if key.endswith("/") else [""]
            for stray in [each for each in ids if not is_request_id(each)][:A_TENANT]:
                self._clear(f"{Request.kind}/{name}/{stray}" if stray else f"{Request.kind}/{name}")
            found = (Letter(name, each) for each in sorted(filter(is_request_id, ids), key=made_at))
            found = (letter for letter in found if letter not in taken_over)
            letters = [letter for letter in found if not self._held.left(_path(letter))][:LOOKED_AT]
            taken += min(len(letters), A_TENANT)
            if taken > A_ROUND:
                return
            if letters:
                yield name, letters

    def oldest(self, letters: Iterable[Letter]) -> list[Received]:
        """Read one tenant's letters and return the five that came first, in the order of Vault's own time.

        Raises:
            StoreUnavailable, StoreDenied: Vault's trouble.
        """
        received = filter(None, map(self._readable, letters))
        return heapq.nsmallest(A_TENANT, received, key=lambda one: (one.created_at, one.letter.id))

    def _clear(self, path: str) -> None:
        """Delete what is no request, a few of a folder at a time."""
        if path not in self._refused and len(self._refused) < REPORTED:
            self._refused.add(path)
            self._store.report("request_refused", path=repr(path))
        if path.endswith("/"):
            for key in self._keys(path.rstrip("/"))[:A_TENANT]:
                self._clear(f"{path}{key}")
        elif not self._held.left(path):
            with self._apart(path):
                self._store.forget(path)

    def _folders(self, known: Callable[[], Sequence[str]]) -> list[str]:
        """LIST the mailbox; if that alone answers an error, return the next of the known tenants' folders."""
        if not self._held.left(f"{Request.kind}/"):
            with self._apart(f"{Request.kind}/"):
                return list(self._store.keys(Request.kind))
        names = known()
        self._place = 0 if self._place >= len(names) else self._place
        turn = names[self._place : self._place + A_ROUND]
        self._place += A_ROUND
        return [f"{name}/" for name in turn]

    def _keys(self, path: str) -> list[str]:
        """LIST a folder; nothing is in it while it alone answers an error."""
        if not self._held.left(f"{path}/"):
            with self._apart(f"{path}/"):
                return list(self._store.keys(path))
        return []

    def _readable(self, letter: Letter) -> Received | None:
        """Read a letter; one that alone answers an error lies where it is."""
        with self._apart(_path(letter)):
            return self.read(letter)
        return None

    @contextmanager
    def _apart(self, path: str) -> Iterator[None]:
        """Hold a path back that alone answers errors, and let it go when it doesn't.

        Raises:
            StoreUnavailable, StoreDenied: Vault's trouble, not this path's.
        """
        try:
            yield
        except StoreError as error:
            if not self._held.takes(error, path):
                raise
        else:
            self._held.release(path, "read")

    def read(self, letter: Letter) -> Received | None:
        """Return the request, or None if it is gone.

        Raises:
            StoreUnavailable, StoreDenied: Vault's trouble.
        """
        path = _path(letter)
        try:
            answer = self._store.raw(path)
        except DocumentMalformed as error:  # larger than any answer that we take: its time is in there, too
            return Received(letter, datetime.min.replace(tzinfo=UTC), None, error.reason)
        metadata = answer.data.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("created_time"):
            if nothing_there(answer):
                return None
            raise error_of(answer, f"reading {path}")
        created_at = datetime.fromisoformat(str(metadata["created_time"]))
        data = answer.data.get("data")
        if data is None:
            return Received(letter, created_at, None, "deleted")
        if len(json.dumps(data)) > LARGEST:
            return Received(letter, created_at, None, "over 64 KiB")
        try:
            return Received(letter, created_at, Request.model_validate(data))
        except ValidationError as error:
            fields = ", ".join(sorted({".".join(map(str, e["loc"]))[:40] for e in error.errors()}))
            return Received(letter, created_at, None, f"doesn't match the schema: {fields}")

    def delete(self, letter: Letter) -> None:
        """Remove a request for good. Repeatable."""
        self._store.forget(_path(letter))

    def post(self, letter: Letter, request: Request) -> None:
        """Create a request. Vault itself refuses to overwrite one.

        Raises:
            StoreDenied, StoreUnavailable: Vault's trouble.
        """
        path = _path(letter)
        try:
            self._store.create(path, request.to_vault())
        except VersionConflict as error:
            remedy = "Post it again under a new id."
            raise StoreUnavailable(str(error), reason="RequestExists", remedy=remedy) from None


def _path(letter: Letter) -> str:
    return f"{Request.kind}/{letter.name}/{letter.id}"
