"""The table follows the code, and the runner tells a rule that a test holds from one that none does, and from one unknown."""

from pathlib import Path

import pytest

from tests.mutants.rules import mutants
from tests.mutants.runner import BadMutant, Mutant, run_all

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "def least(one: int, other: int) -> int:\n    return min(one, other)\n"
TEST = "from vault_plugin.rule import least\n\n\ndef test_it():\n    assert least(2, 1) == 1\n"


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.rule)
def test_each_rules_text_stands_in_the_code(mutant: Mutant) -> None:
    """Whoever moves the code moves the line of the table with it."""
    assert mutant.applied((ROOT / mutant.file).read_text()) != (ROOT / mutant.file).read_text()
    for test in mutant.tests:
        assert (ROOT / test.partition("::")[0]).exists()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree with one rule, one test of it, and one that doesn't look."""
    for folder in ("vault_plugin", "scheduler", "tests"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "vault_plugin/rule.py").write_text(SOURCE)
    (tmp_path / "tests/test_rule.py").write_text(TEST)
    (tmp_path / "tests/test_nothing.py").write_text(TEST.replace("(2, 1)", "(1, 1)"))
    return tmp_path


def mutant(instead: str, test: str = "tests/test_rule.py", text: str = "min(one, other)") -> Mutant:
    return Mutant("the least counts", "vault_plugin/rule.py", text, instead, (test,))


def test_a_removal_is_caught_by_a_test_that_fails_or_told(tree: Path) -> None:
    """Side by side; what ends otherwise than by a test that fails isn't taken for a test that holds the rule."""
    tried = (
        mutant("max(one, other)"),
        mutant("max(one, other)", "tests/test_nothing.py"),
        mutant("smallest(one, other)"),
        mutant("", text="return least_of(one, other)"),
        mutant("min(one, other"),
        mutant("import nothing", text="def least"),
    )

    caught, unnoticed, *unknown = run_all(tree, tried)

    assert caught.good
    assert caught.caught_by == "tests/test_rule.py::test_it"
    assert not unnoticed.good
    assert not unnoticed.error
    assert [bool(outcome.error) and not outcome.good for outcome in unknown] == [True] * 4
    assert "0 times" in unknown[1].error
    assert (tree / "vault_plugin/rule.py").read_text() == SOURCE


def test_tests_that_are_red_anyhow_show_nothing(tree: Path) -> None:
    """So they are run first with all rules in place."""
    (tree / "tests/test_rule.py").write_text(TEST.replace("== 1", "== 2"))

    with pytest.raises(BadMutant, match="aren't green"):
        list(run_all(tree, [mutant("max(one, other)")]))


def test_a_package_from_elsewhere_is_not_taken_for_the_copys(tree: Path) -> None:
    """The environment knows the checkout's packages, too."""
    (tree / "vault_plugin/rule.py").unlink()
    (tree / "vault_plugin/__init__.py").unlink()
    (tree / "vault_plugin").rmdir()

    with pytest.raises(BadMutant, match="not of the copy"):
        list(run_all(tree, [mutant("max(one, other)")]))
