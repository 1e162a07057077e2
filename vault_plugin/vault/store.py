"""Documents in a KV v2 mount: implements `vault_plugin.core.ports.Store`, with the write rule of DESIGN 4.

1. 200: done.
2. 400 "check-and-set parameter did not match": read. Older than my `cas`: read again; my `write_id`: done; else lost.
3. Unclear (no answer, 5xx, 412, 472, 473, an answer that isn't Vault's): after a pause *the same bytes with the same cas*; a
   throttle (429) likewise, after the pause that it asks for. Never read first, never rebuild, never conclude "not written":
   a delayed copy may land later.
4. 403: ask lookup-self. Dead: log in, go to 3. Alive, or refused again soon after a login: no rights; report, keep what is in
   memory, go to 3 at 30 s.
5. 413, other 400, HashiCorp's 500 for JSON beyond its limits: our fault or a limit; report, keep, go to 3 at 60 s.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final
from uuid import uuid4

from vault_plugin.core.documents import Document
from vault_plugin.core.errors import (
    ConfigurationError,
    DocumentMalformed,
    StoreDenied,
    StoreError,
    StoreUnavailable,
    VersionConflict,
)
from vault_plugin.core.ports import D, Stored
from vault_plugin.core.secret import Secret
from vault_plugin.patience import Patience
from vault_plugin.vault.answer import Answer, Call, NoAnswer, age_of
from vault_plugin.vault.answers import Outcome, error_of, nothing_there, outcome_of
from vault_plugin.vault.connection import Connection
from vault_plugin.vault.login import Login
from vault_plugin.vault.pacing import answered, pause_of

PAUSES: Final = tuple(timedelta(seconds=s) for s in (0.2, 0.5, 1, 2, 5))
NO_RIGHTS_PAUSE: Final = timedelta(seconds=30)
FAULT_PAUSE: Final = timedelta(seconds=60)

#: So often a read may be older than what check-and-set knows; then the path was deleted and begun anew.
STALE_READS: Final = 5

Report = Callable[..., None]


@dataclass
class KvStore:
    """The documents of one mount. `report(event, **fields)` is told of every turn that a write takes."""

    connection: Connection
    login: Login
    mount: str
    report: Report = lambda *_, **__: None

    @property
    def patience(self) -> Patience:
        """Return how waiting ends when the process stops."""
        return self.connection.patience

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
                version, data, destroyed = self._standing(path, answer := self.raw(path))
            except (StoreUnavailable, StoreDenied) as error:
                if not patient or not self.patience.wait(_pause(turn), may_give_up=False):
                    raise
                self.report("read_again", path=path, reason=error.reason)
                turn += 1
            else:
                try:
                    document = None if data is None else model.from_vault(path, data)
                except DocumentMalformed as error:
                    error.version = version
                    raise
                return Stored(version, document, destroyed, age_of(answer))

    def _standing(self, path: str, answer: Answer) -> tuple[int, dict[str, Any] | None, bool]:
        """Tell absent (0), deleted or destroyed (its version) and document apart; a 404 with error text is a wrong mount."""
        data = answer.data
        metadata = data.get("metadata")
        version = int(metadata.get("version", 0)) if isinstance(metadata, dict) else 0
        content = data.get("data")
        if outcome_of(answer) is Outcome.OK and version and isinstance(content, dict):
            return version, content, False
        if version:
            return version, None, isinstance(metadata, dict) and metadata.get("destroyed") is True
        if self._nothing_there(answer):
            return 0, None, False
        raise error_of(answer, f"reading {path}")

    def raw(self, path: str) -> Answer:
        """Return what Vault answers to a read of a path of the mount."""
        read = partial(self.connection.kv.read_secret_version, path, mount_point=self.mount, raise_on_deleted_version=True)
        return self.ask(read, f"reading {path}", wanted="data")

    def names(self, model: type[Document]) -> Sequence[str]:
        """Return the names under ``KIND/``, unchecked, folders without their slash."""
        return [key.rstrip("/") for key in self.keys(model.kind)]

    def keys(self, path: str) -> Sequence[str]:
        """Return the keys under a path of the mount; those of folders end with a slash."""
        kv = self.connection.kv
        answer = self.ask(lambda: kv.list_secrets(path, mount_point=self.mount), f"listing {path}", wanted="keys")
        if self._nothing_there(answer):
            return []
        if outcome_of(answer) is not Outcome.OK:
            raise error_of(answer, f"listing {path}")
        return [str(key) for key in answer.data["keys"]]

    def _nothing_there(self, answer: Answer) -> bool:
        """Tell whether Vault says that nothing stands there. Any web server may say so: see once that it is a Vault.

        Raises StoreUnavailable where it isn't.
        """
        if not nothing_there(answer):
            return False
        if not self.connection.proved:
            doing = "asking whether this is a Vault"
            asked = answered(self.connection.auth.token.lookup_self, doing, self.patience)
            if outcome_of(asked) not in (Outcome.OK, Outcome.ASK_SELF):  # a token may lack the right to look
                remedy = "Correct VAULT_ADDR (--address): scheme, host and port of Vault, and no path of our own."
                raise StoreUnavailable(f"{self.connection.settings.address} isn't a Vault", reason="NotVault", remedy=remedy)
        return True

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
        call: Call | None = None
        turn, stale, since = 0, 0, time.monotonic()
        while True:
            used = self.connection.token
            tried = self._try(path, content, cas, call)
            if isinstance(tried, Answer) and outcome_of(tried, "version") is Outcome.OK:
                if turn:
                    self.report("write_repeated_and_done", path=path, cas=cas)
                return int(tried.data["version"])
            call = tried.call or call
            if isinstance(tried, Answer) and outcome_of(tried) is Outcome.LOST:
                version, error, pause = self._lost(path, cas, write_id, stale)
                stale += 1
            else:
                version, error, pause = None, *self._judge(tried, path, cas, turn, used)
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

    def _try(self, path: str, content: dict[str, Any], cas: int, call: Call | None) -> Answer | NoAnswer:
        """Send the write; or, once it was sent, the same bytes again."""
        try:
            if call is not None:
                return self.connection.again(call)
            write = self.connection.kv.create_or_update_secret
            answer: Answer = write(path, content, cas=cas, mount_point=self.mount)
        except NoAnswer as silence:
            return silence
        return answer

    def _judge(
        self,
        tried: Answer | NoAnswer,
        path: str,
        cas: int,
        turn: int,
        used: Secret | None,
    ) -> tuple[StoreError, timedelta]:
        """Return the error and how long to wait before the same bytes go again."""
        outcome = outcome_of(tried, "version") if isinstance(tried, Answer) else Outcome.UNCLEAR
        error = error_of(tried, f"writing {path}")
        if outcome is Outcome.ASK_SELF:
            return error, self._denied(path, turn, used)
        event, pause = {
            Outcome.PACED: ("write_paced", pause_of(tried) if isinstance(tried, Answer) else PAUSES[0]),
            Outcome.FAULT: ("write_refused", FAULT_PAUSE),
            Outcome.MISSING: ("write_refused", FAULT_PAUSE),
        }.get(outcome, ("write_unclear", _pause(turn)))
        self.report(event, path=path, cas=cas, reason=error.reason)
        return error, pause

    def _lost(self, path: str, cas: int, write_id: str, turn: int) -> tuple[int | None, StoreError, timedelta]:
        """Look whose write stands there; `turn` counts the looks before."""
        try:
            version, data, _ = self._standing(path, self.raw(path))
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

    def _denied(self, path: str, turn: int, used: Secret | None) -> timedelta:
        """Ask about our own token: dead means log in and send again, alive means that rights are missing."""
        try:
            if self._replaced(path, used):
                return timedelta(0)
        except StoreError as error:  # whatever login meets, the write is kept and sent again
            self.report("login_failed", path=path, reason=error.reason)
            return NO_RIGHTS_PAUSE if isinstance(error, StoreDenied) else _pause(turn + 2)
        self.report("write_denied", path=path)
        return NO_RIGHTS_PAUSE

    def _replaced(self, path: str, denied: Secret | None) -> bool:
        """Tell whether another token stands in the place of a denied one. A file that a login lacks is a denial, too."""
        try:
            how = self.login.replaced(timedelta(seconds=time.monotonic()), denied)
        except ConfigurationError as error:
            raise StoreDenied(str(error), reason=error.reason, remedy=error.remedy()) from None
        if how == "anew":
            self.report("logged_in_again", path=path)
        return bool(how)

    def create(self, path: str, content: dict[str, Any]) -> None:
        """Create what must not stand yet. Vault itself refuses to overwrite it.

        Raises:
            VersionConflict: something stands there.
            StoreDenied, StoreUnavailable: Vault's trouble.
        """
        write = self.connection.kv.create_or_update_secret
        answer = self.ask(lambda: write(path, content, cas=0, mount_point=self.mount), f"posting {path}", wanted="version")
        if outcome_of(answer) is Outcome.LOST:
            msg = f"{path} exists already"
            raise VersionConflict(msg)
        if outcome_of(answer) is not Outcome.OK:
            raise error_of(answer, f"posting {path}")

    def destroy(self, model: type[Document], name: str, versions: Sequence[int]) -> None:
        """Destroy these versions for good. Repeatable; nothing to do is done at once."""
        path, kv = f"{model.kind}/{name}", self.connection.kv
        if versions:
            self._do(lambda: kv.destroy_secret_versions(path, list(versions), mount_point=self.mount), f"destroying {path}")

    def forget(self, path: str) -> None:
        """Delete a path with all its versions and its metadata. Repeatable."""
        kv = self.connection.kv
        self._do(lambda: kv.delete_metadata_and_all_versions(path, mount_point=self.mount), f"deleting {path}")

    def _do(self, send: Callable[[], Answer], doing: str) -> None:
        answer = self.ask(send, doing)
        if outcome_of(answer) is not Outcome.OK and not nothing_there(answer):
            raise error_of(answer, doing)

    def answers(self) -> bool:
        """Tell whether Vault answers at all now: one look at our own token."""
        try:
            return self.login.alive()
        except StoreError:
            return False

    def ask(self, send: Callable[[], Answer], doing: str, *, wanted: str = "") -> Answer:
        """Send a request that may be repeated; a dead token is replaced once. A success holds what is `wanted`.

        Raises:
            StoreUnavailable, StoreDenied, DocumentMalformed: Vault's trouble, or an answer that is too large.
        """
        used = self.connection.token
        answer = answered(send, doing, self.patience)
        if outcome_of(answer) is Outcome.ASK_SELF and self._replaced(doing, used):
            answer = answered(send, doing, self.patience)
        if outcome_of(answer, wanted) in (Outcome.ASK_SELF, Outcome.PACED, Outcome.UNCLEAR):
            raise error_of(answer, doing)
        return answer


def _pause(turn: int) -> timedelta:
    return PAUSES[min(turn, len(PAUSES) - 1)]
