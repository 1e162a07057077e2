"""``vb365 plan``: whether a server's throttle keeps its tenants fresh, and what would."""

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from vault_plugin.cli import output
from vault_plugin.cli.session import Format, Session, form, remember_server
from vault_plugin.core.capacity import capacity
from vault_plugin.core.documents import parse_duration, seconds
from vault_plugin.core.errors import ConfigurationError, DocumentMalformed
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
    for name, tenant in session.every(TenantSpec):
        if isinstance(tenant, DocumentMalformed):
            output.warn(f"tenant {name} isn't counted: {tenant}")
        else:
            of_server[tenant.server].append((name, tenant))
    items: list[dict[str, Any]] = []
    for name, spec in _servers(session, server):
        if isinstance(spec, DocumentMalformed):
            items.append({"server": name, "verdict": str(spec)})
            continue
        own = of_server[name]
        life = _duration("--token-life", token_life) or spec.token_life or _measured(session, own) or USUAL_LIFE
        reread = _duration("--consumer-reread", consumer_reread)
        reread = reread or max((tenant.consumer_reread for _, tenant in own), default=USUAL_REREAD)
        items.append(_item(name, spec, tenants or len(own), life, reread))
    output.rows(items, COLUMNS, empty="no servers: vb365 server set NAME --url URL")


def _servers(session: Session, server: str) -> Sequence[tuple[str, ServerSpec | DocumentMalformed]]:
    """Return the one that is asked for, which must exist, or all."""
    if not server:
        return session.every(ServerSpec)
    spec = session.server(server).document
    return [(server, spec)] if spec is not None else []


def _item(name: str, spec: ServerSpec, tenants: int, life: timedelta, reread: timedelta) -> dict[str, Any]:
    """Return one server's row: numbers for programs, the verdict and the remedy for people."""
    policy = Policy()
    found = capacity(spec.throttle, life, reread, tenants, policy)
    unlimited = math.isinf(found.comfortable)
    keeps, at_most, life_needed, verdict = found.comfortable, found.most, found.life_needed, "ok"
    slow = unserved(life, reread, policy)
    if slow:
        keeps = at_most = 0.0
        unlimited = False
        least = timedelta(minutes=math.ceil((reread + policy.margin) * 1.5 / timedelta(minutes=1)))
        life_needed = max(least, life_needed) if life_needed else None
        verdict = f"{slow}: have them read more often, or a token life (AuthTokenLifeTime) of {output.length(least)} is needed"
    elif tenants > found.comfortable:
        needed = f"a token life (AuthTokenLifeTime) of {output.length(life_needed)}" if life_needed else "no token life"
        late = "tokens will expire" if tenants > found.most else "a long outage may be noticed"
        verdict = f"{late}: {needed} or {found.addresses} addresses would do"
    shown = output.length if form() == "table" else seconds
    return {
        "server": name,
        "tenants": tenants,
        "throttle": str(spec.throttle),
        "token_life": shown(life),
        "consumer_reread": shown(reread),
        "keeps": None if unlimited else int(keeps),
        "at_most": None if unlimited else int(at_most),
        "token_life_needed": shown(life_needed) if life_needed else None,
        "addresses_needed": None if slow else found.addresses,
        "verdict": verdict,
    }


def unserved(life: timedelta, reread: timedelta, policy: Policy) -> str:
    """Say that consumers which read so rarely can't be served with such tokens, or nothing."""
    if reread + policy.margin <= life * 2 / 3:
        return ""
    return f"consumers that read every {output.length(reread)} can't be served with {output.length(life)} tokens"


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
