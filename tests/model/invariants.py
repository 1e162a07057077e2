"""What must never be, by the names of the research (V1 to V5b) and the words of DESIGN 5.2 and 5.3."""

from typing import Final

from tests.model.documents import Documents, Facts, at
from tests.model.state import State
from tests.model.variants import Variant
from vault_plugin.core import states
from vault_plugin.core.credential import Credential

WORDS: Final = {
    "V1": "our own logout killed the stored token",
    "shown": "our own logout killed a session whose token consumers may hold",
    "V2": "a person was asked while a living replica held a live pair",
    "V3": "a refresh token was presented though the store showed it as accepted",
    "V4": "a person is needed though nothing died with a pair in hand and no answer was lost",
    "V5": "a live pair was given up by a living process",
    "V5b": "a live pair was dropped though the store had no newer one",
    "asked": "a person was asked though Microsoft's grant lives",
    "lost": "a write of ours that stands was told as somebody else's",
    "table": "the state moved beside the table",
    "generation": "the generation in the store fell",
    "published": "a lower generation was published over a higher one",
    "unpublished": "everything is at rest and the newest generation isn't published",
    "abandoned": "everything is at rest, and a pair that is due and that Veeam would still refresh isn't tried",
    "grant": "the stored refresh token of Microsoft is dead",
    "broke": "the verb raised what it never may",
}

#: What a verb may end with: Vault's trouble, and a lost race for the journal.
WEATHER: Final = frozenset({"", "StoreUnavailable", "VersionConflict"})


def standing(state: State, variant: Variant, documents: Documents) -> list[str]:
    """Return what is broken in this state."""
    broken = []
    facts = documents.facts(state.credential[1])
    if state.sessions[state.pairs[facts.pair].session] == "logout":
        broken.append("V1")
    elif any(state.sessions[state.pairs[pair].session] == "logout" for pair in state.stored):
        broken.append("shown")
    if facts.state is states.State.NEEDS_SIGN_IN:
        held = [r.pair for r in state.replicas if r.pair >= 0 and r.pair not in state.stored and state.lives(r.pair)]
        if held:
            broken.append("V2")
        elif not variant.grant_lives and not state.excused:
            broken.append("V4")
        if variant.grant_lives:
            broken.append("asked")
    if variant.strict and state.grant[1]:
        broken.append("grant")
    return broken


def written(old: Facts, new: Facts) -> list[str]:
    """Return what a write of the credential broke."""
    broken = []
    if new.generation < old.generation:
        broken.append("generation")
    accepted = new.state is states.State.ACTIVE and new.generation == old.generation + 1 and not new.attempt
    moves = states.TABLE[old.state].values()
    after = {old.state} | {old.before if state is states.BEFORE else state for state in moves}
    if new.state not in after and not accepted:
        broken.append("table")
    return broken


def ended(state: State, who: int, raised: str, documents: Documents) -> list[str]:
    """Return what the end of a verb broke: a pair in hand is stored, superseded, or dead."""
    replica = state.replicas[who]
    broken = [] if raised in WEATHER else ["broke"]
    pair = replica.pair
    if pair >= 0 and pair not in state.stored and state.lives(pair):
        if raised:
            broken.append("V5")
        elif documents.facts(state.credential[1]).generation <= replica.spending:
            broken.append("V5b")
    return broken


def at_rest(state: State, variant: Variant, documents: Documents) -> list[str]:
    """Return what is broken where nothing can happen any more."""
    newest, shown = documents.facts(state.credential[1]), documents.facts(state.token[1])
    broken = ["unpublished"] if variant.publishes and newest.generation > shown.generation else []
    credential = documents.document(state.credential[1])
    assert isinstance(credential, Credential)
    due = state.left.starts and newest.generation == 1 and not newest.attempt and not variant.idle
    waits = any(failure.at == at(state.instant) for failure in credential.failures)
    if due and not waits and state.lives(newest.pair) and not state.pairs[newest.pair].spent:
        broken.append("abandoned")
    return broken
