"""The load generator: a process that submits transactions to validators until its time is up.

`generators.py` starts it and talks to it through a pipe: for each load it is told to `Prepare`,
answers `LoadReady` once its transactions are signed, is told `Go`, and answers `LoadResult`. What
it could not do it tells by `LoadFailed`. So its CPU time is its own, and what signing costs is told
apart from what submitting costs.

In a closed loop as many batches as are allowed are under way. In an open loop batches are due at a
rate, whatever became of those before; the time of a batch that has to wait for its turn counts.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop

from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.cli.bench.figures import FINAL, NOT_SENT, Sample
from node.cli.network import Network
from node.crypto.suite import SHA_256
from node.errors import NodeError, invariant
from node.limits import RECORD_REFERENCE_BYTES_MAX, TX_LIFETIME_MS_MAX, TX_NONCE_BYTES
from node.rpc.client import BatchStream, Submission

TRANSACTION_BYTES: Final = 256

_BATCH_TIMEOUT_MS: Final = 30_000
_LIFETIME_MARGIN_MS: Final = 30_000
_CALLS_PER_CONNECTION: Final = 32
"""Unary calls at a time: a validator takes no more than so many, and some room, on each."""
_NAME_LENGTH_MIN: Final = 32
_NAME_PREFIX_LENGTH: Final = 16
_TYPE_CODE: Final = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """How transactions are to be submitted in the next load."""

    name: str
    """Of this load of this generator: what is submitted depends on it alone, and on the chain."""
    batch: int
    """Transactions per batch."""
    outstanding: int
    """Batches under way per validator."""
    transactions: int
    """How many to sign in advance; it signs more when these are used up."""
    unary: bool
    """Whether each batch is a call of its own, in place of a message on a stream."""
    records: int = 1
    """Of each transaction."""


@dataclass(frozen=True, slots=True)
class LoadReady:
    """It is ready to begin."""

    signed: int
    signing_s: float
    """CPU time."""


@dataclass(frozen=True, slots=True)
class Go:
    """Begin, and submit nothing any more after `until_s` on the machine's monotonic clock."""

    until_s: float
    validators: tuple[str, ...]
    """Whom to submit to, in the same way each."""
    rate_per_s: float
    """Transactions due per second, over all validators; 0: as many as go."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What it saw."""

    samples: tuple[Sample, ...]
    signed: int
    """While it ran, because those signed in advance were used up."""
    signing_s: float
    """CPU time of that; it is part of the process's."""


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """It could not go on."""

    code: str
    message: str


class Stock:
    """Signed batches: those made in advance, then more as they are wanted.

    Each transaction notarizes one digest, under a reference of its own that makes it
    `TRANSACTION_BYTES` long: so each also moves the state tree. Or it notarizes as many digests as
    `records` says, without references. The same `name` gives the same digests and references.
    """

    def __init__(self, network: Network, batch: int, name: str, records: int = 1) -> None:
        self._network, self._batch, self._records = network, batch, records
        self._names = _distinct_names(name, self._name_length())
        self._ready: list[list[bytes]] = []
        self.signed = 0
        self.signing_s = 0.0
        """CPU time."""

    def fill(self, transactions: int) -> None:
        """Sign in advance."""
        self._ready += [self._sign() for _ in range(-(-transactions // self._batch))]

    def take(self) -> list[bytes]:
        """Return a batch that nobody has seen yet."""
        return self._ready.pop() if self._ready else self._sign()

    def _sign(self) -> list[bytes]:
        began_s = time.thread_time()
        not_after_ms = time.time_ns() // 1_000_000 + TX_LIFETIME_MS_MAX - _LIFETIME_MARGIN_MS
        made = [self._encode(next(self._names), not_after_ms) for _ in range(self._batch)]
        self.signing_s += time.thread_time() - began_s
        self.signed += len(made)
        return made

    def _encode(self, name: str, not_after_ms: int) -> bytes:
        network, many = self._network, self._records > 1
        digests = hashlib.shake_256(name.encode()).digest(self._records * SHA_256.size)
        body = TransactionBody(
            chain_id=network.profile.chain_id,
            sender=network.identity,
            nonce=digests[:TX_NONCE_BYTES],
            not_after_ms=not_after_ms,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=SHA_256.digest_id,
                type_code=_TYPE_CODE,
                action=RecordAction.RECORD,
                digests=digests,
                references=None if many else (name,),
            ),
        )
        return sign_transaction(body, network.signer, network.suite).encoded

    def _name_length(self) -> int:
        if self._records > 1:
            return _NAME_LENGTH_MIN
        now_ms = time.time_ns() // 1_000_000
        lengths = range(_NAME_LENGTH_MIN, RECORD_REFERENCE_BYTES_MAX + 1)
        sizes = {len(self._encode("x" * length, now_ms)): length for length in lengths}
        invariant(TRANSACTION_BYTES in sizes, f"no reference gives {TRANSACTION_BYTES} bytes")
        return sizes[TRANSACTION_BYTES]


async def measure_idle(network: Network, runs: int, name: str) -> list[float]:
    """Return how long single transactions took, in ms, from submission to finality, one by one.

    They go to each validator in turn, on connections that exist.
    """
    stock = Stock(network, 1, name)
    stock.fill(runs + len(network.profile.endpoints))
    latencies_ms = []
    async with AsyncExitStack() as open_streams:
        streams = [
            await _open(network, endpoint.validator_id, 1, open_streams)
            for endpoint in network.profile.endpoints
        ]
        for stream in streams:
            await stream.submit(stock.take())
        for run in range(runs):
            batch = stock.take()
            began_s = time.monotonic()
            (outcome,) = await streams[run % len(streams)].submit(batch)
            outcome.final()
            latencies_ms.append((time.monotonic() - began_s) * 1_000)
    return latencies_ms


def generate_load(home: Path, parent: Connection) -> None:
    """Do what one is told to, in a process of its own, until nobody is left to say more."""
    try:
        network = Network.open(home, None, None)
        while True:
            prepare: Prepare = parent.recv()
            stock = Stock(network, prepare.batch, prepare.name, prepare.records)
            stock.fill(prepare.transactions)
            in_advance, in_advance_s = stock.signed, stock.signing_s
            parent.send(LoadReady(in_advance, in_advance_s))
            go: Go = parent.recv()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
                samples = loop.run(_submit_until(go, prepare, network, stock))
            signing_s = stock.signing_s - in_advance_s
            parent.send(LoadResult(tuple(samples), stock.signed - in_advance, signing_s))
    except EOFError:
        return
    except NodeError as error:
        parent.send(LoadFailed(error.code, str(error)))
    except BaseExceptionGroup as group:  # of the batches of an open loop
        errors = group.subgroup(NodeError)
        if errors is None:
            raise
        failed = errors.exceptions[0]
        parent.send(LoadFailed(getattr(failed, "code", ""), str(failed)))


async def _submit_until(go: Go, prepare: Prepare, network: Network, stock: Stock) -> list[Sample]:
    samples: list[Sample] = []

    async def submit(lane: _Lane, began_s: float) -> int:
        """Submit a batch that was due at `began_s`; return for how long (ms) to pause then."""
        outcomes = await lane.submit(stock.take())
        finished_s = time.monotonic()
        latency_ms = (finished_s - began_s) * 1_000
        for outcome, count in Counter(map(_name_outcome, outcomes)).items():
            samples.append(Sample(finished_s, latency_ms, count, outcome))
        return max(outcome.admission.retry_after_ms for outcome in outcomes)

    async def keep_one_under_way(lane: _Lane) -> None:
        while (now_s := time.monotonic()) < go.until_s:
            pause_ms = await submit(lane, now_s)
            await asyncio.sleep(pause_ms / 1_000)

    async def submit_in_turn(lane: _Lane, places: asyncio.Semaphore, due_s: float) -> None:
        async with places:
            if (now_s := time.monotonic()) < go.until_s:
                await submit(lane, due_s)
            else:
                waited_ms = (now_s - due_s) * 1_000
                samples.append(Sample(now_s, waited_ms, prepare.batch, NOT_SENT))

    async def keep_rate(lane: _Lane, due_s: float, interval_s: float) -> None:
        places = asyncio.Semaphore(lane.outstanding)
        async with asyncio.TaskGroup() as batches:
            while due_s < go.until_s:
                await asyncio.sleep(max(due_s - time.monotonic(), 0))
                batches.create_task(submit_in_turn(lane, places, due_s))
                due_s += interval_s

    async with AsyncExitStack() as open_lanes:
        lanes = [
            lane
            for validator_id in go.validators
            for lane in await _open_lanes(network, validator_id, prepare, open_lanes)
        ]
        if go.rate_per_s:
            apart_s = prepare.batch / go.rate_per_s
            began_s = time.monotonic()
            await asyncio.gather(
                *(
                    keep_rate(lane, began_s + number * apart_s, len(lanes) * apart_s)
                    for number, lane in enumerate(lanes)
                )
            )
        else:
            await asyncio.gather(
                *(keep_one_under_way(lane) for lane in lanes for _ in range(lane.outstanding))
            )
    return samples


@dataclass(frozen=True, slots=True)
class _Lane:
    """A connection to one validator."""

    submit: Callable[[list[bytes]], Awaitable[Sequence[Submission]]]
    """Submit a batch; returns once all of it is settled."""
    outstanding: int
    """Batches that may be under way on it."""


async def _open_lanes(
    network: Network, validator_id: str, prepare: Prepare, stack: AsyncExitStack
) -> list[_Lane]:
    """Return connections to a validator that have `prepare.outstanding` batches under way."""
    if not prepare.unary:
        stream = await _open(network, validator_id, prepare.outstanding, stack)
        return [_Lane(stream.submit, prepare.outstanding)]
    shares = [
        min(prepare.outstanding - at, _CALLS_PER_CONNECTION)
        for at in range(0, prepare.outstanding, _CALLS_PER_CONNECTION)
    ]
    clients = [await stack.enter_async_context(network.client(validator_id)) for _share in shares]
    return [
        _Lane(partial(client.submit, timeout_ms=_BATCH_TIMEOUT_MS), share)
        for client, share in zip(clients, shares, strict=True)
    ]


async def _open(
    network: Network, validator_id: str, outstanding: int, stack: AsyncExitStack
) -> BatchStream:
    """Return a stream to one validator and no other."""
    client = await stack.enter_async_context(network.client(validator_id))
    stream = await client.open_stream(outstanding_max=outstanding, timeout_ms=_BATCH_TIMEOUT_MS)
    return await stack.enter_async_context(stream)


def _name_outcome(outcome: Submission) -> str:
    if not outcome.admission.code.is_admitted:
        return outcome.admission.code.name
    if outcome.result is None:
        return "NOT_FINAL"
    return FINAL if outcome.result.code is ResultCode.OK else outcome.result.code.name


def _distinct_names(name: str, length: int) -> Iterator[str]:
    """Yield texts of `length` characters that no other name yields."""
    prefix = hashlib.sha256(name.encode()).hexdigest()[:_NAME_PREFIX_LENGTH]
    width = length - len(prefix)
    number = 0
    while True:
        yield f"{prefix}{number:0{width}d}"
        number += 1
