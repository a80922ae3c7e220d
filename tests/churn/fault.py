"""One validator killed or paused, and how long it takes until all is as before.

As before means: it has every block that there was when the fault ended, says that it is ready, and
a certificate that another validator holds, for a block made after the fault, has its vote.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from node.chain.certificate import QuorumCertificate
from node.chain.encoding import decode
from node.errors import ClientError
from node.limits import CERTIFICATE_BYTES_MAX
from node.operations import chaos
from node.operations.process import ProcessRecord
from node.rpc.client import LedgerClient
from node.rpc.port import Health, NodeStatus
from tests.churn.watch import Watch
from tests.network.local_network import LocalNetwork

RECOVERY_S_MAX: Final = 60.0
"""Who is not as before by then has not recovered."""

_ANSWER_MS: Final = 1_000
_POLL_S: Final = 0.05


class Kind(StrEnum):
    """What is done to a validator."""

    KILL = "kill"
    """SIGKILL, and a start after a while."""
    PAUSE = "pause"
    """SIGSTOP, and SIGCONT after a while."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to be done."""

    kind: Kind
    victim: str
    lasts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What came of it. Times are from the end of the fault; None: not within `RECOVERY_S_MAX`."""

    at_s: float
    """After the start of the run."""
    kind: str
    victim: str
    was_primary: bool
    lasts_s: float
    blocks_missed: int
    longest_wait_s: float
    """Without a new block, from the fault until all was as before."""
    ready_s: float | None
    voting_s: float | None
    """Until its vote was in a certificate."""

    @property
    def has_recovered(self) -> bool:
        """Return whether all is as before."""
        return self.voting_s is not None


def draw(randomness: random.Random, validator_ids: Sequence[str], every_s: float) -> Fault:
    """Draw a fault."""
    kind = randomness.choice(tuple(Kind))
    victim = randomness.choice(validator_ids)
    longest_s = every_s * (0.3 if kind is Kind.KILL else 0.6)
    return Fault(kind, victim, round(randomness.uniform(0.0, longest_s), 2))


class Striker:
    """Carries faults out, one at a time."""

    def __init__(
        self, network: LocalNetwork, clients: Mapping[str, LedgerClient], watch: Watch
    ) -> None:
        self._network, self._clients, self._watch = network, clients, watch
        self._processes = self._running()
        self.unasked_ends: list[str] = []
        """Validators that ended although nobody killed them."""

    async def strike(self, fault: Fault) -> Struck:
        """Carry out a fault, and wait until all is as before."""
        watch, name = self._watch, fault.victim
        at_s, primary = watch.elapsed_s, await self.primary()
        faults = {Kind.KILL: chaos.killed, Kind.PAUSE: chaos.paused}
        with watch.metered() as meter:
            context = faults[fault.kind](self._network.supervisor, [name])
            await asyncio.to_thread(context.__enter__)
            try:
                await asyncio.sleep(fault.lasts_s)
                missed = watch.height - watch.heights[name]
            finally:
                await asyncio.to_thread(context.__exit__, None, None, None)
            ended_s, target = time.monotonic(), watch.height
            self.look_for_ends(but=name if fault.kind is Kind.KILL else None)
            ready_s = await self._until(lambda: self._is_ready(name, target), ended_s)
            voting_s = None
            if ready_s is not None:
                last = target + self._network.genesis.parameters.window_slots
                voting_s = await self._until(lambda: self._is_certifying(name, last), ended_s)
        return Struck(
            at_s=round(at_s, 1),
            kind=fault.kind.value,
            victim=name,
            was_primary=name == primary,
            lasts_s=fault.lasts_s,
            blocks_missed=missed,
            longest_wait_s=round(meter.longest_s, 2),
            ready_s=ready_s,
            voting_s=voting_s,
        )

    def look_for_ends(self, *, but: str | None = None) -> None:
        """Take note of validators that have ended by themselves; starting one hides nothing."""
        before, self._processes = self._processes, self._running()
        for name, process in self._processes.items():
            if process != before[name] and name != but:
                self.unasked_ends.append(f"{name}, before {self._watch.elapsed_s:.0f} s")

    def _running(self) -> dict[str, ProcessRecord | None]:
        return {each.entry.id: each.process for each in self._network.supervisor.inspect()}

    async def primary(self) -> str:
        """Return who is primary now, by the word of the one that is furthest."""
        found = await asyncio.gather(*(self._status(name) for name in self._clients))
        views = [status.view for status in found if status is not None]
        validators = self._network.genesis.validators
        return validators.validators[validators.primary(max(views, default=0))].validator_id

    async def all_are_ready(self) -> bool | None:
        """Return whether nobody is down, paused or behind; None if not."""
        height = self._watch.height
        window = self._network.genesis.parameters.window_slots
        found = [await self._is_ready(name, height - window) for name in self._clients]
        return all(found) or None

    async def _until(self, question: Callable[[], Awaitable[bool]], since_s: float) -> float | None:
        while time.monotonic() < since_s + RECOVERY_S_MAX:
            if await question():
                return round(time.monotonic() - since_s, 2)
            await asyncio.sleep(_POLL_S)
        return None

    async def _status(self, name: str) -> NodeStatus | None:
        with suppress(ClientError):
            return await self._clients[name].status(_ANSWER_MS)
        return None

    async def _is_ready(self, name: str, height: int) -> bool:
        status = await self._status(name)
        return status is not None and status.health is Health.READY and status.height >= height

    async def _is_certifying(self, name: str, above: int) -> bool:
        """Return whether another validator's newest certificate, above a height, has its vote."""
        genesis = self._network.genesis
        index = genesis.validators.index_of(name)
        for other, client in self._clients.items():
            if other == name:
                continue
            with suppress(ClientError):
                encoded = (await client.certified_header(None, _ANSWER_MS)).certificate
                value = decode(encoded, what="certificate", size_max=CERTIFICATE_BYTES_MAX)
                certificate = QuorumCertificate.from_value(value, genesis.suite.signature_size)
                voters = [vote.validator for vote in certificate.votes]
                if certificate.subject.height > above and index in voters:
                    return True
        return False
