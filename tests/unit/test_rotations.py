"""What the scheduler does with a step's outcome, without any server."""

import itertools
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scheduler.lanes import Lanes
from scheduler.metrics import Metrics
from scheduler.planned import Memory
from scheduler.publisher import Publisher
from scheduler.renewals import RENEWALS
from scheduler.rotations import Rotations
from scheduler.timers import Timers
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from vault_plugin.core.credential import Assertion, Credential
from vault_plugin.core.lanes import Entry
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.ports import Specs, Stored, World
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import Allowed, ServerSpec, TenantSpec, bind
from vault_plugin.core.timing import Policy

MINUTE = timedelta(minutes=1)
TENANT, SERVER = TenantSpec(server="vbr"), ServerSpec(url="https://vbr.invalid")


class CountingStore(MemoryStore):
    """Counts what is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def read(self, model: Any, name: str, *, patient: bool = False) -> Stored[Any]:
        self.reads += 1
        return super().read(model, name, patient=patient)


class Scheduler:
    """The scheduler's parts around a store in memory; nothing begins by itself, and nobody may be called."""

    def __init__(self) -> None:
        self.leads = False
        self.clock, self.store, self.memory = FakeClock(), CountingStore(), Memory()
        specs = SimpleNamespace(tenant=lambda _: TENANT, server=lambda _: SERVER, problem=lambda _: "")
        ids = itertools.count()
        world = World(
            store=self.store, specs=cast("Specs", specs), microsoft=cast("Any", None), veeam=cast("Any", None),
            clock=self.clock, policy=Policy(), allowed=Allowed(), instance="me:1", new_id=lambda: str(next(ids)),
            facts=self.memory.facts,
        )  # fmt: skip
        metrics = Metrics()
        self.timers = Timers(dict.fromkeys(("lanes", "microsoft", "vault", "timers"), 1))
        self.lanes = Lanes(lambda _: SERVER, self.clock, self.timers, lambda: self.leads, lambda _: None)
        self.publisher = Publisher(world, self.timers, metrics, self.memory, lambda _: timedelta(0))
        self.rotations = Rotations(world, metrics, self.memory, self.lanes, self.publisher)

    def planned(self, name: str) -> Entry | None:
        """Return what the lane has planned for this credential."""
        return self.lanes.of("vbr")._lane.queue.entries.get(name)

    def stop(self) -> None:
        self.lanes.stop()
        self.rotations.stop()
        self.publisher.stop()
        self.timers.stop()


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made = Scheduler()
    yield made
    made.stop()


def test_an_exchange_that_a_person_waits_for_is_not_planned_away(scheduler: Scheduler) -> None:
    """Whoever reads the credential meanwhile finds nothing to rotate; the exchange stays planned, and first."""
    scheduler.rotations.sign_in_approved("acme", "vbr")
    scheduler.rotations.load("acme")

    planned = scheduler.planned("acme")
    assert planned is not None
    assert planned.urgent
    assert planned.due_at <= scheduler.clock.now()


def test_who_has_to_wait_for_something_to_change_is_not_asked_again(scheduler: Scheduler) -> None:
    """Nothing is stored: looked at once, it is planned no more, neither now nor a second later."""
    scheduler.memory.update("acme", server="vbr")
    assert not scheduler.rotations._work(Entry("acme", scheduler.clock.now(), scheduler.clock.now())).called

    assert scheduler.planned("acme") is None


def test_a_renewal_that_waited_until_its_pair_was_due_goes_back_to_the_lane(scheduler: Scheduler) -> None:
    """All of Microsoft's threads hang; when they are free, the refresh is Veeam's matter, and no thread spins."""
    now, secret = scheduler.clock.now(), Secret("x")
    pair = TokenPair(access_token=secret, refresh_token=secret, issued_at=now - 36 * MINUTE, expires_at=now + 24 * MINUTE)
    idle = Assertion(
        json_text=secret, obtained_at=now - timedelta(days=4), expires_at=now - timedelta(days=3), refreshable=True,
        signed_in_at=now - timedelta(days=9),
    )  # fmt: skip
    held = Credential(
        since=now, state=State.ACTIVE, reason=Reason.REFRESHED, generation=1, binding=bind("acme", TENANT),
        assertion=idle, pair=pair, proved=1,
    )  # fmt: skip
    scheduler.store.write("acme", held, cas=0)
    scheduler.rotations.load("acme")
    gate = threading.Event()
    for _ in range(RENEWALS):
        scheduler.rotations._renewals._threads.submit(gate.wait)
    scheduler.lanes.of("vbr").drop("acme")
    assert not scheduler.rotations._work(Entry("acme", now, pair.expires_at)).called
    assert scheduler.rotations._renewals.waits("acme")
    assert scheduler.planned("acme") is not None, "the pair stays planned at Veeam"
    scheduler.lanes.of("vbr").drop("acme")

    scheduler.clock.advance(5 * MINUTE)
    before = scheduler.store.reads
    scheduler.lanes.stop()
    scheduler.leads = True
    gate.set()

    deadline = time.monotonic() + 60
    while (planned := scheduler.lanes.of("vbr").state()).waiting == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert planned.waiting == 1
    assert not scheduler.rotations._renewals.waits("acme")
    scheduler.rotations.stop()
    assert scheduler.store.reads - before <= 5


def test_journals_refill_the_lane_of_a_restart(scheduler: Scheduler) -> None:
    """Five calls of the last minute stand in the documents: the next one waits for its place, whatever is due."""
    now, secret = scheduler.clock.now(), Secret("x")
    pair = TokenPair(access_token=secret, refresh_token=secret, issued_at=now - 59 * MINUTE, expires_at=now + MINUTE)
    for number in range(5):
        held = Credential(
            since=now, state=State.ACTIVE, reason=Reason.REFRESHED, generation=1, binding=bind(f"t{number}", TENANT), pair=pair,
            calls=(now - 30 * MINUTE, now - timedelta(seconds=number * 10)),
        )  # fmt: skip
        scheduler.store.write(f"t{number}", held, cas=0)
        scheduler.rotations.load(f"t{number}", remember=True)
    lane = scheduler.lanes.of("vbr")._lane

    assert lane.begin(now, scheduler.clock.monotonic()) is None
    wait = lane.wake_in(now, scheduler.clock.monotonic())
    assert wait is not None
    assert timedelta(seconds=20) < wait <= timedelta(seconds=61), "the oldest of the five, its answer as late as may be"


def test_a_session_that_is_ended_outside_the_lane_has_its_place(scheduler: Scheduler) -> None:
    """A revocation's logout waits for no place, and takes one: the next call comes a second later."""
    now = scheduler.clock.now()
    scheduler.memory.update("acme", server="vbr")
    scheduler.rotations.logged_out("acme")
    lane = scheduler.lanes.of("vbr")._lane
    lane.put(Entry("initech", now, now + MINUTE))

    assert lane.begin(now, scheduler.clock.monotonic()) is None
    assert lane.wake_in(now, scheduler.clock.monotonic()) == timedelta(seconds=1.05)
