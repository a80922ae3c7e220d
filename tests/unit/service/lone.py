"""One validator without its shell, whose messages a test reads and writes instead of its peers."""

from __future__ import annotations

from collections.abc import Sequence

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase
from node.chain.genesis import Genesis
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now
from node.consensus.messages import Proposal, Status
from node.execution.apply import ExecutedBlock, Executor
from node.service.engine import Engine
from node.service.log_records import RecordType
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.service.wire import Blocks, Message, WantBlocks, decode_message, encode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    new_view,
    validator_signer,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import CREATED_MS, GENESIS

FAR_AHEAD = 100


class ListedLog:
    """A log whose records are a list; what is durable the test decides."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        self.records += records
        return len(self.records)


class Lone:
    """A validator whose messages a test reads instead of peers."""

    def __init__(
        self,
        me: int,
        genesis: Genesis = GENESIS,
        ledger: LedgerStore | None = None,
        records: Sequence[tuple[int, bytes]] = (),
    ) -> None:
        executor = Executor(genesis)
        self.log = ListedLog()
        self.ledger = ledger or LedgerStore.open(
            MemoryStore(), genesis.suite, executor.genesis_block()
        )
        name = genesis.validators.validators[me].validator_id
        self.engine = Engine(
            genesis=genesis,
            validator_id=name,
            signer=validator_signer(me),
            executor=executor,
            ledger=self.ledger,
            log=self.log,
            mempool=Mempool(),
            recovery=recover(genesis, executor, self.ledger, records, validator_id=name),
        )
        self.engine.start(self.at(0))

    @staticmethod
    def at(elapsed_ms: int) -> Now:
        return Now(monotonic_ms=elapsed_ms, utc_ms=CREATED_MS + 1_000 + elapsed_ms)

    def admit(self, transaction: VerifiedTransaction, elapsed_ms: int) -> None:
        self.engine.admit([transaction], self.at(elapsed_ms), from_client=True)

    def said(self) -> list[Message]:
        return [
            decode_message(message.data, GENESIS.suite.signature_size)
            for message in self.engine.drain().messages
        ]

    def hear(self, peer: int, message: Message, elapsed_ms: int) -> None:
        self.engine.receive(peer, [encode_message(message)], self.at(elapsed_ms))

    def make_durable(self, elapsed_ms: int) -> None:
        """Sync the log."""
        self.engine.durable(len(self.log.records), self.at(elapsed_ms))

    def wanted_blocks(self) -> list[tuple[int, WantBlocks]]:
        """Return who was asked for which blocks since it was last looked, in order."""
        found = []
        for sent in self.engine.drain().messages:
            message = decode_message(sent.data, GENESIS.suite.signature_size)
            if isinstance(message, WantBlocks):
                assert sent.to is not None
                found.append((sent.to, message))
        return found

    def ask_for_blocks(self, elapsed_ms: int) -> int:
        """Learn that two peers are far ahead; return which of them is asked for the next block."""
        for peer in (0, 1):
            self.hear(peer, Status(0, 0, True, self.engine.height + FAR_AHEAD), elapsed_ms)  # noqa: FBT003
        following = self.engine.height + 1
        (asked,) = [to for to, want in self.wanted_blocks() if want.from_height == following]
        return asked

    def fetch(self, encoded: Sequence[bytes], elapsed_ms: int) -> None:
        """Be given blocks on request."""
        peer, following = self.ask_for_blocks(elapsed_ms), self.engine.height + 1
        self.hear(peer, Blocks(following, tuple(encoded)), elapsed_ms)

    def logged(self, kind: RecordType) -> int:
        """Return how many records of a kind were appended."""
        return [logged for logged, _ in self.log.records].count(kind)


def certified_block(block: ExecutedBlock) -> CertifiedBlock:
    transactions = tuple(verified.transaction for verified in block.transactions)
    certificate = certified(block.header, Phase.COMMIT).certificate
    return CertifiedBlock(block.header, transactions, certificate)


def proposal_of(block: ExecutedBlock) -> Proposal:
    header = block.header
    tx_hashes = tuple(verified.transaction.tx_hash for verified in block.transactions)
    return Proposal(header, tx_hashes, vote(Phase.PREPARE, header.view, header, header.proposer))


def prepared_and_left(block: ExecutedBlock) -> Lone:
    """Return a validator that sent PREPARE for a block of view 0, and entered view 1 without it."""
    node = Lone(3)
    node.admit(block.transactions[0], 0)
    node.hear(0, proposal_of(block), 1)
    without_it = new_view(1, [view_change(validator, 1) for validator in QUORUM])
    node.hear(1, without_it, 2)
    node.said()
    return node
