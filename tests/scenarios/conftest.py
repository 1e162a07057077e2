"""A scene a test."""

from collections.abc import Iterator

import pytest

from tests.scenarios.stage import Scene
from tests.simulators.tls import Authority


@pytest.fixture
def scene(authority: Authority) -> Iterator[Scene]:
    """Return a scene and close it after the test."""
    made = Scene(authority)
    yield made
    made.close()
