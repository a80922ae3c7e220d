"""Blocks of the past: whom to ask for which, and what of an answer counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.consensus.messages import Status
from node.service import reception
from node.service.catch_up import block_sync
from node.service.catch_up.block_serving import SYNC_BYTES_AIM
from node.service.catch_up.block_sync import (
    AHEAD_BLOCKS_MAX,
    ANSWER_WITHIN_MS,
    ASK_AGAIN_AFTER_MS,
    DISTRUST_MS,
    RANGE_BLOCKS,
    SYNC_AFTER_MS,
)
from node.service.wire import Blocks, WantBlocks
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.execution.small_chain import GENESIS
from tests.unit.service.lone import Lone, certified_block

OUT_OF_REACH = 2 * GENESIS.parameters.window_slots + 1
BLOCKS = [certified_block(block) for block in chain_of_blocks(3)[1:]]
ENCODED = tuple(block.encode() for block in BLOCKS)


FIRST = BLOCKS[0].certificate
FALSELY_CERTIFIED = tuple(
    replace(BLOCKS[0], certificate=certificate).encode()
    for certificate in (
        replace(FIRST, votes=FIRST.votes[1:]),
        replace(FIRST, votes=(replace(FIRST.votes[0], signature=bytes(64)), *FIRST.votes[1:])),
        replace(FIRST, votes=FIRST.votes[:1] * len(FIRST.votes)),
        BLOCKS[1].certificate,
    )
)


def status(height: int) -> Status:
    return Status(0, 0, True, height)  # noqa: FBT003


def behind(*peers: int, by: int = 10 * RANGE_BLOCKS) -> Lone:
    """Return a validator that was told by peers, in order, that they are far ahead."""
    node = Lone(3)
    for peer in peers:
        node.hear(peer, status(by), 0)
    return node


def want(first: int, last: int) -> WantBlocks:
    return WantBlocks(first, last - first + 1)


def tick(node: Lone, elapsed_ms: int) -> list[tuple[int, WantBlocks]]:
    node.engine.tick(node.at(elapsed_ms))
    return node.wanted_blocks()


def test_it_counts_the_members_that_said_where_they_stand() -> None:
    node = Lone(3)
    assert node.engine.informants == 0
    node.hear(1, status(0), 0)
    node.hear(1, status(0), 0)
    assert node.engine.informants == 1
    node.hear(2, status(OUT_OF_REACH), 0)
    assert (node.engine.informants, node.engine.is_behind) == (2, False)  # one alone may lie


# ---------------------------------------------------------------------- whom to ask for what


def test_a_peer_that_is_ahead_for_long_is_asked_and_asked_again() -> None:
    node = Lone(3)
    node.hear(1, status(2), 1)
    asked = [
        (elapsed_ms, *request)
        for elapsed_ms in range(0, SYNC_AFTER_MS + 2 * ASK_AGAIN_AFTER_MS, 10)
        for request in tick(node, elapsed_ms)
    ]
    assert asked == [
        (SYNC_AFTER_MS, 1, want(1, 2)),
        (SYNC_AFTER_MS + ASK_AGAIN_AFTER_MS, 1, want(1, 2)),
    ]


def test_one_peer_far_ahead_may_lie_two_are_asked_at_once() -> None:
    node = Lone(3)
    node.hear(1, status(OUT_OF_REACH), 1)
    assert node.wanted_blocks() == []
    assert not node.engine.is_behind
    node.hear(2, status(OUT_OF_REACH), 2)
    assert node.wanted_blocks() == [(1, want(1, OUT_OF_REACH))]
    assert node.engine.is_behind


def test_peers_are_asked_for_disjoint_ranges_at_once() -> None:
    node = behind(0, 1, 2)
    assert node.wanted_blocks() == [
        (0, want(1, RANGE_BLOCKS)),
        (1, want(RANGE_BLOCKS + 1, 2 * RANGE_BLOCKS)),
        (2, want(2 * RANGE_BLOCKS + 1, 3 * RANGE_BLOCKS)),
    ]


def test_who_answers_is_asked_for_more_at_once_but_not_without_end() -> None:
    node = behind(0, 1, by=1_000_000)
    first, *open_requests = node.wanted_blocks()
    highest = 0
    while open_requests:
        ((peer, request),) = open_requests
        blocks = (b"unseen until its turn",) * request.count
        node.hear(peer, Blocks(request.from_height, blocks), 1)
        highest = max(highest, request.from_height + request.count - 1)
        open_requests = node.wanted_blocks()
    assert first == (0, want(1, RANGE_BLOCKS))
    assert highest == AHEAD_BLOCKS_MAX


def test_beyond_the_bytes_that_may_be_held_only_the_next_blocks_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(block_sync, "AHEAD_BYTES_MAX", 2 * SYNC_BYTES_AIM)
    node = behind(0, 1, 2)
    assert [request.from_height for _, request in node.wanted_blocks()] == [1, RANGE_BLOCKS + 1]
    large = bytes(2 * SYNC_BYTES_AIM)
    node.hear(1, Blocks(RANGE_BLOCKS + 1, (large,)), 1)
    assert node.wanted_blocks() == []
    assert tick(node, ANSWER_WITHIN_MS) == [(2, want(1, RANGE_BLOCKS))]


def test_a_frozen_peer_costs_one_short_wait() -> None:
    node = behind(0, 1)
    assert [to for to, _ in node.wanted_blocks()] == [0, 1]
    node.hear(1, Blocks(RANGE_BLOCKS + 1, (b"later",) * RANGE_BLOCKS), 1)
    ((to, _),) = node.wanted_blocks()
    assert to == 1
    node.hear(1, Blocks(2 * RANGE_BLOCKS + 1, ()), 2)
    assert node.engine.deadline() <= ANSWER_WITHIN_MS
    node.hear(1, status(RANGE_BLOCKS), ANSWER_WITHIN_MS - 1)
    assert node.wanted_blocks() == []
    assert tick(node, ANSWER_WITHIN_MS) == [(1, want(1, RANGE_BLOCKS))]
    node.hear(1, Blocks(1, ENCODED), ANSWER_WITHIN_MS + 1)
    assert node.engine.height == len(ENCODED)
    assert [to for to, _ in node.wanted_blocks()] == [1], "0 is not asked until it answers"


def test_one_that_gives_a_block_at_a_time_does_not_keep_others_from_the_rest() -> None:
    node = behind(0, 1, by=RANGE_BLOCKS)
    assert node.wanted_blocks() == [(0, want(1, RANGE_BLOCKS))]
    node.hear(0, Blocks(1, ENCODED[:1]), 900)
    assert node.engine.height == 1
    assert node.wanted_blocks() == [(1, want(2, RANGE_BLOCKS))]


def test_one_that_has_not_what_it_promised_is_asked_when_it_says_so_again() -> None:
    node = behind(0, 1, 2, by=RANGE_BLOCKS)
    node.wanted_blocks()
    node.hear(0, Blocks(1, ()), 1)
    assert node.wanted_blocks() == [(1, want(1, RANGE_BLOCKS))]
    assert tick(node, 1 + ANSWER_WITHIN_MS) == [(2, want(1, RANGE_BLOCKS))]
    assert tick(node, 1 + 2 * ANSWER_WITHIN_MS) == []
    node.hear(0, status(RANGE_BLOCKS), 2 + 2 * ANSWER_WITHIN_MS)
    assert node.wanted_blocks() == [(0, want(1, RANGE_BLOCKS))]


# ---------------------------------------------------------------------- what came


def test_a_turn_takes_as_many_blocks_as_are_little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Lone(3)
    node.fetch(ENCODED, 1)
    assert node.engine.height == 3
    assert node.engine.counters.blocks_synced == 3
    assert node.engine.counters.bodies_asked == 0
    monkeypatch.setattr(reception, "TURN_BYTES_AIM", 1)
    slow = Lone(3)
    slow.fetch(ENCODED, 1)
    heights = [slow.engine.height]
    while slow.engine.deadline() == 0:
        slow.engine.tick(slow.at(2))
        heights.append(slow.engine.height)
    assert heights == [1, 2, 3]


def test_what_came_ahead_waits_for_what_comes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_sync, "RANGE_BLOCKS", 1)
    node = behind(0, 1)
    assert node.wanted_blocks() == [(0, want(1, 1)), (1, want(2, 2))]
    node.hear(1, Blocks(2, ENCODED[1:2]), 1)
    assert node.engine.height == 0
    node.hear(0, Blocks(1, ENCODED[:1]), 2)
    assert node.engine.height == 2


def test_sound_blocks_before_a_false_one_are_taken_and_the_rest_asked_of_another() -> None:
    node = behind(0, 1)
    node.wanted_blocks()
    false = replace(BLOCKS[1], transactions=())
    node.hear(0, Blocks(1, (ENCODED[0], false.encode(), ENCODED[2])), 1)
    assert node.engine.height == 1
    assert node.engine.counters.messages_refused == 1
    assert node.wanted_blocks() == [], "the other is to answer first"
    node.hear(1, Blocks(RANGE_BLOCKS + 1, ()), 2)
    assert node.wanted_blocks() == [(1, want(2, RANGE_BLOCKS))]


@pytest.mark.parametrize("false", [b"no block at all", ENCODED[1], *FALSELY_CERTIFIED])
def test_a_peer_whose_block_is_false_loses_all_it_sent_and_is_not_asked_for_a_while(
    false: bytes,
) -> None:
    node = behind(0, by=RANGE_BLOCKS)
    assert tick(node, SYNC_AFTER_MS) == [(0, want(1, RANGE_BLOCKS))]
    node.hear(0, Blocks(1, (false, *ENCODED[1:])), SYNC_AFTER_MS + 1)
    assert node.engine.height == 0
    assert tick(node, SYNC_AFTER_MS + DISTRUST_MS) == []
    assert tick(node, SYNC_AFTER_MS + 1 + DISTRUST_MS) == [(0, want(1, RANGE_BLOCKS))]


def test_blocks_that_were_not_asked_of_a_peer_are_refused_and_those_asked_of_others_awaited() -> (
    None
):
    node = Lone(3)
    peer = node.ask_for_blocks(1)
    node.hear(2, Blocks(1, ENCODED), 2)
    node.hear(peer, Blocks(2, ENCODED[1:]), 2)
    assert node.engine.counters.messages_refused == 2
    assert node.engine.height == 0
    assert tick(node, 3) == []  # the answer of the one that was asked is still to come
    node.hear(peer, Blocks(1, ENCODED), 4)
    assert node.engine.height == 3
    assert node.engine.counters.messages_refused == 2


def test_more_than_was_asked_for_is_not_kept() -> None:
    node = Lone(3)
    node.hear(1, status(2), 0)
    assert tick(node, SYNC_AFTER_MS) == [(1, want(1, 2))]
    node.hear(1, Blocks(1, ENCODED), SYNC_AFTER_MS)
    assert node.engine.height == 2
    assert node.engine.deadline() > 0, "no third block waits"


def test_an_answer_that_comes_late_is_taken_although_another_peer_was_asked_since() -> None:
    node = behind(0, 1, by=RANGE_BLOCKS)
    assert node.wanted_blocks() == [(0, want(1, RANGE_BLOCKS))]
    assert tick(node, ANSWER_WITHIN_MS) == [(1, want(1, RANGE_BLOCKS))]
    node.hear(0, Blocks(1, ENCODED), ANSWER_WITHIN_MS + 1)
    assert node.engine.height == 3
    node.hear(1, Blocks(1, ENCODED), ANSWER_WITHIN_MS + 2)
    assert node.engine.counters.messages_refused == 0
