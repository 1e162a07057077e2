"""A scene a test."""

from collections.abc import Iterator

import pytest

from tests.scenarios.stage import Scene
from tests.scenarios.term import PlayedTerm
from tests.simulators.tls import Authority


@pytest.fixture
def scene(authority: Authority) -> Iterator[Scene]:
    """Return a scene and close it after the test."""
    made = Scene(authority)
    yield made
    made.close()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedTerm]:
    """Return a term of leadership that a test plays, and end it after the test."""
    made = PlayedTerm(monkeypatch)
    yield made
    made.close()
    assert made.timers.broke == []
