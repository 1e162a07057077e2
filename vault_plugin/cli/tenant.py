"""``vb365 tenant``: the tenants, written by operators."""

import sys
from typing import Annotated, Any

import typer

from vault_plugin.cli import output
from vault_plugin.cli.asking import agreed
from vault_plugin.cli.plan import unserved
from vault_plugin.cli.server import problem, validated, with_problems
from vault_plugin.cli.session import Format, Session, TenantName, form
from vault_plugin.cli.waiting import await_state
from vault_plugin.core.documents import parse_duration
from vault_plugin.core.errors import ConfigurationError, DocumentMalformed
from vault_plugin.core.names import check_name, fill
from vault_plugin.core.organizations import is_alias, trouble
from vault_plugin.core.scopes import OFFLINE_ACCESS, asks_for_refresh, is_veeams
from vault_plugin.core.states import State
from vault_plugin.core.tenants import TenantSpec, bind
from vault_plugin.core.tenants import organization as organization_of
from vault_plugin.core.timing import Policy, budget_left

app = typer.Typer(help="Tenants.", no_args_is_help=True)


def shown(name: str, tenant: TenantSpec) -> dict[str, Any]:
    """Return a tenant as it is shown."""
    content = tenant.model_dump(mode="json", exclude_none=True, exclude={"write_id", "schema_version"})
    content = {"name": name, **content, "organization": organization_of(name, tenant)}
    if form() == "table":
        content["consumer_reread"] = output.length(tenant.consumer_reread)
        if tenant.authority:
            del content["cloud"]  # the authority is what counts
    return content


@app.command("set")
def set_(
    name: TenantName,
    server: Annotated[str | None, typer.Option(help="the server's name")] = None,
    organization: Annotated[
        str | None, typer.Option("--organization", help="in its exact case, like contoso.onmicrosoft.com [default: NAME]")
    ] = None,
    cloud: Annotated[str | None, typer.Option(help="global, usgov, dod or china [default: global]")] = None,
    authority: Annotated[str | None, typer.Option(help="another sign-in origin; the service must allow it")] = None,
    client_id: Annotated[str | None, typer.Option(help="the app registration's id")] = None,
    scope: Annotated[str | None, typer.Option(help="what is asked of Microsoft")] = None,
    expected_account: Annotated[str | None, typer.Option(help="who must sign in", metavar="UPN")] = None,
    consumer_reread: Annotated[str | None, typer.Option(help="how often the slowest consumer reads [default: 5m]")] = None,
    format_: Format = "",
) -> None:
    """Create or change a tenant. Only what is given is changed; the service takes it up at once."""
    check_name(name)
    if cloud and authority:
        raise ConfigurationError("--cloud and --authority exclude each other", remedy="Give one of them.")
    session = Session()
    stored, malformed = session.to_write(TenantSpec, name)
    if stored.document is None and server is None:
        raise ConfigurationError(f"tenant {name} is new: --server is needed", remedy="vb365 server list shows the servers.")
    if consumer_reread is not None:
        _duration("--consumer-reread", consumer_reread)
    changes: dict[str, Any] = {
        "server": server,
        "organization": organization,
        "cloud": cloud,
        "authority": authority,
        "client_id": client_id,
        "scope": scope,
        "expected_account": expected_account,
        "consumer_reread": consumer_reread,
    }
    old = stored.document.model_dump(mode="json", exclude_none=True) if stored.document else {}
    if cloud:
        old.pop("authority", None)
    tenant = validated(TenantSpec, {**old, **{field: value for field, value in changes.items() if value is not None}})
    if stored.document is None and not organization and "." not in name:
        remedy = "Give --organization contoso.onmicrosoft.com, in the exact case that VB365 shows."
        raise ConfigurationError(f"{name!r} is no organization's name", remedy=remedy)
    _check_form(name, tenant, stored.document)
    _check_server(session, name, tenant, stored.document)
    _save(session, name, tenant, stored.version, stored.document)
    if malformed:
        output.warn(f"{malformed}. It was replaced.")


def _check_form(name: str, tenant: TenantSpec, old: TenantSpec | None) -> None:
    """See that the organization is one and that a refresh token is asked for; warn about what may not be taken.

    What stood already is warned about: it must not keep anybody from changing something else.
    """
    binding, before = bind(name, tenant), bind(name, old) if old else None
    text, remedy = trouble(binding.organization, binding.authority)
    remedy = fill(remedy, tenant=name)
    if is_alias(binding.organization) and (before is None or before.organization != binding.organization):
        raise ConfigurationError(text, reason="OrganizationNotAllowed", remedy=remedy)
    if text:
        output.warn(f"{text}. {remedy}")
    if before is not None and before.scope == binding.scope:
        return
    if not asks_for_refresh(binding.scope):
        text = f"the scope doesn't ask for {OFFLINE_ACCESS}: without a refresh token VB365 takes no sign-in for long"
        raise ConfigurationError(text, reason="ScopeNotAllowed", remedy=f'Add it: --scope "{binding.scope} {OFFLINE_ACCESS}".')
    if not is_veeams(binding.scope, binding.authority):
        output.warn(
            "this scope is none that Veeam's page names (one Directory and one User permission, and offline_access). "
            "The service takes it if VB365_CLIENTS lists it: scope:..., or scope:* for any."
        )


def _check_server(session: Session, name: str, tenant: TenantSpec, old: TenantSpec | None) -> None:
    """See that the server exists and can serve consumers that read so rarely, as far as its token life is known.

    What stood already is warned about: it must not keep anybody from changing something else.
    """
    server, status = session.server(tenant.server).document, session.status(name)
    measured = status.expires_at - status.issued_at if status and status.expires_at and status.issued_at else None
    life = (server.token_life if server else None) or measured
    if life is None:
        return
    policy, reread = Policy(), tenant.consumer_reread
    if text := unserved(life, reread, policy):
        remedy = "Have consumers read more often (--consumer-reread), or lengthen AuthTokenLifeTime on the VB365 server."
        if old is None or (old.server, old.consumer_reread) != (tenant.server, tenant.consumer_reread):
            raise ConfigurationError(text, remedy=remedy)
        output.warn(f"{text}. {remedy}")
    elif budget_left(life, reread, policy).total_seconds() <= 0:
        output.warn(
            f"no outage budget is left: tokens live {output.length(life)}, consumers read every {output.length(reread)}."
        )


def _save(session: Session, name: str, tenant: TenantSpec, version: int, old: TenantSpec | None) -> None:
    if old is not None and tenant.replace(write_id="") == old.replace(write_id=""):
        output.done(f"tenant {name} unchanged", name=name, outcome="unchanged")
        return
    session.save(name, tenant, version)
    session.post(name, "apply")
    outcome = "updated" if old else "created"
    hint = "" if old else f". Next: vb365 sign-in {name}"
    output.done(f"tenant {name} {outcome}{hint}", name=name, outcome=outcome)


@app.command("list")
def list_(format_: Format = "") -> None:
    """List the tenants."""
    items = [
        problem(name, found) if isinstance(found, DocumentMalformed) else shown(name, found)
        for name, found in Session().every(TenantSpec)
    ]
    columns = ("name", "organization", "server", "cloud", "authority", "paused", "consumer_reread")
    output.rows(items, with_problems(items, columns), empty="no tenants: vb365 tenant set NAME --server SERVER")


@app.command()
def show(name: TenantName, format_: Format = "") -> None:
    """Show a tenant."""
    tenant = Session().tenant(name).document
    output.fields(shown(name, tenant) if tenant else {})


@app.command()
def pause(name: TenantName, format_: Format = "") -> None:
    """Stop rotating. The published token lives on until it expires."""
    _set_paused(name, paused=True)


@app.command()
def resume(name: TenantName, format_: Format = "") -> None:
    """Rotate again."""
    _set_paused(name, paused=False)


def _set_paused(name: str, *, paused: bool) -> None:
    session = Session()
    stored = session.tenant(name)
    if stored.document is not None:
        _save(session, name, stored.document.replace(paused=paused), stored.version, stored.document)


@app.command()
def remove(
    name: TenantName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="don't ask")] = False,
    format_: Format = "",
) -> None:
    """Take a tenant out of service: log out, destroy its secrets, remove it.

    Works also for one whose document is gone already.
    """
    session = Session()
    stands = session.store.read(TenantSpec, check_name(name)).document is not None
    status = None if stands else session.status(name)
    if not stands and (status is None or status.state == State.REVOKED):
        session.tenant(name)  # says that there is none
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigurationError("removing destroys the tenant's secrets", remedy="Add --yes.")
        agreed(f"Remove {name} and destroy its secrets? A new sign-in will be needed to undo this.")
    session.post(name, "remove")
    outcome = _await_removed(session, name)
    if not stands or session.delete(TenantSpec.kind, name):
        output.done(f"tenant {name} removed. {outcome}", name=name, outcome="removed", text=outcome)
    else:
        text = "its document stays until an admin deletes it: vb365 tenant remove, with an admin's token"
        output.done(f"tenant {name}: secrets destroyed; {text}. {outcome}", name=name, outcome="revoked", text=text)


def _await_removed(session: Session, name: str) -> str:
    """Wait until the service has destroyed the secrets, and return what it says is left to do."""
    return await_state(session, name, "revoked")


def _duration(flag: str, value: str) -> None:
    try:
        parse_duration(value)
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {error}") from None
