"""How a node is, as others ask: its health, and the figures behind its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import structlog

from node.assembly.peering import Peering
from node.rpc import port
from node.rpc.peer import PeerState
from node.service.engine import Engine
from node.service.runner import Runner
from node.service.stamping.figures import StampFigures, StampTerms
from node.service.vault.keeper import VaultFigures
from node.storage.ledger import LedgerStore
from node.storage.wal import WriteAheadLog

HEALTH_INTERVAL_MS: Final = 250

log = structlog.get_logger()


class Health:
    """What is said of the node's health, judged anew when something changes and now and then."""

    def __init__(self, engine: Engine, peering: Peering, ledger: LedgerStore) -> None:
        """Begin as starting."""
        self._engine, self._peering, self._ledger = engine, peering, ledger
        self._changed = asyncio.Event()
        self.known, self.detail = port.Health.STARTING, "starting"

    def look_anew(self) -> None:
        """Have it judged at once."""
        self._changed.set()

    async def watch(self, tell: Callable[[port.Health], Awaitable[None]]) -> None:
        """Keep it known, and `tell` each change."""
        while True:
            health, detail = self._judge()
            if health is not self.known:
                log.info("health", health=health.name, detail=detail)
                await tell(health)
            self.known, self.detail = health, detail
            with suppress(TimeoutError):
                async with asyncio.timeout(HEALTH_INTERVAL_MS / 1_000):
                    await self._changed.wait()
            self._changed.clear()

    def _judge(self) -> tuple[port.Health, str]:
        term = self._engine.term
        connected = sum(1 for peer in self._peering.transport.connected if peer in term.indices)
        needed = term.epoch.validators.quorum - 1 if term.is_member else 1
        if self._engine.halted:
            return port.Health.HALTED, self._engine.halted
        if connected < needed:
            why = "".join(f"; {reason}" for reason in self._peering.transport.refusals[:1])
            return port.Health.STARTING, f"connected to {connected} of {needed} peers needed{why}"
        if (told := self._engine.informants) < needed:
            return port.Health.STARTING, f"{told} of {needed} peers needed said where they stand"
        if self._engine.is_behind:
            return port.Health.CATCHING_UP, self._describe_catching_up()
        if not term.is_member:
            return port.Health.FOLLOWING, f"no validator in epoch {term.epoch.number}: it follows"
        return port.Health.READY, "; ".join(self._reservations())

    def _reservations(self) -> Iterator[str]:
        """Yield what a node that serves does not do as it should."""
        verdict, missing = self._engine.clock_fitness.judge(), self._ledger.missing
        if not verdict.is_fit:
            yield f"its clock is unfit: {verdict.detail}; it gives no vote to the time of blocks"
        if self._engine.core.is_degraded:
            yield "blocks are degraded: their time is not vouched for"
        if missing:
            yield f"blocks {missing.start} to {missing.stop - 1} are still being fetched"

    def _describe_catching_up(self) -> str:
        at = f"at height {self._engine.height}, behind its peers"
        progress = self._engine.snapshot_progress
        if progress is None:
            return at
        givers = ", ".join(map(self._peering.name_of, progress.peers)) or "nobody yet"
        return (
            f"{at}; fetching the state at height {progress.height}: {progress.state_percent} % of "
            f"it, {progress.past_percent} % of the blocks it needs, from {givers}"
        )


class RunningFigures:
    """The figures of the running parts, for telemetry."""

    def __init__(
        self, runner: Runner, write_ahead_log: WriteAheadLog, peering: Peering, health: Health
    ) -> None:
        """Read them from where they are kept."""
        self.engine = runner.engine
        self.stamping: StampFigures | None = None
        """What the stamp desk counted; None where the node has none."""
        self.vault: VaultFigures | None = None
        """What the keeper of the vault counted."""
        self.certificate_ends_ms: Callable[[], int] | None = None
        self.stamp_terms: Callable[[], StampTerms] | None = None
        """Tells until when the node can stamp time; None where it cannot."""
        self._runner, self._log = runner, write_ahead_log
        self._peering, self._health = peering, health

    @property
    def held_up_ms(self) -> int:
        """For how long this process did not run since the start."""
        return self._runner.held_up_ms

    @property
    def fsyncs(self) -> int:
        """Syncs of the write-ahead log since the start."""
        return self._log.fsync_count

    @property
    def batches_waiting(self) -> int:
        """Transactions somebody waits for."""
        return len(self._runner.tickets)

    @property
    def health(self) -> int:
        """Number of the validator's health on the wire."""
        return self._health.known.value

    @property
    def peers(self) -> Mapping[str, PeerState]:
        """Figures of every peer by validator id."""
        return self._peering.states
