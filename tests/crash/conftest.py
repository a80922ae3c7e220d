"""What several crash tests share: one network with traps, which each of them may find at rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.network import TrappedNetwork, trapped_network


@pytest.fixture(scope="session")
def trapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrappedNetwork]:
    """Make a network of four with traps; whoever takes it starts what does not run."""
    with trapped_network(tmp_path_factory.mktemp("trapped") / "network") as network:
        yield network
