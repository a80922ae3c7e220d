"""What the core says again: to those who may have missed it, and after a restart."""

from __future__ import annotations

from typing import Any

import pytest

from node.chain.block import Header
from node.chain.certificate import Phase
from node.chain.epoch import Anchor
from node.chain.validation import HeaderContext
from node.consensus.core import Core
from node.consensus.events import (
    AdoptNewView,
    BuildProposal,
    CastViewChange,
    CastVote,
    Commit,
    DecidedReceived,
    Now,
    OwnViewChangeDurable,
    PoolChanged,
    ProposalBuilt,
    Send,
    Sendable,
    StatusReceived,
    Tick,
    Validate,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Status, ViewChange
from node.consensus.state import Recovered, Stage
from node.errors import InvariantViolation
from node.execution.apply import ExecutedBlock
from tests.unit.consensus.rig import (
    BACKUP,
    FIRST,
    FIRST_DECIDED,
    GENESIS_BLOCK,
    SECOND,
    TIMEOUT_MS,
    Rig,
    of_kind,
    own_vote,
    proposal,
    view_1,
)
from tests.unit.consensus.signing import certified, chain_of_blocks, view_change, vote
from tests.unit.execution.small_chain import GENESIS

NOW = Now(monotonic_ms=1, utc_ms=FIRST.header.time_ms)


# ---------------------------------------------------------------------- repeating


def repeated(rig: Rig) -> list[Sendable]:
    """Return what is sent again to all, but for where the sender stands."""
    sent = [send.message for send in of_kind(rig.out, Send) if send.to is None]
    return [message for message in sent if not isinstance(message, Status)]


def test_what_is_not_stalled_is_not_repeated() -> None:
    rig = Rig().feed(Tick())
    assert of_kind(rig.last(TIMEOUT_MS - 1).prepare(FIRST).out, Send) == []
    assert of_kind(rig.last(1).out, Send), "it tells from time to time where it stands"
    assert repeated(rig) == []
    assert len(repeated(rig.last(TIMEOUT_MS // 2))) == 1


def test_a_stalled_primary_repeats_its_proposal_and_its_votes() -> None:
    primary = Rig(0).feed(PoolChanged(pending=True))
    primary.feed(ProposalBuilt(0, 1, FIRST.header, proposal(FIRST).tx_hashes))
    primary.votes(Phase.PREPARE, FIRST, 1, 2).last(TIMEOUT_MS // 2)
    assert repeated(primary) == [proposal(FIRST), vote(Phase.COMMIT, 0, FIRST.header, 0)]


def test_who_leaves_the_view_it_led_says_so_once_at_a_time() -> None:
    primary = Rig(0).leave().last(TIMEOUT_MS // 2)
    assert [type(message) for message in repeated(primary)] == [ViewChange]


def test_a_primary_repeats_its_new_view_until_something_is_decided_in_it() -> None:
    first = chain_of_blocks(1, view=1)[1]
    begun = view_1()
    primary = Rig(1).feed(PoolChanged(pending=True)).feed(begun)
    assert begun.new_view not in repeated(primary.last(TIMEOUT_MS // 2))  # nobody lacks it yet
    primary.feed(ProposalBuilt(1, 1, first.header, proposal(first).tx_hashes))
    assert begun.new_view in repeated(primary.last(TIMEOUT_MS // 2))
    primary.feed(DecidedReceived(certified(first.header, Phase.COMMIT, view=1)))
    assert of_kind(primary.out, Commit)
    primary.feed(VoteReceived(vote(Phase.PREPARE, 1, SECOND.header, 2)))
    assert primary.core.slots
    primary.feed(PoolChanged(pending=True))
    assert begun.new_view not in repeated(primary.last(TIMEOUT_MS // 2))


# ---------------------------------------------------------------------- to those behind


def told(rig: Rig, peer: int, *, view: int, is_active: bool, height: int = 0) -> list[Sendable]:
    """Return what a peer is sent when it says where it stands."""
    status = Status(0, view, view_active=is_active, height=height)
    sent = of_kind(rig.feed(StatusReceived(peer, status)).out, Send)
    return [each.message for each in sent if each.to == peer]


def test_who_is_in_an_earlier_view_is_told_how_this_one_began() -> None:
    begun = view_1()
    rig = Rig().feed(begun)
    assert told(rig, 1, view=0, is_active=True) == [begun.new_view]
    assert told(rig, 1, view=1, is_active=False) == [begun.new_view]
    for view, is_active in ((1, True), (2, False), (2, True)):
        assert told(rig, 1, view=view, is_active=is_active) == []


def test_nobody_is_told_how_the_first_view_began() -> None:
    assert told(Rig(), 1, view=0, is_active=False) == []


def test_nobody_is_told_what_it_says_itself() -> None:
    assert told(Rig().feed(view_1()), BACKUP, view=0, is_active=True) == []


def test_who_leaves_a_view_tells_those_who_have_not_once_that_is_durable() -> None:
    core = Rig().core
    behind = StatusReceived(1, Status(0, 0, view_active=True, height=0))
    for view in (1, 2):
        leaving = [ViewChangeReceived(view_change(validator, view)) for validator in (1, 2)]
        actions = [action for event in leaving for action in core.step(event, NOW)]
        assert [cast.view_change.view for cast in of_kind(actions, CastViewChange)] == [view]
        assert not of_kind(core.step(behind, NOW), Send), "what it said before is out of date"
        durable = view_change(BACKUP, view)
        core.step(OwnViewChangeDurable(durable), NOW)
        assert of_kind(core.step(behind, NOW), Send) == [Send(1, durable)]


# ---------------------------------------------------------------------- after a restart


def restarted(me: int = BACKUP, **durable: Any) -> Rig:  # noqa: ANN401 - the fields of `Recovered`
    """Return a core that begins with what its log holds."""
    rig = Rig(me)
    held: dict[str, Any] = {
        "tip": GENESIS_BLOCK.header,
        "tip_digest": GENESIS_BLOCK.digest,
        "recent": (),
    }
    rig.core = Core(
        validators=GENESIS.validators,
        me=me,
        parameters=GENESIS.parameters,
        context=HeaderContext.of_genesis(GENESIS),
        anchor=Anchor(0, GENESIS_BLOCK.digest),
        digest_of=lambda header: header.digest(GENESIS.suite),
        recovered=Recovered(**{**held, **durable}),
    )
    return rig


def in_log(block: ExecutedBlock) -> tuple[Header, tuple[bytes, ...]]:
    return block.header, proposal(block).tx_hashes


def test_who_was_leaving_says_so_again_after_a_restart() -> None:
    own = view_change(BACKUP, 1)
    rig = restarted(view=1, view_active=False, view_change=own)
    assert repeated(rig.feed(Tick())) == [own]


def test_what_was_prepared_before_a_restart_is_shown_when_leaving() -> None:
    shown = certified(FIRST.header, Phase.PREPARE)
    rig = restarted(prepared=(shown,)).leave()
    (cast,) = of_kind(rig.out, CastViewChange)
    assert cast.view_change.prepared == (shown,)


def test_what_a_view_carries_is_followed_after_a_restart() -> None:
    begun = view_1(prepared=[FIRST]).new_view
    rig = restarted(view=1, new_view=begun).feed(Tick())
    assert rig.core.stage(1) is Stage.ACCEPTED
    assert not of_kind(rig.out, AdoptNewView)


def test_a_prepared_block_is_not_fetched_unless_it_is_followed() -> None:
    shown = certified(FIRST.header, Phase.PREPARE)
    rig = restarted(view=1, view_active=False, prepared=(shown,))
    assert not of_kind(rig.feed(Tick()).out, Validate)


def test_votes_cast_before_a_restart_count_and_are_not_cast_again() -> None:
    votes = (own_vote(Phase.PREPARE, 0), own_vote(Phase.COMMIT, 0))
    rig = restarted(blocks=(in_log(FIRST),), votes=votes).validate(FIRST)
    rig.votes(Phase.PREPARE, FIRST, 0, 1)
    assert not of_kind(rig.out, CastVote)
    rig.votes(Phase.COMMIT, FIRST, 0, 1)
    assert of_kind(rig.out, Commit)


def test_who_had_only_prepared_before_a_restart_may_commit_after_it() -> None:
    votes = (own_vote(Phase.PREPARE, 0),)
    rig = restarted(blocks=(in_log(FIRST),), votes=votes).validate(FIRST)
    assert not of_kind(rig.out, CastVote)
    rig.votes(Phase.PREPARE, FIRST, 0, 1)
    assert [cast.subject.phase for cast in of_kind(rig.out, CastVote)] == [Phase.COMMIT]


def test_votes_of_earlier_views_do_not_count_after_a_restart() -> None:
    votes = (own_vote(Phase.PREPARE, 0), own_vote(Phase.COMMIT, 0))
    begun = view_1(prepared=[FIRST]).new_view
    rig = restarted(view=1, new_view=begun, blocks=(in_log(FIRST),), votes=votes)
    assert (rig.core.slots[1].prepares, rig.core.slots[1].commits) == ({}, {})
    rig.validate(FIRST)
    assert [cast.subject.view for cast in of_kind(rig.out, CastVote)] == [1]


def test_votes_on_what_is_final_are_left_in_the_log() -> None:
    rig = restarted(
        tip=FIRST.header,
        tip_digest=FIRST.digest,
        recent=(certified(FIRST.header, Phase.COMMIT),),
        votes=(own_vote(Phase.PREPARE, 0),),
    )
    assert not rig.core.slots


def test_a_vote_without_its_block_is_no_log_of_this_program() -> None:
    with pytest.raises(InvariantViolation, match="not its block 1"):
        restarted(votes=(own_vote(Phase.PREPARE, 0),))


def test_after_a_restart_too_a_primary_signs_one_block_per_height_of_its_view() -> None:
    first, second = chain_of_blocks(2, view=1)[1:]
    primary = restarted(
        1,
        view=1,
        new_view=view_1().new_view,
        blocks=(in_log(first), in_log(second)),
        votes=tuple(vote(Phase.PREPARE, 1, block.header, 1) for block in (first, second)),
    )
    primary.feed(PoolChanged(pending=True)).feed(FIRST_DECIDED).validate(FIRST)
    assert of_kind(primary.out, Commit)
    assert not of_kind(primary.out, BuildProposal)
    assert repeated(primary.last(TIMEOUT_MS // 2)) == [view_1().new_view]
