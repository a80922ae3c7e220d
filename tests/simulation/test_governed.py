"""Validators that change under load: a few seeds of the governed simulation."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import NamedTuple

import pytest

from node.chain.block import ResultCode
from node.chain.genesis import Parameters
from tests.simulation.governed import other_parameters, plan_of, run_governed

SEEDS = (*range(6), 51, 143, 304, 311)
"""51: no faults, and a set that grows; 143: a client comes to the same liar four times in a row;
304: all spares are used, and clients may wait for no longer than a view does; 311: a liar is the
first to have the block that ends an epoch, and its proposal comes before others have it."""


class Outcome(NamedTuple):
    """What became of a seed."""

    violation: str
    epoch: int
    applied: int
    trace: str


def run_anew(seed: int) -> Outcome:
    violation, run = run_governed(seed)
    codes, trace = run.history.codes, run.world.trace_digest
    return Outcome(violation, run.account.epoch, codes[ResultCode.OK], trace)


run_once = cache(run_anew)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_clean_and_has_changes(seed: int) -> None:
    outcome = run_once(seed)
    assert outcome.violation == ""
    assert outcome.epoch >= 1
    assert outcome.applied >= outcome.epoch  # some change nothing


def test_parameters_that_are_asked_for_are_some_a_chain_can_have() -> None:
    for seed in range(300, 400):
        held, random = plan_of(seed).parameters, Random(seed)
        for _ in range(3):
            asked = other_parameters(held, random)
            assert Parameters.from_value(asked.to_value()) == asked != held
            held = asked


def test_a_seed_is_one_run() -> None:
    first, other, *_ = SEEDS
    assert run_anew(first) == run_once(first)
    assert run_once(first).trace != run_once(other).trace
