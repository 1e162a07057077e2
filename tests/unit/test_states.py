"""The table of states."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault_plugin.core.errors import IllegalTransition
from vault_plugin.core.states import TABLE, Event, State, move


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", Event)
def test_every_event_is_in_the_table_or_raises(state: State, event: Event) -> None:
    """An illegal event raises and names itself."""
    if event in TABLE[state]:
        assert move(state, event, before=State.ACTIVE) in State
    else:
        with pytest.raises(IllegalTransition, match=str(event)):
            move(state, event, before=State.ACTIVE)


def test_every_state_is_reachable_from_the_first() -> None:
    """From needs_sign_in, by events of the table."""
    reached, waiting = {State.NEEDS_SIGN_IN}, [State.NEEDS_SIGN_IN]
    while waiting:
        for after in TABLE[waiting.pop()].values():
            if after is not None and after not in reached:
                reached.add(after)
                waiting.append(after)

    assert reached == set(State)


def test_only_an_attempt_leads_to_active() -> None:
    """Nothing becomes active but what Veeam accepted in an attempt."""
    to_active = {(state, event) for state, row in TABLE.items() for event, after in row.items() if after is State.ACTIVE}

    assert to_active == {(State.ROTATING, Event.ACCEPTED)}


def test_only_what_is_rotating_can_be_judged() -> None:
    """Verdicts need an attempt."""
    verdicts = {Event.ACCEPTED, Event.GRANT_REJECTED, Event.REFUSED, Event.DEFERRED}

    assert {state for state, row in TABLE.items() if verdicts & set(row)} == {State.ROTATING}


@given(st.lists(st.sampled_from([event for event in Event if event is not Event.STARTED])))
def test_revoked_stays_revoked_unless_an_attempt_is_started(events: list[Event]) -> None:
    """Whatever comes late is refused."""
    state = State.REVOKED
    for event in events:
        try:
            state = move(state, event)
        except IllegalTransition:
            continue

    assert state is State.REVOKED


def test_deferring_without_the_state_before_is_our_bug() -> None:
    """The journal holds the state before; without it nothing is guessed."""
    with pytest.raises(IllegalTransition):
        move(State.ROTATING, Event.DEFERRED)
