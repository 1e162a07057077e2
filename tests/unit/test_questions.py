"""Which of two questions decides where both have an answer: the order of `QUESTIONS`, pair by pair."""

from itertools import pairwise
from typing import Final

import pytest

from tests.unit.test_policy import HOUR, MINUTE, NOW, POLICY, assertion, attempt, credential, failure, pair, view
from vault_plugin.core.credential import Credential, Rejected
from vault_plugin.core.facts import ServerFacts
from vault_plugin.core.policy import QUESTIONS, Do, View, next_action
from vault_plugin.core.states import Reason, State
from vault_plugin.core.tenants import TenantSpec

PAIRS: Final = [(one.__name__, other.__name__) for one, other in pairwise(QUESTIONS)]
ASKED: Final = {question.__name__: question for question in QUESTIONS}
PAUSED: Final = TenantSpec(server="vbr", paused=True)
REQUESTED_WITHOUT_GRANT: Final = credential(requested="r1", state=State.NEEDS_SIGN_IN, since=NOW, reason=Reason.GRANT_REJECTED)

#: Where both questions of a pair have an answer, what is done, and why so.
CASES: Final[dict[tuple[str, str], tuple[View, Do, Reason]]] = {
    # A revoked tenant whose spec is removed is revoked: nothing of it is kept for the spec's return.
    ("_revoked", "_removed"): (view(credential(state=State.REVOKED), tenant=None), Do.HOLD, Reason.REVOKED),
    # Who paused a tenant that never signed in reads that it is paused: no sign-in that he asks for would be exchanged.
    ("_paused", "_nothing_stored"): (view(Credential(since=NOW), tenant=PAUSED), Do.HOLD, Reason.PAUSED),
    # Nothing is stored that could have come from elsewhere.
    ("_nothing_stored", "_refused"): (view(Credential(since=NOW), changed=("server",)), Do.HOLD, Reason.NEVER_SIGNED_IN),
    # What stands in the journal is no leave to send a stored secret to another server.
    ("_refused", "_in_flight"): (
        view(credential(state=State.ROTATING, attempt=attempt()), changed=("server",)), Do.HOLD, Reason.CONFIGURATION_CHANGED,
    ),
    # An operator's wish begins no second call beside one that is under way.
    ("_in_flight", "_turn"): (
        view(credential(state=State.ROTATING, attempt=attempt(instance="other:1"), requested="r1"), turn_at=NOW),
        Do.HOLD, Reason.IN_FLIGHT,
    ),
    # Nor does it call a server that rejects everybody before its turn: it makes this tenant the next one.
    ("_turn", "_requested"): (
        view(credential(requested="r1"), turn_at=NOW + MINUTE), Do.HOLD, Reason.SERVER_REJECTS_EVERYONE,
    ),
    # An operator's wish doesn't wait for tomorrow's silent try.
    ("_requested", "_needs_sign_in"): (view(REQUESTED_WITHOUT_GRANT), Do.ATTEMPT, Reason.REQUESTED),
    # A server that accepts again is called at once for whom it rejected.
    ("_recovered", "_blocked"): (
        view(
            credential(
                state=State.BLOCKED, reason=Reason.REJECTED_BY_VEEAM, since=NOW - 3 * MINUTE,
                rejected=Rejected(since=NOW - 3 * MINUTE, at=NOW - 3 * MINUTE), last_error=failure(age=3 * MINUTE),
            ),
            facts=ServerFacts(recovered_at=NOW - MINUTE),
        ),
        Do.ATTEMPT, Reason.SERVER_RECOVERED,
    ),
    # Who is blocked waits as who is blocked, not as who met an error.
    ("_blocked", "_backing_off"): (
        view(credential(state=State.BLOCKED, reason=Reason.REJECTED_BY_VEEAM, pair=pair(age=50 * MINUTE), failures=(failure(),))),
        Do.HOLD, Reason.REJECTED_BY_VEEAM,
    ),
    # What is due waits out its own error.
    ("_backing_off", "_due"): (view(credential(pair=pair(age=50 * MINUTE), failures=(failure(),))), Do.HOLD, Reason.BACKING_OFF),
    # Consumers need the pair first; Microsoft's grant can wait for minutes.
    ("_due", "_idle"): (view(credential(pair=pair(age=50 * MINUTE), assertion=assertion(96 * HOUR))), Do.ATTEMPT, Reason.DUE),
    # A grant is kept alive while its pair isn't due.
    ("_idle", "_wait"): (view(credential(assertion=assertion(96 * HOUR))), Do.ATTEMPT, Reason.KEEP_ALIVE),
}  # fmt: skip

#: Pairs that never have an answer both, so that their order can't be seen, and why.
APART: Final = {
    ("_deleted", "_revoked"): "what stands for a deleted document is blocked, whatever stood in it: nothing is known of it",
    ("_removed", "_paused"): "a spec that is gone says nothing of a pause",
    ("_needs_sign_in", "_recovered"): "a person is needed, or the server's word is what holds it up",
}


@pytest.mark.parametrize("asked", CASES, ids=" before ".join)
def test_of_two_questions_with_an_answer_the_first_decides(asked: tuple[str, str]) -> None:
    """The other one's answer would be another."""
    seen, do, reason = CASES[asked]
    for name in asked:
        assert ASKED[name](seen, NOW, POLICY) is not None, f"{name} has no answer here"

    action = next_action(seen, NOW, POLICY)

    assert (action.do, action.reason) == (do, reason)
    other = ASKED[asked[1]](seen, NOW, POLICY)
    assert other is not None
    assert (other.do, other.reason) != (do, reason)


@pytest.mark.parametrize("asked", PAIRS, ids=" before ".join)
def test_the_place_of_every_question_is_shown_or_cannot_be_seen(asked: tuple[str, str]) -> None:
    """Whoever adds a question, or moves one, says in which case its place decides."""
    assert (asked in CASES) != (asked in APART)
