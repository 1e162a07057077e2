"""The rules of rotation, checked in every state that two replicas, their servers and Vault can come to."""

import os
from functools import cache

import pytest

from tests.model.explorer import Explored, explore
from tests.model.mutations import MUTATIONS, Mutation
from tests.model.variants import ALONGSIDE, LADDER, LARGE, Variant

#: What no client can rule out once the assertion is dead, since Veeam knows no fencing (DESIGN 5.3): with a sleep between
#: the last look at the clocks and the call, and without one.
LEFT_OVER = {
    ("reuse", True): {"V3"},
    ("single", True): {"V2", "V3"},
    ("family", True): {"V3", "V4"},
    ("reuse", False): set(),
    ("single", False): {"V2"},
    ("family", False): {"V4"},
}


explored = cache(explore)


def _checked(variant: Variant, at_least: int) -> Explored:
    seen = explored(variant)
    allowed = set() if variant.grant_lives else LEFT_OVER[variant.reuse, variant.sleeps_before_call]
    assert set(seen.violations) == allowed, f"\n{seen.told()}"
    assert seen.states >= at_least, f"only {seen.states} states"
    return seen


@pytest.mark.parametrize("variant", LADDER, ids=str)
def test_no_order_of_calls_crashes_pauses_and_lost_answers_breaks_a_rule(variant: Variant) -> None:
    """While the grant lives nothing breaks; else only what needs Veeam to know our fencing."""
    _checked(variant, at_least=4_000)


@pytest.mark.parametrize("variant", ALONGSIDE, ids=str)
def test_what_runs_beside_a_rotation_breaks_no_rule(variant: Variant) -> None:
    """Keep-alive, publication, and a Veeam that rejects everything."""
    _checked(variant, at_least=1_500)


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
