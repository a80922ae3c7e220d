"""Blocks of the past: whom to ask for which, and what of an answer counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.consensus.messages import Status
from node.errors import DecodeError, PeerError
from node.execution.apply import Executor
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
    BlockSync,
)
from node.service.output import Outlet
from node.service.recovery import recover
from node.service.term import Roster, Term
from node.service.wire import Blocks, Transactions, WantBlocks, decode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import chain_of_blocks
from tests.unit.execution.small_chain import GENESIS, payload, tx
from tests.unit.service.lone import Lone, certified_block

OUT_OF_REACH = 2 * GENESIS.parameters.window_slots + 1
CHAIN = chain_of_blocks(3)
BLOCKS = [certified_block(block) for block in CHAIN[1:]]
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


def test_who_is_behind_has_no_signature_checked_of_what_peers_pass_on() -> None:
    """It comes in the blocks, or is asked for by name; once it is not behind it hears it again."""
    node = Lone(3)
    gossip = Transactions((tx(payload("passed on")).transaction.encoded,))
    for peer in (0, 1):
        node.hear(peer, status(len(BLOCKS) + OUT_OF_REACH), 0)
    node.hear(1, gossip, 1)
    output = node.engine.drain()
    assert not output.jobs
    assert node.engine.counters.txs_passed_over == 1
    (asked,) = {message.to for message in output.messages if message.to is not None}
    node.hear(asked, Blocks(1, ENCODED), 2)
    assert (node.engine.height, node.engine.is_behind) == (len(BLOCKS), True)
    for peer in (0, 1):
        node.hear(peer, status(len(BLOCKS)), 3)
    assert (node.engine.height, node.engine.is_behind) == (len(BLOCKS), False)
    node.hear(1, gossip, 4)
    assert [len(job.candidates) for job in node.engine.drain().jobs] == [1]
    assert node.engine.counters.txs_passed_over == 1


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


# ---------------------------------------------------------------------- without an engine around


class Syncing:
    """What a node at genesis knows of blocks above it; `outsider` is the number of no member."""

    outsider = GENESIS.validators.size

    def __init__(self, name: str = GENESIS.validators.validators[3].validator_id) -> None:
        executor = Executor(GENESIS)
        self.ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, executor.genesis_block())
        recovery = recover(GENESIS, executor, self.ledger, (), validator_id=name)
        term = Term.of(recovery.epoch, recovery.anchor, name, Roster(GENESIS.validators))
        self.outlet = Outlet(lambda: 0)
        self.sync = BlockSync(
            term=term, suite=GENESIS.suite, ledger=self.ledger, outlet=self.outlet
        )

    def hear(self, heights: dict[int, int]) -> BlockSync:
        for peer, height in heights.items():
            self.sync.note_height(peer, height)
        return self.sync

    def chase(self, elapsed_ms: int = SYNC_AFTER_MS) -> list[tuple[int | None, WantBlocks]]:
        """Return who is asked for which blocks, where none became final since time 0."""
        self.sync.chase(Lone.at(elapsed_ms), committed_at_ms=0)
        asked = []
        for sent in self.outlet.drain().messages:
            message = decode_message(sent.data, GENESIS.suite.signature_size)
            assert isinstance(message, WantBlocks)
            asked.append((sent.to, message))
        return asked

    def waiting(self) -> int | None:
        """Return who sent the block that waits to be offered."""
        return self.sync.next_sender

    def finish(self, count: int) -> None:
        """Make the next blocks final."""
        for _ in range(count):
            height = self.ledger.tip_height + 1
            executed = CHAIN[height]
            self.ledger.commit([(executed, BLOCKS[height - 1].certificate)], sync=True)
            self.sync.forget(height)


def test_only_members_count_as_informed_ahead_or_somewhere() -> None:
    syncing = Syncing()
    outsiders = dict.fromkeys(range(Syncing.outsider, Syncing.outsider + 3), 10**6)
    sync = syncing.hear(outsiders)
    assert (sync.informants, sync.is_behind, sync.reach) == (0, False, 0)
    syncing.hear({0: 0})
    assert (sync.informants, sync.is_behind, sync.reach) == (1, False, 0)
    syncing.hear({1: OUT_OF_REACH})
    assert (sync.informants, sync.is_behind, sync.reach) == (2, False, 0)
    syncing.hear({2: OUT_OF_REACH - 1})
    assert (sync.informants, sync.is_behind, sync.reach) == (3, False, OUT_OF_REACH - 1)
    syncing.hear({2: OUT_OF_REACH + 1})
    assert (sync.informants, sync.is_behind, sync.reach) == (3, True, OUT_OF_REACH)
    assert sync.heights == {0: 0, 1: OUT_OF_REACH, 2: OUT_OF_REACH + 1, **outsiders}


def test_it_is_abreast_once_it_has_what_enough_say_is_final_and_not_within_reach_alone() -> None:
    syncing = Syncing()
    sync = syncing.sync
    for heights, expected in (
        ({}, False),
        ({0: 0}, False),
        ({1: 0}, True),
        ({1: 10**6}, True),  # one alone may lie
        ({2: 1}, False),
    ):
        syncing.hear(heights)
        assert sync.is_abreast is expected
        assert not sync.is_behind
    syncing.finish(1)
    assert sync.is_abreast


def test_whoever_was_asked_counts_as_informed_only_when_it_says_where_it_stands() -> None:
    sync = Syncing().sync
    for unasked in (Blocks(1, ENCODED), Blocks(0, ())):
        with pytest.raises(PeerError, match="blocks-unasked"):
            sync.take(1, unasked)
    assert sync.informants == 0


def test_nobody_is_asked_for_what_is_here_or_on_its_way_from_others() -> None:
    syncing = Syncing()
    syncing.hear({0: 100, 1: 100})
    first = want(1, RANGE_BLOCKS)
    second = want(RANGE_BLOCKS + 1, 100)
    assert syncing.chase() == [(0, first), (1, second)]
    syncing.sync.take(0, Blocks(1, ENCODED))
    assert syncing.chase() == [(0, want(4, RANGE_BLOCKS))]
    syncing.sync.take(1, Blocks(RANGE_BLOCKS + 1, (b"later",)))
    syncing.sync.take(0, Blocks(4, ()))
    syncing.hear({0: 100})
    assert syncing.chase() == [(0, want(4, RANGE_BLOCKS)), (1, want(RANGE_BLOCKS + 2, 100))]


def test_who_stays_silent_is_not_counted_on_although_it_is_asked_again() -> None:
    syncing = Syncing()
    syncing.hear({0: 3})
    assert syncing.chase() == [(0, want(1, 3))]
    assert syncing.sync.due_ms() == [SYNC_AFTER_MS + ANSWER_WITHIN_MS]
    assert syncing.chase(SYNC_AFTER_MS + ANSWER_WITHIN_MS) == []
    assert syncing.sync.due_ms() == []
    again_ms = SYNC_AFTER_MS + ASK_AGAIN_AFTER_MS
    assert syncing.chase(again_ms - 1) == []
    assert syncing.chase(again_ms) == [(0, want(1, 3))]
    syncing.hear({1: 3})
    assert syncing.chase(again_ms + 1) == [(1, want(1, 3))]
    syncing.sync.take(0, Blocks(1, ENCODED))
    syncing.sync.take(1, Blocks(1, ENCODED))
    assert syncing.sync.due_ms() == []


def test_of_those_that_answer_the_one_asked_longest_ago_is_asked_first() -> None:
    syncing = Syncing()
    syncing.hear({2: 1, 0: 3})
    assert syncing.chase() == [(0, want(1, 3))]
    syncing.sync.take(0, Blocks(1, ()))
    syncing.hear({0: 3})
    assert syncing.chase(SYNC_AFTER_MS + 1) == [(2, want(1, 1)), (0, want(2, 3))]


def test_a_block_is_offered_once_until_it_is_final() -> None:
    syncing = Syncing()
    syncing.hear({0: 3})
    syncing.chase()
    assert syncing.waiting() is None
    syncing.sync.take(0, Blocks(1, ENCODED))
    for height in (1, 2, 3):
        assert syncing.waiting() == 0
        assert syncing.sync.block(height) is None
        block, size_bytes = syncing.sync.offer_next(Lone.at(0))
        assert (block, size_bytes) == (BLOCKS[height - 1], len(ENCODED[height - 1]))
        assert syncing.sync.block(height) == block
        assert syncing.sync.block(height + 1) is None
        assert syncing.waiting() is None
        syncing.finish(1)
    assert syncing.waiting() is None
    assert syncing.outlet.counters.blocks_synced == 3


def test_who_sent_something_false_loses_what_it_sent_and_others_do_not() -> None:
    syncing = Syncing()
    syncing.hear({0: RANGE_BLOCKS, 1: RANGE_BLOCKS + 1})
    assert len(syncing.chase()) == 2
    syncing.sync.take(0, Blocks(1, (b"false", *ENCODED[1:])))
    syncing.sync.take(1, Blocks(RANGE_BLOCKS + 1, (b"later",)))
    with pytest.raises(DecodeError):
        syncing.sync.offer_next(Lone.at(SYNC_AFTER_MS))
    assert syncing.waiting() is None
    assert syncing.chase() == [(1, want(1, RANGE_BLOCKS))]


def test_what_two_send_is_held_once_and_takes_no_room_when_it_is_final(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    syncing = Syncing()
    for elapsed_ms, peer in ((SYNC_AFTER_MS, 0), (SYNC_AFTER_MS + ANSWER_WITHIN_MS, 1)):
        syncing.hear({peer: 3})
        assert syncing.chase(elapsed_ms) == [(peer, want(1, 3))]
    for peer in (0, 1):
        syncing.sync.take(peer, Blocks(1, ENCODED))
    syncing.hear(dict.fromkeys(range(4), 10**6))
    held_bytes = sum(map(len, ENCODED))
    monkeypatch.setattr(block_sync, "AHEAD_BYTES_MAX", SYNC_BYTES_AIM + held_bytes + 1)
    assert len(syncing.chase()) == 2
    monkeypatch.setattr(block_sync, "AHEAD_BYTES_MAX", 2 * SYNC_BYTES_AIM + held_bytes)
    assert len(syncing.chase()) == 0
    syncing.finish(3)
    assert len(syncing.chase()) == 1


def test_a_late_answer_about_what_is_final_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_sync, "AHEAD_BYTES_MAX", SYNC_BYTES_AIM + 1)
    syncing = Syncing()
    syncing.hear({0: 2})
    syncing.chase()
    syncing.finish(2)
    syncing.sync.take(0, Blocks(1, ENCODED[:2]))
    syncing.hear({0: 100, 1: 200})
    assert len(syncing.chase()) == 2


def test_no_more_is_asked_for_ahead_than_may_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    for bytes_max, count in ((SYNC_BYTES_AIM, 1), (SYNC_BYTES_AIM + 1, 2), (0, 1)):
        monkeypatch.setattr(block_sync, "AHEAD_BYTES_MAX", bytes_max)
        syncing = Syncing()
        syncing.hear({0: 10**6, 1: 10**6, 2: 10**6})
        assert len(syncing.chase()) == count


def test_who_is_a_little_behind_waits_first_and_who_is_far_behind_does_not() -> None:
    for ahead_by, asks_after_ms in ((OUT_OF_REACH - 1, SYNC_AFTER_MS), (OUT_OF_REACH, 0)):
        syncing = Syncing()
        syncing.hear({0: ahead_by, 1: ahead_by})
        times_ms = (0, SYNC_AFTER_MS - 1, SYNC_AFTER_MS)
        assert next(time_ms for time_ms in times_ms if syncing.chase(time_ms)) == asks_after_ms


def test_who_is_no_member_and_told_nothing_unasked_does_not_wait() -> None:
    follower = Syncing("follower")
    follower.hear({0: 1})
    assert follower.chase(0) == [(0, want(1, 1))]
