"""A deployment a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.node import VaultServer
from tests.service.deployment import Deployment
from tests.simulators.tls import Authority


@pytest.fixture
def deployment(vault: VaultServer, mount: str, authority: Authority, tmp_path: Path) -> Iterator[Deployment]:
    """Return a deployment whose service isn't started yet."""
    made = Deployment(vault, mount, authority, tmp_path)
    yield made
    made.close()
