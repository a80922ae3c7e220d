"""Every validator of a network killed and started again, each at its own time, under load."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Final

from node.chain.admission import FinalResult
from tests.crash.network import TrappedNetwork
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
    results: Mapping[bytes, FinalResult] = field(repr=False)
    """What a client was told is final, by tx_id."""


def draw(seed: int, ids: tuple[str, ...]) -> list[Stroke]:
    """Return who is killed when, and for how long; everybody is."""
    random = Random(seed)
    return [
        Stroke(name, random.uniform(0, KILL_S_MAX), random.uniform(0, DOWN_S_MAX))
        for name in ids
        for _ in range(random.randint(1, ROUNDS_MAX))
    ]


async def restart_all(network: TrappedNetwork, seed: int) -> Restarts:
    """Do to a network that runs as the seed says; at the end it runs."""
    load, strokes = Load(network, batch=2), draw(seed, network.ids)
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
    return Restarts(len(strokes), most_down, load.results)
