"""One engine alone, turn by turn: what it does without a word from its peers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.chain.block import CertifiedBlock
from node.chain.certificate import Phase
from node.chain.transaction import VerifiedTransaction
from node.consensus.events import Now
from node.consensus.messages import Proposal
from node.execution.apply import ExecutedBlock, Executor
from node.limits import TX_LIFETIME_MS_MAX
from node.service.allowance import ANSWER_BYTES_LEAST, ANSWER_BYTES_PER_PERIOD
from node.service.engine import Engine
from node.service.log_records import RecordType
from node.service.mempool import Mempool
from node.service.recovery import recover
from node.service.wire import (
    Blocks,
    Bodies,
    Message,
    Transactions,
    WantBlocks,
    WantBodies,
    decode_message,
    encode_message,
)
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    validator_signer,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import CREATED_MS, GENESIS, payload, tx


class ListedLog:
    """A log whose records are a list; what is durable the test decides."""

    def __init__(self) -> None:
        self.records: list[tuple[int, bytes]] = []

    def append(self, records: Sequence[tuple[int, bytes]]) -> int:
        self.records += records
        return len(self.records)


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


def test_a_peer_that_asks_without_end_is_not_answered_without_end() -> None:
    node = Lone(3)
    blocks = [certified_block(block) for block in chain_of_blocks(2)[1:]]
    frame = encode_message(Blocks(tuple(block.encode() for block in blocks)))
    node.engine.receive(0, [frame], node.at(1))
    assert node.engine.height == 1
    node.said()
    wanted = encode_message(WantBlocks(1, 1))
    node.engine.receive(1, [wanted] * 1_024, node.at(2))
    answers = [message for message in node.said() if isinstance(message, Blocks)]
    assert len(answers) == ANSWER_BYTES_PER_PERIOD // ANSWER_BYTES_LEAST
    assert node.engine.counters.messages_refused == 1_024 - len(answers)
    node.engine.receive(2, [wanted], node.at(2))
    assert any(isinstance(message, Blocks) for message in node.said()), "others are answered"


def test_an_equivocator_is_reported_once_and_then_ignored() -> None:
    node = Lone(3)
    header = chain_of_blocks(1)[1].header
    for time_ms in range(5):
        other = replace(header, time_ms=header.time_ms + time_ms)
        accused = vote(Phase.COMMIT, 0, other, 1)
        node.engine.receive(1, [encode_message(accused)], node.at(1))
    assert len(node.engine.evidence) == 1
    assert node.engine.counters.votes_checked == 2


def test_a_vote_for_a_later_view_is_checked_once() -> None:
    node = Lone(3)
    early = vote(Phase.COMMIT, 5, chain_of_blocks(1)[1].header, 1)
    node.engine.receive(1, [encode_message(early)] * 50, node.at(1))
    assert node.engine.counters.votes_checked == 1


def proposal_of(block: ExecutedBlock) -> Proposal:
    header = block.header
    tx_hashes = tuple(verified.transaction.tx_hash for verified in block.transactions)
    return Proposal(header, tx_hashes, vote(Phase.PREPARE, header.view, header, header.proposer))


def prepared_and_left(block: ExecutedBlock) -> Lone:
    """Return a validator that sent PREPARE for a block of view 0, and entered view 1 without it."""
    node = Lone(3)
    node.admit(block.transactions[0], 0)
    node.engine.receive(0, [encode_message(proposal_of(block))], node.at(1))
    without_it = new_view(1, [view_change(validator, 1) for validator in QUORUM])
    node.engine.receive(1, [encode_message(without_it)], node.at(2))
    node.said()
    return node


def test_a_block_once_prepared_is_served_until_its_height_is_decided() -> None:
    block = chain_of_blocks(1)[1]
    node = prepared_and_left(block)
    node.engine.receive(2, [encode_message(WantBodies(1, block.digest, ()))], node.at(3))
    bodies = Bodies(block.digest, True, (block.transactions[0].transaction.encoded,))  # noqa: FBT003
    assert bodies in node.said()


def test_a_block_once_prepared_is_validated_from_the_own_log_however_late_it_comes_back() -> None:
    block = chain_of_blocks(1)[1]
    node = prepared_and_left(block)
    node.engine.mempool.discard(block.tx_ids)  # as expiry would, if the chain stalled for so long
    showing = certified(block.header, Phase.PREPARE)
    carrying = new_view(2, [view_change(validator, 2, prepared=[showing]) for validator in QUORUM])
    node.engine.receive(2, [encode_message(carrying)], node.at(4))
    assert not any(isinstance(message, WantBodies) for message in node.said())
    assert node.engine.counters.votes_signed == 2


def test_the_transactions_of_an_undecided_block_are_repeated_to_those_who_may_have_lost_them() -> (
    None
):
    primary = Lone(0)
    transaction = tx(payload("only the primary still knows"))
    primary.admit(transaction, 0)
    assert [kind for kind, _ in primary.log.records].count(RecordType.BLOCK) == 1
    primary.said()
    primary.engine.tick(primary.at(GENESIS.parameters.view_timeout_ms))
    repeated = [m.transactions for m in primary.said() if isinstance(m, Transactions)]
    assert repeated == [(transaction.transaction.encoded,)]
