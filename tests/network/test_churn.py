"""The churn run (tests/churn) in short: some faults under load, and all that is verified after."""

from __future__ import annotations

from pathlib import Path

from tests.churn.run import Plan, churn
from tests.network.local_network import running_network


async def test_validators_killed_and_paused_under_load(tmp_path: Path) -> None:
    lines: list[str] = []
    # This seed kills the primary first, then pauses two others.
    plan = Plan(seconds=11.0, every_s=4.0, seed=1, transactions_per_s=50.0)
    with running_network(tmp_path / "network") as network:
        report = await churn(network, plan, lines.append)
    assert report.failures() == [], lines
    assert report.acknowledged == report.receipts_verified > 0
    assert report.without_effect == {}
    struck = [(each.kind, each.was_primary) for each in report.faults]
    assert struck[0] == ("kill", True)
    assert ("pause", False) in struck
    assert report.ledgers is not None
    assert report.ledgers.audited.keys() == set(network.ids)
