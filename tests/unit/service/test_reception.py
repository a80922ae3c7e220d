"""What a validator does with what it hears: what cannot matter is let go unchecked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader, ResultCode
from node.chain.certificate import Phase, Vote
from node.chain.governance import SetParameters
from node.consensus.messages import NewView, Status, ViewChange
from node.service import reception
from node.service.wire import (
    Bodies,
    CheckpointLines,
    Message,
    MessageKind,
    WantBodies,
    encode_message,
)
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
)
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.service.chatting import Chat, govern, notarize
from tests.unit.service.lone import FAR_AHEAD, Lone, certified_block, proposal_of

ME = 3
BLOCKS = chain_of_blocks(3)
FORGED = bytes(64)
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FOLLOWER = "validator-5"


def in_view_1(*, height: int = 0) -> Lone:
    """Return a validator that is in view 1, where so many blocks are final."""
    node = Lone(ME)
    if height:
        node.fetch([certified_block(block).encode() for block in BLOCKS[1 : height + 1]], 1)
        assert node.engine.height == height
    node.hear(1, new_view(1, [view_change(v, 1) for v in QUORUM]), 2)
    assert (node.engine.core.view, node.engine.core.view_active) == (1, True)
    return node


def leaving_for_3() -> Lone:
    node = in_view_1()
    for validator in (0, 1):
        node.hear(validator, view_change(validator, 3), 3)
    assert (node.engine.core.view, node.engine.core.view_active) == (3, False)
    return node


def forged(message: Vote | ViewChange | NewView) -> Vote | ViewChange | NewView:
    return replace(message, signature=FORGED)


def forged_header(height: int) -> CertifiedHeader:
    sound = certified(BLOCKS[height].header, Phase.COMMIT)
    return replace(sound, certificate=replace(sound.certificate, votes=()))


def entering(view: int) -> NewView:
    return new_view(view, [view_change(v, view) for v in QUORUM])


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (in_view_1(), forged(vote(Phase.PREPARE, 0, BLOCKS[1].header, 0))),
        (in_view_1(), forged(vote(Phase.PREPARE, 1, BLOCKS[1].header, ME))),
        (in_view_1(), forged(replace(view_change(0, 1), view=0))),
        (in_view_1(), forged(view_change(ME, 2))),
        (in_view_1(), forged(entering(1))),
        (leaving_for_3(), forged(entering(2))),
        (in_view_1(height=2), forged_header(1)),
        (in_view_1(height=2), forged_header(2)),
    ],
)
def test_what_comes_too_late_or_in_the_own_name_is_not_even_checked(
    node: Lone, message: Message
) -> None:
    node.hear(1, message, 5)
    assert node.engine.counters.messages_refused == 0


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (in_view_1(), forged(vote(Phase.PREPARE, 1, BLOCKS[1].header, 0))),
        (in_view_1(), forged(view_change(0, 1))),
        (in_view_1(), forged(view_change(0, 2))),
        (in_view_1(), forged(entering(2))),
        (leaving_for_3(), forged(entering(3))),
        (in_view_1(height=2), forged_header(3)),
    ],
)
def test_what_could_matter_is_checked(node: Lone, message: Message) -> None:
    node.hear(1, message, 5)
    assert node.engine.counters.messages_refused == 1


def test_a_certified_header_is_followed_and_made_final_with_its_bodies() -> None:
    block, node = BLOCKS[1], in_view_1()
    (transaction,) = block.transactions
    node.admit(transaction, 3)
    node.said()
    node.hear(1, certified(block.header, Phase.COMMIT), 4)
    assert WantBodies(1, block.digest, ()) in node.said()
    node.hear(1, Bodies(block.digest, True, (transaction.transaction.encoded,)), 5)  # noqa: FBT003
    assert node.engine.height == 1


def test_each_vote_that_is_checked_is_counted_the_one_with_a_proposal_too() -> None:
    node = Lone(ME)
    node.hear(0, proposal_of(BLOCKS[1]), 1)
    node.hear(1, vote(Phase.PREPARE, 0, BLOCKS[1].header, 1), 2)
    node.hear(2, vote(Phase.PREPARE, 0, BLOCKS[1].header, 2), 3)  # with the own one, one too many
    assert node.engine.counters.votes_checked == 2


def test_a_block_under_way_is_complete_when_all_of_it_comes_from_the_past() -> None:
    node = Lone(ME)
    node.hear(0, proposal_of(BLOCKS[1]), 1)
    node.fetch([certified_block(BLOCKS[1]).encode()], 2)
    assert node.engine.height == 1
    assert node.engine.counters.bodies_asked == 0


def test_it_is_noted_when_a_peer_was_heard_and_what_it_said() -> None:
    node = Lone(ME)
    assert node.engine.peer_signs.heard_ms_ago(1, node.at(7)) is None
    said = Status(0, 0, view_active=True, height=0)
    node.hear(1, said, 5)
    assert node.engine.peer_signs.heard_ms_ago(1, node.at(7)) == 2
    assert node.engine.peer_signs.status(1) == said


def test_what_a_peer_signs_at_a_checkpoint_is_passed_on_under_its_number() -> None:
    node, lines = Lone(ME), CheckpointLines(1, bytes(32), bytes(64), 0, bytes(64))
    node.hear(2, lines, 1)
    assert node.engine.drain().stated == [(2, lines)]


def test_a_turn_takes_synced_blocks_up_to_its_size_the_smallest_counted_as_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoded = [certified_block(block).encode() for block in BLOCKS[1:]]
    least = max(map(len, encoded)) + 1
    for of_a_turn, taken in ((2 * least, 2), (2 * least + 1, 3)):
        monkeypatch.setattr(reception, "BLOCK_BYTES_LEAST", least)
        monkeypatch.setattr(reception, "TURN_BYTES_AIM", of_a_turn)
        node = Lone(ME)
        node.fetch(encoded, 1)
        assert node.engine.height == taken


def test_what_is_said_of_a_later_epoch_shows_whom_to_ask_for_blocks() -> None:
    ahead = certified(replace(BLOCKS[1].header, epoch=1, height=FAR_AHEAD), Phase.COMMIT)
    node = Lone(ME)
    node.hear(0, ahead, 1)
    assert node.wanted_blocks() == []
    node.hear(1, Status(1, 0, view_active=True, height=FAR_AHEAD), 2)
    assert [to for to, _ in node.wanted_blocks()] == [0, 1]
    node.hear(2, replace(view_change(2, 1), epoch=1), 3)
    assert node.said() == []


def second_epoch() -> Chat:
    """Return validators in their second epoch, at height 3, and one that follows them."""
    chat = Chat(*FOUNDERS, FOLLOWER)
    notarize(chat, "first")
    slower = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900))
    assert govern(chat, slower, members=FOUNDERS) is ResultCode.OK
    notarize(chat, "second")
    assert chat.heights()[0] == 3
    return chat


def answers(chat: Chat, peer: str, message: Message) -> list[MessageKind]:
    """Return what kinds of messages the first validator sends a peer for its message."""
    engine = chat.nodes[FOUNDERS[0]].engine
    engine.drain()
    number = engine.roster.number(peer)
    engine.receive(number, [encode_message(message)], chat.now)
    return [MessageKind(sent.kind) for sent in engine.drain().messages if sent.to == number]


def test_who_speaks_of_an_epoch_that_is_over_is_told_how_it_ended() -> None:
    chat = second_epoch()
    told = [MessageKind.DECIDED, MessageKind.STATUS]
    behind = Status(0, 0, view_active=True, height=1)
    assert answers(chat, FOUNDERS[3], behind) == told
    assert answers(chat, FOUNDERS[3], view_change(3, 1)) == told
    assert answers(chat, FOUNDERS[3], replace(behind, epoch=2, height=9)) == []


def test_a_follower_is_told_of_what_is_final_and_not_there() -> None:
    chat = second_epoch()
    one = [MessageKind.STATUS, MessageKind.DECIDED]
    for height, expected in ((2, one), (3, []), (4, [])):
        status = Status(1, 0, view_active=True, height=height)
        assert answers(chat, FOLLOWER, status) == expected
