"""The rules of rotation, checked in every state that two replicas, their servers and Vault can come to."""

import os
from functools import cache

import pytest

from tests.model.explorer import Explored, explore
from tests.model.mutations import MUTATIONS, Mutation
from tests.model.variants import ALONGSIDE, LADDER, LARGE, SNAPSHOTS, Variant

#: What no client can rule out once the assertion is dead, since Veeam knows no fencing (DESIGN 5.3). Only a process that
#: sleeps between its last look at the clocks and its call presents what a successor has settled.
ASLEEP = {"V3"}
#: A pair is in the hand of a process that pauses for longer than the lease before its write. The successor is refused what
#: that process has spent: where a refresh token is good once, twice over minutes while others are accepted, and a person is
#: asked though the pause may end (the pair is stored then, and nobody is needed). Where reuse kills the session, the
#: successor's first call has killed that pair. If nobody else is accepted nothing is confirmed, and nobody is asked.
CONFIRMED = {"reuse": set[str](), "single": {"V2"}, "family": {"V4"}}


explored = cache(explore)


def left_over(variant: Variant) -> set[str]:
    """Return the violations that remain in this variant."""
    if variant.grant_lives:  # a silent Microsoft makes it as good as dead once it hurries
        return ASLEEP if variant.hurried and variant.sleeps_before_call else set()
    twice = variant.others and variant.budget.deadlines > 1
    return (ASLEEP if variant.sleeps_before_call else set()) | (CONFIRMED[variant.reuse] if twice else set())


def _checked(variant: Variant, at_least: int) -> Explored:
    seen = explored(variant)
    assert set(seen.violations) == left_over(variant), f"\n{seen.told()}"
    assert seen.states >= at_least, f"only {seen.states} states"
    return seen


@pytest.mark.parametrize("variant", LADDER, ids=str)
def test_no_order_of_calls_crashes_pauses_and_lost_answers_breaks_a_rule(variant: Variant) -> None:
    """While the grant lives, and there is time, nothing breaks; else only what needs Veeam to know our fencing."""
    _checked(variant, at_least=4_000)


@pytest.mark.parametrize("variant", ALONGSIDE, ids=str)
def test_what_runs_beside_a_rotation_breaks_no_rule(variant: Variant) -> None:
    """Keep-alive, publication, and a Veeam that rejects everything, or one tenant, or somebody once by mistake."""
    _checked(variant, at_least=1_500)


@pytest.mark.parametrize("variant", SNAPSHOTS, ids=str)
def test_a_restored_refresh_token_is_never_presented_while_the_grant_lives(variant: Variant) -> None:
    """It would kill the session that consumers hold, whatever is silent, dies, or is refused by mistake."""
    _checked(variant, at_least=800)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("MODEL_LARGE"), reason="takes half an hour; MODEL_LARGE=1 runs it")
@pytest.mark.parametrize("variant", LARGE, ids=str)
def test_everything_at_once_breaks_no_rule(variant: Variant) -> None:
    """The budget of the research: a crash, a lost answer, an unclear write, two deadlines, three starts."""
    _checked(variant, at_least=20_000)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_the_model_fails_without(mutation: Mutation) -> None:
    """Each rule closes a trace: without it the real code comes to the violation that the rule is there for."""
    with mutation.made():
        seen = explore(mutation.variant, until=mutation.finds)

    assert mutation.finds in seen.violations, f"{seen.states} states without {mutation.finds}"
    assert mutation.finds not in explored(mutation.variant).violations, "found with the rule, too"


def test_the_model_reaches_what_the_rules_are_about() -> None:
    """A model in which nothing is ever superseded, given up or read back proves nothing."""
    reached: set[str] = set()
    for variant in [variant for variant in LADDER if variant.reuse == "single"]:
        reached |= set(explored(variant).reached)

    wanted = {"write_was_mine", "write_lost", "write_given_up", "superseded", "logout", "refresh rejected", "exchange pair"}
    assert reached >= wanted | {"reassert assertion", "reassert rejected", "refresh pair"}
