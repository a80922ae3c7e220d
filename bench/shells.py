"""n running validators on one event loop: shells, engines, logs and databases of the product.

Only the links are not: what a turn has for a peer is handed to it as one frame, in the same
process. So this costs what `govchain bench` measures, but for gRPC and for clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path

import node
from bench.cores import CREATED_MS, genesis_of
from bench.engines import start_engine
from node.assembly.engines import open_database
from node.chain.genesis import Genesis
from node.consensus.events import Now
from node.crypto.suite import INTERNATIONAL
from node.service import clock
from node.service.engine import CommittedBlock
from node.service.home import log_identity
from node.service.runner import Runner
from node.service.telemetry import Telemetry
from node.storage.wal import WriteAheadLog

VERIFY_THREADS = 2
SLOWNESS = 20
"""Of their clocks: however busy the machine is, no block comes late and no view ends."""


class _Links:
    """What one validator has for the others, frame by frame."""

    def __init__(self, me: int, runners: Sequence[Runner], validators: int) -> None:
        self._me, self._runners = me, runners
        self._frames: dict[int, list[bytes]] = {n: [] for n in range(validators) if n != me}

    def send(self, peer: int, _kind: int, data: bytes) -> None:
        frame = self._frames[peer]
        if not frame:
            asyncio.get_running_loop().call_soon(self._deliver, peer)
        frame.append(data)

    def broadcast(self, kind: int, data: bytes) -> None:
        for peer in self._frames:
            self.send(peer, kind, data)

    def _deliver(self, peer: int) -> None:
        frame, self._frames[peer] = self._frames[peer], []
        self._runners[peer].received(self._me, frame)


class ShellNetwork:
    """Validators that run; what is handed to the first of them becomes final everywhere."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        self._runners = runners
        self._final = 0
        """Transactions, at all validators together."""
        self._changed = asyncio.Event()
        for runner in runners:
            runner.on_committed.append(self._note)

    @property
    def height(self) -> int:
        """Return the height of the first validator."""
        return self._runners[0].engine.height

    async def run(self, batches: Sequence[Sequence[bytes]], *, under_way: int = 1) -> None:
        """Submit batches, as many as allowed under way; return once all are final everywhere."""
        before, submitted = self._final, 0
        for batch in batches:
            left = (under_way - 1) * len(batch) * len(self._runners)
            await self._until(before + submitted - left)
            submitted += len(batch) * len(self._runners)
            await self._runners[0].submit(batch)
        await self._until(before + submitted)

    async def _until(self, final: int) -> None:
        while self._final < final:
            self._changed.clear()
            await self._changed.wait()

    def _note(self, block: CommittedBlock) -> None:
        self._final += len(block.executed.transactions)
        self._changed.set()


@asynccontextmanager
async def running(validators: int, folder: Path) -> AsyncIterator[ShellNetwork]:
    """Run so many validators that keep what they have in `folder`."""
    genesis = genesis_of(validators, INTERNATIONAL)
    now = _clock_from_genesis()
    runners: list[Runner] = []
    async with AsyncExitStack() as stack:
        for me in range(validators):
            links = _Links(me, runners, validators)
            runners.append(_build(genesis, me, folder / str(me), links, now, stack))
        for runner in runners:
            life = asyncio.create_task(runner.run())
            stack.push_async_callback(_await, life)
            stack.callback(runner.stop)
        await asyncio.sleep(0)  # lets all begin
        yield ShellNetwork(runners)


def _build(  # noqa: PLR0917 - the parts of one validator
    genesis: Genesis,
    me: int,
    home: Path,
    links: _Links,
    now: Callable[[], Now],
    stack: AsyncExitStack,
) -> Runner:
    home.mkdir()
    name = genesis.validators.validators[me].validator_id
    identity = log_identity(genesis, name)
    WriteAheadLog.create(home / "wal", identity)
    log, _ = WriteAheadLog.open(home / "wal", identity)
    stack.callback(log.close)
    store = stack.enter_context(closing(open_database(home / "data", create=True)))
    return Runner(
        start_engine(genesis, me, store, log),
        log,
        links,
        Telemetry(validator_id=name, chain_id=genesis.chain_id, version=node.__version__),
        now=now,
        verify_threads=VERIFY_THREADS,
        find_result=lambda _tx_id: None,
    )


def _clock_from_genesis() -> Callable[[], Now]:
    """Return clocks that show the time of genesis now, and go `SLOWNESS` times too slowly."""
    started_ms = clock.monotonic_ms()

    def now() -> Now:
        elapsed_ms = (clock.monotonic_ms() - started_ms) // SLOWNESS
        return Now(started_ms + elapsed_ms, CREATED_MS + 1 + elapsed_ms)

    return now


async def _await(life: asyncio.Task[None]) -> None:
    await life
