"""Waiting for what the service makes of a request: look at the status each second, show progress, end with a clear word."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.status import Status as Spinner

from vault_plugin.cli import output
from vault_plugin.cli.exits import Failed, TimedOut
from vault_plugin.cli.session import Session, form, pause
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.core.published import RequestStatus, Status

R = TypeVar("R")

#: The mailbox is emptied every 2 s: after this nobody is there.
PICKED_UP_WITHIN = 20.0
ROTATED_WITHIN = 180.0
#: A request that waits for Microsoft is answered within 10 minutes, by whatever outcome.
ANSWERED_WITHIN = 660.0
#: Picked up, and not answered yet: its text says for what it waits.
WAITING = "Waiting"
REFUSALS = ("Refused", "Failed", "Expired")


def event(kind: str, **content: Any) -> None:  # noqa: ANN401 - anything that JSON takes
    """Print one JSON line of progress, for programs."""
    if form() == "json":
        print(output.dumps({"event": kind, **content}), flush=True)


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is waited for, on a terminal only; yields a function that changes the text."""
    if form() == "json" or not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Spinner(text, console=Console(stderr=True)) as spinner:
        yield spinner.update


def await_request(
    session: Session,
    name: str,
    request_id: str,
    *,
    within: float = PICKED_UP_WITHIN,
    tell: Callable[[str], None] = lambda _text: None,
) -> RequestStatus:
    """Wait until the service has answered a request, and return its outcome. `tell` is told for what it waits meanwhile.

    Raises:
        TimedOut: nobody picked it up, or it waits for longer than anybody does.
        Failed: it was refused; says why.
    """
    outcome = _look(session, name, lambda status: _outcome(status, request_id), within)
    if outcome is None:
        remedy = "See that the service runs: its /readyz and its log. The request stays in the mailbox."
        raise TimedOut(f"no service picked the request up within {within:.0f} s", remedy=remedy)
    if outcome.outcome == WAITING:
        outcome = _await_answer(session, name, outcome, tell)
    if outcome.outcome in REFUSALS:
        raise Failed(f"{outcome.action} {outcome.outcome.lower()}: {outcome.text}", reason=outcome.outcome)
    return outcome


def _await_answer(session: Session, name: str, waits: RequestStatus, tell: Callable[[str], None]) -> RequestStatus:
    """Wait for the answer to a request that was picked up. Raises as `await_request`."""
    said = ""

    def answered(status: Status) -> RequestStatus | None:
        nonlocal said, waits
        found = _outcome(status, waits.id) or waits
        if found.outcome != WAITING:
            return found
        waits = found
        if found.text != said:
            said = found.text
            tell(said)
            event("waiting", text=said)
        return None

    outcome = _look(session, name, answered, ANSWERED_WITHIN)
    if outcome is None:
        raise TimedOut(f"picked up, and not answered yet: {waits.text}", remedy=f"It goes on: vb365 status {name}.")
    return outcome


def await_rotation(session: Session, name: str, request_id: str) -> RequestStatus:
    """Wait until a rotation that was asked for is over. Raises as `await_request`."""
    await_request(session, name, request_id)

    def over(status: Status) -> RequestStatus | None:
        found = _outcome(status, request_id)
        return found if found and found.outcome != "Accepted" else None

    outcome = _look(session, name, over, ROTATED_WITHIN)
    if outcome is None:
        remedy = f"It goes on: vb365 status {name}."
        raise TimedOut(f"the rotation isn't over after {ROTATED_WITHIN:.0f} s", remedy=remedy)
    if outcome.outcome in REFUSALS:
        status = session.status(name)
        remedy = (status.last_error.remedy if status and status.last_error else "") or f"See: vb365 status {name}."
        raise Failed(f"not rotated: {outcome.text}", reason=outcome.outcome, remedy=remedy)
    return outcome


def await_state(session: Session, name: str, state: str) -> str:
    """Wait until the credential is in this state, and return what the newest request's outcome says.

    Raises:
        TimedOut: it isn't in time.
    """

    def reached(status: Status) -> str | None:
        newest = status.requests[-1].text if status.requests else ""
        return newest if status.state == state else None

    text = _look(session, name, reached, 60.0)
    if text is None:
        raise TimedOut(
            f"{name} isn't {state} after 60 s", remedy="See that the service runs; the request stays in the mailbox."
        )
    return text


def _outcome(status: Status, request_id: str) -> RequestStatus | None:
    return next((entry for entry in status.requests if entry.id == request_id), None)


def _look(session: Session, name: str, found: Callable[[Status], R | None], within: float) -> R | None:
    deadline = time.monotonic() + within
    while True:
        status = patiently(lambda: session.status(name))
        result = found(status) if status is not None else None
        if result is not None or time.monotonic() >= deadline:
            return result
        pause(0.5)


def patiently(read: Callable[[], R], tries: int = 5) -> R:
    """Read while waiting: a moment without Vault isn't the end."""
    for left in range(tries - 1, -1, -1):
        try:
            return read()
        except StoreUnavailable:
            if not left:
                raise
            pause(1.0)
    raise AssertionError("the loop returns or raises")
