"""That the watch of every test sees what it is there for."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import structlog

from scheduler.metrics import Metrics
from tests.secrecy import Watch, leaks, watch
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.policy import Action, Do
from vault_plugin.core.published import Prompt
from vault_plugin.core.states import Reason

TOKEN = "simtok-1"
SINCE = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture(autouse=True)
def no_token_is_seen() -> None:
    """Stand in for the watch of every test: these show tokens."""


def broken() -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError:
        structlog.get_logger().exception("broke")


@pytest.mark.parametrize(
    ("show", "where"),
    [
        (lambda: structlog.get_logger().info("said", token=TOKEN), "the event said"),
        (broken, "the event broke"),
        (lambda: StoreUnavailable(TOKEN), "an error"),
        (lambda: Metrics().requests.labels(TOKEN, "Done").inc(), "a metric"),
        (lambda: Prompt(message=TOKEN).to_vault(), "a document of prompts"),
        (lambda: Step(Action(Do.HOLD, Reason.DUE), Credential(since=SINCE, session=TOKEN)), "a step"),
    ],
)
def test_a_token_is_seen(show: Callable[[], object], where: str) -> None:
    """Wherever it is shown; afterwards nothing is watched any more."""
    watching = Watch()
    with watching.over():
        show()
    show()

    assert watching.seen == [where]


def test_a_token_in_a_log_record_is_seen() -> None:
    """In its text or its exception's."""
    watching = Watch()
    error = ValueError(TOKEN)
    for message, exc_info in ((TOKEN, None), ("broke", (ValueError, error, None))):
        watching.record(logging.LogRecord("name", logging.INFO, "path", 1, message, None, exc_info))

    assert watching.seen == ["a log record", "a log record"]


@pytest.mark.parametrize(
    "token", ["s.YyMDjGP21kN1GdxQwgk95gty", "hvs.CAESIJlWh2vDXWxBmFEAdjZ4", "b.AAAAAQJ2x3yRGzmAbcdefghijk"]
)
def test_vaults_tokens_are_known_by_their_form(token: str) -> None:
    """Whoever made them; other secrets of Vault's are told."""
    assert leaks(f'{{"token": "{token}"}}')
    assert leaks(f"token={token}")
    assert not leaks("vb365/requests.CAESIJlWh2vDXWxBmFEAdjZ4 s.short")

    secret_id = f"{token.lower()[-12:]}-secret-id"
    assert not leaks(secret_id)
    watch(secret_id)
    assert leaks(f"<{secret_id}>")
