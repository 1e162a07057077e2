"""The trial of an outage, short: VB365 drops connections for a third of a token's life, and nobody holds a dead token."""

from pathlib import Path

import pytest

from tests.servers.node import VaultServer
from tests.simulators.tls import Authority
from tests.trials.outage import Script, Seen, Trial

pytestmark = [pytest.mark.vault, pytest.mark.slow]

SHORT = Script(tenants=4, token_life=45, away=12)


@pytest.mark.alone
def test_an_outage_within_the_overlap_costs_no_dead_token(vault: VaultServer, authority: Authority, tmp_path: Path) -> None:
    """And each that was due has a new one within seconds of its end."""
    trial = Trial(SHORT, vault, authority, tmp_path)
    try:
        trial.settle()
        seen = trial.play("drops", print)
    finally:
        trial.close()

    assert seen.due > 0
    assert not seen.wrong(SHORT), str(seen)


def test_what_is_beyond_the_promise_is_told() -> None:
    """One tenant-second that the outage didn't force, or a token that came too late."""
    assert not Seen("503", forced=7, beyond=0, due=3, seconds=8.0).wrong(SHORT)
    assert Seen("503", forced=0, beyond=1, due=3, seconds=1.0).wrong(SHORT)
    assert Seen("503", forced=0, beyond=0, due=3, seconds=8.1).wrong(SHORT)
