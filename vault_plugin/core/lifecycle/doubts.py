"""What an operator is told of a token that is dead, and of a refresh token that may be spent: why, and what they wait for."""

from datetime import datetime, timedelta

from vault_plugin.core.credential import Rung
from vault_plugin.core.ladder import wanted
from vault_plugin.core.policy import Action, Do, View
from vault_plugin.core.states import State
from vault_plugin.core.timing import ZERO, Policy

NEW_SESSION = "it is replaced by a new session"
MICROSOFTS_TURN = "as soon as Microsoft has renewed the grant"
ONCE = "it was presented once, since Microsoft gave no answer"


def length(value: timedelta) -> str:
    """Return a length of time in words."""
    total = value.total_seconds()
    return f"{total / 60:.0f} min" if total >= 120 else f"{total:.0f} s"  # noqa: PLR2004 - two minutes


def said_of_dead(view: View, action: Action, delay: timedelta, now: datetime, policy: Policy) -> str:
    """Say that the token is dead, how that is known, by what it is replaced, and when; an empty text if it isn't."""
    credential, dead_at = view.credential, view.facts.dead_since(view.credential)
    if dead_at is None:
        return ""
    alone = credential.findings.dead == credential.generation and view.facts.lost_before is None
    whose = "VB365 doesn't know this token any more" if alone else "VB365 has lost its sessions: two tenants' tokens were dead"
    return f"{whose} ({dead_at:%H:%M:%S} UTC); {_replaced(view, action, delay, now, policy)}"


def _replaced(view: View, action: Action, delay: timedelta, now: datetime, policy: Policy) -> str:
    credential, pair = view.credential, view.credential.pair
    if credential.state is State.NEEDS_SIGN_IN:
        return "only a sign-in replaces it"
    first = wanted(credential, now, view.facts, hurried=view.hurries(now, policy))[0]
    if first is Rung.REASSERT:
        again = f" (its refresh token may be dead, too; {ONCE})" if pair and pair.presented else ""
        return f"{NEW_SESSION}, {MICROSOFTS_TURN}{again}"
    how = {Rung.EXCHANGE: NEW_SESSION, Rung.REFRESH: "its refresh token, which may be dead, too, is presented"}[first]
    return f"{how}, {_when(action, delay, now)}"


def _when(action: Action, delay: timedelta, now: datetime) -> str:
    if action.do is Do.HOLD and action.at is not None and action.at > now:
        return f"at {action.at:%H:%M:%S} UTC at the soonest"
    return f"about {length(delay)} from now" if delay > ZERO else "as soon as its server's lane has a place"


def said_of_refresh(view: View, now: datetime) -> str:
    """Say why the refresh token may be spent, and what is tried first; an empty text if nobody must know.

    A refresh that was taken over is told of where the rung that goes first meets trouble; a dead token has its own text.
    """
    credential, pair = view.credential, view.credential.pair
    if pair is None or not pair.doubted:
        return ""
    told = credential.last_error is not None and view.facts.dead_since(credential) is None
    if not pair.restored and not told:
        return ""
    cut_short = "an attempt to refresh was cut short"
    why = "Vault was restored from a snapshot, or nobody led for a while" if pair.restored else cut_short
    first = wanted(credential, now, view.facts, hurried=False)[0]
    what = ONCE if pair.presented else f"a new session goes first{f', {MICROSOFTS_TURN}' if first is Rung.REASSERT else ''}"
    return f"{why}: the refresh token may be spent; {what}"
