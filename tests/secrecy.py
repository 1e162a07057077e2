"""What no output may hold, and how every test looks for it."""

import logging
import re
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from scheduler.metrics import Metrics
from vault_plugin.core.documents import Document
from vault_plugin.core.errors import Error
from vault_plugin.core.lifecycle.attempt import Step

#: Every secret that the simulators and the test factory make carries this.
MARKER = "simtok"

#: A token of Vault's or OpenBao's, whoever's: to log in, to unwrap.
_TOKEN: Final = re.compile(r"(?<![\w.])(?:hv)?[sbr]\.[A-Za-z0-9_-]{24,}")
_watched: set[str] = set()


def watch(secret: str) -> None:
    """Take a secret of Vault's that can't be told by its form."""
    _watched.add(secret)


def leaks(text: str) -> bool:
    """Tell whether a text holds a secret."""
    return MARKER in text or _TOKEN.search(text) is not None or any(secret in text for secret in _watched)


class Watch:
    """Where a secret was seen. It says no more: what fails here is read by others."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def look(self, where: str, text: str) -> None:
        """Look at one text."""
        if leaks(text):
            self.seen.append(where)

    def record(self, record: logging.LogRecord) -> None:
        """Look at a record of the standard library's."""
        self.look("a log record", logging.Formatter().format(record))

    def event(self, _: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Look at an event of structlog's, as one of its processors."""
        self.look(f"the event {event.get('event')}", f"{dict(event)}{traceback.format_exc()}")
        return event

    @contextmanager
    def over(self) -> Iterator[None]:
        """Look at events, at what documents that are written and steps show of themselves, at our errors and our metrics."""
        errors: list[Error] = []
        registries: list[CollectorRegistry] = []
        look, processors = self.look, structlog.get_config()["processors"]
        begin_error, begin_metrics, begin_step, to_vault = Error.__init__, Metrics.__init__, Step.__init__, Document.to_vault

        def error(self: Error, *arguments: Any, **named: Any) -> None:
            errors.append(self)
            begin_error(self, *arguments, **named)

        def metrics(self: Metrics) -> None:
            begin_metrics(self)
            registries.append(self.registry)

        def step(self: Step, *arguments: Any, **named: Any) -> None:
            begin_step(self, *arguments, **named)
            look("a step", repr(self))

        def document(self: Document) -> dict[str, Any]:
            look(f"a document of {self.kind}", f"{self!r}{self}")
            return to_vault(self)

        processors.insert(0, self.event)
        try:
            with (
                patch.object(Error, "__init__", error),
                patch.object(Metrics, "__init__", metrics),
                patch.object(Step, "__init__", step),
                patch.object(Document, "to_vault", document),
            ):
                yield
        finally:
            processors.remove(self.event)
        for one in errors:  # only now: what carries them may have added to them
            look("an error", f"{one!s}{one!r}{vars(one)}{one.remedy()}")
        for registry in registries:
            look("a metric", generate_latest(registry).decode())
