"""When the scheduler polls a pending sign-in, without any server."""

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from scheduler.metrics import Metrics
from scheduler.sign_ins import SignIns
from tests.fakes.clock import FakeClock
from tests.fakes.memory_store import MemoryStore
from vault_plugin.core.sign_in import SignIn
from vault_plugin.core.tenants import TenantSpec, bind
from vault_plugin.core.timing import Policy

SECOND = timedelta(seconds=1)
INTERVAL = 5 * SECOND


@pytest.mark.parametrize(
    ("step", "wait"),
    [(timedelta(0), INTERVAL), (-600 * SECOND, timedelta(0)), (600 * SECOND, timedelta(0))],
    ids=["right", "set back", "set on"],
)
def test_a_clock_that_is_set_plans_no_poll_late(step: timedelta, wait: timedelta) -> None:
    """What is stored is of the clock before: it is due now, if it is further away than the interval."""
    clock, store, planned = FakeClock(), MemoryStore(), list[datetime]()
    now = clock.now()
    pending = SignIn(
        id="s1", binding=bind("acme", TenantSpec(server="vbr")), interval=INTERVAL, next_poll_at=now + INTERVAL,
        started_at=now, expires_at=now + 900 * SECOND,
    )  # fmt: skip
    store.write("acme", pending, cas=0)
    publisher: Any = SimpleNamespace(saw=lambda *_: None, tell=lambda *_: None)
    timers: Any = SimpleNamespace(at=lambda when, *_: planned.append(when))
    world: Any = SimpleNamespace(clock=clock, store=store, versions={}, instance="me:1", policy=Policy())
    rotations: Any = None
    sign_ins = SignIns(world, timers, Metrics(), rotations, publisher, lambda: True)

    clock.set(step)
    sign_ins.load("acme")

    assert [max(when - clock.now(), timedelta(0)) for when in planned] == [wait]
