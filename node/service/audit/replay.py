"""Audit: a ledger made again from its blocks alone, with every signature and certificate checked.

A validator that catches up trusts a commit certificate for the signatures of clients. An audit
trusts nothing but genesis: it executes every block again, on a state of its own, and in the end the
database must be, key by key, the one it made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from itertools import zip_longest
from typing import Final

from node.chain.block import CertifiedBlock, CertifiedHeader, Header, ResultCode
from node.chain.genesis import Genesis
from node.chain.transaction import VerifiedTransaction
from node.crypto.signature import PublicKey
from node.errors import InvariantViolation, PeerError, ProofError
from node.execution.apply import BlockInputs, Executor, sender_key
from node.execution.registry import epoch_in_force
from node.service.admission import Candidate, check_signatures
from node.storage import keys
from node.storage.kv import KeyValueStore
from node.storage.ledger import LedgerStore
from node.storage.packing import unpack
from node.storage.stored_block import VALUE_BYTES_MAX, damage_explained
from node.timestamp.history import check_certified

SIGNATURES_PER_JOB: Final = 256

Pair = tuple[bytes, bytes]


@dataclass(slots=True)
class Audited:
    """What was found in order."""

    blocks: int = 0
    """Above genesis; each has its certificate."""
    transactions: int = 0
    """Each has its signature."""
    failed: int = 0
    """Transactions without effect."""
    votes: int = 0
    """Signatures of validators, in certificates."""
    records: int = 0
    header_digest: bytes = b""
    """Of the newest block."""


def audit(
    genesis: Genesis,
    database: KeyValueStore,
    scratch: KeyValueStore,
    workers: ThreadPoolExecutor,
    advance: Callable[[int], None] = lambda _blocks: None,
) -> Audited:
    """Audit the ledger at rest in `database`; raises `ProofError` for the first thing wrong.

    1. `audit-block`: there is a block with a certificate at every height up to the tip;
    2. `audit-certificate`: the validators in force before it, by the state made so far, certified
       its header;
    3. `audit-signature`: each transaction is signed with its sender's key before the block;
    4. `audit-execution`: executing it on the block before gives this very header, roots and all;
    5. `audit-database`: the database holds what that gives, and nothing else. Evidence of
       misbehaviour is no part of the chain and is left out.

    `scratch` is empty and takes as much room as the ledger. Signatures are checked by `workers`.
    `advance` is told how many more blocks were done. Raises `StorageError` for a database that
    cannot be read or written, `NotHeldYet` for a ledger whose past is still being fetched, and
    `Pruned` for one that lacks transactions.
    """
    replay = Replay(genesis, scratch, workers)
    ledger = LedgerStore.open(database, genesis.suite, Executor(genesis).genesis_block())
    if not ledger.is_whole:
        raise ledger.not_held_yet()
    if ledger.pruned_below:
        raise ledger.pruned()
    for height in range(1, ledger.tip_height + 1):
        block = ledger.certified_block(height)
        if block is None:
            tip = ledger.tip_height
            raise ProofError("audit-block", f"block {height} is not there, below the tip {tip}")
        replay.take(height, block)
        advance(1)
    _compare(database.scan(b""), scratch.scan(b""))
    replay.audited.header_digest = replay.header_digest
    return replay.audited


class Replay:
    """A pass over the blocks in order, the state after each being made anew in `scratch`.

    `scratch` is empty. Signatures are checked by `workers`: threads, since the library releases the
    interpreter's lock, and checks are three quarters of the processor time (85 of 115 us per
    transaction of one record). The rest cannot be divided: a block is executed on the one before.
    """

    def __init__(
        self, genesis: Genesis, scratch: KeyValueStore, workers: ThreadPoolExecutor
    ) -> None:
        self._genesis, self._workers = genesis, workers
        self._executor = Executor(genesis)
        self._rebuilt = LedgerStore.open(scratch, genesis.suite, self._executor.genesis_block())
        self.audited = Audited()

    @property
    def state(self) -> LedgerStore:
        """What is so after the last block taken; what takes the next one moves it on."""
        return self._rebuilt

    @property
    def header(self) -> Header:
        """The header that execution gave for the last block taken."""
        return self._rebuilt.header

    @property
    def header_digest(self) -> bytes:
        """Its digest."""
        return self._rebuilt.header_digest

    def take(self, height: int, block: CertifiedBlock) -> None:
        """Check the next block and go on to the state after it.

        Raises `ProofError` of the rules 2 to 4 of `audit`.
        """
        header, certificate, genesis = block.header, block.certificate, self._genesis
        validators = epoch_in_force(self._rebuilt, genesis.suite).validators
        try:
            check_certified(CertifiedHeader(header, certificate), genesis.chain_id, validators)
        except (ProofError, PeerError) as error:
            raise ProofError("audit-certificate", f"block {height}: {error}") from error
        transactions = self._signed(height, block)
        try:
            inputs = BlockInputs.of(header)
            executed = self._executor.execute(self._rebuilt, inputs, transactions)
        except PeerError as error:
            raise ProofError("audit-execution", f"block {height}: {error}") from error
        if executed.header != header:
            differs = _difference(header, executed.header)
            raise ProofError("audit-execution", f"block {height}: {differs}")
        self._rebuilt.commit([(executed, certificate)], sync=False)
        audited = self.audited
        audited.blocks += 1
        audited.transactions += len(transactions)
        audited.failed += sum(1 for each in executed.results if each.code is not ResultCode.OK)
        audited.votes += len(certificate.votes)
        audited.records += len(executed.leaves) - 1  # the first is the parent's header

    def _signed(self, height: int, block: CertifiedBlock) -> list[VerifiedTransaction]:
        """Check all signatures of a block, under the keys of the state before it."""
        keys_of: dict[str, PublicKey] = {}
        candidates = []
        for transaction in block.transactions:
            sender = transaction.body.sender
            if sender not in keys_of:
                keys_of[sender] = self._key_of(height, sender)
            candidates.append(Candidate(transaction, keys_of[sender]))
        jobs = [
            candidates[start : start + SIGNATURES_PER_JOB]
            for start in range(0, len(candidates), SIGNATURES_PER_JOB)
        ]
        verified = [each for job in self._workers.map(check_signatures, jobs) for each in job]
        sound = [each for each in verified if each is not None]
        if len(sound) != len(candidates):
            tx_id = candidates[verified.index(None)].transaction.tx_id.hex()
            raise ProofError("audit-signature", f"block {height}: transaction {tx_id}")
        return sound

    def _key_of(self, height: int, sender: str) -> PublicKey:
        encoded = sender_key(self._rebuilt, sender)
        if encoded is None:
            raise ProofError("audit-signature", f"block {height}: nobody is {sender!r} before it")
        return self._genesis.suite.load_public_key(encoded)


def _difference(certified: Header, executed: Header) -> str:
    """Name the first field in which two headers differ, and both values."""
    for field in fields(Header):
        expected, got = getattr(certified, field.name), getattr(executed, field.name)
        if expected != got:
            return f"{field.name}: its header has {expected!r}, execution gives {got!r}"
    raise InvariantViolation("headers that differ have a field that differs")


def _compare(stored: Iterator[Pair], rebuilt: Iterator[Pair]) -> None:
    """Compare two databases, both in the order of their keys."""
    of_the_chain = (pair for pair in stored if not pair[0].startswith(keys.BESIDE_THE_CHAIN))
    for one, other in zip_longest(of_the_chain, rebuilt):
        if one != other and not _are_packed_alike(one, other):
            key = min(pair[0] for pair in (one, other) if pair is not None)
            raise ProofError("audit-database", f"key {key.hex()} holds what no block put there")


def _are_packed_alike(one: Pair | None, other: Pair | None) -> bool:
    """Say whether both are the body of one block: another library may have packed the same one."""
    if one is None or other is None or one[0] != other[0] or not one[0].startswith(keys.BODY):
        return False
    with damage_explained("block"):
        return unpack(one[1], VALUE_BYTES_MAX) == unpack(other[1], VALUE_BYTES_MAX)
