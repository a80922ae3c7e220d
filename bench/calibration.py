"""What the model's things cost on this machine: each measured by CPU time, on every core at once.

Each core runs the same in a process of its own at the same time, for a validator under load is
never alone, and threads of one core slow each other down. Told are means over these processes;
within one, lower quartiles of repetitions. Who costs what is told apart by differences: blocks of
few and of many transactions, few validators and many. Calls go to loopback alone, files to folders
that are gone afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Final

import structlog
import uvloop

from bench import stages
from bench.cores import AGENCY, genesis_of
from bench.engines import Agency
from bench.keyed_hash import signer
from bench.model import BATCH_TXS, UNDER_WAY, VOTE_BYTES, Costs, count
from bench.shells import running
from node.crypto.key_tables import USES_WORTH_A_TABLE, verify_many
from node.crypto.suite import INTERNATIONAL
from node.errors import InvariantViolation
from node.rpc.outbox import Priority
from node.rpc.peer import PeerTransport, RemotePeer
from node.rpc.server import PeerServer
from tests.unit.rpc.pki import shared_pki

FEW_TXS: Final = 20
MANY_TXS: Final = 220
FEW_VALIDATORS: Final = 4
MANY_VALIDATORS: Final = 10

_BLOCKS: Final = 16
_WARM_UP_BLOCKS: Final = 3
_LAPS: Final = 6
_LAP_BATCHES: Final = 20
_TRIES: Final = 12
_SIGNATURES: Final = 200
_FRAMES: Final = 20
_LARGE_KIB: Final = 25
_SYNCED_BYTES: Final = 4_096
_QUARTILES: Final = 4
_US: Final = 1e6
_MS: Final = 1e3


def calibrate(cores: int) -> Costs:
    """Return what things cost while each of `cores` is busy."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(cores)
    with ProcessPoolExecutor(cores, context, _begin_together, (start,)) as processes:
        found = list(processes.map(_measure, range(cores)))
    return Costs(
        **{
            each.name: round(statistics.mean(getattr(costs, each.name) for costs in found), 3)
            for each in fields(Costs)
        }
    )


def _begin_together(start: Barrier) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    start.wait()


def _measure(_core: int) -> Costs:
    """Return what things cost in this process."""
    message = os.urandom(VOTE_BYTES)
    key = signer("validator-1", INTERNATIONAL)
    signature = key.sign(message)
    check_us = _repeat(lambda: key.public_key.verify(message, signature))
    sign_us = _repeat(lambda: key.sign(message))
    bare_us = _bare_us()
    few, wide = _heard(FEW_VALIDATORS), _heard(MANY_VALIDATORS)
    votes_us = _block_us(MANY_VALIDATORS, FEW_TXS) - _block_us(FEW_VALIDATORS, FEW_TXS)
    checks_us = (wide.checked - few.checked) * check_us
    transaction_check_us = _transaction_check_us()
    transaction_us = _loaded_us(bare_us) - transaction_check_us
    frame_us, large_us = _frame_us(VOTE_BYTES), _frame_us(_LARGE_KIB * 1_024)
    spent_us = stages.measure(FEW_VALIDATORS, _BLOCKS, MANY_TXS)
    return Costs(
        check_us=check_us,
        transaction_check_us=transaction_check_us,
        sign_us=sign_us,
        transaction_us=transaction_us,
        execution_us=sum(us for stage, us in spent_us.items() if stage.startswith("execution")),
        message_us=(votes_us - checks_us) / (wide.messages - few.messages),
        block_us=bare_us - 2 * sign_us,
        frame_us=frame_us,
        frame_kib_us=(large_us - frame_us) / _LARGE_KIB,
        sync_ms=_sync_ms(),
    )


def _transaction_check_us() -> float:
    """Return what the check of each signature costs in a batch under a key that has a table."""
    owner = signer(AGENCY, INTERNATIONAL)
    messages = [number.to_bytes(VOTE_BYTES, "big") for number in range(USES_WORTH_A_TABLE)]
    signed = [(message, owner.sign(message)) for message in messages]
    verify_many(owner.public_key, signed)
    return _repeat(lambda: verify_many(owner.public_key, signed[:BATCH_TXS])) / BATCH_TXS


@dataclass(frozen=True, slots=True)
class _Heard:
    """What each validator hears and checks for a block, on the average."""

    messages: float
    checked: float


def _heard(validators: int) -> _Heard:
    counts = count(validators, FEW_TXS)
    return _Heard(counts.messages / validators, counts.votes_checked / validators)


def _low(values: Sequence[float]) -> float:
    """Return the lower quartile: what other programs do makes a try longer, never shorter."""
    return statistics.quantiles(values, n=_QUARTILES)[0]


def _repeat(work: Callable[[], object]) -> float:
    """Return microseconds of CPU time that something takes."""
    tries_s = []
    for _ in range(_TRIES):
        began_s = time.thread_time()
        for _ in range(_SIGNATURES):
            work()
        tries_s.append(time.thread_time() - began_s)
    return _low(tries_s) / _SIGNATURES * _US


def _sync_ms() -> float:
    """Return the median time in which a small append is on the disk."""
    taken_s = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(_TRIES * _QUARTILES):
            file.write(bytes(_SYNCED_BYTES))
            began_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_s.append(time.perf_counter() - began_s)
    return statistics.median(taken_s) * _MS


# ---------------------------------------------------------------------- blocks, without links


def _bare_us() -> float:
    """Return what a block costs a validator alone, but for its transactions."""
    few_us, many_us = _block_us(1, FEW_TXS), _block_us(1, MANY_TXS)
    return few_us - (many_us - few_us) * FEW_TXS / (MANY_TXS - FEW_TXS)


def _block_us(validators: int, transactions: int) -> float:
    """Return what a block of so many transactions costs each validator, links apart."""
    return _run(lambda folder: _decide(validators, transactions, folder))


def _loaded_us(bare_us: float) -> float:
    """Return what a transaction costs a validator that has more to do meanwhile: its threads too.

    They wait for each other, the loop and those that check signatures, which is not for nothing.
    """
    return _run(lambda folder: _saturate(bare_us, folder))


def _run(measure: Callable[[Path], Coroutine[None, None, float]]) -> float:
    with (
        tempfile.TemporaryDirectory(prefix="govchain-calibration-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
    ):
        return loop.run(measure(Path(folder)))


async def _decide(validators: int, transactions: int, folder: Path) -> float:
    agency = Agency(genesis_of(validators, INTERNATIONAL))
    batches = agency.sign_batches(_WARM_UP_BLOCKS + _BLOCKS, transactions, references=True)
    spent_s = []
    async with running(validators, folder) as network:
        await network.run(batches[:_WARM_UP_BLOCKS])
        for batch in batches[_WARM_UP_BLOCKS:]:
            height, began_s = network.height, time.process_time()
            await network.run([batch])
            if network.height == height + 1:
                spent_s.append(time.process_time() - began_s)
    if len(spent_s) < _BLOCKS // 2:
        raise InvariantViolation("batches do not become one block each: the machine is too busy")
    return _low(spent_s) / validators * _US


async def _saturate(bare_us: float, folder: Path) -> float:
    agency = Agency(genesis_of(1, INTERNATIONAL))
    batches = agency.sign_batches(_LAPS * _LAP_BATCHES, BATCH_TXS, references=True)
    each_us = []
    async with running(1, folder) as network:
        for lap in range(_LAPS):
            height, began_s = network.height, time.process_time()
            await network.run(
                batches[lap * _LAP_BATCHES : (lap + 1) * _LAP_BATCHES], under_way=UNDER_WAY
            )
            spent_us = (time.process_time() - began_s) * _US
            blocks_us = (network.height - height) * bare_us
            each_us.append((spent_us - blocks_us) / (_LAP_BATCHES * BATCH_TXS))
    return statistics.median(each_us)


# ---------------------------------------------------------------------- links


class _Ear:
    """A peer that counts what it hears."""

    def __init__(self) -> None:
        self.awaited = 0
        self.done = asyncio.Event()
        self.connected = 0

    def expect(self, messages: int) -> None:
        """Wait for so many more."""
        self.awaited = messages
        self.done.clear()

    async def on_messages(self, _peer: int, messages: Sequence[bytes]) -> None:
        self.awaited -= len(messages)
        if self.awaited <= 0:
            self.done.set()

    def on_peer(self, _peer: int, *, connected: bool) -> None:
        self.connected += connected
        if self.connected == FEW_VALIDATORS - 1:
            self.done.set()

    def on_failure(self, error: Exception) -> None:
        raise error

    def on_refusal(self, reason: str) -> None:
        raise InvariantViolation(reason)


def _frame_us(size_bytes: int) -> float:
    """Return what a frame of one message costs both ends together."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        return loop.run(_exchange(os.urandom(size_bytes)))


async def _exchange(message: bytes) -> float:
    """Have everybody send to everybody, many times."""
    pki, numbers = shared_pki(), range(FEW_VALIDATORS)
    ears = [_Ear() for _ in numbers]
    transports = [
        PeerTransport(
            (), ear, tls=pki.validator(n + 1), gatekeeper=pki.gatekeeper(), jitter=lambda: 0.0
        )
        for n, ear in zip(numbers, ears, strict=True)
    ]
    async with AsyncExitStack() as stack:
        peers = []
        for n, transport in zip(numbers, transports, strict=True):
            server = PeerServer(
                transport,
                ["127.0.0.1:0"],
                tls=pki.validator(n + 1),
                gatekeeper=pki.gatekeeper(),
            )
            (port,) = await server.start()
            stack.push_async_callback(server.stop)
            names = f"validator-{n + 1}", f"org-{n + 1}"
            peers.append(RemotePeer(n, *names, (f"127.0.0.1:{port}",)))
        for n, transport in zip(numbers, transports, strict=True):
            transport.assign([peer for peer in peers if peer.number != n])
            await transport.start()
            stack.push_async_callback(transport.stop)
        for ear in ears:
            await ear.done.wait()
        spent_s = [await _exchange_once(transports, ears, message) for _ in range(_TRIES)]
    sent = _FRAMES * FEW_VALIDATORS * (FEW_VALIDATORS - 1)
    return _low(spent_s) / sent * _US


async def _exchange_once(
    transports: Sequence[PeerTransport], ears: Sequence[_Ear], message: bytes
) -> float:
    """Send one frame after the other: each wakes who gets it, as where that is another process."""
    began_s = time.process_time()
    for _ in range(_FRAMES):
        for sender, transport in enumerate(transports):
            for receiver, ear in enumerate(ears):
                if receiver != sender:
                    ear.expect(1)
                    transport.send(receiver, Priority.VOTE, message)
                    await ear.done.wait()
    return time.process_time() - began_s
