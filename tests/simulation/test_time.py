"""Time on whole clusters: who lies about it, whose clock is set, who does not run."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest

from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from tests.simulation import time_bounds
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM
from tests.simulation.node import Machine, SimulatedValidator
from tests.simulation.plan import Fault, Plan, Step, Stop
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND


def running(*faults: Fault, machines: Sequence[Machine] = (Machine(),) * 4) -> Cluster:
    """Return a cluster of four that has begun, under requests for three minutes to come."""
    plan = Plan(
        size=4,
        parameters=Parameters(),
        machines=tuple(machines),
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(habits=(Habit.FAITHFUL,), burst_max=1),
        faults=faults,
        chaos_us=180 * SECOND,
    )
    cluster = Cluster(plan, Random(1))
    for fault in faults:
        cluster.strike_at(fault)
    for validator in cluster.places:
        validator.start()
    cluster.clients.schedule(0, plan.chaos_us, 360)
    return cluster


def cause_of(validator: SimulatedValidator) -> UnfitCause:
    assert validator.engine is not None
    return validator.engine.clock_fitness.judge().cause


def degraded_since(cluster: Cluster, height: int) -> list[bool]:
    return [header.time_degraded for header in cluster.history.headers[height + 1 :]]


def top(cluster: Cluster) -> int:
    return len(cluster.history.headers) - 1


@pytest.mark.parametrize("by_ms", [3_600_000, -1_000, 200])
def test_one_clock_is_set_wrong_and_the_chain_goes_on(by_ms: int) -> None:
    cluster = running(Step(2 * SECOND, (1,), by_ms))
    cluster.world.run_until(20 * SECOND)
    assert [cause_of(each) for each in cluster.places] == [
        UnfitCause.NONE,
        UnfitCause.STEPPED,
        UnfitCause.NONE,
        UnfitCause.NONE,
    ]
    height = top(cluster)
    cluster.world.run_until(80 * SECOND)
    assert top(cluster) > height + 60
    # A minute later the step is forgotten, and the votes of the others tell.
    told = {3_600_000: UnfitCause.AHEAD, -1_000: UnfitCause.BEHIND, 200: UnfitCause.NONE}
    assert cause_of(cluster.places[1]) is told[by_ms]
    assert not any(degraded_since(cluster, 0))
    assert cluster.places[1].ledger.tip_height >= top(cluster) - 1, "it follows"


@pytest.mark.parametrize("by_ms", [10_000, -10_000])
def test_all_clocks_are_set_and_it_goes_on_degraded_until_they_are_trusted_again(
    by_ms: int,
) -> None:
    cluster = running(Step(2 * SECOND, (0, 1, 2, 3), by_ms))
    cluster.world.run_until(12 * SECOND)
    height = top(cluster)
    cluster.world.run_until(40 * SECOND)
    assert top(cluster) > height + 20
    assert all(degraded_since(cluster, height))
    assert [cause_of(each) for each in cluster.places] == [UnfitCause.STEPPED] * 4
    cluster.world.run_until(150 * SECOND)
    height = top(cluster)
    cluster.world.run_until(170 * SECOND)
    assert [cause_of(each) for each in cluster.places] == [UnfitCause.NONE] * 4
    assert top(cluster) > height + 15
    assert not any(degraded_since(cluster, height))


def test_two_clocks_of_four_are_unfit_and_it_goes_on_degraded() -> None:
    cluster = running(Step(2 * SECOND, (1, 2), 5_000))
    cluster.world.run_until(12 * SECOND)
    height = top(cluster)
    cluster.world.run_until(40 * SECOND)
    assert top(cluster) > height + 20
    assert all(degraded_since(cluster, height))


def test_a_clock_that_drifts_is_found_before_it_misleads() -> None:
    cluster = running()
    slow = cluster.places[2]
    for tenth in range(1, 600):  # 500 ppm of a minute are 30 ms: within the clock error; then more
        cluster.world.after(tenth * 100 * MS, lambda: slow.step_clock(-1))
    cluster.history.misled[2] = None
    cluster.world.run_until(60 * SECOND)
    assert cause_of(slow) is UnfitCause.BEHIND
    assert not any(degraded_since(cluster, 0))


def test_the_chain_rests_and_the_next_block_has_the_time_of_its_own() -> None:
    cluster = running()
    cluster.world.run_until(200 * SECOND)
    height = top(cluster)
    cluster.world.run_until(1_100 * SECOND)
    assert top(cluster) == height
    cluster.clients.schedule(cluster.world.now_us, cluster.world.now_us + SECOND, 1)
    cluster.world.run_until(1_105 * SECOND)
    assert top(cluster) == height + 1
    assert cluster.world.utc_ms - cluster.history.headers[-1].time_ms <= 5_000


def test_a_validator_that_does_not_run_for_a_while_is_no_validator_with_a_bad_clock() -> None:
    cluster = running(Stop(5 * SECOND, (0,), 3 * SECOND), Stop(20 * SECOND, (0, 1, 2, 3), SECOND))
    cluster.world.run_until(40 * SECOND)
    assert [cause_of(each) for each in cluster.places] == [UnfitCause.NONE] * 4
    assert not any(degraded_since(cluster, 0))
    height = top(cluster)
    cluster.world.run_until(60 * SECOND)
    assert top(cluster) > height + 15


def test_t_and_s_keep_their_bounds_among_liars() -> None:
    tally = time_bounds.Tally()
    for seed, size in ((0, 4), (1, 7)):
        assert time_bounds.run_seed(seed, size, tally, requests=60) == ""
    assert tally.blocks >= 120
    parameters = Parameters()
    assert tally.sealed.least is not None
    assert tally.sealed.least >= -parameters.clock_error_ms
    assert tally.stamped.least is not None
    assert tally.stamped.least >= -parameters.accuracy_ms
