"""Takes one rule out of a copy of the tree, runs the tests that must notice it, and tells which of them did."""

import ast
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: What a copy doesn't need: what was made, and what git keeps. Compiled modules are made anew, and then belong to the copy.
LEFT_OUT: Final = shutil.ignore_patterns(".git", ".venv", ".cache", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info")
#: Runs pytest on what stands in the working directory. An environment may know another place of these packages.
WITHIN: Final = """
import pathlib, sys
import pytest, scheduler, vault_plugin
for package in (scheduler, vault_plugin):
    if not pathlib.Path(package.__file__).resolve().is_relative_to(pathlib.Path.cwd().resolve()):
        sys.exit(f"not of the copy: {package.__file__}")
sys.exit(pytest.main(["-x", "-q", "--tb=short", "--show-capture=no", "-p", "no:cacheprovider", "-p", "no:xdist", *sys.argv[1:]]))
"""
FAILED_TESTS: Final = 1
#: A test that hangs without the rule has noticed nothing: whoever is hung up says so by a bound of its own.
LONGEST: Final = 120
#: These come of a removal that left broken code behind, and show nothing about a rule.
BROKEN: Final = re.compile(r"^E +(NameError|UnboundLocalError|ImportError|SyntaxError)\b", re.MULTILINE)


@dataclass(frozen=True)
class Mutant:
    """A rule, the text that holds it, what stands in its place without the rule, and the tests that must notice."""

    rule: str
    file: str
    text: str
    instead: str
    tests: tuple[str, ...]

    def applied(self, source: str) -> str:
        """Return the source without the rule.

        Raises:
            BadMutant: the source doesn't hold this text once, or isn't Python any more without it.
        """
        found = source.count(self.text)
        if found != 1:
            raise BadMutant(
                f"{self.file} holds this text {found} times in place of once, so the table must follow: {self.text!r}"
            )
        without = source.replace(self.text, self.instead)
        try:
            ast.parse(without)
        except SyntaxError as error:
            raise BadMutant(f"{self.file} is no Python without the rule: {error}") from None
        return without


class BadMutant(Exception):
    """The table is wrong, or the tests are: nothing is known of the rule."""


@dataclass(frozen=True)
class Outcome:
    """What came of one removal."""

    mutant: Mutant
    seconds: float
    #: The test that failed, or empty: nothing noticed.
    caught_by: str = ""
    #: Why nothing is known, if so.
    error: str = ""

    @property
    def good(self) -> bool:
        """Tell whether a test holds the rule."""
        return bool(self.caught_by)


def run_all(root: Path, mutants: Sequence[Mutant], side_by_side: int = 2) -> Iterator[Outcome]:
    """Yield what came of each removal, in the table's order. The tree at `root` is only read.

    Raises:
        BadMutant: the tests aren't green with all rules in place.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        first = Path(folder) / "0"
        shutil.copytree(root, first, ignore=LEFT_OUT, symlinks=True)
        _check_green(first, sorted({test for mutant in mutants for test in mutant.tests}))
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        copies.put(first)
        for number in range(1, side_by_side):
            copies.put(Path(shutil.copytree(first, Path(folder) / str(number), symlinks=True)))
        with ThreadPoolExecutor(side_by_side) as pool:
            yield from pool.map(lambda mutant: _outcome(copies, mutant), mutants)


def _check_green(copy: Path, tests: Sequence[str]) -> None:
    status, output = _pytest(copy, tests, compiled=True, longest=10 * LONGEST)
    if status != 0:
        raise BadMutant(f"with all rules in place the tests aren't green (status {status}):\n{output}")


def _outcome(copies: "queue.SimpleQueue[Path]", mutant: Mutant) -> Outcome:
    copy, begun = copies.get(), time.monotonic()
    try:
        with _without(copy, mutant):
            status, output = _pytest(copy, mutant.tests)
        return _judged(mutant, status, output, time.monotonic() - begun)
    except BadMutant as error:
        return Outcome(mutant, time.monotonic() - begun, error=str(error))
    finally:
        copies.put(copy)


def _judged(mutant: Mutant, status: int, output: str, seconds: float) -> Outcome:
    """Tell a test that failed from tests that couldn't be run."""
    if status == 0:
        return Outcome(mutant, seconds)
    failed = re.search(r"^FAILED (.+?)(?: - .*)?$", output, re.MULTILINE)
    if status != FAILED_TESTS or failed is None or BROKEN.search(output):
        return Outcome(mutant, seconds, error=f"the tests couldn't be run (status {status}):\n{output}")
    return Outcome(mutant, seconds, caught_by=failed[1])


@contextmanager
def _without(copy: Path, mutant: Mutant) -> Iterator[None]:
    """Take the rule out of this copy for a while. A module that was compiled with it mustn't be taken for the source's."""
    path = copy / mutant.file
    source = path.read_text()
    without = mutant.applied(source)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
    path.write_text(without)
    try:
        yield
    finally:
        path.write_text(source)


def _pytest(copy: Path, tests: Sequence[str], *, compiled: bool = False, longest: float = LONGEST) -> tuple[int, str]:
    """Run these tests in the copy; return pytest's status and what it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "PYTHONPATH"))}
    environment |= {} if compiled else {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", WITHIN, *tests]
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False, timeout=longest)
    except subprocess.TimeoutExpired:
        raise BadMutant(f"the tests took longer than {longest:.0f} s: {' '.join(tests)}") from None
    return done.returncode, done.stdout + done.stderr
