"""What clients are promised whom a validator does not serve: its clock is set wrong, or it lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster, progress_bound_us
from tests.simulation.network import CALM
from tests.simulation.node import CrashPoint, Machine, SimulatedValidator
from tests.simulation.plan import Crash, Fault, Plan, Step
from tests.simulation.violation import Violation
from tests.simulation.workload import LIFETIME_MS, Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND

HOUR_MS = 3_600_000
SET_WRONG = tuple(Step(1 * SECOND, (validator,), HOUR_MS) for validator in range(4))
MISLED = 0


FAITHFUL = WorkloadProfile(requests=8, habits=(Habit.FAITHFUL,), burst_max=1, to_all_permille=0)


def plan_of(*faults: Fault) -> Plan:
    return Plan(
        size=4,
        parameters=Parameters(),
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=FAITHFUL,
        faults=faults,
        chaos_us=4 * SECOND,
    )


def cluster_of(*faults: Fault) -> Cluster:
    return Cluster(plan_of(*faults), Random(1))


def asked_of(cluster: Cluster, validator: int) -> set[bytes]:
    """Return what clients want who ask one validator alone, and is not final yet."""
    lasting = cluster.clients.lasting
    return {tx_id for tx_id, each in lasting.items() if each.first_asked == validator}


def owed(cluster: Cluster) -> set[bytes]:
    return {*cluster.clients.overdue(cluster.correct)}


def test_who_knows_its_clock_to_be_wrong_serves_its_clients() -> None:
    for step in SET_WRONG:
        cluster = cluster_of(step)
        cluster.run()
        assert cluster.places[step.validators[0]].engine is not None
        assert not cluster.clients.lasting, "all of them, which oracle L demands"


def test_who_cannot_know_it_owes_nothing_until_the_others_tell() -> None:
    cluster = cluster_of()
    for fault in (
        SET_WRONG[MISLED],
        Crash(2 * SECOND, MISLED, CrashPoint.AT_ONCE, None, power_loss=False, down_us=MS),
    ):
        cluster.strike_at(fault)
    for validator in cluster.places:
        validator.start()
    clients, world, misled = cluster.clients, cluster.world, cluster.places[MISLED]
    world.run_until(3 * SECOND)
    while not (refused := asked_of(cluster, MISLED)):
        clients.schedule(world.now_us, world.now_us + MS, 1)
        world.run_until(world.now_us + 50 * MS)
    assert misled.engine is not None
    fitness = misled.engine.clock_fitness
    assert fitness.judge().is_fit
    assert not owed(cluster), "it answers that their time is over"
    assert not any(clients.lasting[tx_id].askings for tx_id in refused)
    clients.schedule(world.now_us, world.now_us + 2 * SECOND, 20)
    until_us = world.now_us + 5 * SECOND
    assert world.run_until(until_us, lambda: fitness.judge().cause is UnfitCause.AHEAD)
    pools = [each.engine.mempool for each in cluster.places if each.engine is not None]
    assert refused <= owed(cluster), "although nobody holds them yet"
    assert not any(pool.is_pending(tx_id) for pool in pools for tx_id in refused)
    world.run_until(world.now_us + 3 * SECOND)
    assert not clients.lasting


def test_whose_clock_is_right_owes_what_it_was_asked_for() -> None:
    cluster = cluster_of()
    for validator in cluster.places[:2]:
        validator.start()  # two of four decide nothing
    cluster.clients.schedule(0, MS, 40)
    cluster.world.run_until(SECOND)
    assert len(owed(cluster)) == len(cluster.clients.lasting) == 40
    assert all(asked_of(cluster, each) for each in range(4))


def test_who_comes_back_to_a_liar_alone_is_waited_for() -> None:
    plan = replace(plan_of(), parameters=Parameters(view_timeout_max_ms=2_000))
    late = replace(FAITHFUL, habits=(Habit.ELSEWHERE,), retry_us=2 * progress_bound_us(plan))
    cluster = Cluster(replace(plan, workload=late, byzantine={3: (Trick.WITHHOLD,)}), Random(1))
    cluster.run()
    assert not cluster.clients.lasting
    assert cluster.healed_at_us > plan.chaos_us + progress_bound_us(plan), "one came to it first"


def test_nobody_is_waited_for_beyond_the_lifetime() -> None:
    never = replace(FAITHFUL, habits=(Habit.ELSEWHERE,), retry_us=2 * LIFETIME_MS * MS)
    cluster = Cluster(replace(plan_of(), workload=never), Random(1))
    clients, world = cluster.clients, cluster.world
    clients.schedule(0, MS, 8)
    for until_ms, was_heard in ((LIFETIME_MS - 1, False), (LIFETIME_MS + 2, True)):
        world.run_until(until_ms * MS)
        assert len(clients.lasting) == 8
        assert clients.was_heard([], 0, world.now_us) is was_heard


class Forgetful(SimulatedValidator):
    """A validator that loses what clients hand in."""

    def submit(self, transactions: Sequence[bytes]) -> None: ...


class ForgetfulCluster(Cluster):
    correct_type = Forgetful


@pytest.mark.parametrize("habit", [Habit.ELSEWHERE, Habit.FAITHFUL])
def test_who_was_asked_and_forgot_is_not(habit: Habit) -> None:
    workload = replace(FAITHFUL, habits=(habit,))
    cluster = ForgetfulCluster(replace(plan_of(), workload=workload), Random(1))
    with pytest.raises(Violation, match=r"L: 8 requests are not final"):
        cluster.run()
