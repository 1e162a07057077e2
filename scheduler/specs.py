"""Tenants and servers as they were read last. Implements `vault_plugin.core.ports.Specs`; Vault is the only truth."""

import threading
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from scheduler.held import LIST, READ, HeldBack
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import DocumentMalformed, StoreError, StoreUnavailable
from vault_plugin.core.names import is_name
from vault_plugin.core.ports import Clock, D, Store
from vault_plugin.core.tenants import ServerSpec, TenantSpec

log = structlog.get_logger()

#: While a kind can't be listed, a name that isn't known is looked for itself, so often at most.
LOOK_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True)
class Held:
    """What was read, when (monotonic), and why it can't be used if it can't."""

    document: Document | None
    read_at: timedelta
    problem: str = ""


class SpecCache:
    """Thread-safe. A document that can't be read as what it should be keeps its name and says why.

    One for which Vault answers errors alone stays as it was read last.
    """

    def __init__(self, store: Store, clock: Clock, held_back: HeldBack | None = None) -> None:
        """Begin empty."""
        self._store = store
        self._clock = clock
        self._held_back = held_back or HeldBack(store.answers, clock)
        #: Why those can't be read that never were.
        self._errors: dict[tuple[type[Document], str], StoreError] = {}
        self._absent: dict[tuple[type[Document], str], timedelta] = {}
        self._held: dict[tuple[type[Document], str], Held] = {}
        #: Listed, and read when somebody asks.
        self._unread: set[tuple[type[Document], str]] = set()
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def tenant(self, name: str) -> TenantSpec | None:
        """Return the tenant, or None.

        Raises:
            StoreUnavailable, StoreDenied: it wasn't read yet, and can't be.
        """
        self._look_for(TenantSpec, name)
        error = self._errors.get((TenantSpec, name))
        if error is not None:
            again = StoreUnavailable(str(error), reason=error.reason, remedy=error.remedy())
            again.path, again.verb = f"{TenantSpec.kind}/{name}", READ
            raise again
        document = self._get(TenantSpec, name).document
        return document if isinstance(document, TenantSpec) else None

    def server(self, name: str) -> ServerSpec | None:
        """Return the server, or None."""
        if self._held_back.holds(f"{ServerSpec.kind}/"):
            self._look_for(ServerSpec, name)
        document = self._get(ServerSpec, name).document
        return document if isinstance(document, ServerSpec) else None

    def problem(self, name: str) -> str:
        """Return why the tenant's document can't be used, or an empty text."""
        return self._get(TenantSpec, name).problem

    def names(self, model: type[Document]) -> list[str]:
        """Return the names that are known."""
        with self._lock:
            return sorted(name for kind, name in {*self._held, *self._unread} if kind is model)

    def load(self, model: type[D], name: str) -> bool:
        """Read one document; tell whether anything changed. What can't be read stays as it is.

        Raises:
            StoreUnavailable, StoreDenied: Vault's trouble; what is held stays.
        """
        now, path = self._clock.monotonic(), f"{model.kind}/{name}"
        old = self._get(model, name)
        try:
            stored = self._store.read(model, name)
        except DocumentMalformed as error:
            held = Held(None, now, f"{error}. {error.remedy()}")
            self._held_back.takes(error, path)
            if old.problem != held.problem:
                log.warning("document_malformed", path=path, error=str(error))
        except StoreError as error:
            if not self._held_back.takes(error, path):
                raise
            self._unreadable(model, name, error, now)
            return False
        else:
            self._held_back.release(path, READ)
            held = Held(stored.document, now)
            if isinstance(stored.document, ServerSpec) and stored.document.insecure and stored.document != old.document:
                log.warning("server_insecure", server=name, remedy="vb365 server set SERVER --ca-file PEM")
        with self._lock:
            self._unread.discard((model, name))
            self._errors.pop((model, name), None)
            if held.document is None and not held.problem:
                self._held.pop((model, name), None)
                self._absent[model, name] = now
            else:
                self._held[model, name] = held
        return (old.document, old.problem) != (held.document, held.problem)

    def _unreadable(self, model: type[Document], name: str, error: StoreError, now: timedelta) -> None:
        """Keep what was read last; a name that was never read is known all the same."""
        key = (model, name)
        with self._lock:
            if key in self._held:
                self._held[key] = replace(self._held[key], read_at=now)  # the others' turn to be read again comes, too
            else:
                self._unread.add(key)
                self._errors[key] = error

    def _look_for(self, model: type[D], name: str) -> None:
        """Read what was listed and never read; and, while the kind can't be listed, what nobody has listed."""
        key, path = (model, name), f"{model.kind}/{name}"
        if key in self._held or self._held_back.left(path):
            return
        looked_at = self._absent.get(key)
        recently = looked_at is not None and self._clock.monotonic() - looked_at < LOOK_AGAIN
        if key in self._unread or (self._held_back.holds(f"{model.kind}/") and not recently):
            self.load(model, name)

    def list_again(self, model: type[D]) -> set[str]:
        """LIST the kind, read new names, drop vanished ones; return the names that changed."""
        known = set(self.names(model))
        return {name for name in sorted(self._listed(model, known) ^ known) if self.load(model, name)}

    def list_names(self, model: type[Document]) -> set[str]:
        """LIST the kind and return the names; each document is read when somebody first asks for it."""
        listed = self._listed(model, set())
        with self._lock:
            self._unread |= {(model, name) for name in listed if (model, name) not in self._held}
        return listed

    def oldest(self, model: type[Document], older_than: timedelta, rounds: int) -> list[str]:
        """Return whose turn it is to be read again if all were to be in so many rounds."""
        before = self._clock.monotonic() - older_than
        with self._lock:
            old = sorted((held.read_at, name) for (kind, name), held in self._held.items() if kind is model)
        return [name for read_at, name in old[: len(old) // rounds + 1] if read_at < before]

    def _listed(self, model: type[Document], known: set[str]) -> set[str]:
        """Return the names of this kind; those that are `known` where Vault answers errors for this LIST alone."""
        path = f"{model.kind}/"
        try:
            listed = set(self._store.names(model))
        except StoreError as error:
            if not self._held_back.takes(error, path, LIST):
                raise
            return known
        self._held_back.release(path, LIST)
        good = {name for name in listed if is_name(name)}
        for name in sorted(listed - good - self._refused):
            self._refused.add(name)
            log.warning("name_refused", kind=model.kind, name=name[:128], remedy="write it again under a name like a DNS name")
        return good

    def _get(self, model: type[Document], name: str) -> Held:
        with self._lock:
            return self._held.get((model, name), Held(None, timedelta(0)))
