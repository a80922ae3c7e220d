"""A validator far behind begins with the state: while it is killed, lied to, and the chain goes on.

One of four loses its process for so long that only a snapshot brings it back, often its database
too; on its way back it is killed at any moment. One of the others may lie in whatever it gives of
snapshots. All the oracles of the other simulation judge; in the end every store has to be whole.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from random import Random

from node.service.engine import Engine
from node.service.wire import MessageKind
from tests.commands import at_least
from tests.simulation.adversaries.validator import ByzantineValidator
from tests.simulation.cluster import Cluster, judged
from tests.simulation.node import SimulatedValidator
from tests.simulation.plan import Plan, draw_plan
from tests.simulation.world import MS, SECOND
from tests.unit.service.catch_up.catching import MemoryDrafts

SIZE = 4
GAP_BLOCKS = 20
REQUESTS = 160
CHAOS_US = 9 * SECOND
_LIED_ABOUT = (MessageKind.SNAPSHOTS, MessageKind.STATE, MessageKind.PAST)


class Catcher(SimulatedValidator):
    """A validator that fetches the state where it is far behind, and holds its own for others."""

    drafts: MemoryDrafts | None = None
    snapshots = 0
    """How often it began anew with one."""

    def start(self) -> None:
        """Recover, with the ledger that was made of a snapshot if there is one."""
        if self.engine is not None or self.is_lost:
            return
        drafts = self.drafts
        if drafts is not None and drafts.is_complete and drafts.store is not None:
            self.store, drafts = drafts.store, None
            self.snapshots += 1
        self.drafts = drafts or MemoryDrafts()
        super().start()
        self._allow(self.drafts)

    def _allow(self, drafts: MemoryDrafts) -> None:
        if self.engine is not None:
            self.engine.allow_snapshots(drafts, GAP_BLOCKS)

    def crash(self, *, power_loss: bool, down_us: int, loses_state: bool = False) -> None:
        """End the process; a draft may lose what was not synced, as everything else."""
        was_up = self.engine is not None
        super().crash(power_loss=power_loss, down_us=down_us, loses_state=loses_state)
        if was_up and self.drafts is not None and self.drafts.store is not None:
            unsynced = self.drafts.store.unsynced_batches
            keep = self.world.random.randrange(unsynced + 1) if power_loss else unsynced
            self.drafts.store = self.drafts.store.crash(keep=keep)

    def _after_turn(self, engine: Engine) -> None:
        super()._after_turn(engine)
        if engine.is_superseded and self.engine is engine:
            self.crash(power_loss=False, down_us=1 * MS)


class Liar(ByzantineValidator):
    """Changes a byte of what it gives of snapshots, every other time."""

    lies = 0

    def _send(self, peer: int, frame: list[bytes]) -> None:
        super()._send(peer, [self._changed(data) for data in frame])

    def _changed(self, data: bytes) -> bytes:
        if data[1] not in _LIED_ABOUT or self.world.chance(500):
            return data
        self.lies += 1
        changed = bytearray(data)
        changed[2 + self.world.random.randrange(len(data) - 2)] ^= 1 << self.world.random.randrange(
            8
        )
        return bytes(changed)


class SnapshotCluster(Cluster):
    """A cluster one of which falls far behind."""

    correct_type = Catcher
    byzantine_type = Liar

    def run(self) -> None:
        """Run the plan, with one validator away for most of it; raises `Violation`."""
        random, world = self.world.random, self.world
        self.victim = random.choice([each for each in self.correct if isinstance(each, Catcher)])
        away = partial(
            self.victim.crash,
            power_loss=random.random() < 0.5,
            down_us=CHAOS_US // 2,
            loses_state=random.random() < 0.5,
        )
        world.after(random.randrange(100 * MS, 1 * SECOND), away)
        for _ in range(random.randrange(3)):  # on its way back
            again = partial(self.victim.crash, power_loss=random.random() < 0.5, down_us=50 * MS)
            world.after(random.randrange(CHAOS_US // 2, CHAOS_US // 2 + 2 * SECOND), again)
        super().run()

    @property
    def lies(self) -> int:
        """How many were told."""
        return sum(each.lies for each in self.places if isinstance(each, Liar))

    def _judge_counts(self) -> None:
        """Leave it: a validator is away, whatever the plan says of faults."""

    def _is_done(self) -> bool:
        return super()._is_done() and all(each.ledger.is_whole for each in self.correct)


def plan_of(seed: int) -> Plan:
    """Return what a seed stands for: small blocks all the time, a liar every other time."""
    random = Random(2 * seed + 1)
    plan = draw_plan(Random(2 * (seed * 64 + SIZE)), SIZE)
    return replace(
        plan,
        parameters=replace(plan.parameters, block_txs_max=1, rotation_ms=60_000),
        byzantine={random.randrange(SIZE): ()} if random.random() < 0.5 else {},
        faults=(),
        chaos_us=CHAOS_US,
        workload=replace(plan.workload, requests=REQUESTS, asking_permille=900),
    )


def run_snapshots(seed: int) -> tuple[str, SnapshotCluster]:
    """Run a seed; return the violation, empty for none, and what was run."""
    cluster = SnapshotCluster(plan_of(seed), Random(2 * seed + 1))
    return judged(cluster), cluster


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the seeds asked for; 0 when all oracles were content, 1 otherwise."""
    parser = argparse.ArgumentParser("python -m tests.simulation.snapshots", description=__doc__)
    parser.add_argument("--seeds", type=at_least(1), default=50)
    parser.add_argument("--start", type=at_least(0), default=0)
    options = parser.parse_args(arguments)
    failed = snapshots = 0
    for seed in range(options.start, options.start + options.seeds):
        violation, cluster = run_snapshots(seed)
        snapshots += cluster.victim.snapshots
        if violation:
            failed += 1
            sys.stdout.write(f"seed {seed}: {violation}\n")
    sys.stdout.write(f"seeds: {options.seeds}, failed: {failed}, snapshots: {snapshots}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
