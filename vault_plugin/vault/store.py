"""Documents in a KV v2 mount: implements `vault_plugin.core.ports.Store`, with the write rule of DESIGN 4.

1. 200: done.
2. 400 "check-and-set parameter did not match": read. Older than my `cas`: read again; my `write_id`: done; else lost.
3. Unclear (no answer, 5xx, 412, 429, 472, 473, a success that isn't Vault's): after a pause *the same bytes with the same
   cas*. Never read first, never rebuild, never conclude "not written": a delayed copy may land later.
4. 403: ask lookup-self. Dead: log in, go to 3. Alive: no rights; report, keep what is in memory, go to 3 at 30 s.
5. 413, other 400: our fault or a limit; report, keep, go to 3 at 60 s.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from vault_plugin.core.documents import Document
from vault_plugin.core.errors import DocumentMalformed, StoreDenied, StoreError, StoreUnavailable, VersionConflict
from vault_plugin.core.ports import D, Stored
from vault_plugin.vault.answers import Outcome, error_of, nothing_there, outcome_of
from vault_plugin.vault.connection import Answer, Connection, NoAnswer
from vault_plugin.vault.login import Login

PAUSES: Final = tuple(timedelta(seconds=s) for s in (0.2, 0.5, 1, 2, 5))
NO_RIGHTS_PAUSE: Final = timedelta(seconds=30)
FAULT_PAUSE: Final = timedelta(seconds=60)

#: So often a read may be older than what check-and-set knows; then the path was deleted and begun anew.
STALE_READS: Final = 5

Report = Callable[..., None]


class Patience:
    """How waiting ends when the process stops: first writes at once, pairs that aren't stored after a grace."""

    def __init__(self) -> None:
        """Begin without a stop in sight."""
        self._stopping = threading.Event()
        self._until: float | None = None

    def stop(self, grace: timedelta) -> None:
        """End waiting: at once where giving up is allowed, else after `grace`."""
        self._until = time.monotonic() + grace.total_seconds()
        self._stopping.set()

    def wait(self, pause: timedelta, *, may_give_up: bool) -> bool:
        """Wait, and tell whether to go on."""
        if may_give_up or not self._stopping.is_set():
            stopped = self._stopping.wait(pause.total_seconds())
            if not stopped:
                return True
        if may_give_up or self._until is None:
            return False
        left = self._until - time.monotonic()
        time.sleep(max(0.0, min(pause.total_seconds(), 1.0, left)))
        return left > 0


@dataclass
class KvStore:
    """The documents of one mount. `report(event, **fields)` is told of every turn that a write takes."""

    connection: Connection
    login: Login
    mount: str
    report: Report = lambda *_, **__: None
    patience: Patience = field(default_factory=Patience)

    # --- reading -----------------------------------------------------------------------------------------------------

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        """Return what stands at ``KIND/NAME``; `patient` tries until Vault answers or the process ends.

        Raises:
            StoreUnavailable, StoreDenied, DocumentMalformed: see `vault_plugin.core.ports.Store`.
        """
        path = f"{model.kind}/{name}"
        turn = 0
        while True:
            try:
                version, data, destroyed = self._read(path)
            except (StoreUnavailable, StoreDenied) as error:
                if not patient or not self.patience.wait(_pause(turn), may_give_up=False):
                    raise
                self.report("read_again", path=path, reason=error.reason)
                turn += 1
            else:
                try:
                    return Stored(version, None if data is None else model.from_vault(path, data), destroyed)
                except DocumentMalformed as error:
                    error.version = version
                    raise

    def _read(self, path: str) -> tuple[int, dict[str, Any] | None, bool]:
        """Tell absent (0), deleted or destroyed (its version) and document apart; a 404 with error text is a wrong mount."""
        answer = self.ask("GET", f"{self.mount}/data/{path}", f"reading {path}", wanted="data")
        data = answer.data
        metadata = data.get("metadata")
        version = int(metadata.get("version", 0)) if isinstance(metadata, dict) else 0
        content = data.get("data")
        if outcome_of(answer) is Outcome.OK and version and isinstance(content, dict):
            return version, content, False
        if version:
            return version, None, isinstance(metadata, dict) and metadata.get("destroyed") is True
        if nothing_there(answer):
            return 0, None, False
        raise error_of(answer, f"reading {path}")

    def names(self, model: type[Document]) -> Sequence[str]:
        """Return the names under ``KIND/``, unchecked, folders without their slash."""
        return [key.rstrip("/") for key in self.keys(model.kind)]

    def keys(self, path: str) -> Sequence[str]:
        """Return the keys under a path of the mount; those of folders end with a slash."""
        answer = self.ask("LIST", f"{self.mount}/metadata/{quote(path)}", f"listing {path}", wanted="keys")
        if nothing_there(answer):
            return []
        if outcome_of(answer) is not Outcome.OK:
            raise error_of(answer, f"listing {path}")
        return [str(key) for key in answer.data["keys"]]

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        """Write if the version is still `cas`; return the new version. Follows the write rule.

        Raises:
            VersionConflict: somebody else wrote; nothing of ours stands there.
            StoreUnavailable: given up; whether the write landed is unknown.
        """
        path = f"{document.kind}/{name}"
        write_id = str(uuid4())
        content = document.replace(write_id=write_id).to_vault()
        body = json.dumps({"options": {"cas": cas}, "data": content}).encode()
        turn, since = 0, time.monotonic()
        while True:
            version, error, pause = self._try(path, body, cas, write_id, turn)
            if version is not None:
                return version
            may_give_up = give_up_after is not None
            over = (
                give_up_after is not None and time.monotonic() + pause.total_seconds() - since > give_up_after.total_seconds()
            )
            if over or not self.patience.wait(pause, may_give_up=may_give_up):
                self.report("write_given_up", path=path, cas=cas, reason=error.reason)
                raise error
            turn += 1

    def _try(self, path: str, body: bytes, cas: int, write_id: str, turn: int) -> tuple[int | None, StoreError, timedelta]:
        """Send the bytes once. Return the version, or the error and how long to wait before the same bytes go again."""
        doing = f"writing {path}"
        used = self.connection.token
        answer: Answer | NoAnswer
        try:
            answer = self.connection.request("POST", f"{self.mount}/data/{path}", body=body)
            outcome = outcome_of(answer, "version")
        except NoAnswer as silence:
            answer, outcome = silence, Outcome.UNCLEAR
        if isinstance(answer, Answer) and outcome is Outcome.OK:
            if turn:
                self.report("write_repeated_and_done", path=path, cas=cas)
            return int(answer.data["version"]), StoreUnavailable(doing), _pause(turn)
        error = error_of(answer, doing)
        if outcome is Outcome.LOST:
            return self._lost(path, cas, write_id, turn)
        if outcome is Outcome.ASK_SELF:
            return None, error, self._denied(path, used, turn)
        if outcome is Outcome.UNCLEAR:
            self.report("write_unclear", path=path, cas=cas, reason=error.reason)
            return None, error, _pause(turn)
        self.report("write_refused", path=path, cas=cas, reason=error.reason)
        return None, error, FAULT_PAUSE

    def _lost(self, path: str, cas: int, write_id: str, turn: int) -> tuple[int | None, StoreError, timedelta]:
        """Look whose write stands there."""
        try:
            version, data, _ = self._read(path)
        except StoreError as error:
            self.report("write_unclear", path=path, cas=cas, reason=error.reason)
            return None, error, _pause(turn)
        if version <= cas and turn < STALE_READS:
            self.report("read_stale", path=path, cas=cas, version=version)
            stale = StoreUnavailable(f"reading {path}: an old version", reason="StaleRead")
            return None, stale, _pause(turn)
        if data is not None and data.get("write_id") == write_id:
            self.report("write_was_mine", path=path, cas=cas, version=version)
            return version, StoreUnavailable(path), _pause(turn)
        self.report("write_lost", path=path, cas=cas, version=version)
        msg = f"{path} was written by somebody else"
        raise VersionConflict(msg)

    def _denied(self, path: str, used: Any, turn: int) -> timedelta:  # noqa: ANN401 - a Secret or None
        """Ask about our own token: dead means log in and send again, alive means that rights are missing."""
        if self.connection.token != used:
            return timedelta(0)  # another thread has logged in meanwhile
        try:
            if self.login.alive():
                self.report("write_denied", path=path)
                return NO_RIGHTS_PAUSE
            if self.login.again(timedelta(seconds=time.monotonic()), used):
                self.report("logged_in_again", path=path)
        except (StoreError, Exception) as error:  # noqa: BLE001 - whatever login meets, the write is kept and sent again
            self.report("login_failed", path=path, reason=getattr(error, "reason", type(error).__name__))
            return _pause(turn + 2)
        return timedelta(0)

    def destroy(self, model: type[Document], name: str, versions: Sequence[int]) -> None:
        """Destroy these versions for good. Repeatable; nothing to do is done at once."""
        path = f"{model.kind}/{name}"
        if versions:
            answer = self.ask("POST", f"{self.mount}/destroy/{path}", f"destroying {path}", {"versions": list(versions)})
            if outcome_of(answer) is not Outcome.OK and not nothing_there(answer):
                raise error_of(answer, f"destroying {path}")

    def forget(self, path: str) -> None:
        """Delete a path with all its versions and its metadata. Repeatable."""
        answer = self.ask("DELETE", f"{self.mount}/metadata/{quote(path)}", f"deleting {path}")
        if outcome_of(answer) is not Outcome.OK and not nothing_there(answer):
            raise error_of(answer, f"deleting {path}")

    def answers(self) -> bool:
        """Tell whether Vault answers at all now: one look at our own token."""
        try:
            return self.login.alive()
        except (StoreError, OSError):
            return False

    def ask(self, method: str, path: str, doing: str, body: dict[str, Any] | None = None, *, wanted: str = "") -> Answer:
        """Send a request that may be repeated; a dead token is replaced once. A success holds what is `wanted`."""
        for attempt in (1, 2):
            used = self.connection.token
            try:
                answer = self.connection.request(method, path, body=body)
            except NoAnswer as error:
                raise error_of(error, doing) from None
            if attempt == 1 and outcome_of(answer) is Outcome.ASK_SELF and self.connection.token != used:
                continue  # another thread has logged in meanwhile
            if attempt == 1 and outcome_of(answer) is Outcome.ASK_SELF and not self.login.alive():
                if self.login.again(timedelta(seconds=time.monotonic()), used):
                    self.report("logged_in_again", path=path)
                continue
            break
        if outcome_of(answer, wanted) in (Outcome.ASK_SELF, Outcome.UNCLEAR):
            raise error_of(answer, doing)
        return answer


def _pause(turn: int) -> timedelta:
    return PAUSES[min(turn, len(PAUSES) - 1)]
