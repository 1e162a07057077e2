"""A store in memory with KV v2's semantics: versions, check-and-set, deleted and destroyed versions."""

import copy
import itertools
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from vault_plugin.core.documents import Document
from vault_plugin.core.errors import DocumentMalformed, VersionConflict
from vault_plugin.core.ports import D, Stored


@dataclass
class _Path:
    version: int = 0
    versions: dict[int, dict[str, Any] | None] = field(default_factory=dict)
    deleted: set[int] = field(default_factory=set)


class MemoryStore:
    """Implements `vault_plugin.core.ports.Store`. Thread-safe. Keeps what Vault keeps: JSON, two versions."""

    def __init__(self) -> None:
        self._paths: dict[str, _Path] = {}
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self.writes: list[tuple[str, dict[str, Any]]] = []
        #: Whether it is there at all.
        self.away = False

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        path = f"{model.kind}/{name}"
        with self._lock:
            held = self._paths.get(path, _Path())
            version, deleted = held.version, held.version in held.deleted
            data = copy.deepcopy(held.versions.get(version))
        document = None
        try:
            document = None if data is None or deleted else model.from_vault(path, data)
        except DocumentMalformed as error:
            error.version = version
            raise
        return Stored(version, document, version > 0 and data is None)

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        path = f"{document.kind}/{name}"
        content = json.loads(json.dumps(document.replace(write_id=f"w{next(self._ids)}").to_vault()))
        with self._lock:
            held = self._paths.setdefault(path, _Path())
            if held.version != cas:
                raise VersionConflict(f"{path} has version {held.version}")
            held.version += 1
            held.versions[held.version] = content
            held.versions.pop(held.version - 2, None)
            self.writes.append((path, content))
            return held.version

    def names(self, model: type[Document]) -> Sequence[str]:
        prefix = f"{model.kind}/"
        with self._lock:
            return sorted({path.removeprefix(prefix).split("/")[0] for path in self._paths if path.startswith(prefix)})

    def destroy(self, model: type[Document], name: str, versions: Sequence[int]) -> None:
        with self._lock:
            held = self._paths.get(f"{model.kind}/{name}", _Path())
            for version in versions:
                if version in held.versions:
                    held.versions[version] = None

    def answers(self) -> bool:
        return not self.away

    def delete(self, model: type[Document], name: str) -> int:
        """Delete what stands there, as ``kv delete`` does; return its version."""
        with self._lock:
            held = self._paths[f"{model.kind}/{name}"]
            held.deleted.add(held.version)
            return held.version

    def undelete(self, model: type[Document], name: str) -> None:
        """Bring it back, as ``kv undelete`` does."""
        with self._lock:
            self._paths[f"{model.kind}/{name}"].deleted.clear()

    def kept(self, model: type[Document], name: str) -> dict[int, dict[str, Any] | None]:
        """Return every version that can still be read."""
        return self._paths.get(f"{model.kind}/{name}", _Path()).versions
