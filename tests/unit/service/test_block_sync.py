"""Blocks of the past: whom to ask for them, and what of an answer counts."""

from __future__ import annotations

from dataclasses import replace

from node.consensus.messages import Status
from node.service.block_sync import SYNC_AFTER_MS, SYNC_BLOCKS_ASKED, SYNC_RETRY_MS
from node.service.output import Outgoing
from node.service.wire import Blocks, MessageKind, WantBlocks, encode_message
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.execution.small_chain import GENESIS
from tests.unit.service.lone import Lone, certified_block

OUT_OF_REACH = 2 * GENESIS.parameters.window_slots + 1


def status(height: int) -> Status:
    return Status(0, True, height)  # noqa: FBT003


def asked(node: Lone) -> list[Outgoing]:
    messages = node.engine.drain().messages
    return [message for message in messages if message.kind == MessageKind.WANT_BLOCKS]


def test_a_peer_that_is_ahead_for_long_is_asked_and_asked_again() -> None:
    node = Lone(3)
    node.hear(1, status(2), 1)
    asked_at_ms = []
    for elapsed_ms in range(0, 2 * SYNC_RETRY_MS, 10):
        node.engine.tick(node.at(elapsed_ms))
        for request in asked(node):
            assert request.to == 1
            assert request.data == encode_message(WantBlocks(1, SYNC_BLOCKS_ASKED))
            asked_at_ms.append(elapsed_ms)
    assert asked_at_ms == [SYNC_AFTER_MS, SYNC_AFTER_MS + SYNC_RETRY_MS]


def test_one_peer_far_ahead_may_lie_two_are_asked_at_once() -> None:
    node = Lone(3)
    node.hear(1, status(OUT_OF_REACH), 1)
    assert asked(node) == []
    assert not node.engine.is_behind
    node.hear(2, status(OUT_OF_REACH), 2)
    assert len(asked(node)) == 1
    assert node.engine.is_behind


def test_blocks_of_one_answer_become_final_one_per_turn() -> None:
    node = Lone(3)
    node.fetch([certified_block(block).encode() for block in chain_of_blocks(3)[1:]], 1)
    heights = [node.engine.height]
    while node.engine.deadline() == 0:
        node.engine.tick(node.at(2))
        heights.append(node.engine.height)
    assert heights == [1, 2, 3]
    assert node.engine.counters.blocks_synced == 3
    assert node.engine.counters.bodies_asked == 0


def test_sound_blocks_before_a_false_one_are_taken() -> None:
    behind = Lone(3)
    _, first, second = [certified_block(block) for block in chain_of_blocks(2)]
    false = replace(second, transactions=())
    behind.fetch([first.encode(), false.encode()], 1)
    assert behind.engine.height == 1
    assert behind.engine.counters.messages_refused == 1


def test_blocks_that_were_not_asked_of_a_peer_are_refused_and_those_asked_of_others_awaited() -> (
    None
):
    node = Lone(3)
    blocks = Blocks(tuple(certified_block(block).encode() for block in chain_of_blocks(1)[1:]))
    peer = node.ask_for_blocks(1)
    node.hear(2, blocks, 2)
    assert node.engine.counters.messages_refused == 1
    assert node.engine.height == 0
    node.engine.tick(node.at(3))
    assert asked(node) == []  # the answer of the one that was asked is still to come
    node.hear(peer, blocks, 4)
    assert node.engine.height == 1
    assert node.engine.counters.messages_refused == 1


def test_an_answer_that_comes_late_is_taken_although_another_peer_was_asked_since() -> None:
    node = Lone(3)
    blocks = Blocks(tuple(certified_block(block).encode() for block in chain_of_blocks(1)[1:]))
    slow = node.ask_for_blocks(1)
    node.engine.tick(node.at(1 + SYNC_RETRY_MS))
    (request,) = asked(node)
    assert request.to not in (None, slow)
    node.hear(slow, blocks, 2 + SYNC_RETRY_MS)
    assert node.engine.height == 1
