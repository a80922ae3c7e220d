"""Validators and clients that change under load: a few seeds of the governed simulation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from random import Random
from typing import NamedTuple

import pytest

from node.chain.block import ResultCode
from node.chain.genesis import Parameters
from node.chain.transaction import Transaction
from node.execution.state import StateReader
from node.service.admission import Candidate, Gate
from node.service.intake import Intake
from node.service.pursuit import Pursuits
from tests.simulation.governed import other_parameters, plan_of, run_governed

SEEDS = (*range(6), 22, 71)
"""22: no faults, and some wait in pools under keys that are rotated; 71: others are signed anew."""
UNCHANGED = (51, 143, 304, 311)
"""With clients as they were: 51: no faults, and a set that grows; 143: a client comes to the same
liar four times in a row; 304: all spares are used, and clients may wait for no longer than a view
does; 311: a liar is the first to have the block that ends an epoch, and its proposal comes before
others have it."""
RUNS = (*((seed, ()) for seed in SEEDS), *((seed, ("unchanged",)) for seed in UNCHANGED))


class Outcome(NamedTuple):
    """What became of a seed."""

    violation: str
    epoch: int
    applied: int
    rotations: int
    trace: str


def run_anew(seed: int, words: tuple[str, ...] = ()) -> Outcome:
    violation, run = run_governed(seed, words)
    codes, trace = run.history.codes, run.world.trace_digest
    keys = [account.keys for account in run.history.accounts]
    rotations = sum(before != after for before, after in pairwise(keys))
    return Outcome(violation, run.account.epoch, codes[ResultCode.OK], rotations, trace)


run_once = cache(run_anew)


@pytest.mark.parametrize(("seed", "words"), RUNS)
def test_a_seed_is_clean_and_has_changes(seed: int, words: tuple[str, ...]) -> None:
    outcome = run_once(seed, words)
    assert outcome.violation == ""
    assert outcome.epoch >= 1
    assert outcome.applied >= outcome.epoch  # some change nothing
    assert not (words and outcome.rotations)


def test_keys_are_rotated() -> None:
    rotated = {seed: run_once(seed).rotations for seed in SEEDS if plan_of(seed).client_changes}
    assert len(rotated) >= len(SEEDS) // 2
    assert sum(rotated.values()) > len(rotated)
    assert min(rotated[22], rotated[71]) >= 1


def the_newest_final_key_decides(patch: pytest.MonkeyPatch) -> None:
    """Have bodies judged by that, though their block stands on one that may rotate it."""

    def by_the_tip(gate: Gate, _: StateReader, transaction: Transaction) -> Candidate | None:
        return gate.candidate(transaction)

    patch.setattr(Gate, "candidate_after", by_the_tip)
    patch.setattr(Pursuits, "_is_void_by", lambda *_: True)


def what_an_old_key_signed_waits_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Intake, "drop_outdated", lambda *_: None)


@pytest.mark.parametrize(
    ("plant", "seed", "says"),
    [
        (the_newest_final_key_decides, 2, "X: validator 4 halted: block 4 is certified"),
        (what_an_old_key_signed_waits_on, 22, "C: 3 views for 20 blocks"),
        (what_an_old_key_signed_waits_on, 71, "L: 1 requests are not final"),
    ],
)
def test_a_mistake_about_rotated_keys_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    seed: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    violation, _ = run_governed(seed)
    assert violation.startswith(says), violation


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
