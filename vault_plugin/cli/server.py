"""``vb365 server``: the VB365 servers, written by an admin."""

import ssl
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError

from vault_plugin.cli import output
from vault_plugin.cli.session import Format, ServerName, Session
from vault_plugin.core.errors import ConfigurationError, DocumentMalformed, StoreDenied
from vault_plugin.core.names import check_name
from vault_plugin.core.tenants import ServerSpec, TenantSpec

app = typer.Typer(help="VB365 servers (admins only).", no_args_is_help=True)

M = TypeVar("M", ServerSpec, TenantSpec)

TRUST = ("ca_pem", "fingerprint_sha256", "insecure")


def shown(name: str, server: ServerSpec) -> dict[str, Any]:
    """Return a server as it is shown: its trust in a word."""
    trust = "system's authorities, or the service's VB365_CA_BUNDLE"
    if server.ca_pem:
        trust = "CA (PEM)"
    elif server.fingerprint_sha256:
        trust = f"fingerprint {server.fingerprint_sha256[:16]}…"
    elif server.insecure:
        trust = "INSECURE: not verified"
    content = server.model_dump(mode="json", exclude_none=True, exclude={"write_id", "schema_version"})
    return {"name": name, **content, "throttle": str(server.throttle), "trust": trust}


@app.command("set")
def set_(
    name: ServerName,
    url: Annotated[str | None, typer.Option(help="https://SERVER:4443")] = None,
    api_version: Annotated[str | None, typer.Option(help="v4 to v8 [default: v8]")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="trust this CA (PEM)", metavar="PEM")] = None,
    fingerprint_sha256: Annotated[str | None, typer.Option(help="trust this one certificate", metavar="HEX")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="verify nothing: for trials only")] = False,
    throttle: Annotated[str | None, typer.Option(help="calls a second/minute/hour, or none [default: 1/5/1500]")] = None,
    token_life: Annotated[str | None, typer.Option(help="the server's token life, like 60m, if you know it")] = None,
    format_: Format = "",
) -> None:
    """Create or change a server. Only what is given is changed."""
    check_name(name, "server")
    session = Session()
    stored, problem = session.to_write(ServerSpec, name)
    if stored.document is None and url is None:
        raise ConfigurationError(
            f"server {name} is new: --url is needed", remedy="vb365 server set SERVER --url https://HOST:4443"
        )
    changes: dict[str, Any] = {
        "url": url,
        "api_version": api_version,
        "throttle": throttle,
        "token_life": token_life,
    }
    chosen = {
        "ca_pem": _read_pem(ca_file) if ca_file else None,
        "fingerprint_sha256": fingerprint_sha256,
        "insecure": insecure or None,
    }
    old = stored.document.model_dump(mode="json", exclude_none=True) if stored.document else {}
    if any(chosen.values()):
        old = {field: value for field, value in old.items() if field not in TRUST}
    given = {field: value for field, value in (changes | chosen).items() if value is not None}
    wanted = {**old, **given}
    server = validated(ServerSpec, wanted)
    if stored.document is not None and server.replace(write_id="") == stored.document.replace(write_id=""):
        output.done(f"server {name} unchanged", name=name, outcome="unchanged")
        return
    session.save(name, server, stored.version)
    if problem:
        output.warn(f"{problem}. It was replaced.")
    if server.insecure:
        output.warn("--insecure: anybody between the service and this server can read its tokens.")
    outcome = "updated" if stored.document else "created"
    text = f"server {name} {outcome}: {server.url}, trust: {shown(name, server)['trust']}"
    when = "; the service takes it up within a minute" if stored.version else ""
    output.done(f"{text}{when}", name=name, outcome=outcome)


@app.command("list")
def list_(format_: Format = "") -> None:
    """List the servers."""
    items = [
        problem(name, found) if isinstance(found, DocumentMalformed) else shown(name, found)
        for name, found in Session().every(ServerSpec)
    ]
    columns = ("name", "url", "api_version", "trust", "throttle")
    output.rows(items, with_problems(items, columns), empty="no servers: vb365 server set NAME --url URL")


def problem(name: str, error: DocumentMalformed) -> dict[str, Any]:
    """Return what a list shows of a document that can't be read."""
    return {"name": name, "problem": f"{error}. {error.remedy()}"}


def with_problems(items: list[dict[str, Any]], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns, with one for problems where there are any."""
    return (*columns, "problem") if any("problem" in item for item in items) else columns


@app.command()
def show(name: ServerName, format_: Format = "") -> None:
    """Show a server."""
    server = Session().server(name).document
    output.fields(shown(name, server) if server else {})


@app.command()
def remove(
    name: ServerName,
    force: Annotated[bool, typer.Option("--force", help="even while tenants use it")] = False,
    format_: Format = "",
) -> None:
    """Remove a server. Its tenants' credentials stay; they aren't rotated until it is back."""
    session = Session()
    session.server(name)
    users = []
    for tenant, found in session.every(TenantSpec):
        if isinstance(found, DocumentMalformed):
            output.warn(f"whether tenant {tenant} uses it isn't known: {found}")
        elif found.server == name:
            users.append(tenant)
    if users and not force:
        remedy = "Move or remove them first, or use --force."
        raise ConfigurationError(f"server {name} is used by {', '.join(users[:5])}", remedy=remedy)
    if not session.delete(ServerSpec.kind, name):
        raise StoreDenied(f"removing server {name}: permission denied", remedy="An admin's token is needed.")
    output.done(f"server {name} removed", name=name, outcome="removed")


def validated(model: type[M], values: dict[str, Any]) -> M:
    """Return the document, or say which field is wrong."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        wrong = "; ".join(f"{_flag(e['loc'])}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise ConfigurationError(wrong, remedy="Correct it; nothing was changed.") from None


def _flag(location: tuple[int | str, ...]) -> str:
    flags = {"ca_pem": "--ca-file"}
    field = str(location[0]) if location else "the options"
    return flags.get(field, f"--{field.replace('_', '-')}") if location else field


def _read_pem(path: Path) -> str:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--ca-file {path}: {getattr(error, 'strerror', 'not text')}") from None
    try:
        ssl.create_default_context(cadata=text)
        good = "BEGIN CERTIFICATE" in text and "PRIVATE KEY" not in text
    except (ssl.SSLError, ValueError, TypeError):
        good = False
    if not good:
        raise ConfigurationError(f"--ca-file {path} isn't a PEM certificate", remedy="Give the CA's certificate, without keys.")
    return text
