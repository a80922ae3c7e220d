"""Every validator of a network killed and started again, each at its own time, under load."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.crash.network import TrappedNetwork
from tests.crash.trial import judge_at_rest
from tests.network.local_network import Load

KILL_S_MAX: Final = 4.0
"""Within so long all are killed."""
DOWN_S_MAX: Final = 3.0
ROUNDS_MAX: Final = 2
"""How often one validator is killed at most."""
BLOCKS_AFTER: Final = 5


@dataclass(frozen=True, slots=True)
class Stroke:
    """One validator down for a while."""

    validator_id: str
    after_s: float
    down_s: float


@dataclass(frozen=True, slots=True)
class Restarts:
    """What came of a seed."""

    deaths: int
    most_down: int
    """How many were down at once."""
    acknowledged: int
    findings: list[str]


def draw(seed: int, ids: tuple[str, ...]) -> list[Stroke]:
    """Return who is killed when, and for how long; everybody is."""
    random = Random(seed)
    return [
        Stroke(name, random.uniform(0, KILL_S_MAX), random.uniform(0, DOWN_S_MAX))
        for name in ids
        for _ in range(random.randint(1, ROUNDS_MAX))
    ]


def restart_all(network: TrappedNetwork, seed: int) -> Restarts:
    """Do to a network that runs as the seed says, and judge it, which stops it."""
    load = Load(network, batch=2)
    strokes = draw(seed, network.ids)
    most_down = asyncio.run(_strike(network, load, strokes))
    findings = judge_at_rest(network, load.results)
    return Restarts(len(strokes), most_down, len(load.results), findings)


async def _strike(network: TrappedNetwork, load: Load, strokes: list[Stroke]) -> int:
    await network.until_ready(network.ids)
    loading = asyncio.create_task(load.run())
    await network.until_height(network.ids[0], await network.height() + 3)
    down: Counter[str] = Counter()
    most_down = 0
    starting = asyncio.Lock()

    async def fall(stroke: Stroke) -> None:
        nonlocal most_down
        await asyncio.sleep(stroke.after_s)
        async with starting:
            if down[stroke.validator_id] == 0:
                network.end(stroke.validator_id, signal.SIGKILL)
                network.collect(stroke.validator_id)
            down[stroke.validator_id] += 1
            most_down = max(most_down, sum(count > 0 for count in down.values()))
        await asyncio.sleep(stroke.down_s)
        async with starting:
            down[stroke.validator_id] -= 1
            if down[stroke.validator_id] == 0:
                await asyncio.to_thread(network.start, stroke.validator_id)

    await asyncio.gather(*map(fall, strokes))
    statuses = await network.until_ready(network.ids)
    height = max(status.height for status in statuses.values())
    for name in network.ids:
        await network.until_height(name, height + BLOCKS_AFTER)
    load.stop()
    await loading
    return most_down
