"""Capacity: the figures of the design, and the remedies."""

from datetime import timedelta

import pytest

from vault_plugin.core.capacity import capacity, demand, rate
from vault_plugin.core.tenants import Throttle
from vault_plugin.core.timing import Policy

REREAD = timedelta(minutes=5)
NONE = Throttle(per_second=0, per_minute=0, per_hour=0)


@pytest.mark.parametrize(
    ("life", "keeps", "most"),
    [(60, (188, 193), (265, 270)), (15, (22, 25), (40, 46))],
)
def test_the_default_throttle_keeps_what_the_design_says(life: int, keeps: tuple[int, int], most: tuple[int, int]) -> None:
    """190 tenants a server with 60-minute tokens, some 270 while nothing fails; 22 with 15-minute tokens."""
    found = capacity(Throttle(), timedelta(minutes=life), REREAD, 1, Policy())
    assert keeps[0] <= found.comfortable <= keeps[1]
    assert most[0] <= found.most <= most[1]


def test_too_many_tenants_are_answered_with_what_would_do() -> None:
    """A longer life, or more addresses; with that life they fit, and with a minute less they don't."""
    policy, tenants = Policy(), 400
    found = capacity(Throttle(), timedelta(hours=1), REREAD, tenants, policy)
    assert found.addresses == 3
    assert found.life_needed is not None
    assert rate(Throttle()) / demand(found.life_needed, REREAD, policy) >= tenants
    assert rate(Throttle()) / demand(found.life_needed - timedelta(minutes=1), REREAD, policy) < tenants


def test_no_throttle_keeps_any_number() -> None:
    """One address does."""
    found = capacity(NONE, timedelta(hours=1), REREAD, 10**6, Policy())
    assert found.comfortable == float("inf")
    assert found.addresses == 1


def test_what_no_token_life_can_serve_is_said() -> None:
    """A day is the longest that is looked at."""
    assert capacity(Throttle(), timedelta(hours=1), REREAD, 10_000, Policy()).life_needed is None
