"""What clients are promised who ask one validator alone, while its clock is set wrong."""

from __future__ import annotations

from random import Random

from node.chain.genesis import Parameters
from node.chain.time_rules import UnfitCause
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM
from tests.simulation.node import CrashPoint, Machine
from tests.simulation.plan import Crash, Fault, Plan, Step
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND

HOUR_MS = 3_600_000
SET_WRONG = tuple(Step(1 * SECOND, (validator,), HOUR_MS) for validator in range(4))
MISLED = 0


def cluster_of(*faults: Fault, requests: int = 8) -> Cluster:
    plan = Plan(
        size=4,
        parameters=Parameters(),
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(
            requests=requests, habits=(Habit.FAITHFUL,), burst_max=1, to_all_permille=0
        ),
        faults=faults,
        chaos_us=4 * SECOND,
    )
    return Cluster(plan, Random(1))


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
