"""One engine alone, turn by turn: whom it heeds and how long."""

from __future__ import annotations

from dataclasses import replace

from node.chain.certificate import Phase
from node.service.admission import check_signatures
from node.service.allowance import (
    ANSWER_BYTES_LEAST,
    ANSWER_BYTES_PER_PERIOD,
    EARLY_CHECKS_PER_PERIOD,
    PERIOD_MS,
    REFUSALS_PER_PERIOD,
)
from node.service.wire import Blocks, Transactions, WantBlocks, encode_message
from tests.unit.consensus.signing import chain_of_blocks, view_change, vote
from tests.unit.execution.small_chain import GENESIS, payload, tx
from tests.unit.service.lone import Lone, certified_block, proposal_of


def test_a_peer_that_asks_without_end_is_not_answered_without_end() -> None:
    node = Lone(3)
    node.fetch([certified_block(block).encode() for block in chain_of_blocks(2)[1:]], 1)
    assert node.engine.height == 2
    node.said()
    wanted = encode_message(WantBlocks(1, 1))
    node.engine.receive(2, [wanted] * 1_024, node.at(2))
    answers = [message for message in node.said() if isinstance(message, Blocks)]
    assert len(answers) == ANSWER_BYTES_PER_PERIOD // ANSWER_BYTES_LEAST
    assert node.engine.counters.messages_refused == 1_024 - len(answers)
    node.engine.receive(1, [wanted], node.at(2))
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


def test_of_a_peer_that_votes_for_later_views_without_end_not_every_vote_is_checked() -> None:
    """It may send the same again and again: more than are kept, so each would be new."""
    node = Lone(3)
    header = chain_of_blocks(1)[1].header
    said = [encode_message(vote(Phase.COMMIT, view, header, 1)) for view in range(1, 41)]
    for elapsed_ms in range(1, 11):
        node.engine.receive(1, said, node.at(elapsed_ms))
    assert node.engine.counters.votes_checked == EARLY_CHECKS_PER_PERIOD
    assert node.engine.counters.messages_refused == 0
    node.hear(2, vote(Phase.COMMIT, 1, header, 2), 11)
    node.hear(1, vote(Phase.COMMIT, 1, header, 1), PERIOD_MS + 1)
    assert node.engine.counters.votes_checked == EARLY_CHECKS_PER_PERIOD + 2


def test_nor_every_view_change_of_one_that_repeats_it_without_end() -> None:
    node = Lone(3)
    node.engine.receive(1, [encode_message(view_change(1, 9))] * 1_000, node.at(1))
    node.hear(1, replace(view_change(1, 10), signature=bytes(64)), 2)
    assert node.engine.counters.messages_refused == 0, "it was not checked"
    node.hear(2, view_change(2, 9), 3)
    assert node.engine.core.view == 9, "others are heard"
    node.hear(1, replace(view_change(1, 10), signature=bytes(64)), PERIOD_MS + 1)
    assert node.engine.counters.messages_refused == 1


def test_votes_of_the_view_that_has_begun_are_all_checked() -> None:
    node = Lone(3)
    header = chain_of_blocks(1)[1].header
    early = [encode_message(vote(Phase.COMMIT, view, header, 1)) for view in range(1, 41)]
    for _ in range(10):
        node.engine.receive(1, early, node.at(1))
    node.hear(1, vote(Phase.PREPARE, 0, header, 1), 2)
    assert node.engine.counters.votes_checked == EARLY_CHECKS_PER_PERIOD + 1


def test_a_vote_that_does_not_verify_is_not_counted() -> None:
    node = Lone(3)
    block = chain_of_blocks(1)[1]
    node.admit(block.transactions[0], 0)
    node.hear(0, proposal_of(block), 1)
    sound = vote(Phase.PREPARE, 0, block.header, 1)
    node.hear(1, replace(sound, signature=bytes(64)), 2)
    assert sorted(node.engine.core.slots[1].prepares) == [0]
    assert node.engine.counters.messages_refused == 1
    node.hear(1, sound, 3)
    assert sorted(node.engine.core.slots[1].prepares) == [0, 1]


def test_a_gossiped_transaction_counts_once_checked_and_a_false_signature_spoils_no_other() -> None:
    node = Lone(3)
    sound = tx(payload("once more")).transaction.encoded
    spoiled = sound[:-1] + bytes((sound[-1] ^ 1,))
    for elapsed_ms, encoded, waiting in ((1, spoiled, 0), (2, sound, 1)):
        node.hear(1, Transactions((encoded,)), elapsed_ms)
        assert node.engine.mempool.pending_count == 0
        for job in node.engine.drain().jobs:
            verdicts = check_signatures(job.candidates)
            node.engine.checked(job, verdicts, node.at(elapsed_ms))
        assert node.engine.mempool.pending_count == waiting


def test_a_peer_is_cut_off_for_what_no_restart_explains_and_the_rule_is_named() -> None:
    node = Lone(3)
    nobody_asked = encode_message(Blocks(1, ()))
    node.engine.receive(1, [nobody_asked] * REFUSALS_PER_PERIOD, node.at(1))
    node.engine.receive(2, [nobody_asked], node.at(1))
    assert node.engine.drain().cut_off == []
    node.engine.receive(1, [nobody_asked], node.at(2))
    output = node.engine.drain()
    assert output.cut_off == [1]
    said = [trace.detail for trace in output.traces if trace.rule == "peer-cut-off"]
    assert len(said) == 1
    assert "validator-2" in said[0]
    assert "blocks-unasked" in said[0]


def test_what_lapses_before_it_is_proposed_ends_no_view() -> None:
    backup = Lone(3)
    timeout_ms = GENESIS.parameters.view_timeout_ms
    elapsed_ms = 1
    backup.admit(tx(payload("a"), not_after_ms=backup.at(5).utc_ms), elapsed_ms)
    while elapsed_ms < 3 * timeout_ms:
        elapsed_ms = max(backup.engine.deadline(), elapsed_ms + 1)
        backup.engine.tick(backup.at(elapsed_ms))
    assert (backup.engine.core.view, backup.engine.mempool.pending_count) == (0, 0)
    backup.admit(tx(payload("b")), elapsed_ms)
    backup.engine.tick(backup.at(elapsed_ms + timeout_ms))
    assert backup.engine.core.view == 1
