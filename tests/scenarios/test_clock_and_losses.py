"""VB365 loses its sessions while the wall clock is set: what was issued by a clock that was ahead is lost like the rest."""

from datetime import timedelta

import pytest

from tests.scenarios.term import HOUR, MINUTE, SECOND, PlayedTerm
from tests.scenarios.test_turns_played import tenant
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Token
from vault_plugin.core.tenants import Throttle

NAMES = tuple(f"t{number}" for number in range(6))


def tenants(played: PlayedTerm, *, oldest: timedelta = 34 * MINUTE) -> None:
    """Let six tenants have tokens of different ages, the first one's due in a few minutes."""
    for place, name in enumerate(NAMES):
        tenant(played, name, age=oldest - place * 6 * MINUTE)
    played.lead()
    played.play(MINUTE)


def step(played: PlayedTerm, by: timedelta) -> None:
    """Set the wall clock, and have it noticed."""
    played.clock.set(by)
    played.term.clock_stepped(by)


def dead(played: PlayedTerm) -> list[str]:
    """Return whose consumers hold a token that VB365 doesn't know."""
    shown: dict[str, Token] = {name: played.stands(Token, name) for name in NAMES}
    return [
        name for name, token in shown.items() if token.access_token and not played.veeam.accepts(token.access_token.reveal())
    ]


def until_first(played: PlayedTerm) -> None:
    """Let time pass until the first rotation after the loss: a refresh that is refused, and an exchange."""
    for _ in range(15 * 60):
        if len(dead(played)) < len(NAMES):
            return
        played.play(SECOND)


@pytest.mark.parametrize("back", [timedelta(0), 10 * MINUTE, HOUR])
def test_a_clock_that_was_set_back_hides_no_loss(played: PlayedTerm, back: timedelta) -> None:
    """The step, then the loss: the tokens seem to be issued after what is doubted."""
    tenants(played)
    if back:
        step(played, -back)
    played.veeam.revoke_all()
    until_first(played)
    played.play(10 * SECOND)
    assert dead(played) == []


@pytest.mark.parametrize("back", [10 * MINUTE, HOUR])
def test_nor_does_one_that_nobody_saw_being_set(played: PlayedTerm, back: timedelta) -> None:
    """It was set before this process began, which knows only that some tokens seem to be issued in the future."""
    tenants(played)
    played.clock.set(-back)
    played.veeam.revoke_all()
    played.again()
    played.play(30 * SECOND)
    assert dead(played) == []


def test_a_loss_that_was_found_is_not_forgotten_with_the_hour(played: PlayedTerm) -> None:
    """The loss, then the step: the lane serves one at a time, and whose turn is yet to come is dead all the same."""
    played.server("vbr", throttle=Throttle(per_second=0, per_minute=2, per_hour=0))
    tenants(played)
    played.veeam.revoke_all()
    until_first(played)
    played.play(5 * SECOND)
    left = dead(played)
    assert 0 < len(left) < len(NAMES)
    step(played, -HOUR)
    played.play(4 * MINUTE)
    assert dead(played) == []
    new = {name: played.generation(name) for name in NAMES}
    played.play(30 * MINUTE)
    assert {name: played.generation(name) for name in NAMES} == new, "nobody is found dead a second time"


def test_a_token_that_works_stays_though_the_clock_was_set_back(played: PlayedTerm) -> None:
    """Somebody else's refresh is refused, and nothing was lost: one look at another's, and that is all."""
    tenants(played)
    step(played, -HOUR)
    for session in played.veeam.sessions:
        session.dead |= session.organization.startswith("t0.")
    played.play(15 * MINUTE)
    assert played.generation("t0") == 2
    held: list[Credential] = [played.stands(Credential, name) for name in NAMES]
    assert [one.findings.dead for one in held] == [0] * len(NAMES)
