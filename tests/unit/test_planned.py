"""What a term keeps in memory of each credential."""

from datetime import UTC, datetime, timedelta

from scheduler.planned import Memory
from vault_plugin.core.credential import Attempt, Credential, Rung
from vault_plugin.core.findings import Findings
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.policy import View
from vault_plugin.core.secret import Secret
from vault_plugin.core.states import State
from vault_plugin.core.tenants import Binding, TenantSpec
from vault_plugin.core.timing import Policy, by_clock

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
BINDING = Binding(authority="https://ms", client_id="c", scope="s", organization="o", server="vbr")


def held(generation: int = 1) -> Credential:
    pair = TokenPair(access_token=Secret("a"), refresh_token=Secret("r"), issued_at=NOW, expires_at=NOW + 60 * MINUTE)
    return Credential(since=NOW, state=State.ACTIVE, pair=pair, generation=generation, binding=BINDING, last_rotation_at=NOW)


def test_a_clock_that_is_set_back_makes_what_is_stored_due_earlier() -> None:
    """The pair was issued by a clock that was ahead: it ends earlier than it says. The next pair is by the right clock."""
    memory = Memory()
    memory.saw("acme", held(), timedelta(0))
    memory.clock_stepped(-25 * MINUTE, NOW)
    memory.clock_stepped(5 * MINUTE, NOW)
    assert memory.get("acme").set_back == 20 * MINUTE

    tenant, policy = TenantSpec(server="vbr"), Policy()
    right = View("acme", tenant, "", (), held(), "me:1").due_at(policy)
    moved = View("acme", tenant, "", (), held(), "me:1", set_back=20 * MINUTE).due_at(policy)
    assert right is not None
    assert moved == right - 20 * MINUTE

    memory.saw("acme", held(generation=2), timedelta(0))
    assert memory.get("acme").set_back == timedelta(0)


def test_an_entry_is_watched_from_when_it_was_first_seen() -> None:
    """Seen again unchanged, it is as old as before; another one begins anew."""
    memory = Memory()
    entry = Attempt(
        id="a1", instance="other:1", ladder=(Rung.REFRESH,), generation=1, before=State.ACTIVE, before_since=NOW,
        started_at=NOW, deadline=NOW + MINUTE,
    )  # fmt: skip
    for second, attempt in ((10, entry), (20, entry), (30, entry.replace(id="a2"))):
        memory.saw("acme", held().replace(attempt=attempt), timedelta(seconds=second))
        assert memory.get("acme").attempt_seen_at == timedelta(seconds=10 if attempt is entry else 30)


def test_a_servers_facts_are_folded_as_credentials_are_seen() -> None:
    """And a credential without a server tells nothing of any."""
    memory = Memory()
    memory.saw("acme", held(), timedelta(0))
    memory.saw("globex", held().replace(binding=None), timedelta(0))

    assert memory.facts("vbr").accepted_at == NOW
    assert memory.facts("other").old_alive_after(Rung.REFRESH) is None


def test_what_seems_to_come_from_the_future_is_as_old_as_it_can_be() -> None:
    """Nobody noted the step."""
    ends = NOW + 60 * MINUTE
    assert by_clock(NOW, ends, 20 * MINUTE, NOW) == NOW - 20 * MINUTE
    assert by_clock(NOW, ends, timedelta(0), NOW) == NOW
    assert by_clock(NOW, ends, timedelta(0), NOW - 10 * MINUTE) == NOW - 70 * MINUTE


def test_what_was_found_in_the_future_was_found_before_the_clock_was_set_back() -> None:
    """The token is dead now; that all sessions were lost is noted elsewhere by then. A memory forgets it, too."""
    found = Findings(dead=1, dead_at=NOW, sessions_lost_at=NOW)
    assert found.by(NOW) is found
    earlier = NOW - MINUTE
    assert found.by(earlier) == Findings(dead=1, dead_at=earlier)
    assert found.found_dead(2, earlier, earlier).sessions_lost_at == earlier

    memory = Memory()
    memory.saw("acme", held().replace(findings=found), timedelta(0))
    memory.clock_stepped(-MINUTE, earlier)
    assert memory.facts("vbr").lost_before is None
