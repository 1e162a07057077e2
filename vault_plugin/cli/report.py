"""``vb365 report``: a consumer says that the token which it read is dead, and sees what becomes of that.

A consumer reads ``tokens/NAME`` and its own report and nothing else; an operator's token is told what the status says.
"""

import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from vault_plugin.cli import output
from vault_plugin.cli.exits import TimedOut
from vault_plugin.cli.session import Format, Session, TenantName, pause
from vault_plugin.cli.waiting import PICKED_UP_WITHIN, event, patiently, progress
from vault_plugin.core.errors import NotFound, StoreDenied, StoreUnavailable, VersionConflict
from vault_plugin.core.names import check_name
from vault_plugin.core.published import Status, Token
from vault_plugin.vault.answers import nothing_there
from vault_plugin.vault.mailbox import REPORTS

#: An earlier report lies until the tenant's minute is over.
TAKEN_WITHIN = 60 + PICKED_UP_WITHIN
#: So long after the report was taken a dead token is replaced where its server's lane has a place.
REPLACED_WITHIN = 15.0
#: So often a report may be deleted between a refusal to create it and the look whether it stands.
TRIES = 5


def report(
    name: TenantName,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="report, and wait for nothing")] = False,
    format_: Format = "",
) -> None:
    """Say that a tenant's token, as read from Vault, is dead (401), and wait for what becomes of it."""
    session = Session()
    check_name(name)
    before = _token(session, name)
    already = _post(session, name)
    event("reported", tenant=name, already=already)
    if no_wait:
        _show(name, "reported", "already reported: the service looks at it" if already else "reported", before)
        return
    with progress(f"waiting for the service to look at {name}'s token"):
        outcome, text, token = _await(session, name, before)
    _show(name, outcome, text, token)


def _token(session: Session, name: str) -> Token:
    token = session.store.read(Token, name).document
    if token is None or token.access_token is None:
        gone = "was revoked" if token else "isn't there"
        raise NotFound(f"the token of {name} {gone}: there is nothing to report", remedy="Ask an operator: vb365 status NAME.")
    return token


def _post(session: Session, name: str) -> bool:
    """Create the report; tell whether one stood there already. It isn't written over: Vault refuses that with 403.

    Raises:
        StoreDenied: this token may not report.
    """
    path = f"{REPORTS}/{name}"
    for _ in range(TRIES):
        try:
            session.store.create(path, {})
        except VersionConflict:
            return True
        except StoreDenied as error:
            if _stands(session, path, error):
                return True
        else:
            return False
        pause(0.2)
    raise StoreUnavailable(f"{path} comes and goes: it can't be created", remedy="Run the command again.")


def _stands(session: Session, path: str, denied: StoreDenied) -> bool:
    """Tell whether a report stands there. Whoever may not look isn't a consumer of this tenant's."""
    try:
        answer = session.store.raw(path)
    except StoreDenied:
        remedy = "Use a token with the policy MOUNT-consumer or MOUNT-consumer-NAME; after an upgrade run vb365 register again."
        raise StoreDenied(str(denied), reason=denied.reason, remedy=remedy) from None
    return not nothing_there(answer)


def _await(session: Session, name: str, before: Token) -> tuple[str, str, Token]:
    """Look until a new token stands, the status tells why none does, or time is over."""
    began, taken_at, now = datetime.now(UTC), None, time.monotonic()
    deadline = now + TAKEN_WITHIN
    while now < deadline:
        token = patiently(lambda: _token(session, name))
        if (token.generation, token.issued_at) != (before.generation, before.issued_at):
            return "replaced", f"a new token stands: generation {token.generation}", token
        if taken_at is None and nothing_there(patiently(lambda: session.store.raw(f"{REPORTS}/{name}"))):
            taken_at, deadline = now, now + REPLACED_WITHIN
        status = _status(session, name) if taken_at is not None else None
        if status is not None and status.proved_at is not None and status.proved_at >= began:
            return "works", "the token works: it isn't replaced", token
        pause(0.5)
        now = time.monotonic()
    if taken_at is None:
        raise TimedOut(f"no service took the report within {TAKEN_WITHIN:.0f} s", remedy="The report stays. See that it runs.")
    status = _status(session, name)
    if status is not None and status.text:
        return "waits", status.text, token
    text = "not replaced: the token works, or its server has no place yet (operators see which: vb365 status)"
    return "not_replaced", text, token


def _status(session: Session, name: str) -> Status | None:
    """Return the status, if this token may read it."""
    try:
        return session.status(name)
    except StoreDenied:
        return None


def _show(name: str, outcome: str, text: str, token: Token) -> None:
    when = {"issued_at": token.issued_at, "expires_at": token.expires_at, "next_rotation_at": token.next_rotation_at}
    output.done(f"{name}: {text}", name=name, outcome=outcome, text=text, generation=token.generation, **when)
