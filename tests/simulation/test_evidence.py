"""A validator that equivocates is named by every correct one in the end, and nobody else is."""

from __future__ import annotations

from random import Random

import pytest

from node.chain.genesis import Parameters
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM
from tests.simulation.node import CrashPoint, Machine
from tests.simulation.plan import Crash, Plan
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND

GUILTY = 0
"""The primary of view 0."""


def plan_of(*tricks: Trick, crash: bool = False) -> Plan:
    restart = Crash(
        at_us=2 * SECOND,
        validator=2,
        point=CrashPoint.AT_ONCE,
        record=None,
        power_loss=True,
        down_us=500 * MS,
    )
    return Plan(
        size=4,
        parameters=Parameters(view_timeout_ms=300),
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(
            requests=40,
            asking_permille=1_000,
            habits=tuple(Habit),
            retry_us=1 * SECOND,
            burst_max=1,
            to_all_permille=200,
            resigned_permille=0,
            short_lived_permille=0,
            referenced_permille=0,
        ),
        byzantine={GUILTY: tricks} if tricks else {},
        faults=(restart,) if crash else (),
        chaos_us=4 * SECOND,
    )


def run(plan: Plan, seed: int) -> Cluster:
    cluster = Cluster(plan, Random(seed))
    cluster.run()
    return cluster


@pytest.mark.parametrize("trick", [Trick.EQUIVOCATE, Trick.VOTE_FOR_ALL])
@pytest.mark.parametrize("seed", range(3))
def test_every_correct_validator_ends_with_proof_that_names_the_equivocator(
    trick: Trick, seed: int
) -> None:
    """A primary that shows half of the others another block; a voter that signs whatever it hears.

    The latter contradicts itself only where there are two headers, hence with the former.
    """
    cluster = run(plan_of(Trick.EQUIVOCATE, trick), seed)
    genesis = cluster.genesis
    assert len(cluster.correct) == 3
    for validator in cluster.correct:
        held = validator.ledger.evidence()
        assert held, f"validator {validator.index} holds no proof"
        assert {each.place.validator for each in held} == {GUILTY}
        for each in held:
            each.check(genesis.chain_id, genesis.validators)


def test_proof_outlives_a_crash() -> None:
    cluster = run(plan_of(Trick.EQUIVOCATE, crash=True), 1)
    restarted = next(each for each in cluster.correct if each.index == 2)
    assert restarted.life == 2
    assert restarted.engine is not None
    assert restarted.engine.evidence == tuple(
        sorted(restarted.ledger.evidence(), key=lambda each: each.place)
    )
    assert restarted.engine.evidence


def test_without_an_equivocator_nobody_is_accused() -> None:
    cluster = run(plan_of(crash=True), 1)
    assert [each.ledger.evidence() for each in cluster.correct] == [[]] * 4
