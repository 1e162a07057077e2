"""What consumers and operators read: the token, and the status. Neither is ever read back to decide anything."""

from datetime import datetime, timedelta

from vault_plugin.core.credential import Credential, Failure, Handled
from vault_plugin.core.lifecycle.gather import view_of
from vault_plugin.core.lifecycle.latest import replaces_always, write_latest
from vault_plugin.core.policy import Action, Do, View, next_action
from vault_plugin.core.ports import World
from vault_plugin.core.published import LastError, RequestStatus, SignInStatus, Status, Token
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import Reason, State
from vault_plugin.core.timing import budget_left, due_at

PATIENCE = timedelta(seconds=10)
STATUS_PATIENCE = timedelta(seconds=3)
#: Microsoft's refresh tokens die after this without use (learn.microsoft.com, "Refresh tokens").
INACTIVITY = timedelta(days=90)
#: How many outcomes of requests a status shows.
SHOWN = 8


def publish(world: World, name: str, credential: Credential) -> bool:
    """Write ``tokens/NAME`` from the stored pair unless the same or a higher generation stands there.

    Tells whether it stands now. A credential without a pair is published only when revoked, as a token without token.
    """
    token = token_of(world, name, credential)
    if token is None:
        return False
    return write_latest(world, name, token, lambda old: old.generation < token.generation, patience=PATIENCE)


def token_of(world: World, name: str, credential: Credential) -> Token | None:
    """Return what consumers of this credential read, or None if there is nothing to tell them."""
    pair, binding = credential.pair, credential.binding
    if credential.state is State.REVOKED:
        return Token(generation=credential.generation)
    if pair is None or binding is None:
        return None
    server, tenant = world.specs.server(binding.server), world.specs.tenant(name)
    next_at = None
    if tenant is not None:
        next_at = due_at(name, credential.generation, pair, tenant.consumer_reread, world.policy)
    return Token(
        access_token=pair.access_token,
        token_type=pair.token_type,
        issued_at=pair.issued_at,
        expires_at=pair.expires_at,
        next_rotation_at=next_at,
        server_url=server.url if server else "",
        api_version=server.api_version if server else "",
        organization=binding.organization,
        generation=credential.generation,
    )


def write_status(world: World, name: str, credential: Credential, sign_in: SignIn | None) -> None:
    """Write ``status/NAME``, best effort: nothing depends on it."""
    now = world.clock.now()
    view = view_of(world, name, credential)
    action = next_action(view, now, world.policy)
    status = status_of(view, action, sign_in, now, world)
    write_latest(world, name, status, replaces_always, patience=STATUS_PATIENCE)


def status_of(view: View, action: Action, sign_in: SignIn | None, now: datetime, world: World) -> Status:
    """Return what operators are told. No secrets and no codes."""
    credential, tenant, pair = view.credential, view.tenant, view.credential.pair
    held = action.do is Do.HOLD and action.reason in HOLDS
    error = credential.last_error
    lost = _sign_in_failed(credential, sign_in)
    budget = budget_left(pair.life, tenant.consumer_reread, world.policy) if pair and tenant else None
    shown = lost or (error if not held else None)
    return Status(
        tenant=view.name,
        server=tenant.server if tenant else "",
        organization=(tenant.organization or view.name) if tenant else "",
        state=credential.state,
        reason=action.reason if held else (lost.outcome or "" if lost else credential.reason),
        text=action.text or (shown.text if shown else ""),
        remedy=HOLDS.get(action.reason, "") if held else (shown.remedy if shown else _remedy(credential)),
        since=credential.since,
        account=credential.assertion.account if credential.assertion else "",
        generation=credential.generation,
        issued_at=pair.issued_at if pair else None,
        expires_at=pair.expires_at if pair else None,
        last_rotation_at=credential.last_rotation_at,
        next_rotation_at=now if action.do is Do.ATTEMPT else action.at,
        outage_budget_left_seconds=round(budget.total_seconds()) if budget is not None else None,
        failures=len(credential.failures),
        last_error=_last_error(error) if error else None,
        sign_in=_sign_in_status(sign_in) if sign_in else None,
        requests=_outcomes(credential.handled, sign_in.handled if sign_in else ()),
        signed_in_at=credential.assertion.signed_in_at if credential.assertion else None,
        person_needed_by=_forecast(credential),
        updated_at=now,
    )


#: Reasons for holding that an operator must know of, and what to do about them.
HOLDS = {
    Reason.TENANT_REMOVED: "Set the tenant again with the same binding, or finish with: vb365 tenant remove NAME.",
    Reason.PAUSED: "Resume it: vb365 tenant resume NAME.",
    Reason.CONFIGURATION_CHANGED: "Set the fields back, or sign in anew: vb365 sign-in NAME.",
    Reason.CONFIGURATION_REFUSED: "Correct the tenant or the service's settings.",
}


def _sign_in_failed(credential: Credential, sign_in: SignIn | None) -> SignIn | None:
    """Return the sign-in if its failure is why a person is still needed."""
    if credential.state is not State.NEEDS_SIGN_IN or sign_in is None or sign_in.ended_at is None:
        return None
    failed = sign_in.outcome not in (None, Reason.SIGNED_IN, Reason.CANCELLED)
    return sign_in if failed and sign_in.ended_at >= credential.since else None


def _remedy(credential: Credential) -> str:
    needed = credential.state in (State.NEEDS_SIGN_IN, State.REVOKED)
    return "Sign in: vb365 sign-in NAME." if needed else ""


def _last_error(error: Failure) -> LastError:
    return LastError(
        at=error.at,
        rung=error.rung,
        reason=error.reason,
        text=error.text,
        remedy=error.remedy,
        code=error.code,
        trace_id=error.trace_id,
    )


def _sign_in_status(sign_in: SignIn) -> SignInStatus:
    return SignInStatus(
        id=sign_in.id,
        state=sign_in.state,
        claimed_by=sign_in.claimed_by,
        why=sign_in.why,
        started_at=sign_in.started_at,
        expires_at=sign_in.expires_at,
        outcome=sign_in.outcome or "",
        text=sign_in.text,
        remedy=sign_in.remedy,
        code=sign_in.code,
        trace_id=sign_in.trace_id,
        ended_at=sign_in.ended_at,
    )


def _outcomes(*lists: tuple[Handled, ...]) -> tuple[RequestStatus, ...]:
    newest = sorted((entry for handled in lists for entry in handled), key=lambda entry: entry.at)[-SHOWN:]
    return tuple(
        RequestStatus(id=entry.id, action=entry.action, outcome=entry.outcome, text=entry.text, at=entry.at) for entry in newest
    )


def _forecast(credential: Credential) -> datetime | None:
    """Return when Microsoft's grant would die of inactivity if nobody renewed it."""
    assertion = credential.assertion
    return assertion.obtained_at + INACTIVITY if assertion and assertion.refreshable else None
