"""Whose turn it is to probe a server that rejects everybody: once a minute, another tenant each time (DESIGN 5.2)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

#: Stands for "never".
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A tenant that waits for its turn. `called_at`: when something was sent to Veeam for it last."""

    name: str
    called_at: datetime | None
    expires_at: datetime | None
    #: The server has given it the pair that it has.
    accepted: bool
    requested: bool = False


def turn_at(
    one: Waiting,
    all_waiting: Iterable[Waiting],
    every: timedelta,
    since: datetime | None,
    called_at: datetime | None = None,
    now: datetime | None = None,
) -> datetime:
    """Return when this tenant's turn comes, if nothing changes meanwhile. It may be over.

    `called_at`: when the server was called last for anybody, whether he waits or not. What lies after `now` was noted before
    the clock was set back, and says nothing.

    Who was asked for comes first, then who had no turn `since` the server accepted somebody last: those that it had accepted
    before, the earliest expiry first, and then the others. Then it is the turn of whoever had it longest ago.
    """
    known = [_known(other, now) for other in (*(other for other in all_waiting if other.name != one.name), one)]
    mine, calls = _order(known[-1], since), [other.called_at for other in known if other.called_at is not None]
    if called_at is not None and (now is None or called_at <= now):
        calls.append(called_at)
    before = sum(_order(other, since) < mine for other in known)
    return max(calls) + every * (before + 1) if calls else _NEVER


def _known(one: Waiting, now: datetime | None) -> Waiting:
    """Return what is known of who waits."""
    return replace(one, called_at=None) if now is not None and one.called_at is not None and one.called_at > now else one


def _order(one: Waiting, since: datetime | None) -> tuple[bool, datetime, bool, datetime, str]:
    called_at = one.called_at or _NEVER
    had_turn = since is None or called_at > since
    return (not one.requested, called_at if had_turn else _NEVER, not one.accepted, one.expires_at or _NEVER, one.name)
