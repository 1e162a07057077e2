"""A pause that Microsoft asks for binds what is asked of Microsoft, and nothing else."""

import json
from datetime import timedelta

import pytest

from tests.scenarios.term import HOUR, MINUTE, SECOND, PlayedTerm
from tests.simulators.http import Request, Response
from vault_plugin.core.pair import TokenPair
from vault_plugin.core.timing import Policy, overlap

IDLE = timedelta(days=4)
LONG = {"Retry-After": "300"}
TRANSIENT = json.dumps({"error": "server_error", "error_codes": [90033]}).encode()


@pytest.mark.parametrize(
    "answer",
    [Response(429, b"", LONG), Response(503, b"", LONG), Response(503, TRANSIENT, LONG), Response(400, TRANSIENT, LONG)],
    ids=["429", "503", "503 with a code", "400 with a code"],
)
def test_a_keep_alive_that_is_told_to_wait_leaves_the_pairs_rotation_where_it_was(played: PlayedTerm, answer: Response) -> None:
    """The pair falls due while Microsoft's pause lasts: it is refreshed at Veeam in time."""
    spec = played.tenant("acme")
    due = HOUR - overlap(HOUR, spec.consumer_reread, Policy()) - HOUR / 20
    played.credential("acme", age=due - MINUTE, grant_age=Policy().keep_alive_after - 20 * SECOND)
    played.instead = lambda call, _: answer if call == "microsoft token" else None
    begun = played.clock.now()
    played.lead()
    played.play(25 * SECOND)
    assert played.made("microsoft token")

    played.play(4 * MINUTE)

    refreshed = played.made("veeam token")
    assert refreshed
    assert refreshed[0] - begun <= MINUTE + HOUR / 20 + SECOND
    assert played.generation("acme") == 2


def test_a_renewal_that_is_told_to_wait_waits_and_is_made_then(played: PlayedTerm) -> None:
    """The refresh token may be in use, so that the first rung is Microsoft's: the pause binds it."""
    held = played.credential("acme", age=42 * MINUTE, grant_age=2 * HOUR)
    assert isinstance(held.pair, TokenPair)
    played.write("acme", held.replace(pair=held.pair.replace(doubtful=True)))

    def throttled(call: str, _: Request) -> Response | None:
        first = len(played.made("microsoft token")) == 1
        return Response(429, b"", LONG) if call == "microsoft token" and first else None

    played.instead = throttled
    played.lead()
    played.play(299 * SECOND)
    assert len(played.made("microsoft token")) == 1
    played.play(10 * SECOND)

    first, second = played.made("microsoft token")[:2]
    assert second - first == 5 * MINUTE


def test_a_pause_of_one_tenants_holds_up_no_other(played: PlayedTerm) -> None:
    """Each is told for itself."""
    for name in ("acme", "beta"):
        played.credential(name, grant_age=IDLE)
    played.instead = lambda call, request: (
        Response(429, b"", LONG) if call == "microsoft token" and "acme" in request.path else None
    )
    played.lead()
    played.play(SECOND)

    assert len(played.made("microsoft token")) == 2
