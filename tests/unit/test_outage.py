"""A lane whose server is away: when one looks, when one tries, and what is left when it is well again."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.lane import SECOND, START, Play
from vault_plugin.core.lanes import SLACK
from vault_plugin.core.tenants import Throttle

MINUTE = 60 * SECOND


def seconds(times: list[timedelta]) -> list[float]:
    return [round(at / SECOND, 2) for at in times]


@dataclass
class Made:
    """The calls to the token endpoint that were made, and how they ended."""

    at: list[timedelta]
    well: list[timedelta]


def away(play: Play, until: float, *, endpoint: float = 0, latency: float = 0.0, seconds: float = 3600) -> Made:
    """Let a server be away until then, and its token endpoint be sick until `endpoint`; whoever gets no answer is due anew."""
    made = Made([], [])
    while play.at < seconds * SECOND:
        gone, sick = play.at < until * SECOND, play.at < max(until, endpoint) * SECOND
        call = play.begin()
        if call is not None:
            assert call.entry is not None
            entry = call.entry
            made.at.append(play.at)
            play.at += latency * SECOND
            if sick:
                play.lane.put(entry)
            else:
                made.well.append(play.at)
            play.back += play.lane.end(call, play.at, outage=sick)
            continue
        play.look(trouble=gone, latency=latency)
        if play.begin is None or (wait := play.wait()) is None:
            break
        play.at += wait
    return made


# --- looking ---------------------------------------------------------------------------------------------------------


def test_one_looks_after_5_10_20_and_then_every_30_seconds() -> None:
    """And sends nothing to the token endpoint meanwhile."""
    play = Play(Throttle())
    play.put("a", expires=86400)
    made = away(play, until=200)

    assert seconds(play.looks) == [5, 15, 35, 65, 95, 125, 155, 185, 215]
    assert seconds(made.at) == [0, 215]
    assert play.back == 1
    assert play.lane.outage is None


@pytest.mark.parametrize(
    ("left", "looks"),
    [
        (60, [5, 11.88, 17.89, 23.15, 28.15]),  # an eighth, as long as that is more than the least
        (40, [5, 10, 15, 20, 25]),
        (-10, [5, 10, 15, 20, 25]),  # expired
        (200, [5, 15, 35, 55.62, 73.67]),
        (3600, [5, 15, 35, 65, 95]),
    ],
)
def test_but_never_later_than_an_eighth_of_the_earliest_tokens_life(left: float, looks: list[float]) -> None:
    """At least 5 s; the earliest of those that wait, whoever went unanswered."""
    play = Play()
    play.put("late", expires=86400)
    assert play.next(outage=True) == "late"
    play.put("late", expires=86400)
    play.put("early", expires=left)
    play.put("not due", due=3600, expires=1)
    away(play, until=3600, seconds=looks[-1] + 1)

    assert seconds(play.looks[: len(looks)]) == looks


def test_a_token_that_becomes_due_meanwhile_shortens_the_wait() -> None:
    """It has little left."""
    play = Play()
    play.put("a", expires=86400)
    play.put("b", due=40, expires=80)
    away(play, until=3600, seconds=50)

    assert seconds(play.looks) == [5, 15, 35, 40.62, 45.62]


def test_what_the_server_asks_for_is_waited_for() -> None:
    """1 s to 5 min, by a look's answer too; no token's life shortens it, and a call from before lengthens it."""
    for asked, wait in ((0, 1), (17, 17), (3600, 300)):
        play = Play()
        play.put("a", expires=10)
        play.put("b", expires=10)
        first, second = play.begin(), play.begin()
        assert first is not None
        assert second is not None
        play.lane.end(first, play.at, outage=True, retry_after=asked * SECOND)
        play.put("a", expires=10)
        assert play.wait() == wait * SECOND
        play.at += SECOND / 2
        play.lane.end(second, play.at, outage=True, retry_after=asked * SECOND)
        assert play.wait() == wait * SECOND
        play.at += wait * SECOND
        look = play.lane.look(START + play.at, play.at)
        assert look is not None
        play.lane.looked(look, trouble=True, throttled=True, retry_after=asked * SECOND)
        assert play.wait() == wait * SECOND


def test_a_look_that_hangs_delays_the_next_by_no_more_than_it_hangs() -> None:
    """The wait counts from its beginning; one at a time."""
    play = Play()
    play.put("a", expires=40)
    play.next(outage=True)
    play.put("a", expires=40)
    play.at = 5 * SECOND
    look = play.lane.look(START + play.at, play.at)
    assert look is not None
    play.at = 6 * SECOND
    assert play.lane.look(START + play.at, play.at) is None
    assert play.wait() is None, "an answer must come first"
    play.at = 11 * SECOND
    play.lane.looked(look, trouble=True)

    assert play.wait() == timedelta(0)


def test_nobody_who_waits_is_no_reason_to_look() -> None:
    """What isn't due, or was dropped."""
    play = Play()
    play.put("a")
    play.next(outage=True)
    play.at = 100 * SECOND
    assert play.wait() is None
    assert not play.look()
    play.put("a", due=200)
    assert play.wait() == 100 * SECOND


# --- trying ----------------------------------------------------------------------------------------------------------


def test_as_soon_as_a_look_is_answered_a_try_goes_and_the_first_success_opens_the_lane() -> None:
    """One at a time; the earliest expiry of those that weren't silent; nobody waits for a pace."""
    play = Play(Throttle())
    for number in range(3):
        play.put(f"a{number}", expires=number)
    assert play.next(outage=True, sent=False) == "a0"
    play.put("late", expires=900)
    play.at = 5 * SECOND
    assert play.begin() is None
    assert play.look()
    assert play.wait() == timedelta(0)
    call = play.begin()
    assert call is not None
    assert call.entry is not None
    assert call.entry.name == "a1"
    assert play.begin() is None
    assert not play.look()
    assert play.wait() is None, "an answer must come first"
    play.lane.end(call, play.at, outage=False)

    assert play.wait() == 12 * SECOND


def test_a_sick_token_endpoint_is_tried_twice_a_minute() -> None:
    """It is looked for its answer just before each try; three of five places are left when it is well."""
    play = Play(Throttle())
    play.put("a", expires=30)
    made = away(play, until=0, endpoint=200)

    assert seconds(made.at) == [0, 5, 10, 65.05, 70.05, 125.1, 130.1, 185.15, 190.15, 245.2]
    assert seconds(play.looks) == seconds(made.at)[1:]
    for at in made.at:
        assert sum(at <= other < at + MINUTE for other in made.at) <= 3


def test_without_a_throttle_each_answered_look_is_followed_by_a_try() -> None:
    """No bound."""
    play = Play()
    play.put("a", expires=30)
    made = away(play, until=0, endpoint=42)

    assert seconds(made.at) == [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]


def test_a_try_that_was_not_sent_takes_no_place_and_no_turn() -> None:
    """Refused, no name, TLS: the server can't have counted it. A credential with nothing to do lets the next one try."""
    play = Play(Throttle())
    for name in "abcdefg":
        play.put(name, expires=30)
    for _ in range(3):
        play.next(outage=True, sent=False)
    play.at += 10 * SECOND
    assert play.look()
    call = play.begin()
    assert call is not None
    play.lane.cancel(call)
    assert play.begin() is None, "not at once"
    play.at += SECOND
    began = play.at
    play.next()
    for _ in range(2):
        play.next()
    assert play.at - began == 24 * SECOND, "all five places were left"


def test_a_call_that_never_left_takes_no_place() -> None:
    """Five refused connections and a sixth call, within a second of a minute."""
    play = Play(Throttle(per_second=0, per_minute=1, per_hour=0))
    for name in ("a", "b"):
        play.put(name, expires=40)
    play.next(outage=True, sent=False)
    assert play.next() == "b"
    assert play.at == 5 * SECOND

    play = Play(Throttle(per_second=0, per_minute=1, per_hour=0))
    for name in ("a", "b"):
        play.put(name, expires=40)
    play.next(outage=True)
    assert play.next() == "b"
    assert play.at == MINUTE + SLACK


def test_a_call_from_before_the_outage_that_fails_too_tells_nothing_new() -> None:
    """Two in flight when the server goes away: the first wait is 5 s; and two tries are left in the minute."""
    play = Play()
    for name in ("a", "b", "c"):
        play.put(name)
    first, second = play.begin(), play.begin()
    assert first is not None
    assert second is not None
    play.lane.end(first, play.at, outage=True)
    play.at = 4 * SECOND
    play.lane.end(second, play.at, outage=True)

    assert play.wait() == SECOND


def test_a_call_that_hangs_from_before_keeps_nobody_from_trying() -> None:
    """It has one of the two places, and is not the try."""
    play = Play()
    for name in ("hangs", "a", "b"):
        play.put(name)
    hangs, other = play.begin(), play.begin()
    assert hangs is not None
    assert other is not None
    play.lane.end(other, play.at, outage=True)
    play.at = 5 * SECOND
    assert play.look()
    assert play.next() == "b"
    assert play.lane.outage is None


# --- telling ---------------------------------------------------------------------------------------------------------


def test_that_the_server_is_back_is_told_once_and_not_after_a_throttle() -> None:
    """By a look or by a success; whoever was only throttled wasn't away."""
    play = Play()
    play.put("a")
    away(play, until=20, endpoint=100)
    assert play.back == 1

    play = Play()
    for name in ("a", "b"):
        play.put(name)
    play.next(outage=True, throttled=True)
    play.next()
    assert play.back == 0

    for name in ("c", "d"):
        play.put(name)
    first, second = play.begin(), play.begin()
    assert first is not None
    assert second is not None
    play.lane.end(first, play.at, outage=True)
    assert play.lane.end(second, play.at, outage=False), "a call from before was answered"


def test_a_look_that_comes_late_says_nothing_of_another_outage() -> None:
    """The lane was opened, and closed again, meanwhile."""
    play = Play()
    for name in ("a", "b", "c"):
        play.put(name)
    first, second = play.begin(), play.begin()
    assert first is not None
    assert second is not None
    play.lane.end(first, play.at, outage=True)
    play.at = 5 * SECOND
    look = play.lane.look(START + play.at, play.at)
    assert look is not None
    play.lane.end(second, play.at, outage=False)
    assert play.next(outage=True) == "c"
    play.put("c")
    assert not play.lane.looked(look, trouble=False)

    assert play.begin() is None
    assert play.wait() == 5 * SECOND


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=60),
    st.floats(-100, 4000),
)
def test_no_minute_ever_sees_six_calls_and_nothing_spins(calls: list[tuple[float, bool, bool, bool]], left: float) -> None:
    """Whatever fails: the throttle holds, a look is 5 s after the last, and somebody is always woken."""
    play, ended = Play(Throttle()), []
    for number, (latency, outage, sent, trouble) in enumerate(calls):
        play.put(f"t{number}", due=play.at / SECOND, expires=play.at / SECOND + left)
        while (call := play.begin()) is None:
            play.look(trouble=trouble and len(play.looks) % 3 > 0)
            wait = play.wait()
            assert wait is not None
            play.at += wait
        play.at += latency * SECOND
        if sent or not outage:
            ended.append(play.at)
        play.lane.end(call, play.at, outage=outage, sent=sent or not outage)

    for at in ended:
        assert sum(at <= other <= at + MINUTE for other in ended) <= 5
    for one, other in zip(play.looks, play.looks[1:], strict=False):
        assert other - one >= 5 * SECOND
