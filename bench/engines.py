"""n engines in one thread, every write durable when made: no IO at all where ledgers are in memory.

What a shell does for an engine is done at once; messages between validators keep their order and
come one by one. What one turn has for a peer is one frame, what waits for its log one sync.
Signatures are keyed hashes unless another suite is asked for, so what is left is the cost of
everything else.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence

from bench.cores import AGENCY, CREATED_MS, genesis_of
from bench.keyed_hash import KEYED_HASH, signer
from node.chain.genesis import Genesis
from node.chain.record import DIGEST_BYTES, Notarization, RecordAction
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.consensus.events import Now
from node.crypto.suite import Suite
from node.errors import InvariantViolation
from node.execution.apply import Executor
from node.service.admission import Candidate, check_signatures
from node.service.ballots import DurableLog
from node.service.engine import Engine, Outgoing
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.service.wire import MessageKind
from node.storage.kv import KeyValueStore, WriteBatch
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore

REFERENCE_LENGTH = 67
"""Makes a transaction with one record 256 bytes long, as those of `govchain bench` are."""
VOTING = (MessageKind.VOTE, MessageKind.PROPOSAL)


class MemoryLog:
    """A log that is durable as soon as it is written, and keeps nothing."""

    def __init__(self) -> None:
        self.last_lsn = 0

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        self.last_lsn += len(records)
        return self.last_lsn


class CountingStore(MemoryStore):
    """A database that counts its syncs."""

    syncs = 0

    def write(self, batch: WriteBatch, *, sync: bool) -> None:
        self.syncs += sync
        super().write(batch, sync=sync)


class Agency:
    """Signs transactions for a chain, none of them twice."""

    def __init__(self, genesis: Genesis) -> None:
        self._chain_id, self._suite = genesis.chain_id, genesis.suite
        self._nonce = 0

    def sign_batches(
        self, batches: int, batch_txs: int, *, references: bool = False, records: int = 1
    ) -> list[list[bytes]]:
        """Return encoded transactions of so many records each.

        A single one is under a reference of its own if asked for.
        """
        return [[self._sign(references, records) for _ in range(batch_txs)] for _ in range(batches)]

    def _sign(self, references: bool, records: int) -> bytes:  # noqa: FBT001 - in here alone
        self._nonce += 1
        nonce = self._nonce.to_bytes(16, "big")
        body = TransactionBody(
            chain_id=self._chain_id,
            sender=AGENCY,
            nonce=nonce,
            not_after_ms=CREATED_MS + 300_000,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=1,
                type_code="licence",
                action=RecordAction.RECORD,
                digests=hashlib.shake_256(nonce).digest(DIGEST_BYTES * records),
                references=(nonce.hex().ljust(REFERENCE_LENGTH, "-"),) if references else None,
            ),
        )
        return sign_transaction(body, signer(AGENCY, self._suite), self._suite).encoded


class EngineNetwork:
    """A network of engines at rest; each batch handed to the first of them becomes one block."""

    def __init__(
        self,
        validator_count: int,
        *,
        suite: Suite = KEYED_HASH,
        stores: Sequence[KeyValueStore] | None = None,
    ) -> None:
        """Start on empty `stores`, one for each; without any, in memory, syncs counted."""
        genesis = genesis_of(validator_count, suite)
        self._genesis = genesis
        self._logs = [MemoryLog() for _ in range(validator_count)]
        self._counting = [CountingStore() for _ in range(validator_count)]
        self._engines = [
            start_engine(genesis, me, *disk)
            for me, disk in enumerate(zip(stores or self._counting, self._logs, strict=True))
        ]
        self._durable = [0] * validator_count
        self._queue: deque[tuple[int, int, bytes]] = deque()  # from, to, message
        self._agency = Agency(genesis)
        self._frames = self._log_syncs = self._transactions_checked = 0
        self.messages = self.votes_sent = self._message_bytes = 0
        for me, engine in enumerate(self._engines):
            engine.start(self._now)
            self._after_turn(me)
        self._run_until_at_rest()  # each says once where it stands
        self.messages = self.votes_sent = self._frames = self._message_bytes = 0

    def sign_batches(
        self, batches: int, batch_txs: int, *, references: bool = False, records: int = 1
    ) -> list[list[bytes]]:
        """Return what `Agency.sign_batches` does, for this chain."""
        return self._agency.sign_batches(batches, batch_txs, references=references, records=records)

    def run(self, batches: Sequence[Sequence[bytes]]) -> None:
        """Make every batch a block, final everywhere, one after the other."""
        for batch in batches:
            engine = self._engines[0]
            verdicts = engine.gate.screen(batch, engine.reckon(self._now))
            candidates = [verdict for verdict in verdicts if isinstance(verdict, Candidate)]
            self._transactions_checked += len(candidates)
            engine.admit(check_signatures(candidates), self._now, from_client=True)
            self._after_turn(0)
            self._run_until_at_rest()
        heights = {engine.height for engine in self._engines}
        if len(heights) != 1:
            raise InvariantViolation(f"expected one height, got {heights}")

    def counts(self) -> dict[str, int]:
        """Return what all did together so far, by name."""
        return {
            "messages": self.messages,
            "frames": self._frames,
            "message_bytes": self._message_bytes,
            "votes_sent": self.votes_sent,
            "votes_signed": self.votes_signed,
            "votes_checked": self.votes_checked,
            "transactions_checked": self._transactions_checked,
            "log_syncs": self._log_syncs,
            "ledger_syncs": sum(store.syncs for store in self._counting),
        }

    @property
    def blocks(self) -> int:
        """Return the number of blocks so far."""
        return self._engines[0].height

    @property
    def votes_signed(self) -> int:
        """Return the votes signed so far, by all together."""
        return sum(engine.counters.votes_signed for engine in self._engines)

    @property
    def votes_checked(self) -> int:
        """Return the votes of others checked so far, by all together."""
        return sum(engine.counters.votes_checked for engine in self._engines)

    @property
    def _now(self) -> Now:
        """Delivery takes no time, but a block's T follows its parent's."""
        return Now(0, CREATED_MS + 1 + self._engines[0].height)

    def _run_until_at_rest(self) -> None:
        while self._queue:
            source, target, data = self._queue.popleft()
            self._engines[target].receive(source, (data,), self._now)
            self._after_turn(target)

    def _after_turn(self, me: int) -> None:
        """Do what the engine asked for, until it asks for nothing more."""
        engine = self._engines[me]
        while True:
            engine.flush_gossip()
            output = engine.drain()
            peers = {peer for message in output.messages for peer in self._peers(me, message)}
            self._frames += len(peers)
            for message in output.messages:
                self._post(me, message)
            for job in output.jobs:
                self._transactions_checked += len(job.candidates)
                engine.checked(job, check_signatures(job.candidates), self._now)
            lsn = self._logs[me].last_lsn
            if lsn == self._durable[me]:
                if output.jobs:
                    continue
                return
            self._durable[me] = lsn
            self._log_syncs += engine.waits_for_log
            engine.durable(lsn, self._now)

    def _peers(self, me: int, message: Outgoing) -> list[int]:
        everybody = range(len(self._engines)) if message.to is None else (message.to,)
        return [other for other in everybody if other != me]

    def _post(self, me: int, message: Outgoing) -> None:
        others = self._peers(me, message)
        self.messages += len(others)
        self._message_bytes += len(others) * len(message.data)
        self.votes_sent += len(others) if message.kind in VOTING else 0
        self._queue.extend((me, other, message.data) for other in others)


def start_engine(genesis: Genesis, me: int, store: KeyValueStore, log: DurableLog) -> Engine:
    """Return an engine that begins with an empty ledger in `store`, and an empty log."""
    executor = Executor(genesis)
    ledger = LedgerStore.open(store, genesis.suite, executor.genesis_block())
    name = genesis.validators.validators[me].validator_id
    return Engine(
        genesis=genesis,
        validator_id=name,
        signer=signer(name, genesis.suite),
        executor=executor,
        ledger=ledger,
        log=log,
        mempool=Mempool(),
        recovery=recover(genesis, executor, ledger, (), validator_id=name),
    )
