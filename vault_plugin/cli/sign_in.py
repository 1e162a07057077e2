"""``vb365 sign-in`` and ``vb365 cancel``: a person signs in at Microsoft, once."""

import sys
import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Annotated

import segno
import typer
from rich.panel import Panel

from vault_plugin.cli import output
from vault_plugin.cli.exits import Failed, TimedOut
from vault_plugin.cli.session import Format, Session, TenantName, form, pause
from vault_plugin.cli.waiting import WAITING, await_request, event, patiently, progress
from vault_plugin.core.errors import NotFound
from vault_plugin.core.lifecycle.status import UNPROVED
from vault_plugin.core.names import check_name
from vault_plugin.core.published import LastError, Prompt, SignInStatus, Status
from vault_plugin.core.states import State

#: Ended this way the sign-in is a success.
SIGNED_IN = "SignedIn"

#: How long an answer of Microsoft's is waited on, when Veeam or Vault is in trouble and when nothing is told at all.
ERROR_FOR = timedelta(seconds=30)
APPROVED_FOR = timedelta(seconds=60)
#: The service polls at the code's expiry, once more if that brings no word, and then tells the end; after this it won't.
EXPIRED_FOR = timedelta(seconds=120)


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
    request_id = session.post(name, "sign-in", reason=reason)
    with progress(f"asking Microsoft for a code for {name} ...") as tell:
        asked = await_request(session, name, request_id, tell=tell)
        prompt = _prompt(session, name)
    if prompt is None:
        _go_on(session, name, no_wait=no_wait)
        return
    _show(prompt, joined=asked.outcome == "Joined")
    if no_wait:
        output.done(f"The sign-in goes on without you. vb365 status {name} tells how it ended.", sign_in=prompt.sign_in_id)
        return
    _follow(session, name, prompt)


def _go_on(session: Session, name: str, *, no_wait: bool) -> None:
    """Take up a sign-in that shows no code: it ended at once, or Microsoft has answered it already."""
    status = patiently(lambda: session.status(name))
    seen = status.sign_in if status is not None else None
    if seen is None or seen.state != "approved":
        _tell_end(session, name)
    elif no_wait:
        text = "Microsoft has answered already; the service goes on by itself"
        output.done(f"{text}. vb365 status {name} tells how it ended.", sign_in=seen.id)
    else:
        _follow(session, name, Prompt(sign_in_id=seen.id))


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
    """Show how far the sign-in is until it ended. Ctrl-C leaves it to the service, and says what that means now.

    Raises:
        TimedOut: the code expired, or Microsoft has answered, and the service says nothing more or no good.
    """
    watch = _Watch(name, prompt)
    try:
        with progress("waiting for the person ...") as tell:
            while True:
                status = patiently(lambda: session.status(name), tries=60)
                if watch.over(status):
                    break
                tell(watch.text)
                pause(1.0)
    except KeyboardInterrupt:
        left = f"The code stays valid. To end it: vb365 cancel {name}"
        if watch.approved_at is not None:
            left = f"Microsoft has answered already; the service goes on by itself: vb365 status {name}"
        print(f"\n{left}", file=sys.stderr)
        raise
    _tell_end(session, name, prompt)


class _Watch:
    """What is seen of one sign-in, and for how long it is worth waiting."""

    def __init__(self, name: str, prompt: Prompt) -> None:
        self._name = name
        self._prompt = prompt
        #: The credential's last error before Microsoft answered: not this sign-in's.
        self._old_error: LastError | None = None
        self._said = ("pending", "")
        self.approved_at: float | None = None
        self.text = ""

    def over(self, status: Status | None) -> bool:
        """Take in a status and tell whether the sign-in ended. Raises as `_follow`."""
        seen = status.sign_in if status is not None else None
        if seen is not None and (seen.id != self._prompt.sign_in_id or seen.state == "ended"):
            return True
        if status is not None and seen is not None and seen.state == "approved":
            self._approved(status, seen)
        else:
            self._pending(status, seen)
        return False

    def _pending(self, status: Status | None, seen: SignInStatus | None) -> None:
        if status is not None:
            self._old_error = status.last_error
        expires_at = self._prompt.expires_at
        trouble = seen.text if seen is not None else ""
        waiting = f"waiting for the person; the code expires {output.ago(expires_at)}"
        self._say("pending", f"{waiting}. {trouble}" if trouble else waiting, trouble)
        if expires_at is not None and datetime.now(UTC) > expires_at + EXPIRED_FOR:
            remedy = f"See that the service runs: its /readyz and its log. Then sign in again: vb365 sign-in {self._name}."
            raise TimedOut("the code expired, and the service doesn't tell how the sign-in ended", remedy=remedy)

    def _approved(self, status: Status, seen: SignInStatus) -> None:
        now = time.monotonic()
        self.approved_at = now if self.approved_at is None else self.approved_at
        error = status.last_error
        if error is not None and (error == self._old_error or error.at < seen.started_at):
            error = None
        trouble = error.text if error is not None else status.text
        self._say("approved", f"Microsoft has answered; exchanging at Veeam ... {trouble}".rstrip(), trouble)
        if now - self.approved_at < (ERROR_FOR if error is not None else APPROVED_FOR).total_seconds():
            return
        remedy = (error.remedy if error is not None else status.remedy) or "See that the service runs: its /readyz and its log."
        text = f"Microsoft has answered, and there is no token yet: {trouble or 'the service says nothing more'}"
        on = f"The service goes on by itself: vb365 status {self._name}."
        raise TimedOut(text, reason=error.reason if error is not None else "", remedy=f"{remedy} {on}")

    def _say(self, state: str, text: str, trouble: str) -> None:
        if (state, trouble) != self._said:
            self._said = (state, trouble)
            event(state, text=trouble)
        self.text = text


def _tell_end(session: Session, name: str, prompt: Prompt | None = None) -> None:
    """Say how the sign-in ended, or how the newest did where its code was never seen."""
    status = patiently(lambda: session.status(name))
    ended = status.sign_in if status else None
    if status is None or ended is None:
        raise Failed("the service shows no sign-in", remedy=f"Look at: vb365 status {name}.")
    if prompt is not None and ended.id != prompt.sign_in_id:
        raise Failed("a newer sign-in took the place of this one", remedy=f"Look at: vb365 status {name}.")
    if ended.outcome == SIGNED_IN and status.state != State.BLOCKED and UNPROVED not in status.text:
        _tell_success(name, status, ended)
        return
    if ended.outcome == SIGNED_IN:
        raise Failed(f"signed in, but {status.text}", reason=status.reason, remedy=status.remedy)
    trace = f" (code {ended.code}, trace id {ended.trace_id})" if ended.trace_id else ""
    raise Failed(f"{ended.outcome or ended.state}: {ended.text}{trace}", reason=ended.outcome, remedy=ended.remedy)


def _tell_success(name: str, status: Status, ended: SignInStatus) -> None:
    until = output.ago(status.expires_at)
    account = f" as {status.account}" if status.account else ""
    message = f"Signed in{account}. {name} has a token that expires {until}; it is kept fresh from now on."
    if form() == "json":
        shown = {"account": status.account, "expires_at": status.expires_at, "generation": status.generation}
        event("signed_in", tenant=name, **shown, text=ended.text, remedy=ended.remedy)
        return
    print(message)
    if ended.text:
        output.warn(f"{ended.text}. {ended.remedy}".strip())


def cancel(name: TenantName, format_: Format = "") -> None:
    """End the pending sign-in. A token that works isn't touched."""
    check_name(name)
    session = Session()
    session.tenant(name)
    status = session.status(name)
    pending = status.sign_in if status else None
    if pending is not None and pending.state == "approved":
        remedy = (
            f"It goes on by itself: vb365 status {name}. To stop it: vb365 tenant pause {name}, or vb365 tenant remove {name}."
        )
        raise NotFound(f"the sign-in for {name} is approved already and can't be cancelled", reason="Approved", remedy=remedy)
    waits = [entry.id for entry in status.requests if entry.outcome == WAITING and entry.action == "sign-in"] if status else []
    wanted = pending.id if pending is not None and pending.state == "pending" else waits[-1] if waits else ""
    if not wanted:
        raise NotFound(f"no sign-in is pending for {name}", remedy=f"Look at: vb365 status {name}.")
    request_id = session.post(name, "cancel", sign_in_id=wanted)
    with progress("cancelling ..."):
        await_request(session, name, request_id)
    output.done(f"sign-in for {name} cancelled", name=name, outcome="cancelled", at=datetime.now(UTC))
