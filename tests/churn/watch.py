"""What an outside observer sees of a chain: every block at every validator, and how long none came.

A block counts as made when the first validator tells of it. Here too: what doctor says while none
comes, and how late this very process is, which nobody may blame the network for.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from node.cli.checkup import Level
from node.cli.stall import check_chain
from node.rpc.client import LedgerClient, NetworkUnavailable
from node.rpc.port import BlockSummary
from tests.network.local_network import LocalNetwork

ASK_DOCTOR_AFTER_S: Final = 4.0
WAITS_KEPT: Final = 1_000
"""How many of the newest waits of a second or more are remembered."""

_SUBSCRIPTION_MS: Final = 60_000
_DIAGNOSIS_MS: Final = 2_000
_BEAT_S: Final = 0.1
_PAUSE_S: Final = 0.1
_LONG_WAIT_S: Final = 1.0


@dataclass(slots=True)
class Wait:
    """A time without a new block."""

    began_s: float
    """After the start of the run."""
    lasted_s: float = 0.0
    causes: list[str] = field(default_factory=list)
    """What doctor said meanwhile."""


@dataclass(slots=True)
class Meter:
    """The longest wait that ended, or is still going on, since some moment."""

    longest_s: float = 0.0


class Watch:
    """Follows every validator; use `follow` and `beat` as tasks."""

    def __init__(self, network: LocalNetwork, clients: Mapping[str, LedgerClient]) -> None:
        self._clients = clients
        self._began_s = self._newest_at_s = time.monotonic()
        self._digests: dict[int, tuple[bytes, int]] = {}
        """By height, until every validator told of it: the digest, and how many told."""
        self._meters: list[Meter] = []
        self._now_waiting: Wait | None = None
        self.heights = dict.fromkeys(network.ids, 0)
        self.height = 0
        self.transactions = 0
        self.longest = Wait(0.0)
        self.long_waits: deque[Wait] = deque(maxlen=WAITS_KEPT)
        """Those of a second or more."""
        self.forks: list[str] = []
        self.own_lag_s = 0.0
        """How late this process was at worst: of so much no wait can be sure."""

    @property
    def elapsed_s(self) -> float:
        """Return the time since the start."""
        return time.monotonic() - self._began_s

    def begin(self) -> None:
        """Forget how long it took until load began: from now on blocks are due."""
        self._newest_at_s = time.monotonic()

    async def follow(self, validator_id: str) -> None:
        """Take note of every block that a validator tells of, whatever becomes of it meanwhile."""
        client = self._clients[validator_id]
        while True:
            with suppress(NetworkUnavailable):
                blocks = client.blocks(self.heights[validator_id] + 1, _SUBSCRIPTION_MS)
                async for block in blocks:
                    self._note(validator_id, block)
            await asyncio.sleep(_PAUSE_S)

    async def beat(self) -> None:
        """Watch the time: ask doctor where a wait is long."""
        due_s = time.monotonic()
        while True:
            due_s += _BEAT_S
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            now_s = time.monotonic()
            self.own_lag_s = max(self.own_lag_s, now_s - due_s)
            due_s = now_s
            if now_s - self._newest_at_s > ASK_DOCTOR_AFTER_S and self._now_waiting is None:
                self._now_waiting = Wait(self._newest_at_s - self._began_s)
                self._now_waiting.causes = await self.ask_doctor()

    @contextmanager
    def metered(self) -> Iterator[Meter]:
        """Measure the longest wait of a stretch of time."""
        meter = Meter()
        self._meters.append(meter)
        try:
            yield meter
        finally:
            self._meters.remove(meter)
            meter.longest_s = max(meter.longest_s, time.monotonic() - self._newest_at_s)

    async def ask_doctor(self) -> list[str]:
        """Return what is wrong with the network, in doctor's words."""
        found = await asyncio.gather(
            *(client.diagnoses(_DIAGNOSIS_MS) for client in self._clients.values())
        )
        answers = {name: answer for each in found for name, answer in each.items()}
        return [
            f"{finding.check}: {finding.detail}"
            for finding in check_chain(answers)
            if finding.level is not Level.OK
        ]

    def _note(self, validator_id: str, block: BlockSummary) -> None:
        height = block.height
        self.heights[validator_id] = height
        digest, told = self._digests.get(height, (block.header_digest, 0))
        if digest != block.header_digest:
            self.forks.append(f"{validator_id} holds another block {height}")
        self._digests[height] = (digest, told + 1)
        if told + 1 == len(self.heights):
            del self._digests[height]
        if height > self.height:
            self.height = height
            self.transactions += block.transactions
            self._note_newest()

    def _note_newest(self) -> None:
        now_s = time.monotonic()
        wait = self._now_waiting or Wait(self._newest_at_s - self._began_s)
        wait.lasted_s = now_s - self._newest_at_s
        for meter in self._meters:
            meter.longest_s = max(meter.longest_s, wait.lasted_s)
        if wait.lasted_s >= _LONG_WAIT_S:
            self.long_waits.append(wait)
        if wait.lasted_s > self.longest.lasted_s:
            self.longest = wait
        self._newest_at_s, self._now_waiting = now_s, None
