"""A few seeds of the simulation in which a validator far behind begins with the state."""

from __future__ import annotations

import pytest

from tests.simulation.snapshots import run_snapshots

SEEDS = (*range(8), 23)
"""23: who lost its database joined a view change before it was where its log says it was."""


@pytest.fixture(scope="module")
def runs() -> dict[int, tuple[str, int, int]]:
    """Return of each seed the violation, the snapshots begun with, and the lies told."""
    found = {}
    for seed in SEEDS:
        violation, cluster = run_snapshots(seed)
        found[seed] = (violation, cluster.victim.snapshots, cluster.lies)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_clean(seed: int, runs: dict[int, tuple[str, int, int]]) -> None:
    assert runs[seed][0] == ""


def test_most_seeds_have_a_snapshot_and_some_a_liar(
    runs: dict[int, tuple[str, int, int]],
) -> None:
    assert sum(snapshots > 0 for _, snapshots, _ in runs.values()) > len(SEEDS) // 2
    assert any(lies and snapshots for _, snapshots, lies in runs.values())


def test_a_seed_is_one_run() -> None:
    first, second = (run_snapshots(3)[1].world.trace_digest for _ in range(2))
    assert first == second != run_snapshots(4)[1].world.trace_digest
