"""A whole term at a server that rejects everybody: it is probed by turns, whatever the clock and Microsoft do meanwhile."""

from collections import Counter
from datetime import timedelta

import pytest

from tests.scenarios.term import HOUR, MINUTE, PlayedTerm
from tests.simulators.http import Request, Response, json_response
from tests.simulators.microsoft import Grant
from vault_plugin.core.credential import Credential
from vault_plugin.core.published import Status
from vault_plugin.core.secret import Secret
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.states import Reason, State

NAMES = ("a", "b", "c")
BUSY = json_response(503, {"error": "temporarily_unavailable", "error_codes": [90033]})


def tenant(played: PlayedTerm, name: str, *, age: timedelta, refreshable: bool = True) -> None:
    """Write a tenant whose grant Microsoft knows."""
    held = played.credential(name, age=age)
    assert held.assertion is not None
    assert held.binding is not None
    mine = f"simtok-ms-rt-{name}"
    text = Secret(f'{{"access_token": "simtok-ms", "refresh_token": "{mine}"}}')
    played.write(name, held.replace(assertion=held.assertion.replace(json_text=text, refreshable=refreshable)))
    bound = held.binding
    played.microsoft.grants[mine] = Grant(bound.organization, bound.client_id, bound.scope, f"admin@{bound.organization}")


def sick(played: PlayedTerm, *, age: timedelta = 36 * MINUTE) -> None:
    """Let three tenants be rejected, each at least once."""
    for name in NAMES:
        tenant(played, name, age=age)
    played.lead()
    played.veeam.sick = True
    played.play(15 * MINUTE)


def waits(played: PlayedTerm) -> set[str]:
    return {played.stands(Status, name).reason for name in NAMES}


def all_new(played: PlayedTerm, within: timedelta) -> timedelta:
    """Play until everybody has a new token; return how long that took."""
    begun, before = played.clock.monotonic(), {name: played.generation(name) for name in NAMES}
    while any(played.generation(name) == before[name] for name in NAMES):
        assert played.clock.monotonic() - begun < within, {name: played.stands(Status, name) for name in NAMES}
        played.play(MINUTE / 4)
    return played.clock.monotonic() - begun


def a_minute(played: PlayedTerm, length: timedelta) -> float:
    """Play for so long, and return how many calls for a token were made each minute."""
    before = len(played.calls)
    played.play(length)
    return sum(call == "veeam token" for _, call in played.calls[before:]) / (length / MINUTE)


def test_it_is_probed_once_a_minute_and_all_are_well_soon_after(played: PlayedTerm) -> None:
    """Nobody is asked; the first acceptance wakes the others."""
    sick(played)
    assert waits(played) == {Reason.SERVER_REJECTS_EVERYONE}
    assert a_minute(played, 30 * MINUTE) == pytest.approx(1, abs=0.1)

    played.veeam.sick = False

    assert all_new(played, within=75 * MINUTE / 60) <= 75 * MINUTE / 60
    assert {played.stands(Credential, name).state for name in NAMES} == {State.ACTIVE}


def test_a_clock_that_is_set_back_stops_no_probe_and_makes_none_more(played: PlayedTerm) -> None:
    """What was noted before lies in the future then."""
    sick(played)
    played.clock.set(-HOUR)
    played.term.clock_stepped(-HOUR)
    assert 0.5 < a_minute(played, 10 * MINUTE) < 2

    played.veeam.sick = False

    assert all_new(played, within=2 * MINUTE)


def test_a_clock_that_is_set_back_repeats_no_renewal_and_wakes_nobody_again(played: PlayedTerm) -> None:
    """The assertion in hand was obtained in the future, and so was the recovery."""
    sick(played)
    played.veeam.organizations.discard("c.onmicrosoft.com")
    for session in played.veeam.sessions:
        session.dead |= session.organization.startswith("c.")
    played.veeam.sick = False
    played.play(15 * MINUTE)
    assert played.stands(Credential, "c").state is State.BLOCKED
    played.clock.set(-HOUR)
    played.term.clock_stepped(-HOUR)
    before = Counter(call for _, call in played.calls)

    played.play(10 * MINUTE)

    made = Counter(call for _, call in played.calls) - before
    assert made["microsoft token"] < 20
    assert made["veeam token"] < 150


def test_while_microsoft_says_nothing_the_refresh_is_the_probe(played: PlayedTerm) -> None:
    """The assertions expire, and every refresh token is good: the server is found to be well by one of them."""
    down = [False]

    def instead(call: str, _request: Request) -> Response | None:
        return BUSY if down[0] and call.startswith("microsoft") else None

    played.instead = instead
    sick(played)
    down[0] = True
    played.play(HOUR)
    played.veeam.sick = False

    assert all_new(played, within=3 * MINUTE)


def test_a_deleted_credential_takes_nobodys_turn(played: PlayedTerm) -> None:
    """One probe a minute, whoever is gone."""
    sick(played)
    for name in ("b", "c"):
        played.store.delete(Credential, name)
    played.play(5 * MINUTE)

    assert a_minute(played, 10 * MINUTE) == pytest.approx(1, abs=0.2)


def test_what_microsoft_doesnt_judge_is_no_leave_to_hurry(played: PlayedTerm) -> None:
    """Veeam's rung is first, and was rejected; Microsoft's brings nothing: that attempt is backed off from."""
    tenant(played, "a", age=41 * MINUTE)
    played.instead = lambda call, _request: BUSY if call.startswith("microsoft") else None
    played.lead()
    played.veeam.sick = True
    played.play(15 * MINUTE)

    assert len(played.made("veeam token")) < 60
    assert len(played.made("microsoft token")) < 30


def test_a_sign_in_of_a_dead_grant_is_kept_though_the_server_rejects_everybody(played: PlayedTerm) -> None:
    """The same person isn't asked twice."""
    sick(played)
    held = played.stands(Credential, "a")
    assert held.assertion is not None
    played.microsoft.grants.pop("simtok-ms-rt-a")
    played.play(HOUR)
    before = played.stands(Credential, "a").sign_in_id
    played.ask("a", "sign-in", "r1")
    played.play(MINUTE / 6)
    played.approve("a")
    played.play(2 * MINUTE)

    ended = played.stands(SignIn, "a")
    assert ended.outcome is not None
    kept = played.stands(Credential, "a").sign_in_id != before
    assert kept or ended.outcome is Reason.REJECTED_BY_VEEAM
    assert kept
