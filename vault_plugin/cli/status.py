"""``vb365 status``, ``rotate`` and ``token``: how the credentials are, and what a consumer reads."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from vault_plugin.cli import output
from vault_plugin.cli.session import Format, Session, TenantName, form, remember_tenant
from vault_plugin.cli.waiting import await_rotation, progress
from vault_plugin.core.errors import ConfigurationError, DocumentMalformed, NotFound, StoreDenied
from vault_plugin.core.names import check_name
from vault_plugin.core.published import Status, Token
from vault_plugin.core.secret import MASK, REVEAL
from vault_plugin.core.states import State
from vault_plugin.core.tenants import TenantSpec

#: What fits into eighty columns, and what --wide adds.
COLUMNS = ("tenant", "state", "reason", "expires", "next_rotation", "sign_in")
WIDE = ("server", "budget", "error")


def status(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="one tenant, in detail", callback=remember_tenant)] = "",
    wide: Annotated[bool, typer.Option("--wide", help="more columns: server, outage budget, last error")] = False,
    format_: Format = "",
) -> None:
    """Show the state of all credentials, or of one in detail."""
    session = Session()
    if name:
        found = session.status(check_name(name))
        if found is None:
            session.tenant(name)
            remedy = "See that the service runs: its /readyz and its log."
            raise NotFound(f"the service has written no status for {name} yet", remedy=remedy)
        output.fields(_detail(found))
        return
    there = _tenants(session)
    shown = [(each, found) for each, found in session.every(Status) if there is None or each in there or not _gone(found)]
    row = _json if form() == "json" else _row
    rows = [
        {"tenant": each, "reason": found.reason, "error": str(found)} if isinstance(found, DocumentMalformed) else row(found)
        for each, found in shown
    ]
    columns = COLUMNS + WIDE if wide else COLUMNS
    output.rows(rows, columns, empty="no status yet: vb365 tenant set NAME --server SERVER, and see that the service runs")


def _tenants(session: Session) -> set[str] | None:
    """Return the tenants that there are; None if we may not LIST them."""
    try:
        return set(session.store.names(TenantSpec))
    except StoreDenied:
        return None


def _gone(found: Status | DocumentMalformed) -> bool:
    """Tell whether this tenant was offboarded, if its document is gone too."""
    return isinstance(found, Status) and found.state == State.REVOKED


def _json(found: Status) -> dict[str, Any]:
    return found.model_dump(mode="json", exclude={"write_id", "schema_version"})


def _row(found: Status) -> dict[str, Any]:
    budget = found.outage_budget_left_seconds
    return {
        "tenant": found.tenant,
        "state": found.state,
        "reason": found.reason,
        "server": found.server,
        "expires": output.ago(found.expires_at),
        "next_rotation": output.ago(found.next_rotation_at),
        "budget": "" if budget is None else f"{budget // 60}m" if budget >= 0 else "none",
        "sign_in": _sign_in(found),
        "error": found.last_error.reason if found.last_error else "",
    }


def _sign_in(found: Status) -> str:
    """Return how far the sign-in is; the code's expiry counts only while nobody has used it."""
    if found.sign_in is None or found.sign_in.state == "ended":
        return ""
    left = f", {output.ago(found.sign_in.expires_at)}" if found.sign_in.state == "pending" else ""
    return f"{found.sign_in.state}{left}"


def _detail(found: Status) -> dict[str, Any]:
    if form() == "json":
        return _json(found)
    shown = _json(found)
    for field in ("since", "issued_at", "expires_at", "last_rotation_at", "next_rotation_at", "signed_in_at", "updated_at"):
        when = getattr(found, field)
        if when is not None:
            shown[field] = f"{when:%Y-%m-%d %H:%M:%SZ} ({output.ago(when)})"
    if found.person_needed_by is not None:
        shown["person_needed_by"] = f"{found.person_needed_by:%Y-%m-%d} at the latest, if Microsoft's grant isn't used"
    shown["requests"] = [f"{r.at:%H:%M:%SZ} {r.action}: {r.outcome} {r.text}".strip() for r in found.requests]
    return shown


def rotate(
    name: TenantName,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="return when the request is posted")] = False,
    format_: Format = "",
) -> None:
    """Get a new token now."""
    session = Session()
    session.tenant(check_name(name))
    request_id = session.post(name, "rotate")
    if no_wait:
        output.done(f"asked; vb365 status {name} tells the outcome", name=name, request=request_id)
        return
    with progress(f"rotating {name} ..."):
        outcome = await_rotation(session, name, request_id)
    found = session.status(name)
    expires_at = found.expires_at if found else None
    message = f"rotated: {outcome.text}, expires {output.ago(expires_at)}"
    output.done(message, name=name, outcome=outcome.outcome, text=outcome.text, expires_at=expires_at)


def token(
    name: TenantName,
    field: Annotated[str, typer.Option(help="print this field only, raw: access_token, expires_at, ...")] = "",
    format_: Format = "",
) -> None:
    """Show what a consumer of this tenant reads.

    The table masks the token; --field access_token and --format json print it.
    """
    session = Session()
    found = session.store.read(Token, check_name(name)).document
    if found is None:
        raise NotFound(f"no token is published for {name}", remedy=f"See why: vb365 status {name}.")
    if found.access_token is None:
        raise NotFound(f"{name} was revoked", remedy=f"Sign in: vb365 sign-in {name}.")
    content = found.model_dump(mode="json", context=REVEAL, exclude={"write_id", "schema_version"}, exclude_none=True)
    if field:
        if field not in content:
            raise ConfigurationError(f"there is no field {field}", remedy=f"There are: {', '.join(sorted(content))}.")
        print(content[field])
        return
    if form() == "table":
        content["access_token"] = f"{MASK}  (--field access_token prints it)"
        for when in ("issued_at", "expires_at", "next_rotation_at"):
            moment = getattr(found, when)
            content[when] = f"{content.get(when, '')} ({output.ago(moment)})"
    output.fields(content)
    if found.expires_at is not None and found.expires_at < datetime.now(UTC):
        output.warn(f"this token has expired. See why: vb365 status {name}.")
