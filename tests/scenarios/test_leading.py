"""Who doesn't lead begins nothing; and a term goes on where the one before it stopped."""

from datetime import timedelta

import pytest

from tests.scenarios.term import HOUR, MINUTE, SECOND, PlayedTerm
from vault_plugin.core.credential import Credential
from vault_plugin.core.errors import StoreUnavailable
from vault_plugin.core.published import Action, Prompt, Token
from vault_plugin.core.sign_in import SignIn, SignInState
from vault_plugin.core.states import State
from vault_plugin.core.tenants import ServerSpec, TenantSpec, Throttle

IDLE = timedelta(days=4)


def test_a_term_signs_in_and_keeps_a_token_fresh(played: PlayedTerm) -> None:
    """The stage itself: a code is shown, a person approves, and the token is rotated for as long as one looks."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(10 * SECOND)
    played.approve("acme")
    played.play(10 * SECOND)
    assert played.generation("acme") == 1

    played.play(5 * HOUR)

    assert played.generation("acme") == 8
    assert played.stands(Credential, "acme").state is State.ACTIVE


# --- nobody begins who doesn't lead ----------------------------------------------------------------------------------


def test_who_does_not_lead_calls_no_server(played: PlayedTerm) -> None:
    """A pair falls due while the lease can't be renewed; it is rotated as soon as this instance leads again."""
    played.credential("acme", age=30 * MINUTE)
    played.lead()
    played.leads = False
    played.calls.clear()
    played.play(20 * MINUTE)
    assert played.calls == []

    played.leads = True
    played.term.wake()
    played.play(SECOND)

    assert len(played.made("veeam token")) == 1


def test_who_does_not_lead_polls_nothing(played: PlayedTerm) -> None:
    """Another leader may be polling: two of them would be answered slow_down. Who leads again polls within its interval."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    assert played.made("microsoft devicecode")
    played.leads = False
    played.play(5 * MINUTE)
    assert played.made("microsoft token") == []

    played.leads = True
    played.play(10 * SECOND)

    assert played.made("microsoft token")


def test_who_does_not_lead_renews_nothing(played: PlayedTerm, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of Microsoft's threads were taken when the renewal was planned; when one is free, somebody else leads."""
    played.credential("acme", grant_age=IDLE)
    waiting = played.renewals_wait(monkeypatch)
    played.lead()
    played.play(SECOND)
    assert waiting
    played.leads = False
    waiting.pop()()
    assert played.made("microsoft token") == []

    played.leads = True
    played.play(10 * SECOND)
    waiting.pop()()

    assert len(played.made("microsoft token")) == 1


@pytest.mark.parametrize("action", ["sign-in", "rotate", "revoke"])
def test_who_does_not_lead_opens_no_letter(played: PlayedTerm, action: Action) -> None:
    """Whoever leads takes it; to delete it here would be to lose it."""
    played.tenant("acme")
    played.lead()
    played.leads = False
    played.ask("acme", action, "r1")
    played.play(MINUTE)

    assert played.letters.posted
    assert played.calls == []


# --- what a new term takes over --------------------------------------------------------------------------------------


def test_a_lane_is_full_after_a_restart_if_it_was_before(played: PlayedTerm) -> None:
    """Five calls of the last minute stand in the journals, so the sixth waits for the first to leave the server's window."""
    five = Throttle(per_second=0, per_minute=5, per_hour=0)
    played.server("vbr", throttle=five)
    now = played.clock.now()
    for number in range(5):
        played.credential(f"done{number}", calls=(now - (50 - number) * SECOND,))
    played.credential("due", age=50 * MINUTE)

    played.lead()
    played.play(5 * SECOND)
    assert played.made("veeam token") == []
    played.play(2 * MINUTE)

    assert len(played.made("veeam token")) == 1
    assert played.veeam.throttled == 0


def test_an_answer_that_nobody_saw_counts_as_late_as_may_be(played: PlayedTerm) -> None:
    """The server counts a call when it comes, which may be as late as the call's timeout allows."""
    one = Throttle(per_second=0, per_minute=1, per_hour=0)
    played.server("vbr", throttle=one)
    timeout = played.stands(ServerSpec, "vbr").call_timeout
    begun = played.clock.now() - MINUTE
    played.credential("done", calls=(begun,))
    played.credential("due", age=50 * MINUTE)

    played.lead()
    played.play(5 * MINUTE)

    assert [at - begun >= MINUTE + timeout for at in played.made("veeam token")] == [True]


def test_a_new_term_publishes_what_a_crash_left_unpublished(played: PlayedTerm) -> None:
    """The pair was stored, and the process died before consumers could read it."""
    played.credential("acme", generation=7, proved=7)
    assert played.generation("acme") == 0

    played.lead()

    assert played.generation("acme") == 7


# --- what is looked at again and again -------------------------------------------------------------------------------


def test_the_sweep_publishes_what_is_missing(played: PlayedTerm) -> None:
    """An outage puts a publication off, and a bug ends the job that would have made it: consumers wait for one sweep."""
    played.credential("acme", age=30 * MINUTE)
    played.lead()
    played.store.away = True
    with played.met(StoreUnavailable("no answer"), Token):
        while played.stands(Credential, "acme").generation == 1:
            played.play(SECOND)
    played.store.away = False
    with played.met(RuntimeError("a bug"), Token):
        played.play(3 * SECOND)
    assert [str(error) for error in played.timers.broke] == ["a bug"]
    played.timers.broke.clear()
    assert played.generation("acme") == 1

    played.play(31 * SECOND)

    assert played.generation("acme") == 2


def test_what_another_client_wrote_into_any_tenant_is_seen_within_ten_minutes(played: PlayedTerm) -> None:
    """Without a request: an operator wrote the documents with Vault's own client."""
    names = [f"tenant{number}" for number in range(25)]
    for name in names:
        played.credential(name)
    played.lead()
    played.play(3 * MINUTE)
    for name in names:
        played.write(name, played.stands(TenantSpec, name).replace(paused=True))

    played.play(11 * MINUTE)

    specs = played.term._world.specs
    assert [name for name in names if not getattr(specs.tenant(name), "paused", False)] == []


def test_a_sign_in_whose_prompt_was_shown_by_the_term_before_is_polled_on(played: PlayedTerm) -> None:
    """A start reads what is pending."""
    played.tenant("acme")
    played.lead()
    played.ask("acme", "sign-in", "r1")
    played.play(4 * SECOND)
    assert played.stands(Prompt, "acme").user_code
    played.again()
    played.approve("acme")

    played.play(20 * SECOND)

    assert played.stands(SignIn, "acme").state is SignInState.ENDED
    assert played.generation("acme") == 1


# --- what a lane counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["revoke", "remove"])
def test_a_logout_occupies_a_place(played: PlayedTerm, action: str) -> None:
    """The server counts it like any other call."""
    one = Throttle(per_second=0, per_minute=1, per_hour=0)
    played.server("vbr", throttle=one)
    played.credential("leaves")
    played.credential("stays", age=36 * MINUTE)
    played.lead()
    played.ask("leaves", "revoke" if action == "revoke" else "remove", "r1")
    played.play(3 * SECOND)
    assert len(played.made("veeam logout")) == 1
    played.ask("stays", "rotate", "r2")

    played.play(3 * MINUTE)

    wait = played.made("veeam token")[0] - played.made("veeam logout")[0]
    assert wait >= MINUTE


def test_with_the_default_throttle_a_veeam_that_counts_refuses_nothing(played: PlayedTerm) -> None:
    """Ten tenants are due at once and one signs in: he is served first, the others every twelve seconds, none is answered 429."""
    played.server("vbr")
    throttle = played.stands(ServerSpec, "vbr").throttle
    played.veeam.throttle = {"second": throttle.per_second, "minute": throttle.per_minute, "hour": throttle.per_hour}
    names = [f"tenant{number}" for number in range(10)]
    for name in names:
        played.credential(name, age=50 * MINUTE)
    played.tenant("new")
    played.lead()
    played.ask("new", "sign-in", "r1")
    played.play(10 * SECOND)
    played.approve("new")

    played.play(20 * SECOND)
    assert played.generation("new") == 1
    played.play(3 * MINUTE)

    assert [played.generation(name) for name in names] == [2] * 10
    assert len(played.made("veeam token")) == 11
    assert played.veeam.throttled == 0


def test_a_journal_counts_once_though_a_start_reads_it_twice(played: PlayedTerm) -> None:
    """First to begin, then with the rest: of two places a minute one is still free."""
    played.server("vbr", throttle=Throttle(per_second=0, per_minute=2, per_hour=0))
    played.credential("done", calls=(played.clock.now() - SECOND,))
    played.credential("other")
    played.lead()
    played.ask("other", "rotate", "r1")

    played.play(10 * SECOND)

    assert len(played.made("veeam token")) == 1


def test_a_clock_that_is_set_back_makes_no_rotation_late(played: PlayedTerm) -> None:
    """What is stored says that the token lives half an hour longer than it does."""
    played.credential("acme")
    played.lead()
    played.play(5 * MINUTE)
    played.clock.set(-30 * MINUTE)
    played.term.clock_stepped(-30 * MINUTE)

    played.play(36 * MINUTE)

    assert played.generation("acme") == 2
