"""How far T and S are off, over many blocks: `python -m tests.simulation.time_bounds`.

Runs whose only faults are in time: clocks anywhere within the clock error, messages that take long,
processes that stop, and f validators that lie about time as they like, whose clocks are far off or
who stamp their blocks falsely. Oracle T judges each block (history.py); this counts them, and tells
how much of what is promised was used up.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import click

from node.chain.genesis import Parameters
from node.service.engine import CommittedBlock
from tests.commands import above_zero, at_least
from tests.simulation.adversaries.tricks import Trick
from tests.simulation.cluster import Cluster, judged
from tests.simulation.history import History
from tests.simulation.network import LinkProfile
from tests.simulation.node import Machine
from tests.simulation.plan import Plan, Stop
from tests.simulation.workload import Habit, WorkloadProfile
from tests.simulation.world import MS, SECOND

REQUESTS = 1_000
"""Of one run: about as many blocks."""
_PACE_US = 60 * MS
_LIES = (Trick.CLOCK, Trick.MISDATE, Trick.SLOW, Trick.VOTE_FOR_ALL, Trick.ABDICATE)


@dataclass(slots=True)
class Extremes:
    """The least and the greatest of some figures, ms."""

    least: int | None = None
    greatest: int | None = None

    def note(self, figure: int) -> None:
        """Take one more."""
        self.least = figure if self.least is None else min(self.least, figure)
        self.greatest = figure if self.greatest is None else max(self.greatest, figure)

    def __str__(self) -> str:
        return f"{self.least}..{self.greatest}"


@dataclass(slots=True)
class Tally:
    """What many runs came to."""

    blocks: int = 0
    degraded: int = 0
    views: int = 0
    stamped: Extremes = field(default_factory=Extremes)
    """T less when the first correct validator was given the block."""
    sealed: Extremes = field(default_factory=Extremes)
    """S less when the last transaction of the block was signed."""


def plan_of(seed: int, size: int, requests: int = REQUESTS) -> Plan:
    """Return what a seed stands for."""
    random = Random(2 * (seed * 64 + size))
    error_ms = Parameters().clock_error_ms
    chaos_us = requests * _PACE_US
    liars = random.sample(range(size), (size - 1) // 3)
    return Plan(
        size=size,
        parameters=Parameters(
            window_slots=random.choice((1, 2, 4)),
            view_timeout_ms=300,
            view_timeout_max_ms=2_000,
            block_txs_max=1,
            rotation_blocks=random.choice((1, 5, 50)),
            message_delay_ms=random.choice((100, 500, 850)),
        ),
        machines=tuple(
            Machine(clock_offset_ms=random.choice((-error_ms, error_ms, 0))) for _ in range(size)
        ),
        links=LinkProfile(
            delay_min_us=50,
            delay_max_us=random.choice((2, 10, 50)) * MS,
            slow_permille=random.choice((0, 10)),
            slow_max_us=500 * MS,
        ),
        cut_links_hold=False,
        workload=WorkloadProfile(requests=requests, habits=(Habit.FAITHFUL,), burst_max=1),
        byzantine={liar: tuple(random.sample(_LIES, random.choice((1, 2)))) for liar in liars},
        faults=tuple(
            Stop(
                random.randrange(chaos_us),
                (random.randrange(size),),
                random.choice((100 * MS, 400 * MS, 2 * SECOND)),
            )
            for _ in range(chaos_us // (10 * SECOND))
        ),
        chaos_us=chaos_us,
    )


class _Measured(History):
    """The judge, which also measures."""

    tally: Tally

    def judge_time(self, block: CommittedBlock, digest: bytes) -> None:
        """T, and by how much."""
        super().judge_time(block, digest)
        header, tally = block.executed.header, self.tally
        tally.blocks += 1
        tally.degraded += header.time_degraded
        arrivals_ms = self.arrivals.get(digest)
        if arrivals_ms and not header.time_degraded:
            tally.stamped.note(header.time_ms - arrivals_ms[0])
        signed_ms = [
            self.submitted[verified.transaction.tx_id] for verified in block.executed.transactions
        ]
        if signed_ms:
            tally.sealed.note(block.certificate.seal_time_ms() - max(signed_ms))


class _TimedCluster(Cluster):
    history_type = _Measured


def run_seed(seed: int, size: int, tally: Tally, requests: int = REQUESTS) -> str:
    """Run a seed and add what it came to; return the violation, empty for none."""
    cluster = _TimedCluster(plan_of(seed, size, requests), Random(2 * (seed * 64 + size) + 1))
    if isinstance(cluster.history, _Measured):
        cluster.history.tally = tally
    violation = judged(cluster)
    tally.views += cluster.oracles.view_max
    return violation


def main(arguments: Sequence[str], write: Callable[[str], None]) -> int:
    """Run seeds until there are blocks enough; 1 if an oracle objected, or time was too short."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.time_bounds")
    parser.add_argument("--blocks", type=at_least(1), default=100_000)
    parser.add_argument("--start", type=at_least(0), default=0)
    parser.add_argument("--minutes", type=above_zero, default=120.0)
    options = parser.parse_args(arguments)
    tally, failed, seed = Tally(), [], options.start
    until_s = time.monotonic() + 60 * options.minutes
    while tally.blocks < options.blocks and time.monotonic() < until_s:
        for size in (4, 7):
            if violation := run_seed(seed, size, tally):
                failed.append(f"{seed}/{size}")
                write(f"{seed}/{size}: {violation}")
        seed += 1
        sys.stderr.write(f"seed {seed}: {tally.blocks} of {options.blocks} blocks\n")
    write(f"seeds: {options.start}..{seed - 1}, of four and of seven validators")
    write(f"blocks: {tally.blocks}, degraded: {tally.degraded}, views: {tally.views}")
    write(f"T less the first arrival at a correct validator: {tally.stamped} ms")
    write(f"S less the signing of the transaction: {tally.sealed} ms")
    write(f"failed: {failed}")
    return 1 if failed or tally.blocks < options.blocks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], click.echo))
