"""A store in memory of which a snapshot can be taken and restored, as of Vault: versions and times of writing go back, too."""

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.memory_store import MemoryStore
from vault_plugin.core.documents import Document
from vault_plugin.core.ports import D, Stored


class SnapshotStore(MemoryStore):
    """Says by its own clock how long ago something was written."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._clock = now
        self._written_at: dict[str, datetime] = {}

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        at = self._written_at.get(f"{model.kind}/{name}")
        return replace(super().read(model, name, patient=patient), age=None if at is None else self._clock() - at)

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        version = super().write(name, document, cas=cas, give_up_after=give_up_after)
        self._written_at[f"{document.kind}/{name}"] = self._clock()
        return version

    def snapshot(self) -> Any:
        """Return everything that stands there."""
        return copy.deepcopy((self._paths, self._written_at))

    def restore(self, snapshot: Any) -> None:
        """Put that back in the place of everything."""
        self._paths, self._written_at = copy.deepcopy(snapshot)
