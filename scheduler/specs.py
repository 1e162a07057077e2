"""Tenants and servers as they were read last. Implements `vault_plugin.core.ports.Specs`; Vault is the only truth."""

import threading
from dataclasses import dataclass
from datetime import timedelta

import structlog

from vault_plugin.core.documents import Document
from vault_plugin.core.errors import DocumentMalformed
from vault_plugin.core.names import is_name
from vault_plugin.core.ports import Clock, D, Store
from vault_plugin.core.tenants import ServerSpec, TenantSpec

log = structlog.get_logger()


@dataclass(frozen=True)
class Held:
    """What was read, when (monotonic), and why it can't be used if it can't."""

    document: Document | None
    read_at: timedelta
    problem: str = ""


class SpecCache:
    """Thread-safe. A document that can't be read as what it should be keeps its name and says why."""

    def __init__(self, store: Store, clock: Clock) -> None:
        """Begin empty."""
        self._store = store
        self._clock = clock
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
        if (TenantSpec, name) in self._unread:
            self.load(TenantSpec, name)
        document = self._get(TenantSpec, name).document
        return document if isinstance(document, TenantSpec) else None

    def server(self, name: str) -> ServerSpec | None:
        """Return the server, or None."""
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
        """Read one document; tell whether anything changed.

        Raises:
            StoreUnavailable, StoreDenied: Vault's trouble; what is held stays.
        """
        now = self._clock.monotonic()
        old = self._get(model, name)
        try:
            stored = self._store.read(model, name)
        except DocumentMalformed as error:
            held = Held(None, now, f"{error}. {error.remedy()}")
            log.warning("document_malformed", path=f"{model.kind}/{name}", error=str(error))
        else:
            held = Held(stored.document, now)
            if isinstance(stored.document, ServerSpec) and stored.document.insecure and stored.document != old.document:
                log.warning("server_insecure", server=name, remedy="vb365 server set SERVER --ca-file PEM")
        with self._lock:
            self._unread.discard((model, name))
            if held.document is None and not held.problem:
                self._held.pop((model, name), None)
            else:
                self._held[model, name] = held
        return (old.document, old.problem) != (held.document, held.problem)

    def list_again(self, model: type[D]) -> set[str]:
        """LIST the kind, read new names, drop vanished ones; return the names that changed."""
        return {name for name in sorted(self._listed(model) ^ set(self.names(model))) if self.load(model, name)}

    def list_names(self, model: type[Document]) -> set[str]:
        """LIST the kind and return the names; each document is read when somebody first asks for it."""
        listed = self._listed(model)
        with self._lock:
            self._unread |= {(model, name) for name in listed if (model, name) not in self._held}
        return listed

    def oldest(self, model: type[Document], older_than: timedelta, rounds: int) -> list[str]:
        """Return whose turn it is to be read again if all were to be in so many rounds."""
        before = self._clock.monotonic() - older_than
        with self._lock:
            old = sorted((held.read_at, name) for (kind, name), held in self._held.items() if kind is model)
        return [name for read_at, name in old[: len(old) // rounds + 1] if read_at < before]

    def _listed(self, model: type[Document]) -> set[str]:
        listed = set(self._store.names(model))
        good = {name for name in listed if is_name(name)}
        for name in sorted(listed - good - self._refused):
            self._refused.add(name)
            log.warning("name_refused", kind=model.kind, name=name[:128], remedy="write it again under a name like a DNS name")
        return good

    def _get(self, model: type[Document], name: str) -> Held:
        with self._lock:
            return self._held.get((model, name), Held(None, timedelta(0)))
