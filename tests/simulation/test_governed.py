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
from tests.simulation.cluster import judged
from tests.simulation.governed import SPARES, other_parameters
from tests.simulation.runs import cluster_of, is_governed, plan_of

pytestmark = pytest.mark.xdist_group("governed")  # what one test ran, others look at

SIZE = 4
FETCHED, LEFT_WAITING, UNHURRIED, GROWING = 70, 490, 24970, 10110
"""Runs in which a body is fetched whose sender's key rotates in the block before; in which a client
is left waiting, or a view ends although nothing goes wrong, if pools keep what came under old keys
or of who is frozen; in which nothing goes wrong, and all spares come to be members."""
SEEDS = (10, 50, 90, 110, FETCHED, LEFT_WAITING, UNHURRIED, GROWING)
UNCHANGED = (130, 150, GROWING)
"""With clients as they were."""
RUNS = (*((seed, ()) for seed in SEEDS), *((seed, ("unchanged",)) for seed in UNCHANGED))


class Outcome(NamedTuple):
    """What became of a seed."""

    violation: str
    epoch: int
    applied: int
    rotations: int
    trace: str


def run_anew(seed: int, words: tuple[str, ...] = ()) -> Outcome:
    run = cluster_of(seed, SIZE, words)
    violation = judged(run)
    codes, trace = run.history.codes, run.world.trace_digest
    keys = [account.keys for account in run.history.accounts]
    rotations = sum(before != after for before, after in pairwise(keys))
    return Outcome(violation, run.history.account.epoch, codes[ResultCode.OK], rotations, trace)


run_once = cache(run_anew)


@pytest.mark.parametrize(("seed", "words"), RUNS)
def test_a_seed_is_clean_and_has_changes(seed: int, words: tuple[str, ...]) -> None:
    outcome = run_once(seed, words)
    assert outcome.violation == ""
    assert outcome.epoch >= 1
    assert outcome.applied >= outcome.epoch  # some change nothing
    assert not (words and outcome.rotations)


def test_a_run_without_faults_has_all_spares_for_members() -> None:
    run = cluster_of(GROWING, SIZE)
    assert judged(run) == ""
    assert run.plan.is_faultless
    members = {number for account in run.history.accounts for number in account.members}
    assert len(members) == SIZE + SPARES
    assert max(len(account.members) for account in run.history.accounts) > SIZE


def test_keys_are_rotated() -> None:
    rotated = {
        seed: run_once(seed).rotations for seed in SEEDS if plan_of(seed, SIZE).client_changes
    }
    assert len(rotated) >= len(SEEDS) // 2
    assert sum(rotated.values()) > len(rotated)
    assert min(rotated[LEFT_WAITING], rotated[UNHURRIED]) >= 1


def the_newest_final_key_decides(patch: pytest.MonkeyPatch) -> None:
    """Have bodies judged by that, though their block stands on one that may rotate it."""

    def by_the_tip(gate: Gate, _: StateReader, transaction: Transaction) -> Candidate | None:
        return gate.candidate(transaction)

    patch.setattr(Gate, "candidate_after", by_the_tip)
    patch.setattr(Pursuits, "_is_void_by", lambda *_: True)


def what_has_lapsed_since_waits_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Intake, "drop_outdated", lambda *_: None)


@pytest.mark.parametrize(
    ("plant", "seed", "says"),
    [
        (the_newest_final_key_decides, FETCHED, "X: validator 1 halted: block 13 is certified"),
        (what_has_lapsed_since_waits_on, UNHURRIED, "C: 1 views for 42 blocks"),
        (what_has_lapsed_since_waits_on, LEFT_WAITING, "L: 1 requests are not final"),
    ],
)
def test_a_mistake_about_lost_keys_and_rights_is_found(
    plant: Callable[[pytest.MonkeyPatch], None],
    seed: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plant(monkeypatch)
    violation = judged(cluster_of(seed, SIZE))
    assert violation.startswith(says), violation


def test_parameters_that_are_asked_for_are_some_a_chain_can_have() -> None:
    for seed in filter(is_governed, range(2_000)):
        held, random = plan_of(seed, SIZE).parameters, Random(seed)
        for _ in range(3):
            asked = other_parameters(held, random)
            assert Parameters.from_value(asked.to_value()) == asked != held
            held = asked


def test_a_seed_is_one_run() -> None:
    first, other, *_ = SEEDS
    assert run_anew(first) == run_once(first)
    assert run_once(first).trace != run_once(other).trace
