"""``vb365 sign-in`` and ``vb365 cancel``: a person signs in at Microsoft, once."""

import sys
from datetime import UTC, datetime
from io import StringIO
from typing import Annotated
from uuid import uuid4

import segno
import typer
from rich.panel import Panel

from vault_plugin.cli import output
from vault_plugin.cli.exits import Failed
from vault_plugin.cli.session import Format, Session, TenantName, form, pause
from vault_plugin.cli.waiting import await_request, event, patiently, progress
from vault_plugin.core.errors import NotFound
from vault_plugin.core.names import check_name
from vault_plugin.core.published import Prompt, Request, Status
from vault_plugin.core.states import State

#: Ended this way the sign-in is a success.
SIGNED_IN = "SignedIn"


def sign_in(
    name: TenantName,
    reason: Annotated[str, typer.Option(help="why; shown beside the code")] = "",
    no_wait: Annotated[bool, typer.Option("--no-wait", help="show the code and return")] = False,
    format_: Format = "",
) -> None:
    """Sign a person in at Microsoft for this tenant.

    Shows a code and a link; open the link, enter the code, and sign in with an account of the tenant. The old token
    serves on until the new one works.
    """
    check_name(name)
    session = Session()
    session.tenant(name)
    request_id = str(uuid4())
    session.post(name, request_id, Request(action="sign-in", reason=reason, claimed_by=session.who()))
    with progress(f"asking Microsoft for a code for {name} ..."):
        asked = await_request(session, name, request_id)
        prompt = _prompt(session, name)
    if prompt is None:
        _tell_end(session, name)
        return
    _show(prompt, joined=asked.outcome == "Joined")
    if no_wait:
        output.done(f"The sign-in goes on without you. vb365 status {name} tells how it ended.", sign_in=prompt.sign_in_id)
        return
    try:
        _follow(session, name, prompt)
    except KeyboardInterrupt:
        print(f"\nThe code stays valid. To end it: vb365 cancel {name}", file=sys.stderr)
        raise


def _prompt(session: Session, name: str) -> Prompt | None:
    """Return the code that is shown; the service writes it right after it answers."""
    for _ in range(10):
        prompt = patiently(lambda: session.store.read(Prompt, name).document)
        if prompt is not None and prompt.user_code:
            return prompt
        pause(0.5)
    return None


def _show(prompt: Prompt, *, joined: bool) -> None:
    content = prompt.model_dump(mode="json", exclude={"write_id", "schema_version"})
    event("code", joined=joined, **content)
    if form() == "json":
        return
    head = "A sign-in is pending already; this is its code.\n\n" if joined else ""
    lines = [
        f"{head}Open   [bold]{prompt.verification_uri}[/bold]",
        f"Enter  [bold]{prompt.user_code}[/bold]",
        "",
        f"Tenant        {output.text(prompt.tenant)} ({output.text(prompt.organization)})",
        f"App           {prompt.client_id}",
        f"Asks for      {output.text(prompt.scope)}",
        f"Requested by  {output.text(prompt.claimed_by)} (claimed)",
    ]
    if prompt.why:
        lines.append(f"Reason        {output.text(prompt.why)}")
    lines.append(f"Valid         {output.ago(prompt.expires_at)}")
    console = output.console()
    console.print(Panel("\n".join(lines), title=f"Sign in for {prompt.tenant}", expand=False))
    if sys.stdout.isatty():
        drawn = StringIO()
        segno.make(prompt.verification_uri, micro=False).terminal(out=drawn, compact=True)
        console.print(drawn.getvalue(), markup=False)
    console.print("Enter the code only if you know this tenant, this requester and this reason.", markup=False)


def _follow(session: Session, name: str, prompt: Prompt) -> None:
    """Show the countdown until the sign-in ended."""
    with progress("waiting for the person ...") as tell:
        while True:
            status = patiently(lambda: session.status(name), tries=60)
            if status is not None and status.sign_in is not None:
                if status.sign_in.id != prompt.sign_in_id or status.sign_in.state == "ended":
                    break
                if status.sign_in.state == "approved":
                    tell("Microsoft has answered; exchanging at Veeam ...")
                else:
                    tell(f"waiting for the person; the code expires {output.ago(prompt.expires_at)}")
            pause(1.0)
    _tell_end(session, name)


def _tell_end(session: Session, name: str) -> None:
    """Say how the newest sign-in ended."""
    status = patiently(lambda: session.status(name))
    ended = status.sign_in if status else None
    if status is None or ended is None:
        raise Failed("the service shows no sign-in", remedy=f"Look at: vb365 status {name}.")
    if ended.outcome == SIGNED_IN and status.state != State.BLOCKED:
        _tell_success(name, status)
        return
    if ended.outcome == SIGNED_IN:
        raise Failed(f"signed in, but {status.text}", reason=status.reason, remedy=status.remedy)
    trace = f" (code {ended.code}, trace id {ended.trace_id})" if ended.trace_id else ""
    raise Failed(f"{ended.outcome or ended.state}: {ended.text}{trace}", reason=ended.outcome, remedy=ended.remedy)


def _tell_success(name: str, status: Status) -> None:
    until = output.ago(status.expires_at)
    account = f" as {status.account}" if status.account else ""
    message = f"Signed in{account}. {name} has a token that expires {until}; it is kept fresh from now on."
    if form() == "json":
        event("signed_in", tenant=name, account=status.account, expires_at=status.expires_at, generation=status.generation)
    else:
        print(message)


def cancel(name: TenantName, format_: Format = "") -> None:
    """End the pending sign-in. A token that works isn't touched."""
    check_name(name)
    session = Session()
    session.tenant(name)
    status = session.status(name)
    pending = status.sign_in if status else None
    if pending is None or pending.state != "pending":
        raise NotFound(f"no sign-in is pending for {name}", remedy=f"Look at: vb365 status {name}.")
    request_id = str(uuid4())
    request = Request(action="cancel", sign_in_id=pending.id, claimed_by=session.who())
    session.post(name, request_id, request)
    with progress("cancelling ..."):
        await_request(session, name, request_id)
    output.done(f"sign-in for {name} cancelled", name=name, outcome="cancelled", at=datetime.now(UTC))
