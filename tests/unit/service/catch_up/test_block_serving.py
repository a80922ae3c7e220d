"""What a peer is given on request."""

from __future__ import annotations

import pytest

from node.service.catch_up import block_serving
from node.service.wire import Blocks, Bodies, Message, WantBlocks, WantBodies
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.service.lone import Lone, certified_block, prepared_and_left

BLOCKS = chain_of_blocks(2)[1:]
ENCODED = [certified_block(block).encode() for block in BLOCKS]


def at_height_two() -> Lone:
    """Return a validator that fetched two blocks."""
    node = Lone(3)
    node.fetch(ENCODED, 1)
    node.engine.tick(node.at(2))
    assert node.engine.height == 2
    node.said()
    return node


def answer(node: Lone, request: WantBodies | WantBlocks) -> list[Message]:
    node.hear(2, request, 3)
    return [message for message in node.said() if isinstance(message, Bodies | Blocks)]


def test_blocks_are_given_from_the_height_asked_for() -> None:
    node = at_height_two()
    assert answer(node, WantBlocks(1, 256)) == [Blocks(1, tuple(ENCODED))]
    assert answer(node, WantBlocks(2, 256)) == [Blocks(2, (ENCODED[1],))]
    assert answer(node, WantBlocks(1, 1)) == [Blocks(1, (ENCODED[0],))]


def test_who_asks_for_blocks_that_are_not_there_is_told_so() -> None:
    node = at_height_two()
    assert answer(node, WantBlocks(3, 256)) == [Blocks(3, ())]
    assert answer(node, WantBlocks(0, 256)) == [Blocks(0, ())]  # genesis has no certificate


def test_an_answer_ends_before_it_is_too_long_for_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    node = at_height_two()
    monkeypatch.setattr(block_serving, "SYNC_BYTES_AIM", len(ENCODED[0]) + len(ENCODED[1]) - 1)
    assert answer(node, WantBlocks(1, 256)) == [Blocks(1, (ENCODED[0],))]
    monkeypatch.setattr(block_serving, "SYNC_BYTES_AIM", 1)
    assert answer(node, WantBlocks(2, 256)) == [Blocks(2, (ENCODED[1],))]  # never none at all


def test_the_bodies_of_a_final_block_are_given_all_or_some() -> None:
    node, block = at_height_two(), BLOCKS[1]
    transaction = block.transactions[0].transaction
    for asked in ((), (transaction.tx_hash,)):
        bodies = Bodies(block.digest, not asked, (transaction.encoded,))
        assert answer(node, WantBodies(2, block.digest, asked)) == [bodies]
    assert answer(node, WantBodies(1, block.digest, ())) == []
    assert answer(node, WantBodies(9, bytes(32), ())) == []


def test_a_block_once_prepared_is_served_until_its_height_is_decided() -> None:
    block = chain_of_blocks(1)[1]
    node = prepared_and_left(block)
    bodies = Bodies(block.digest, True, (block.transactions[0].transaction.encoded,))  # noqa: FBT003
    assert answer(node, WantBodies(1, block.digest, ())) == [bodies]
