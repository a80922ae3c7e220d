"""Validators that change under load: a few seeds of the governed simulation."""

from __future__ import annotations

import pytest

from node.chain.block import ResultCode
from tests.simulation.governed import run_governed

SEEDS = (*range(6), 51, 143)
"""51: no faults, and a set that grows; 143: a client comes to the same liar four times in a row."""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_clean_and_has_changes(seed: int) -> None:
    violation, run = run_governed(seed)
    assert violation == ""
    assert run.account.epoch >= 1
    assert run.oracles.codes[ResultCode.OK] >= run.account.epoch  # some change nothing


def test_a_seed_is_one_run() -> None:
    first, second = (run_governed(11)[1].world.trace_digest for _ in range(2))
    assert first == second != run_governed(12)[1].world.trace_digest
