"""A few seeds of the simulation in which a validator far behind begins with the state."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pytest

from tests.simulation.snapshots import run_snapshots

pytestmark = pytest.mark.xdist_group("snapshots")  # what one test ran, others look at

SEEDS = (*range(8), 23)
"""23: who lost its database joined a view change before it was where its log says it was."""


class Outcome(NamedTuple):
    """What became of a seed."""

    violation: str
    snapshots: int
    """So many were begun with."""
    lies: int
    trace: str


def run_anew(seed: int) -> Outcome:
    violation, cluster = run_snapshots(seed)
    return Outcome(violation, cluster.victim.snapshots, cluster.lies, cluster.world.trace_digest)


run_once = cache(run_anew)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_clean(seed: int) -> None:
    assert run_once(seed).violation == ""


def test_most_seeds_have_a_snapshot_and_some_a_liar() -> None:
    runs = [run_once(seed) for seed in SEEDS]
    assert sum(run.snapshots > 0 for run in runs) > len(SEEDS) // 2
    assert any(run.lies and run.snapshots for run in runs)


def test_a_seed_is_one_run() -> None:
    first, other, *_ = SEEDS
    assert run_anew(first) == run_once(first)
    assert run_once(first).trace != run_once(other).trace
