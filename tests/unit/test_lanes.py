"""The lane: places, order, pace, outages, neighbours."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lane import NO_THROTTLE, SECOND, START, Play
from vault_plugin.core.lanes import SHARED_FOR, SLACK, UNSENT_PACE
from vault_plugin.core.tenants import Throttle


def test_nobody_is_woken_while_an_answer_must_come_first() -> None:
    """Whoever becomes due meanwhile begins with that answer; a wake-up for each would only cost."""
    play = Play()
    for name in "abc":
        play.put(name)
    play.put("later", due=5)
    first, second = play.begin(), play.begin()
    assert first is not None
    assert second is not None
    assert play.wait() is None
    play.lane.end(first, play.at, outage=False)
    assert play.wait() == timedelta(0), "c is due"
    assert play.begin() is not None
    play.lane.end(second, play.at, outage=False)
    assert play.wait() == 5 * SECOND


def test_a_place_is_held_until_the_window_after_the_answer() -> None:
    """Only so does a window counted at the server never see one too many."""
    play = Play(Throttle(per_second=1, per_minute=0, per_hour=0))
    play.put("a")
    play.put("b")
    call = play.begin()
    assert call is not None
    play.at = 0.5 * SECOND
    assert play.begin() is None
    assert play.wait() is None, "an answer must come first"
    play.at = 2 * SECOND
    play.lane.end(call, play.at, outage=False)

    assert play.wait() == SECOND + SLACK


def test_five_a_minute_are_paced_and_a_sign_in_is_not() -> None:
    """Background calls are 12 s apart; an exchange takes the next free second, and goes first."""
    play = Play(Throttle())
    for name in ("a", "b"):
        play.put(name, expires=60)
    assert play.next(latency=0.2) == "a"
    assert play.wait() == 11.8 * SECOND
    play.put("c", expires=9999, urgent=True)

    assert play.next() == "c"
    assert play.at == 1.2 * SECOND + SLACK


def test_the_earliest_expiry_goes_first() -> None:
    """Whatever the order of planning; what isn't due waits."""
    play = Play()
    play.put("late", expires=300)
    play.put("early", expires=100)
    play.put("not due", due=50, expires=60)

    assert [play.next() for _ in range(3)] == ["early", "late", "not due"]
    assert play.at == 50 * SECOND


def test_what_is_planned_anew_replaces_what_was_planned() -> None:
    """And what is dropped isn't called for."""
    play = Play()
    play.put("a", due=10)
    play.put("a", due=5)
    play.put("b")
    play.lane.drop("b")

    assert play.next() == "a"
    assert play.at == 5 * SECOND
    assert play.wait() is None


def test_one_credential_is_called_for_once_at_a_time() -> None:
    """What is planned for it meanwhile waits for the answer."""
    play = Play()
    play.put("a")
    call = play.begin()
    play.put("a")
    assert play.begin() is None
    assert call is not None
    play.lane.end(call, play.at, outage=False)

    assert play.next() == "a"


def test_those_that_keep_failing_share_a_tenth_first_come_first_served() -> None:
    """However early they expire, nine of ten calls are for the others; and their tenth is theirs."""
    play = Play(Throttle())
    for number in range(40):
        play.put(f"bad{number}", due=-number, expires=1, retrying=True)
    for number in range(400):
        play.put(f"good{number}", expires=1000 + number)
    made = [play.next() for _ in range(100)]

    bad = [name for name in made if name.startswith("bad")]
    assert len(bad) == 10
    assert bad == [f"bad{number}" for number in range(39, 29, -1)]


def test_without_a_throttle_those_that_keep_failing_go_last() -> None:
    """Nothing is paced, so nothing can be shared."""
    play = Play()
    play.put("bad", expires=1, retrying=True)
    play.put("good")

    assert [play.next(), play.next()] == ["good", "bad"]


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), min_size=1, max_size=60))
def test_no_minute_at_the_server_ever_sees_six_calls(calls: list[tuple[float, bool]]) -> None:
    """Whatever the latencies: arrival is somewhere between sending and answer."""
    play, arrivals = Play(Throttle()), []
    for number, (latency, urgent) in enumerate(calls):
        play.put(f"t{number}", urgent=urgent)
        play.next(latency)
        arrivals.append(play.at)

    for index, begin in enumerate(arrivals):
        inside = [arrival for arrival in arrivals[index:] if arrival <= begin + 60 * SECOND]
        assert len(inside) <= 5


def test_a_call_read_from_a_journal_occupies_its_place() -> None:
    """Read in any order."""
    play = Play(Throttle(per_second=0, per_minute=2, per_hour=0))
    play.at = 100 * SECOND
    play.lane.remember(96 * SECOND)
    play.lane.remember(52 * SECOND)
    play.put("a", due=100)

    assert play.next() == "a"
    assert play.at == 112 * SECOND + SLACK


def test_what_was_not_sent_costs_no_turn() -> None:
    """A step that went to Microsoft, or found its work done, leaves the lane's pace to the next."""
    play = Play(Throttle())
    for name in ("a", "b", "c"):
        play.put(name)
    play.next()
    play.at = 12 * SECOND
    unsent = play.begin()
    assert unsent is not None
    play.lane.cancel(unsent)
    assert play.wait() == UNSENT_PACE

    play.next()
    assert play.at == 12 * SECOND + UNSENT_PACE
    play.put("d")
    assert play.wait() == 12 * SECOND


def test_an_unsent_call_leaves_the_pace_of_a_later_one() -> None:
    """Only the newest gives its turn back."""
    play = Play(Throttle(per_second=0))
    for name in ("a", "b", "c"):
        play.put(name)
    unsent = play.begin()
    assert unsent is not None
    play.at = 12 * SECOND
    later = play.begin()
    assert later is not None
    play.lane.cancel(unsent)

    assert play.wait() == 12 * SECOND


def test_a_429_on_a_free_lane_halves_the_rate_for_an_hour() -> None:
    """Somebody shares our address: half of it is left for him."""
    play = Play(Throttle())
    play.put("a")
    play.next(outage=True, throttled=True)
    began = play.at
    for number in range(10):
        play.put(f"t{number}")
    made = [(play.next(), play.at)[1] for _ in range(10)]
    assert play.lane.shared(play.at)
    assert 24 * SECOND <= (made[-1] - made[4]) / 5 <= 26 * SECOND

    play.at = began + SHARED_FOR
    assert not play.lane.shared(play.at)


def test_the_delay_is_what_one_more_would_wait() -> None:
    """The queue at the lane's pace, and the rest of an outage."""
    play = Play(Throttle())
    for number in range(10):
        play.put(f"t{number}")
    assert play.lane.delay(START, play.at) == 120 * SECOND
    play.next(outage=True)

    assert play.lane.delay(START + play.at, play.at) == 9 * 12 * SECOND + 5 * SECOND


def test_one_that_hangs_alone_keeps_the_lane_closed_for_nobody_else() -> None:
    """Others probe; and when it goes unanswered again though they were answered, it waits for the failing ones' share."""
    made = Play(Throttle()).hang_for(timedelta(minutes=20))

    hung = made.count("hangs")
    assert 3 <= hung <= 12, "its share, and no more"
    assert len(made) - hung >= 55, "the others have the rest: of 1200 s it hangs for 385 here, one call at a time"


@pytest.mark.parametrize("throttle", [Throttle(), NO_THROTTLE], ids=["throttled", "free"])
def test_a_sign_in_that_hangs_alone_keeps_the_lane_closed_for_nobody_else(throttle: Throttle) -> None:
    """Its precedence ends where it goes unanswered: else it would be every probe."""
    made = Play(throttle).hang_for(timedelta(hours=1), again_after=5, urgent=True)

    assert made[0] == "hangs", "first of all, until it goes unanswered"
    assert made[1] != "hangs"
    assert len({name for name in made if name != "hangs"}) == 100, "everybody who was due was served"
    assert made.count("hangs") >= 3, "it is tried still"


def test_a_sign_in_that_was_answered_is_urgent_again() -> None:
    """What it waited for was its own trouble, and that is over; another one never waited."""
    play = Play(Throttle())
    play.put("a", urgent=True)
    play.put("b")
    play.put("c")
    assert play.next(outage=True) == "a"
    assert play.next() == "b"
    play.put("a", urgent=True)
    assert play.next(outage=True) == "a", "perhaps it was the lane's trouble"
    play.put("a", due=play.at / SECOND, urgent=True)
    play.put("other", due=play.at / SECOND, urgent=True)
    assert [play.next() for _ in range(3)] == ["other", "a", "c"], "its share comes first of the paced"
    play.put("d", expires=1)
    play.put("a", urgent=True)
    assert play.next() == "a"


def test_who_probed_in_vain_waits_like_everybody_when_the_lane_is_open_again() -> None:
    """It was the lane's outage, not theirs: the earliest expiry goes first."""
    play = Play()
    for number in range(3):
        play.put(f"t{number}", expires=number)
    assert play.next(outage=True) == "t0"
    play.put("t0", expires=0)
    assert play.next(outage=True) == "t1"
    play.put("t1", expires=1)
    assert play.next() == "t2"

    assert [play.next(), play.next()] == ["t0", "t1"]


def test_a_429_that_our_own_calls_explain_is_no_sign_of_a_neighbour() -> None:
    """A logout waited for no place."""
    play = Play(Throttle())
    for _ in range(6):
        play.lane.remember(play.at)
    play.at = 61 * SECOND
    play.lane.remember(play.at)
    play.put("a", due=61)
    call = None
    while call is None:
        play.at += play.wait() or SECOND
        call = play.begin()
    play.lane.remember(play.at)
    play.lane.end(call, play.at, outage=True, throttled=True)

    assert not play.lane.shared(play.at)
