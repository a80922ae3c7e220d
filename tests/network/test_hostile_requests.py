"""A short run of tests.fuzz.endpoints: nothing that is sent makes a validator blame itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.fuzz.endpoints import METHODS, fuzz
from tests.network.local_network import running_network


def test_hostile_requests_are_the_callers_fault(tmp_path: Path) -> None:
    with running_network(tmp_path / "net") as network:
        report = asyncio.run(fuzz(network, seed=0, seconds=2))
    assert report.finds == []
    asked = {f"/{method.containing_service.full_name}/{method.name}" for method in METHODS}
    assert asked | {"http", "peer"} < report.answers.keys()
