"""What is held back: one object that Vault answers errors for, while it answers everything else.

An outage is when nothing answers: then the error goes on its way, and whoever asked begins again. What one object says is
that object's own: it is noted here and in the log, shown in ``/readyz`` and in its tenant's status, tried again by itself,
and the others go on.
"""

import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from scheduler.places import offering
from vault_plugin.core.credential import Credential
from vault_plugin.core.deleted import DeletedCredential, said_of
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import DocumentMalformed, StoreDenied, StoreError, StoreUnavailable, VersionConflict
from vault_plugin.core.ports import Clock, D, Store, Stored
from vault_plugin.core.states import Reason

log = structlog.get_logger()

AGAIN: Final = timedelta(seconds=5)
LONGEST: Final = timedelta(minutes=1)
UNTRIED: Final = timedelta(minutes=5)
#: A fail-over makes short errors: what fails again after so long isn't one. Nobody is told of the first.
APART: Final = timedelta(seconds=2)
#: Errors that are about the whole mount, whatever path they were met at.
EVERYONES: Final = frozenset(
    {"ReadIsOld", "NoSuchMount", "NoSuchNamespace", "NotVault", "VaultHasNoLeader", "VaultSealed", "VaultThrottled"}
)
READ: Final = "read"
WRITE: Final = "write"
LIST: Final = "list"
DESTROY: Final = "destroy"
#: Stands for a document that is deleted: reading it again brings no error.
DELETED: Final = "deleted"


@dataclass(frozen=True)
class Held:
    """One object that is held back. Times are the monotonic clock's."""

    path: str
    reason: Reason
    text: str
    remedy: str
    counted_at: timedelta
    tried_at: timedelta
    times: int = 1
    wait: timedelta = AGAIN

    @property
    def confirmed(self) -> bool:
        """Tell whether it is worth a word in a status: not one of the short errors of a fail-over."""
        return self.times > 1 or self.reason is not Reason.DOCUMENT_UNREADABLE

    @property
    def retry_at(self) -> timedelta:
        """Return when it is to be tried again."""
        return self.tried_at + self.wait

    def tried(self, now: timedelta) -> "Held":
        """Note a try whose time had come; the next one is later."""
        return replace(self, tried_at=now, wait=min(self.wait * 2, LONGEST)) if now >= self.retry_at else self


class HeldBack:
    """Thread-safe. `answers()` tells whether Vault answers anything at all."""

    def __init__(self, answers: Callable[[], bool], clock: Clock) -> None:
        """Begin with nothing held back."""
        self._answers = answers
        self._clock = clock
        #: By path and what failed there: a path that can be read again may still refuse writes.
        self._held: dict[tuple[str, str], Held] = {}
        self._changed: Callable[[str], None] = lambda _path: None
        self._lock = threading.Lock()

    def takes(self, error: StoreError, path: str = "", verb: str = READ) -> bool:
        """Hold the error's object back, and tell whether that is all to be done. If not, it is an outage, or no object's."""
        if not error.path:
            error.path, error.verb = path, verb
        path, verb = error.path, error.verb
        if not path or isinstance(error, VersionConflict) or error.reason in EVERYONES:
            return False
        if isinstance(error, DocumentMalformed):
            reason, text, remedy = Reason.DOCUMENT_MALFORMED, str(error), error.remedy()
        elif self._answers():
            reason, text = Reason.DOCUMENT_UNREADABLE, f"{error} ({error.reason})"
            remedy = error.remedy() if isinstance(error, StoreDenied) else _remedy(path)
        else:
            return False
        self._note(path, verb, reason, text, remedy)
        return True

    def deleted(self, name: str, credential: DeletedCredential) -> None:
        """Hold back a credential whose document was deleted."""
        self._note(f"credentials/{name}", DELETED, Reason.DOCUMENT_DELETED, *said_of(name, credential))

    def _note(self, path: str, verb: str, reason: Reason, text: str, remedy: str) -> None:
        now = self._clock.monotonic()
        with self._lock:
            old = self._held.get((path, verb))
            held = old.tried(now) if old else Held(path, reason, "", "", now, now)
            if now - held.counted_at >= APART:
                held = replace(held, counted_at=now, times=held.times + 1)
            self._held[path, verb] = held = replace(held, reason=reason, text=" ".join(text.split()), remedy=remedy)
        if old is None or old.reason is not reason:
            log.warning("held_back", path=path, reason=reason.value, error=text, remedy=remedy)
        if held.confirmed and (old is None or not old.confirmed):
            self._changed(path)

    def release(self, path: str, *verbs: str) -> None:
        """Let an object go: it is as it should be again."""
        if not self._held:  # as nearly always
            return
        with self._lock:
            gone = [key for key in self._held if key[0] == path and key[1] in verbs]
            worth_a_word = [key for key in gone if self._held.pop(key).confirmed]
        if gone:
            log.info("released", path=path)
        if worth_a_word:
            self._changed(path)

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Have somebody told of each path about which a status has something else to say."""
        self._changed = changed

    @contextmanager
    def apart(self, path: str = "", verb: str = READ) -> Iterator[None]:
        """Hold back what can't be had within, and go on.

        Raises:
            StoreError: Vault doesn't answer at all, or somebody wrote first.
        """
        try:
            yield
        except StoreError as error:
            if not self.takes(error, path, verb):
                raise

    def trouble(self, path: str) -> Held | None:
        """Return why this object is held back, if that is worth a word by now."""
        with self._lock:
            return next((held for key, held in self._held.items() if key[0] == path and held.confirmed), None)

    def left(self, path: str) -> timedelta:
        """Return how long this object is to be left alone; nothing if it isn't held back, or may be tried again."""
        if not self._held:
            return timedelta(0)
        with self._lock:
            until = max((held.retry_at for key, held in self._held.items() if key[0] == path), default=timedelta(0))
        return max(until - self._clock.monotonic(), timedelta(0))

    def unwritable(self, *, but: str) -> bool:
        """Tell whether writes of another path fail, too: then it is perhaps all of them, as where a disk is full."""
        return any(verb == WRITE and path != but for path, verb in list(self._held))

    def any(self) -> bool:
        """Tell whether anything is held back."""
        return bool(self._held)

    def holds(self, path: str) -> bool:
        """Tell whether this object is held back."""
        return any(held_path == path for held_path, _ in list(self._held))

    def due(self, kinds: Container[str]) -> list[str]:
        """Return the paths of these kinds whose time to be tried again has come: whoever asks tries.

        What nobody has tried for long isn't there any more: a letter that its writer took back.
        """
        now = self._clock.monotonic()
        with self._lock:
            self._held = {key: held for key, held in self._held.items() if now - held.tried_at < UNTRIED}
            due = [key for key, held in self._held.items() if key[0].split("/")[0] in kinds and now >= held.retry_at]
            for key in due:
                self._held[key] = self._held[key].tried(now)
        return sorted({path for path, _ in due})

    def forget(self, *, but: str = "") -> None:
        """Drop everything but one path: whoever knew of it is no more."""
        with self._lock:
            self._held = {key: held for key, held in self._held.items() if key[0] == but}
            self._changed = lambda _path: None

    def lines(self) -> list[str]:
        """Return a line for each object, for ``/readyz``."""
        with self._lock:
            held = list(self._held.values())
        return sorted({f"held back: {one.path}: {one.reason.value} {one.text}" for one in held})


def _remedy(path: str) -> str:
    back = "" if path.endswith("/") else (
        " If the version's data is gone, a Vault administrator can write back the version before: "
        f"vault kv rollback -mount=MOUNT -version=N {path} (N: the last version that can still be read)."
    )  # fmt: skip
    return f"Vault answers an error for this one path, {path}, and goes on otherwise: look at Vault's log.{back}"


class Watched:
    """A store whose errors say what they are about, and whose successes release. Implements `vault_plugin.core.ports.Store`."""

    def __init__(self, store: Store, held: HeldBack) -> None:
        """Watch this store."""
        self._store = store
        self._held = held
        #: The newest version of each credential that this process wrote.
        self._wrote: dict[str, int] = {}
        self._went_back: Callable[[], None] = lambda: None

    def on_restore(self, went_back: Callable[[], None]) -> None:
        """Have somebody told that a credential stands at an older version than this process wrote."""
        self._went_back = went_back

    def read(self, model: type[D], name: str, *, patient: bool = False) -> Stored[D]:
        """See `Store.read`.

        Raises:
            StoreUnavailable: also where a credential stands at an older version than this process wrote. A standby of Vault's
                may lag behind, or Vault was restored from a snapshot: then its refresh token was perhaps presented since.
        """
        wrote = self._wrote.get(name, 0)  # before the read: another thread may write meanwhile
        with self._about(f"{model.kind}/{name}", READ):
            stored = self._store.read(model, name, patient=patient)
        if model is Credential and 0 < stored.version < wrote:
            self._wrote.pop(name, None)
            self._went_back()
            if not patient:
                msg = f"credentials/{name} was read at version {stored.version}, older than what was written"
                raise StoreUnavailable(msg, reason="ReadIsOld")
        return stored

    def write(self, name: str, document: Document, *, cas: int, give_up_after: timedelta | None = None) -> int:
        """See `Store.write`."""
        with self._about(f"{document.kind}/{name}", WRITE, DELETED), offering() if give_up_after is None else nullcontext():
            version = self._store.write(name, document, cas=cas, give_up_after=give_up_after)
        if isinstance(document, Credential):
            self._wrote[name] = version
        return version

    def names(self, model: type[Document]) -> Sequence[str]:
        """See `Store.names`."""
        with self._about(f"{model.kind}/", LIST):
            return self._store.names(model)

    def destroy(self, model: type[Document], name: str, versions: Sequence[int]) -> None:
        """See `Store.destroy`."""
        with self._about(f"{model.kind}/{name}", DESTROY):
            self._store.destroy(model, name, versions)

    def answers(self) -> bool:
        """See `Store.answers`."""
        return self._store.answers()

    @contextmanager
    def _about(self, path: str, verb: str, *others: str) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            error.path, error.verb = path, verb
            raise
        self._held.release(path, verb, *others)
