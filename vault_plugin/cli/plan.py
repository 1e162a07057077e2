"""``vb365 plan``: whether a server's throttle keeps its tenants fresh, and what would."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from vault_plugin.cli import output
from vault_plugin.cli.session import Format, Session, remember_server
from vault_plugin.core.capacity import capacity
from vault_plugin.core.documents import parse_duration, seconds
from vault_plugin.core.errors import ConfigurationError, NotFound
from vault_plugin.core.names import check_name, is_name
from vault_plugin.core.published import Status
from vault_plugin.core.tenants import ServerSpec, TenantSpec
from vault_plugin.core.timing import Policy

USUAL_LIFE = timedelta(minutes=60)
USUAL_REREAD = timedelta(minutes=5)
COLUMNS = ("server", "tenants", "token_life", "consumer_reread", "keeps", "at_most", "verdict")


def plan(
    server: Annotated[str, typer.Argument(metavar="[SERVER]", help="one server [default: all]", callback=remember_server)] = "",
    tenants: Annotated[int | None, typer.Option(min=1, help="plan for so many tenants [default: those that are]")] = None,
    token_life: Annotated[str | None, typer.Option(help="plan with this token life, like 60m [default: as measured]")] = None,
    consumer_reread: Annotated[str | None, typer.Option(help="plan with this interval [default: the slowest]")] = None,
    format_: Format = "",
) -> None:
    """Tell whether each server's throttle keeps its tenants fresh, and what would."""
    session = Session()
    of_server: dict[str, list[tuple[str, TenantSpec]]] = defaultdict(list)
    for name in filter(is_name, session.store.names(TenantSpec)):
        tenant = session.store.read(TenantSpec, name).document
        if tenant is not None:
            of_server[tenant.server].append((name, tenant))
    names = [check_name(server, "server")] if server else [n for n in session.store.names(ServerSpec) if is_name(n)]
    items = []
    for name in names:
        spec = session.store.read(ServerSpec, name).document
        if spec is None:
            raise NotFound(f"there is no server {name}", remedy="See: vb365 server list.")
        own = of_server[name]
        life = _duration("--token-life", token_life) or spec.token_life or _measured(session, own) or USUAL_LIFE
        reread = _duration("--consumer-reread", consumer_reread)
        reread = reread or max((tenant.consumer_reread for _, tenant in own), default=USUAL_REREAD)
        items.append(_item(name, spec, tenants or len(own), life, reread))
    output.rows(items, COLUMNS, empty="no servers: vb365 server set NAME --url URL")


def _item(name: str, spec: ServerSpec, tenants: int, life: timedelta, reread: timedelta) -> dict[str, Any]:
    """Return one server's row: numbers for programs, the verdict and the remedy for people."""
    found = capacity(spec.throttle, life, reread, tenants, Policy())
    unlimited = math.isinf(found.comfortable)
    verdict = "ok"
    if tenants > found.comfortable:
        needed = f"a token life (AuthTokenLifeTime) of {found.life_needed}" if found.life_needed else "no token life"
        late = "tokens will expire" if tenants > found.most else "an outage will be noticed"
        verdict = f"{late}: {needed} or {found.addresses} addresses would do"
    return {
        "server": name,
        "tenants": tenants,
        "throttle": str(spec.throttle),
        "token_life": f"{seconds(life)}s",
        "consumer_reread": f"{seconds(reread)}s",
        "keeps": None if unlimited else int(found.comfortable),
        "at_most": None if unlimited else int(found.most),
        "token_life_needed": f"{seconds(found.life_needed)}s" if found.life_needed else None,
        "addresses_needed": found.addresses,
        "verdict": verdict,
    }


def _measured(session: Session, tenants: Sequence[tuple[str, TenantSpec]]) -> timedelta | None:
    """Return the shortest token life that the service has seen at the first tenants' credentials."""
    lives = []
    for name, _ in tenants[:5]:
        status = session.store.read(Status, name).document
        if status is not None and status.issued_at and status.expires_at:
            lives.append(status.expires_at - status.issued_at)
    return min(lives, default=None)


def _duration(option: str, value: str | None) -> timedelta | None:
    if value is None:
        return None
    try:
        parsed = parse_duration(value)
    except ValueError as error:
        msg = f"{option}: {error}"
        raise ConfigurationError(msg, remedy="Write a duration like 30s, 5m or 1h.") from None
    if parsed <= timedelta(0):
        msg = f"{option} must be more than nothing"
        raise ConfigurationError(msg, remedy="Write a duration like 30s, 5m or 1h.")
    return parsed
