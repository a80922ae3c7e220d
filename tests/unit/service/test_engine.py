"""One engine alone, turn by turn: what it does without a word from its peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now
from node.execution.apply import ExecutedBlock, Executor
from node.limits import TX_LIFETIME_MS_MAX
from node.service.engine import Engine
from node.service.log_records import RecordType
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.service.wire import Blocks, Message, decode_message, encode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import certified, chain_of_blocks, validator_signer
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, payload, tx


class ListedLog:
    """A log whose records are a list; what is durable the test decides."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []

    @property
    def last_lsn(self) -> int:
        return len(self.records)

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        self.records += records
        return self.last_lsn


class Lone:
    """A validator whose messages a test reads instead of peers."""

    def __init__(self, me: int) -> None:
        executor = Executor(GENESIS)
        self.log = ListedLog()
        self.ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, executor.genesis_block())
        self.engine = Engine(
            genesis=GENESIS,
            me=me,
            signer=validator_signer(me),
            executor=executor,
            ledger=self.ledger,
            log=self.log,
            mempool=Mempool(),
            recovery=recover(GENESIS, executor, self.ledger, ()),
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


def test_a_primary_with_nothing_includable_waits_instead_of_asking_itself_for_ever() -> None:
    primary = Lone(0)
    too_early_for_any_block = CREATED_MS + 1_000 + TX_LIFETIME_MS_MAX + 20
    primary.admit(tx(payload("early"), not_after_ms=too_early_for_any_block), 0)
    assert not primary.log.records
    assert primary.engine.deadline() <= 100  # it looks again before long
    primary.engine.tick(primary.at(100))
    assert primary.log.records  # by now the transaction can be included


def test_a_primary_whose_pool_ran_empty_proposes_what_comes_next_at_once() -> None:
    primary = Lone(0)
    for elapsed_ms, document in enumerate(("first", "second")):  # the window has room for both
        primary.admit(tx(payload(document)), elapsed_ms)
    assert [kind for kind, _ in primary.log.records].count(RecordType.BLOCK) == 2


def certified_block(block: ExecutedBlock) -> CertifiedBlock:
    transactions = tuple(verified.transaction for verified in block.transactions)
    certificate = certified(block.header, Phase.COMMIT).certificate
    return CertifiedBlock(block.header, transactions, certificate)


def test_sound_blocks_before_a_false_one_are_taken() -> None:
    behind = Lone(3)
    _, first, second = [certified_block(block) for block in chain_of_blocks(2)]
    false = replace(second, transactions=())
    blocks = Blocks((first.encode(), false.encode()))
    behind.engine.receive(1, [encode_message(blocks)], behind.at(1))
    assert behind.engine.height == 1
    assert behind.engine.counters.messages_refused == 1
