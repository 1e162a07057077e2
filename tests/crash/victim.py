"""The real service, which notes each place it comes by and is killed at one.

A place is the moment before or after a store write or an HTTP call: ``before write credentials #2``. It is noted before the
process dies, so that the harness can list it. Credentials that were written are noted without any secret.
"""

import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from vault_plugin.core.credential import Credential
from vault_plugin.microsoft.client import MicrosoftClient
from vault_plugin.vault.mailbox import Mailbox
from vault_plugin.vault.store import KvStore
from vault_plugin.veeam.client import VeeamClient

#: Who is called, by which verb, and what that is called here.
CALLS: tuple[tuple[type, str, Callable[..., str]], ...] = (
    (KvStore, "write", lambda _store, _name, document, **_: f"write {document.kind}"),
    (KvStore, "destroy", lambda _store, model, *_: f"destroy {model.kind}"),
    (Mailbox, "delete", lambda *_: "delete request"),
    *(
        (MicrosoftClient, verb, lambda *_, verb=verb: f"Microsoft {verb}")
        for verb in ("request_device_code", "poll", "refresh")
    ),
    *((VeeamClient, verb, lambda *_, verb=verb: f"Veeam {verb}") for verb in ("exchange", "refresh", "logout", "organization")),
)


class Record:
    """A file of JSON lines, one a place and one a credential that was written; `last` is where the process dies."""

    def __init__(self, path: str, last: str) -> None:
        """Append to the file."""
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._last = last
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()

    def number(self, what: str) -> str:
        """Return the call's name with its number in this life."""
        with self._lock:
            self._seen[what] += 1
            return f"{what} #{self._seen[what]}"

    def place(self, place: str) -> None:
        """Note the place; die if it is the last."""
        with self._lock:
            self.note(place=place)
            if place == self._last:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)  # the signal comes before this thread does anything more

    def note(self, **fields: object) -> None:
        """Append one line."""
        os.write(self._file, (json.dumps({"at": time.time(), **fields}) + "\n").encode())

    def wrote(self, credential: Credential, version: int) -> None:
        """Note what of a written credential the invariants speak of."""
        attempt = credential.attempt
        self.note(
            version=version,
            state=credential.state,
            before=attempt.before if attempt else None,
            settled=attempt is None or attempt.climbed,
            generation=credential.generation,
            reason=credential.reason,
        )


def watch(record: Record) -> None:
    """Put a place before and after every call."""
    for owner, verb, named in CALLS:
        setattr(owner, verb, _watched(getattr(owner, verb), named, record))


def _watched(action: Callable[..., Any], named: Callable[..., str], record: Record) -> Callable[..., Any]:
    def watched(*arguments: Any, **options: Any) -> Any:
        what = record.number(named(*arguments, **options))
        record.place(f"before {what}")
        try:
            answer = action(*arguments, **options)
            if what.startswith("write credentials"):
                record.wrote(arguments[2], answer)
        finally:
            record.place(f"after {what}")
        return answer

    return watched
