"""What a seed stands for, and its run: one in twenty is governed, that is, its validators change.

They share one space of seeds, so that whoever runs or counts seeds has both, and need not know of
which kind one is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from tests.simulation import governed, plan
from tests.simulation.cluster import Cluster, judged
from tests.simulation.governed import GovernedCluster
from tests.simulation.minimise import reduced
from tests.simulation.plan import Plan
from tests.simulation.sharing import garbage_left_to_the_end
from tests.simulation.transcript import Transcript
from tests.simulation.world import MS

GOVERNED_EVERY = 20
GOVERNED_REST = 10
"""Of the seeds that are run twice, which are multiples of fifty, every other one is governed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of a run."""

    seed: int
    size: int
    violation: str
    """Empty when every oracle was content."""
    blocks: int
    steps: int
    views: int
    """The highest view any correct validator was in."""
    healing_ms: int
    """From the end of the faults until everything asked was final everywhere."""
    epochs: int
    """How often the set or the parameters changed."""
    trace: str
    cpu_us: int = field(default=0, compare=False)
    """Processor time it took."""

    @property
    def oracle(self) -> str:
        """The name of the rule that was broken; empty if none was."""
        return self.violation.partition(":")[0]

    def failing(self, violation: str) -> Report:
        """Return the same report, but of a violation."""
        return replace(self, violation=violation)


def is_governed(seed: int) -> bool:
    """Say whether validators and clients change in the run of a seed."""
    return seed % GOVERNED_EVERY == GOVERNED_REST


def plan_of(seed: int, size: int) -> Plan:
    """Return what a seed stands for with `size` validators, or as many founders."""
    draw = governed.draw_plan if is_governed(seed) else plan.draw_plan
    return draw(Random(2 * (seed * 64 + size)), size)


def cluster_of(seed: int, size: int, words: Sequence[str] = ()) -> Cluster:
    """Return what runs a seed, reduced by `words` (minimise.py)."""
    cluster_type = GovernedCluster if is_governed(seed) else Cluster
    return cluster_type(reduced(plan_of(seed, size), words), Random(2 * (seed * 64 + size) + 1))


def run_seed(seed: int, size: int) -> Report:
    """Run what `seed` stands for with `size` validators."""
    return run_plan(seed, size, ())


def run_alone(seed: int, size: int, words: Sequence[str] = ()) -> Report:
    """Run the same with every validator doing all of its work itself (sharing.py)."""
    return run_plan(seed, size, words, shares=False)


def run_plan(
    seed: int,
    size: int,
    words: Sequence[str],
    write: Callable[[str], None] | None = None,
    *,
    shares: bool = True,
) -> Report:
    """Run a seed reduced by `words` (minimise.py); `write` takes a transcript's lines."""
    started_us = time.process_time_ns() // 1_000
    with garbage_left_to_the_end():
        report = _run_to_the_end(seed, size, words, write, shares=shares)
    return replace(report, cpu_us=time.process_time_ns() // 1_000 - started_us)


def _run_to_the_end(
    seed: int,
    size: int,
    words: Sequence[str],
    write: Callable[[str], None] | None,
    *,
    shares: bool,
) -> Report:
    cluster = cluster_of(seed, size, words)
    if write is not None:
        write(f"{cluster.plan}")
        cluster.world.transcript = Transcript(write, cluster.genesis.suite.signature_size)
    violation = judged(cluster, shares=shares)
    return Report(
        seed=seed,
        size=size,
        violation=violation,
        blocks=len(cluster.history.headers) - 1,
        steps=cluster.world.steps,
        views=cluster.oracles.view_max,
        healing_ms=(cluster.healed_at_us - cluster.plan.chaos_us) // MS,
        epochs=cluster.history.account.epoch,
        trace=cluster.world.trace_digest,
    )
