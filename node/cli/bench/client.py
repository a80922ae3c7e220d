"""The load generator: a process that keeps batches under way at validators until its time is up.

`govchain bench saturate` starts it and talks to it through a pipe: it answers `LoadReady` once its
transactions are signed, is told `Go`, and answers `LoadResult`; so for every load of the plan. What
it could not do it tells by `LoadFailed`. So its CPU time is its own, and what signing costs is told
apart from what submitting costs.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import uvloop

from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.cli.bench.report import FINAL, Sample
from node.cli.network import Network
from node.errors import NodeError, invariant
from node.limits import RECORD_REFERENCE_BYTES_MAX, TX_LIFETIME_MS_MAX, TX_NONCE_BYTES
from node.rpc.client import BatchStream, Submission

TRANSACTION_BYTES: Final = 256

_BATCH_TIMEOUT_MS: Final = 30_000
_LIFETIME_MARGIN_MS: Final = 30_000
_NAME_LENGTH_MIN: Final = 32
_TYPE_CODE: Final = "load"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """What one load generator is to do."""

    home: Path
    """Folder of the network."""
    loads: int
    """How many times it puts on load."""
    batch: int
    """Transactions per batch."""
    outstanding: int
    """Batches under way per stream."""
    transactions: int
    """How many to sign in advance of each; it signs more when these are used up."""


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
    """Whom to submit to, over one stream each."""


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
    `TRANSACTION_BYTES` long: so each also moves the state tree.
    """

    def __init__(self, network: Network, batch: int) -> None:
        self._network, self._batch = network, batch
        self._names = _distinct_names(self._name_length())
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
        network = self._network
        body = TransactionBody(
            chain_id=network.profile.chain_id,
            sender=network.identity,
            nonce=secrets.token_bytes(TX_NONCE_BYTES),
            not_after_ms=not_after_ms,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=1,
                type_code=_TYPE_CODE,
                action=RecordAction.RECORD,
                digests=hashlib.sha256(name.encode()).digest(),
                references=(name,),
            ),
        )
        return sign_transaction(body, network.signer, network.suite).encoded

    def _name_length(self) -> int:
        now_ms = time.time_ns() // 1_000_000
        lengths = range(_NAME_LENGTH_MIN, RECORD_REFERENCE_BYTES_MAX + 1)
        sizes = {len(self._encode("x" * length, now_ms)): length for length in lengths}
        invariant(TRANSACTION_BYTES in sizes, f"no reference gives {TRANSACTION_BYTES} bytes")
        return sizes[TRANSACTION_BYTES]


async def measure_idle(network: Network, runs: int) -> list[float]:
    """Return how long single transactions took, in ms, from submission to finality, one by one.

    They go to each validator in turn, on connections that exist.
    """
    stock = Stock(network, 1)
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


def generate_load(plan: LoadPlan, parent: Connection) -> None:
    """Do what a plan says, in a process of its own."""
    try:
        network = Network.open(plan.home, None, None)
        for _ in range(plan.loads):
            stock = Stock(network, plan.batch)
            stock.fill(plan.transactions)
            in_advance, in_advance_s = stock.signed, stock.signing_s
            parent.send(LoadReady(in_advance, in_advance_s))
            go: Go = parent.recv()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
                samples = loop.run(_submit_until(go, plan, network, stock))
            signing_s = stock.signing_s - in_advance_s
            parent.send(LoadResult(tuple(samples), stock.signed - in_advance, signing_s))
    except NodeError as error:
        parent.send(LoadFailed(error.code, str(error)))


async def _submit_until(go: Go, plan: LoadPlan, network: Network, stock: Stock) -> list[Sample]:
    samples: list[Sample] = []

    async def keep_one_under_way(stream: BatchStream) -> None:
        while (began_s := time.monotonic()) < go.until_s:
            outcomes = await stream.submit(stock.take())
            finished_s = time.monotonic()
            latency_ms = (finished_s - began_s) * 1_000
            for outcome, count in Counter(map(_name_outcome, outcomes)).items():
                samples.append(Sample(finished_s, latency_ms, count, outcome))
            pause_ms = max(outcome.admission.retry_after_ms for outcome in outcomes)
            await asyncio.sleep(pause_ms / 1_000)

    async with AsyncExitStack() as open_streams:
        streams = [
            await _open(network, validator_id, plan.outstanding, open_streams)
            for validator_id in go.validators
        ]
        await asyncio.gather(
            *(keep_one_under_way(stream) for stream in streams for _ in range(plan.outstanding))
        )
    return samples


async def _open(
    network: Network, validator_id: str, outstanding: int, stack: AsyncExitStack
) -> BatchStream:
    """Return a stream to one validator and no other."""
    endpoints = [each for each in network.profile.endpoints if each.validator_id == validator_id]
    alone = replace(network, profile=replace(network.profile, endpoints=tuple(endpoints)))
    client = await stack.enter_async_context(alone.client())
    stream = await client.open_stream(outstanding_max=outstanding, timeout_ms=_BATCH_TIMEOUT_MS)
    return await stack.enter_async_context(stream)


def _name_outcome(outcome: Submission) -> str:
    if not outcome.admission.code.is_admitted:
        return outcome.admission.code.name
    if outcome.result is None:
        return "NOT_FINAL"
    return FINAL if outcome.result.code is ResultCode.OK else outcome.result.code.name


def _distinct_names(length: int) -> Iterator[str]:
    """Yield texts of `length` characters that no other process yields."""
    process = secrets.token_hex(8)
    width = length - len(process)
    number = 0
    while True:
        yield f"{process}{number:0{width}d}"
        number += 1
