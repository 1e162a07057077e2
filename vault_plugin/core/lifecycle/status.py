"""What operators read: the status. No secrets and no codes; never read back to decide anything."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from vault_plugin.core.credential import Credential, Failure, Rung
from vault_plugin.core.deleted import said_of
from vault_plugin.core.errors import AuthorizationServerUnavailable
from vault_plugin.core.handled import Handled
from vault_plugin.core.lifecycle.doubts import length, said_of_dead
from vault_plugin.core.lifecycle.gather import view_of
from vault_plugin.core.lifecycle.identity import shared
from vault_plugin.core.lifecycle.latest import replaces_always, write_latest
from vault_plugin.core.lifecycle.notes import Note, notes_of, of_sign_in, renamed, with_notes
from vault_plugin.core.lifecycle.verdicts import REJECTS_EVERYONE
from vault_plugin.core.names import fill
from vault_plugin.core.policy import Action, Do, View, next_action
from vault_plugin.core.ports import World
from vault_plugin.core.published import LastError, RequestStatus, SignInStatus, Status
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import Reason, State
from vault_plugin.core.timing import ZERO, Policy, budget_left

PATIENCE = timedelta(seconds=3)
#: Microsoft's refresh tokens die after this without use (learn.microsoft.com, "Refresh tokens").
INACTIVITY = timedelta(days=90)
#: How many outcomes of requests a status shows.
SHOWN = 8
#: Ended this way, a sign-in is no reason to ask again.
NO_FAILURES = ("", Reason.SIGNED_IN, Reason.CANCELLED)


@dataclass(frozen=True, slots=True)
class SignInSeen:
    """What a status tells of the newest sign-in. Small, and without its code: it may be kept in memory."""

    newest: SignInStatus | None = None
    requests: tuple[RequestStatus, ...] = ()


def seen(sign_in: SignIn | None) -> SignInSeen:
    """Return what a status tells of this sign-in."""
    if sign_in is None:
        return SignInSeen()
    return SignInSeen(of_sign_in(_sign_in_status(sign_in), sign_in), _outcomes(sign_in.handled))


def troubled(seen: SignInSeen, error: AuthorizationServerUnavailable | None) -> SignInSeen:
    """Return what is told of a pending sign-in whose newest poll met this trouble: it is polled again, and it is shown."""
    newest = seen.newest
    if newest is None or error is None or newest.state != SignInState.PENDING:
        return seen
    told = {"text": str(error), "remedy": error.remedy(), "code": error.code, "trace_id": error.trace_id}
    return SignInSeen(newest.replace(**told), seen.requests)


def seen_gone(world: World, name: str, known: SignInSeen | None) -> SignInSeen:
    """Return what a status tells of a sign-in that somebody deleted: as it was told last, and cancelled."""
    if known is None or known.newest is None:
        told = world.store.read(Status, name).document
        known = SignInSeen(told.sign_in, known.requests if known else ()) if told else SignInSeen()
    newest, text = known.newest, f"sign-ins/{name} was deleted"
    if newest is None or newest.ended_at is not None:
        return known
    ended = {"state": SignInState.ENDED.value, "outcome": Reason.CANCELLED.value, "ended_at": world.clock.now(), "text": text}
    return SignInSeen(newest.replace(**ended), known.requests)


def write_status(  # noqa: PLR0913 - what is told, from where it is known
    world: World,
    name: str,
    credential: Credential,
    sign_in: SignInSeen,
    delay: timedelta = ZERO,
    beside: tuple[str, str] = ("", ""),
    *,
    looked_at: datetime | None = None,
) -> None:
    """Write ``status/NAME``, best effort: nothing depends on it.

    `delay` is the lane's present one; `beside` is a text with its remedy of what is wrong beside the credential; at
    `looked_at` the published token was last found to work.
    """
    now = world.clock.now()
    view = view_of(world, name, credential)
    status = status_of(view, next_action(view, now, world.policy), sign_in, now, world.policy, delay)
    if looked_at is not None:
        status = status.replace(proved_at=max(looked_at, status.proved_at or looked_at))
    told = (*notes_of(view, world.allowed, now), *shared(world, name, credential))
    notes = (*(_said(note, view) for note in told), Note(*beside))
    write_told(world, name, with_notes(status, notes))


def _said(note: Note, view: View) -> Note:
    return Note(note.text, fill(note.remedy, tenant=view.name, server=_server(view)), note.why)


def write_told(world: World, name: str, status: Status) -> None:
    """Write a status whose remedies name the mount."""
    named = status.remedy.replace("-mount=MOUNT", f"-mount={world.mount}")
    write_latest(world, name, status.replace(remedy=named), replaces_always, patience=PATIENCE)


def status_of(view: View, action: Action, sign_in: SignInSeen, now: datetime, policy: Policy, delay: timedelta) -> Status:
    """Return what operators are told. No secrets and no codes."""
    credential, tenant, pair = view.credential, view.tenant, view.credential.pair
    held = action.do is Do.HOLD and action.reason in HOLDS
    error = credential.last_error
    lost = _sign_in_failed(credential, sign_in.newest)
    kills = view.facts.kills_old
    budget = budget_left(pair.life, view.reread, policy, delay, late=kills) if pair and tenant else None
    shown = lost or (error if not held else None)
    server = _server(view)

    def say(text: str) -> str:
        return fill(text, tenant=view.name, server=server)

    text = action.text or (shown.text if shown else "")
    remedy = HOLDS.get(action.reason, "") if held else (shown.remedy if shown else _remedy(credential))
    remedy = said_of(view.name, credential)[1] or remedy
    if credential.distrusted and credential.state in (State.ACTIVE, State.ROTATING) and not held:
        wrong = credential.disproved == credential.generation
        text, remedy = (DISPROVED, _DISPROVED_REMEDY) if wrong else (UNPROVED, _UNPROVED_REMEDY)
    if not (text or remedy or held) and pair and tenant and _too_slow(pair.life, view.reread, policy, late=kills):
        every, live = length(view.reread), length(pair.life)
        text = f"consumers that read every {every} may hold an expired token: tokens live {live}"
        remedy = TOO_SLOW
    if not (text or remedy or held):
        text, remedy = _whose(credential)
    if not held:
        text = "; ".join(filter(None, (said_of_dead(view, action, delay, now, policy), text)))
    return Status(
        tenant=view.name,
        server=server,
        organization=(tenant.organization or view.name) if tenant else "",
        state=credential.state,
        reason=action.reason if held else (lost.outcome if lost else credential.reason),
        text=say(text),
        remedy=say(remedy),
        since=credential.since,
        account=credential.assertion.account if credential.assertion else "",
        generation=credential.generation,
        issued_at=pair.issued_at if pair else None,
        expires_at=pair.expires_at if pair else None,
        last_rotation_at=credential.last_rotation_at,
        next_rotation_at=now if action.do is Do.ATTEMPT else action.at,
        outage_budget_left_seconds=round(budget.total_seconds()) if budget is not None else None,
        old_token_after_refresh=_fate(view.facts.old_alive_after(Rung.REFRESH)),
        old_token_after_new_session=_fate(view.facts.old_alive_after(Rung.EXCHANGE)),
        consumers_lose_seconds=round(view.reread.total_seconds()) if kills else None,
        proved_at=credential.proved_at,
        failures=len(credential.failures),
        last_error=_last_error(error, say) if error else None,
        sign_in=_named(sign_in.newest, say) if sign_in.newest else None,
        requests=tuple(
            done.replace(text=say(done.text)) for done in _newest(*_outcomes(credential.handled), *sign_in.requests)
        ),
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
    Reason.DOCUMENT_DELETED: "",  # it names the version
    Reason.SERVER_REJECTS_EVERYONE: REJECTS_EVERYONE,
}


UNPROVED = "the new token isn't published: the one before was wrong, and the server doesn't answer what this one is for"
DISPROVED = "the token isn't published: the server says that it isn't what it should be; the next rotation brings another"
_DISPROVED_REMEDY = "Check the tenant's organization, and that VB365's REST API admits more than restore operators."
_UNPROVED_REMEDY = "It is asked again by itself. Check that VB365 answers GET /Organization: vb365 server show SERVER."
TOO_SLOW = (
    "Have consumers read more often (vb365 tenant set NAME --consumer-reread), "
    "or lengthen AuthTokenLifeTime on the VB365 server."
)


UNVERIFIED = "the token is not verified: VB365 knows it, but doesn't say which organization it is for"


def _whose(credential: Credential) -> tuple[str, str]:
    """Return what an operator should know of the organization that the token is for, and what to do about it."""
    if called := renamed(credential):
        return called
    unverified = credential.pair is not None and credential.findings.unverified >= credential.proved > 0
    return (UNVERIFIED, "") if unverified else ("", "")


def _too_slow(life: timedelta, reread: timedelta, policy: Policy, *, late: bool) -> bool:
    """Tell whether re-reading alone is too slow, even where a rotation takes no time."""
    return budget_left(life, reread, policy, late=late) + policy.margin < ZERO


def _fate(alive: bool | None) -> str:  # noqa: FBT001 - three answers of one question
    return {True: "lives", False: "dies", None: ""}[alive]


def _sign_in_failed(credential: Credential, newest: SignInStatus | None) -> SignInStatus | None:
    """Return the sign-in if its failure is why a person is still needed."""
    if credential.state is not State.NEEDS_SIGN_IN or newest is None or newest.ended_at is None:
        return None
    return newest if newest.outcome not in NO_FAILURES and newest.ended_at >= credential.since else None


def _remedy(credential: Credential) -> str:
    needed = credential.state in (State.NEEDS_SIGN_IN, State.REVOKED)
    return "Sign in: vb365 sign-in NAME." if needed else ""


Say = Callable[[str], str]


def _server(view: View) -> str:
    """Return the server that this is about: the tenant's, or where the secrets of a tenant that is gone came from."""
    if view.tenant is not None:
        return view.tenant.server
    return view.credential.binding.server if view.credential.binding else ""


def _named(newest: SignInStatus, say: Say) -> SignInStatus:
    return newest.replace(text=say(newest.text), remedy=say(newest.remedy))


def _last_error(error: Failure, say: Say) -> LastError:
    return LastError(
        at=error.at,
        rung=error.rung,
        reason=error.reason,
        text=say(error.text),
        remedy=say(error.remedy),
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


def _outcomes(handled: tuple[Handled, ...]) -> tuple[RequestStatus, ...]:
    return _newest(*map(outcome_of, handled))


def outcome_of(handled: Handled) -> RequestStatus:
    """Return what a status tells of a request."""
    return RequestStatus(id=handled.id, action=handled.action, outcome=handled.outcome, text=handled.text, at=handled.at)


def _newest(*outcomes: RequestStatus) -> tuple[RequestStatus, ...]:
    return tuple(sorted(outcomes, key=lambda outcome: outcome.at)[-SHOWN:])


def _forecast(credential: Credential) -> datetime | None:
    """Return when Microsoft's grant would die of inactivity if nobody renewed it."""
    assertion = credential.assertion
    return assertion.obtained_at + INACTIVITY if assertion and assertion.refreshable else None
