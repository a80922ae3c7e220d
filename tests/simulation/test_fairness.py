"""A primary that passes one client over while it serves the others, on a whole cluster."""

from __future__ import annotations

from random import Random

from node.chain.genesis import Parameters
from node.limits import DURATION_MS_MAX
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster
from tests.simulation.network import CALM
from tests.simulation.node import Machine
from tests.simulation.plan import Plan
from tests.simulation.workload import WorkloadProfile
from tests.simulation.world import MS, SECOND

TOLERANCE_MS = 1_000
LASTS_US = 8 * SECOND
REQUESTS = 600


def longest_wait_ms(parameters: Parameters, tricks: tuple[Trick, ...]) -> tuple[int, int]:
    """Return how long a request waited at most, and the view at the end."""
    plan = Plan(
        size=4,
        parameters=parameters,
        machines=(Machine(),) * 4,
        links=CALM,
        cut_links_hold=False,
        workload=WorkloadProfile(),
        byzantine={0: tricks},
        chaos_us=LASTS_US,
    )
    cluster = Cluster(plan, Random(1))
    world, submitted = cluster.world, cluster.history.submitted
    started_ms = world.utc_ms
    waits_ms: dict[bytes, int] = {}
    settle = cluster.history.on_final

    def became_final(tx_id: bytes) -> None:
        waits_ms.setdefault(tx_id, world.utc_ms - submitted[tx_id])
        settle(tx_id)

    cluster.history.on_final = became_final
    for validator in cluster.places:
        validator.start()
    cluster.clients.schedule(0, LASTS_US - TOLERANCE_MS * MS, REQUESTS)
    world.run_until(LASTS_US)
    assert world.utc_ms - started_ms == LASTS_US // MS
    for tx_id, submitted_ms in submitted.items():
        waits_ms.setdefault(tx_id, world.utc_ms - submitted_ms)
    return max(waits_ms.values()), max(v.engine.core.view for v in cluster.correct if v.engine)


def parameters(fairness_ms: int) -> Parameters:
    return Parameters(view_timeout_ms=1_000, view_timeout_max_ms=2_000, fairness_ms=fairness_ms)


def test_a_primary_that_passes_one_client_over_loses_its_view() -> None:
    never = parameters(DURATION_MS_MAX)
    assert longest_wait_ms(never, (Trick.CENSOR,)) > (5_000, 0)
    wait_ms, view = longest_wait_ms(parameters(1_000), (Trick.CENSOR,))
    assert view > 0
    assert wait_ms < 2 * 1_000 + TOLERANCE_MS


def test_a_primary_that_serves_in_turn_keeps_its_view() -> None:
    wait_ms, view = longest_wait_ms(parameters(1_000), (Trick.LIE,))
    assert (view, wait_ms < TOLERANCE_MS) == (0, True)
