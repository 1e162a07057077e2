"""What the service does with consumers' reports, round by round, without any server."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, cast

import pytest

from scheduler.metrics import Metrics
from scheduler.proofs import STRANGERS, Proving
from tests.unit.test_rotations import TENANT, Scheduler
from vault_plugin.core.credential import Credential
from vault_plugin.core.findings import Findings
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.proofs import A_WINDOW
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import bind


class Box:
    """A mailbox that holds reports; some can't be deleted."""

    def __init__(self) -> None:
        self.lie: set[str] = set()
        self.kept: set[str] = set()

    def reports(self) -> list[str]:
        return sorted(self.lie)

    def take(self, name: str) -> bool:
        if name in self.kept:
            return False
        self.lie.remove(name)
        return True


class Round:
    """The reports' side of a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler, self.box, self.metrics = scheduler, Box(), Metrics()
        self.looked: list[str] = []
        self.proving = Proving(
            scheduler.publisher._world, cast("Any", self.box), scheduler.timers, self.metrics, scheduler.memory,
            scheduler.rotations, publisher=scheduler.publisher, is_ours=self._is_ours, leads=lambda: False,
        )  # fmt: skip

    def _is_ours(self, name: str) -> bool:
        self.looked.append(name)
        return name == "new"

    def tenant(self, name: str, **more: Any) -> None:
        """Have a tenant with a token."""
        now, secret = self.scheduler.clock.now(), Secret("x")
        pair = TokenPair(access_token=secret, refresh_token=secret, issued_at=now, expires_at=now + timedelta(hours=1))
        held = Credential(
            since=now, state=State.ACTIVE, reason=Reason.REFRESHED, generation=1, binding=bind(name, TENANT), pair=pair, **more
        )
        self.scheduler.store.write(name, held, cas=0)
        self.scheduler.rotations.load(name)

    def count(self, outcome: str) -> float:
        return self.metrics.registry.get_sample_value("vb365_reports_total", {"outcome": outcome}) or 0.0


@pytest.fixture
def reports() -> Iterator[Round]:
    scheduler = Scheduler()
    yield Round(scheduler)
    scheduler.stop()


def test_ten_thousand_reports_of_nobody_hold_up_no_tenants(reports: Round) -> None:
    """A few are deleted a round, each with a look whether there is such a tenant; the one that is known is taken at once."""
    reports.tenant("zeta")
    reports.box.lie = {f"nobody{number}" for number in range(10_000)} | {"Not A Name", "zeta"}
    reports.proving.collect()

    assert "zeta" not in reports.box.lie
    assert len(reports.box.lie) == 10_001 - STRANGERS
    assert len(reports.looked) <= STRANGERS
    assert (reports.count("taken"), reports.count("dropped")) == (1, STRANGERS)


def test_reports_of_everybody_are_taken_as_they_can_be_proved(reports: Round) -> None:
    """The others lie: what lies is reported already. The queue doesn't grow."""
    names = [f"t{number}" for number in range(40)]
    for name in names:
        reports.tenant(name)
    reports.box.lie = set(names)
    for _ in range(3):
        reports.proving.collect()

    assert len(reports.box.lie) == len(names) - A_WINDOW


def test_a_report_lies_until_its_tenants_minute_is_over(reports: Round) -> None:
    """Then it is taken, once more."""
    reports.tenant("acme")
    for lies, seconds in ((0, 0), (1, 59), (0, 1)):
        reports.scheduler.clock.advance(timedelta(seconds=seconds))
        reports.box.lie = {"acme"}
        reports.proving.collect()
        assert len(reports.box.lie) == lies


def test_a_token_that_is_known_to_be_dead_goes_first_in_its_lane(reports: Round) -> None:
    """It needs no proof: it is due already, and its consumer waits."""
    now = reports.scheduler.clock.now()
    for name in ("acme", "other"):
        reports.tenant(name, findings=Findings(dead=1, dead_at=now))
    reports.box.lie = {"acme"}
    reports.proving.collect()

    acme, other = map(reports.scheduler.planned, ("acme", "other"))
    assert acme is not None
    assert other is not None
    assert acme.due_at <= now
    assert acme.expires_at < other.expires_at == now


def test_a_tenant_without_a_token_has_nothing_to_be_proved(reports: Round) -> None:
    """Its report is deleted: nobody could have read a token."""
    reports.box.lie = {"new"}
    reports.proving.collect()
    assert reports.box.lie == set()
    assert reports.count("taken") == 1


def test_a_report_that_cant_be_deleted_isnt_taken(reports: Round) -> None:
    """It would be proved each round; the others are taken all the same."""
    reports.tenant("acme")
    reports.tenant("beta")
    reports.box.lie, reports.box.kept = {"acme", "beta"}, {"acme"}
    reports.proving.collect()
    assert reports.box.lie == {"acme"}
    assert reports.count("taken") == 1
