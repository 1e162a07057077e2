"""One server's runner: what its lane lets begin is begun, what was sent takes its place, and a server that is away is looked for."""

import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from scheduler.lanes import LaneRunner
from scheduler.ran import Ran, ran_of
from tests.fakes.clock import FakeClock
from tests.unit.lane import NO_THROTTLE, SECOND
from vault_plugin.core.credential import Credential, Rung
from vault_plugin.core.errors import BackupServerFaulty, BackupServerUnavailable, Error
from vault_plugin.core.lanes import Entry
from vault_plugin.core.lifecycle.attempt import Step
from vault_plugin.core.policy import Action, Do
from vault_plugin.core.states import Reason
from vault_plugin.core.tenants import ServerSpec, Throttle

AWAY = BackupServerUnavailable("away", reason="ConnectionFailed", sent=False)
LOST = Ran(called=True, outage=True)


class Play:
    """A runner whose clock, server and work a test makes."""

    def __init__(self, throttle: Throttle) -> None:
        self.clock = FakeClock()
        self.worked: list[tuple[str, float]] = []
        self.looked: list[float] = []
        self.back: list[tuple[str, float]] = []
        #: What the work for an entry does; and what a look brings.
        self.ran = Ran(called=True)
        self.trouble: Exception | None = None
        self.leads = True
        self.hangs = threading.Event()
        self.hangs.set()
        self._wakes: list[datetime] = []
        self._began = self.clock.monotonic()
        self.runner = LaneRunner(
            "vbr", ServerSpec(url="https://vbr.invalid", throttle=throttle), self.clock, work=self._work,
            wake=lambda _, when: self._wakes.append(when), may_call=lambda: self.leads, alive=self._alive,
            on_recovery=lambda name, before: self.back.append((name, round((before - self.clock.now()) / SECOND + self.at, 2))),
        )  # fmt: skip

    @property
    def at(self) -> float:
        return round((self.clock.monotonic() - self._began) / SECOND, 2)

    def _work(self, entry: Entry) -> Ran:
        self.worked.append((entry.name, self.at))
        if self.ran.outage:  # due anew, as a credential is whose server is away
            self.runner.put(entry)
        return self.ran

    def _alive(self, _: ServerSpec) -> None:
        self.looked.append(self.at)
        self.hangs.wait()
        if self.trouble:
            raise self.trouble

    def put(self, *names: str, left: float = 3600) -> None:
        for name in names:
            now = self.clock.now()
            self.runner.put(Entry(name, now, now + left * SECOND))

    def until(self, seconds: float) -> None:
        """Let time pass, and wake the runner whenever it asked for it."""
        end = self.clock.now() + (seconds - self.at) * SECOND
        while True:
            self._settle()
            ripe = sorted(when for when in self._wakes if when <= end)
            if not ripe:
                break
            self._wakes.remove(ripe[0])
            self.clock.advance(max(ripe[0] - self.clock.now(), timedelta(0)))
            self.runner.tick(woken=True)
        self.clock.advance(end - self.clock.now())

    def _settle(self) -> None:
        """Wait until no call and no look is under way."""
        wait_for(lambda: not self._busy())

    def _busy(self) -> bool:
        with self.runner._lock:
            outage = self.runner._lane.outage
            return bool(self.runner._lane.queue.running) or (outage is not None and outage.looking is not None)


def wait_for(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.fixture
def play() -> Iterator[Play]:
    made = Play(Throttle())
    yield made
    made.hangs.set()
    made.runner.stop()


def step(error: Error | None, *, called: Rung | None = Rung.REFRESH, logged_out: bool = False) -> Step:
    credential = Credential(since=FakeClock().now())
    return Step(Action(Do.ATTEMPT, Reason.DUE), credential, error, called=called, logged_out=logged_out)


def test_a_step_tells_its_lane_what_was_sent_and_what_was_trouble_of_the_server() -> None:
    """Only silence, 502 to 504, 52x and 429 are; a call to Microsoft isn't one at all."""
    assert ran_of(step(None)) == Ran(called=True)
    assert ran_of(step(None, logged_out=True)).logged_out
    assert ran_of(step(BackupServerFaulty("500"))) == Ran(called=True)
    assert ran_of(step(AWAY)) == Ran(called=True, outage=True, sent=False)
    asked = BackupServerUnavailable("429", reason="Throttled", retry_after=17 * SECOND)
    assert ran_of(step(asked)) == Ran(called=True, outage=True, throttled=True, retry_after=17 * SECOND)
    assert ran_of(step(AWAY, called=Rung.REASSERT)) == Ran(called=False)


def test_a_server_that_is_away_is_looked_for_and_its_token_endpoint_is_left_alone(play: Play) -> None:
    """With the default throttle: the first call after its return goes at once, and all places are left."""
    play.ran, play.trouble = LOST, AWAY
    play.put("a", left=3600)
    play.until(100)
    assert play.looked == [5, 15, 35, 65, 95]
    assert play.worked == [("a", 0)]
    assert play.runner.state().closed
    assert play.back == []

    play.ran, play.trouble = Ran(called=True), None
    play.put("b", "c", "d")
    play.until(125)
    wait_for(lambda: play.back)
    assert play.looked[5:] == [125]
    play.until(200)
    assert [at for _, at in play.worked] == [0, 125, 137, 149, 161]
    assert play.back == [("vbr", 125)], "by the look: with the time at which it began"
    assert not play.runner.state().closed


def test_a_token_that_is_running_out_is_looked_for_each_five_seconds(play: Play) -> None:
    """With 60-second tokens and the default throttle."""
    play.ran, play.trouble = LOST, AWAY
    play.put("a", left=40)
    play.until(44)
    play.ran, play.trouble = Ran(called=True), None
    play.until(50)

    assert play.looked == [5, 10, 15, 20, 25, 30, 35, 40, 45]
    assert play.worked == [("a", 0), ("a", 45)]


def test_a_sick_token_endpoint_beside_a_well_server_is_tried_twice_a_minute(play: Play) -> None:
    """So that places are left."""
    play.ran = LOST
    play.put("a", left=10)
    play.until(130)

    assert [at for _, at in play.worked] == [0, 5, 10, 65.05, 70.05, 125.1]


def test_a_look_that_is_throttled_waits_as_it_is_told(play: Play) -> None:
    """Whoever answers so isn't away."""
    play.ran = Ran(called=True, outage=True, throttled=True)
    play.trouble = BackupServerUnavailable("429", reason="Throttled", retry_after=90 * SECOND)
    play.put("a", left=10)
    play.until(20)
    play.ran, play.trouble = Ran(called=True), None
    play.until(100)

    assert play.looked == [5, 95]
    assert [at for _, at in play.worked] == [0, 95]
    assert play.back == []


def test_a_look_that_breaks_is_a_look_in_vain(play: Play) -> None:
    """Nothing may silence the lane."""
    play.ran, play.trouble = LOST, ValueError("a bug")
    play.put("a", left=10)
    play.until(7)
    play.ran, play.trouble = Ran(called=True), None
    play.until(12)

    assert [at for _, at in play.worked] == [0, 10]


def test_a_stop_does_not_wait_for_a_look_that_hangs(play: Play) -> None:
    """And nothing begins by what it brings."""
    play.ran = LOST
    play.hangs.clear()
    play.put("a", left=10)
    play.until(0)
    play.clock.advance(5)
    play.runner.tick()
    wait_for(lambda: play.looked)
    began = time.monotonic()
    play.runner.stop()
    assert time.monotonic() - began < 5
    play.hangs.set()
    wait_for(lambda: not play._busy())
    play.runner.tick()

    assert [at for _, at in play.worked] == [0]
    assert play.back == []


def test_nobody_looks_who_does_not_lead(play: Play) -> None:
    """As nobody calls."""
    play.ran = LOST
    play.put("a", left=10)
    play.until(1)
    play.leads = False
    play.until(100)

    assert play.looked == []
    assert len(play.worked) == 1


def test_a_logout_occupies_a_place() -> None:
    """It is a call to the server's token endpoint like any other."""
    play = Play(Throttle(per_second=0, per_minute=2, per_hour=0))
    play.ran = Ran(called=True, logged_out=True)
    play.put("a", "b")
    play.until(70)

    assert [at for _, at in play.worked] == [0, 60.05]
    play.runner.stop()


def test_a_call_from_a_journal_occupies_its_place_until_its_answer_must_have_come() -> None:
    """After a restart; one of the future, from a clock that was set back, counts from now."""
    play = Play(Throttle(per_second=0, per_minute=1, per_hour=0))
    longest = ServerSpec(url="https://vbr.invalid").call_timeout / SECOND
    play.runner.remember(play.clock.now() - 50 * SECOND)
    play.put("a")
    play.until(100)
    assert [at for _, at in play.worked] == [pytest.approx(10 + longest + 0.05)]
    play.runner.stop()

    play = Play(Throttle(per_second=0, per_minute=1, per_hour=0))
    play.runner.remember(play.clock.now() + 3600 * SECOND)
    play.put("a")
    play.until(100)
    assert [at for _, at in play.worked] == [60.05]
    play.runner.stop()


def test_what_never_left_takes_no_place() -> None:
    """A refused connection; a call that was dropped has its place."""
    for sent, at in ((False, 5), (True, 60.05)):
        play = Play(Throttle(per_second=0, per_minute=1, per_hour=0))
        play.ran = Ran(called=True, outage=True, sent=sent)
        play.put("a", left=10)
        play.until(1)
        play.ran = Ran(called=True)
        play.until(100)
        assert [when for _, when in play.worked] == [0, at]
        play.runner.stop()


def test_a_lane_without_a_throttle_looks_too() -> None:
    """And goes on as soon as there is an answer."""
    play = Play(NO_THROTTLE)
    play.ran, play.trouble = LOST, AWAY
    play.put("a", "b", "c", left=10)
    play.until(1)
    called = len(play.worked)
    play.until(13)
    assert len(play.worked) == called
    play.ran, play.trouble = Ran(called=True), None
    play.until(15)

    assert [at for _, at in play.worked[called:]] == [15, 15, 15]
    play.runner.stop()
