"""Undecided blocks on their way to being validated."""

from __future__ import annotations

from dataclasses import replace

from node.chain.certificate import Phase
from node.chain.merkle import leaf_hash, merkle_root
from node.chain.transaction import VerifiedTransaction
from node.execution.apply import ExecutedBlock
from node.service.admission import check_signatures
from node.service.log_records import RecordType
from node.service.output import Output
from node.service.pursuit import FETCH_AFTER_MS
from node.service.wire import Bodies, MessageKind, Transactions, WantBodies
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import GENESIS, SmallChain, payload, signer, tx
from tests.unit.service.lone import Lone, prepared_and_left, proposal_of


def gossip_of(block: ExecutedBlock) -> Transactions:
    return Transactions(tuple(verified.transaction.encoded for verified in block.transactions))


def asked(output: Output) -> list[int | None]:
    return [each.to for each in output.messages if each.kind == MessageKind.WANT_BODIES]


def have_checked(node: Lone, output: Output, elapsed_ms: int) -> None:
    for job in output.jobs:
        node.engine.checked(job, check_signatures(job.candidates), node.at(elapsed_ms))


def test_bodies_that_do_not_come_are_asked_of_each_holder_in_turn_ever_later() -> None:
    block = chain_of_blocks(1)[1]
    node = Lone(3)
    node.hear(0, proposal_of(block), 1)
    node.hear(1, vote(Phase.PREPARE, 0, block.header, 1), 2)
    node.engine.drain()
    asked_at_ms = []
    holders = []
    for elapsed_ms in range(1, 20 * FETCH_AFTER_MS):
        node.engine.tick(node.at(elapsed_ms))
        for holder in asked(node.engine.drain()):
            asked_at_ms.append(elapsed_ms)
            holders.append(holder)
    assert asked_at_ms == [1 + FETCH_AFTER_MS * pauses for pauses in (1, 3, 7, 15)]
    assert holders == [0, 1, 0, 1]


def test_a_block_whose_bodies_came_late_is_as_good_as_any() -> None:
    block = chain_of_blocks(1)[1]
    node = Lone(3)
    node.hear(0, proposal_of(block), 1)
    late_ms = 1 + FETCH_AFTER_MS
    node.engine.tick(node.at(late_ms))
    assert asked(node.engine.drain()) == [0]
    encoded = tuple(verified.transaction.encoded for verified in block.transactions)
    node.hear(0, Bodies(block.digest, False, encoded), late_ms)  # noqa: FBT003
    have_checked(node, node.engine.drain(), late_ms)
    assert node.logged(RecordType.VOTE) == 1


def test_nobody_is_asked_for_a_body_while_its_signature_is_checked() -> None:
    block = chain_of_blocks(1)[1]
    node = Lone(3)
    node.hear(1, gossip_of(block), 1)
    gossiped = node.engine.drain()
    node.hear(0, proposal_of(block), 2)
    node.engine.tick(node.at(2 * FETCH_AFTER_MS))
    assert asked(node.engine.drain()) == []
    have_checked(node, gossiped, 2 * FETCH_AFTER_MS)
    assert node.logged(RecordType.VOTE) == 1


def test_a_block_waits_for_the_state_after_its_parent() -> None:
    first, second = chain_of_blocks(2)[1:]
    node = Lone(3)
    node.hear(0, proposal_of(first), 1)
    node.admit(second.transactions[0], 2)
    node.hear(0, proposal_of(second), 950)  # its T is a second later
    assert node.logged(RecordType.VOTE) == 0
    node.admit(first.transactions[0], 951)
    assert node.logged(RecordType.VOTE) == 2


def invalidated(block: ExecutedBlock) -> list[str]:
    """Return the rules that a validator names when it was sent a block with all its bodies."""
    node = Lone(3)
    node.hear(0, proposal_of(block), 1)
    encoded = tuple(verified.transaction.encoded for verified in block.transactions)
    node.hear(0, Bodies(block.digest, False, encoded), 2)  # noqa: FBT003
    output = node.engine.drain()
    have_checked(node, output, 3)
    assert node.logged(RecordType.VOTE) == 0
    return [trace.rule for trace in (*output.traces, *node.engine.drain().traces)]


def test_a_block_with_a_forged_transaction_is_invalid() -> None:
    forged = tx(payload("forged"), key_of="agency-2")
    claimed = VerifiedTransaction(forged.transaction, signer("agency-1").public_key.encoded)
    assert invalidated(SmallChain().execute(claimed)) == ["proposal-invalid"]


def test_a_block_of_an_unknown_sender_is_invalid() -> None:
    known = SmallChain().execute(tx(payload("known")))
    nobodys = tx(payload("whose?"), sender="agency-9", key_of="agency-1")
    suite = GENESIS.suite
    root = merkle_root([leaf_hash(nobodys.transaction.tx_hash, suite.hash)], suite.hash)
    header = replace(known.header, tx_root=root)
    unknown = replace(known, header=header, digest=header.digest(suite), transactions=(nobodys,))
    assert invalidated(unknown) == ["proposal-invalid"]


def test_a_header_that_execution_does_not_give_is_invalid() -> None:
    block = SmallChain().execute(tx(payload("a")))
    header = replace(block.header, state_root=bytes(32))
    other = replace(block, header=header, digest=header.digest(GENESIS.suite))
    assert invalidated(other) == ["execution-differs", "proposal-invalid"]


def test_a_block_once_prepared_is_validated_from_the_own_log_however_late_it_comes_back() -> None:
    block = chain_of_blocks(1)[1]
    node = prepared_and_left(block)
    node.engine.mempool.discard(block.tx_ids)  # as expiry would, if the chain stalled for so long
    showing = certified(block.header, Phase.PREPARE)
    carrying = new_view(2, [view_change(validator, 2, prepared=[showing]) for validator in QUORUM])
    node.hear(2, carrying, 4)
    assert not any(isinstance(message, WantBodies) for message in node.said())
    assert node.engine.counters.votes_signed == 2
