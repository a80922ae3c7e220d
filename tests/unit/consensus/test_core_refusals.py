"""What the core does not do: with what comes too late, twice, from elsewhere, or after its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.chain.certificate import Phase
from node.consensus.core import HEIGHTS_AHEAD_MAX
from node.consensus.events import (
    Action,
    BuildProposal,
    CastProposal,
    Commit,
    DecidedReceived,
    Event,
    Halt,
    NewViewReceived,
    OwnVoteDurable,
    PoolChanged,
    ProposalBuilt,
    ProposalReceived,
    ReportEvidence,
    Retain,
    StatusReceived,
    Tick,
    Validate,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Proposal, Status
from node.consensus.state import Stage
from tests.unit.consensus.rig import (
    BACKUP,
    FIRST,
    FIRST_DECIDED,
    GENESIS_BLOCK,
    OTHER,
    SECOND,
    TIMEOUT_MS,
    Rig,
    asked,
    committed_first,
    of_kind,
    own_vote,
    proposal,
    view_1,
)
from tests.unit.consensus.signing import (
    certified,
    chain_of_blocks,
    new_view,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import GENESIS

ANOTHER = replace(FIRST.header, time_ms=FIRST.header.time_ms + 2)
REACH = GENESIS.parameters.window_slots + HEIGHTS_AHEAD_MAX
BEHIND = StatusReceived(1, Status(0, 0, view_active=True, height=0))


# ---------------------------------------------------------------------- at the end


def diverged() -> Rig:
    return Rig().feed(FIRST_DECIDED).validate(FIRST, matches=False)


def over() -> Rig:
    """Return a core that has committed the barrier of its epoch."""
    barrier = replace(FIRST.header, next_set_digest=bytes(32))
    rig = Rig().feed(DecidedReceived(certified(barrier, Phase.COMMIT)))
    rig.now_ms = 10 * TIMEOUT_MS  # everything that repeats is due
    return rig.feed(Validated(barrier.digest(GENESIS.suite), matches=True))


@pytest.mark.parametrize(("ended", "last"), [(diverged, Halt), (over, Retain)])
def test_after_its_end_a_core_says_nothing(ended: Callable[[], Rig], last: type[Action]) -> None:
    rig = ended()
    assert isinstance(rig.out[-1], last)
    told: list[Event] = [
        *[VoteReceived(vote(Phase.PREPARE, 0, h, 1)) for h in (SECOND.header, OTHER, ANOTHER)],
        BEHIND,
        PoolChanged(pending=True),
        ProposalBuilt(0, 1, None, ()),
        Tick(),
    ]
    for event in told:
        assert rig.feed(event).out == []


def test_who_computed_another_result_than_a_quorum_prepared_halts() -> None:
    rig = Rig().feed(view_1(prepared=[FIRST]))
    assert {asked.header_digest for asked in of_kind(rig.out, Validate)} == {FIRST.digest}
    rig.validate(FIRST, matches=False)
    assert of_kind(rig.out, Halt)


def test_another_blocks_verdict_halts_nobody() -> None:
    rig = Rig().feed(view_1(prepared=[FIRST])).validate(SECOND, matches=False)
    assert not of_kind(rig.out, Halt)


def test_a_view_whose_base_differs_from_the_own_execution_halts_before_anything_else() -> None:
    rig = Rig().propose(FIRST).validate(FIRST, matches=False)
    rig.feed(ViewChangeReceived(view_change(1, 7)))  # the primary of view 1 is leaving it
    base = certified(FIRST.header, Phase.COMMIT)
    above = certified(SECOND.header, Phase.PREPARE)
    changes = [view_change(v, 1, committed=[base], prepared=[above]) for v in range(3)]
    rig.feed(NewViewReceived(new_view(1, changes)))
    assert isinstance(rig.out[-1], Halt)


def test_a_primary_that_halts_upon_its_own_block_builds_nothing_more() -> None:
    orphan = replace(SECOND.header, parent=OTHER.digest(GENESIS.suite))
    primary = Rig(0).feed(PoolChanged(pending=True))
    for height, block in enumerate((FIRST, SECOND), start=1):
        primary.feed(ProposalBuilt(0, height, block.header, proposal(block).tx_hashes))
    primary.feed(DecidedReceived(certified(orphan, Phase.COMMIT)))
    primary.feed(Validated(orphan.digest(GENESIS.suite), matches=True))
    primary.votes(Phase.PREPARE, FIRST, 1, 2).votes(Phase.COMMIT, FIRST, 1, 2)
    assert of_kind(primary.out, Commit)
    assert isinstance(primary.out[-1], Halt)


def test_a_primary_that_found_nothing_to_propose_is_asked_again_when_work_is_told_of() -> None:
    primary = Rig(0).feed(PoolChanged(pending=True))
    assert of_kind(primary.out, BuildProposal)
    primary.feed(ProposalBuilt(0, 1, None, ()))
    assert not of_kind(primary.out, BuildProposal)
    assert of_kind(primary.feed(PoolChanged(pending=True)).out, BuildProposal)


# ---------------------------------------------------------------------- votes


def test_an_own_vote_counts_once_it_is_durable_and_not_because_a_peer_says_so() -> None:
    rig = Rig()
    echo = VoteReceived(own_vote(Phase.COMMIT, 0))
    assert not rig.core.wants_vote(echo.vote)
    rig.feed(echo)
    assert not rig.core.slots
    rig.feed(OwnVoteDurable(echo.vote))
    assert list(rig.core.slots[1].commits) == [BACKUP]


def test_a_vote_of_a_view_that_is_over_is_not_wanted() -> None:
    rig = Rig().feed(view_1())
    assert not rig.core.wants_vote(vote(Phase.COMMIT, 0, FIRST.header, 1))
    assert rig.core.wants_vote(vote(Phase.COMMIT, 1, FIRST.header, 1))


def test_between_views_votes_of_the_view_that_was_left_push_no_early_ones_out() -> None:
    rig = Rig().leave()
    early = vote(Phase.PREPARE, 1, FIRST.header, 1)
    rig.feed(VoteReceived(early))
    for header in (SECOND.header, FIRST.header) * 4 * GENESIS.parameters.window_slots:
        rig.feed(VoteReceived(vote(Phase.COMMIT, 0, header, 1)))
    assert not rig.core.wants_vote(early)


def test_no_commit_comes_with_a_proposal_so_none_is_counted_on() -> None:
    rig = Rig()
    commits = [vote(Phase.COMMIT, 0, FIRST.header, validator) for validator in (1, 2)]
    rig.feed(VoteReceived(commits[0]))
    assert rig.core.wants_vote(commits[1])


def test_an_equivocator_is_reported_once() -> None:
    rig = Rig()
    reports = []
    for header in (FIRST.header, OTHER, ANOTHER):
        other = vote(Phase.COMMIT, 0, header, 1)
        assert rig.core.wants_vote(other) == (header != ANOTHER)
        reports += of_kind(rig.feed(VoteReceived(other)).out, ReportEvidence)
    assert [report.second.subject.header_digest for report in reports] == [
        OTHER.digest(GENESIS.suite)
    ]


@pytest.mark.parametrize("height", [0, 1, 1 + REACH + 1])
def test_nothing_is_kept_of_what_is_final_or_far_ahead(height: int) -> None:
    rig = committed_first()
    header = replace(FIRST.header, height=height)
    signed = vote(Phase.PREPARE, 0, header, 0)
    rig.feed(VoteReceived(signed))
    rig.feed(ProposalReceived(Proposal(header, (), signed), header.time_ms))
    rig.feed(DecidedReceived(certified(header, Phase.COMMIT)))
    if height <= 1:
        rig.feed(OwnVoteDurable(own_vote(Phase.COMMIT, 0, header)))
    assert not rig.core.slots


# ---------------------------------------------------------------------- proposals


def test_a_proposal_of_another_view_is_neither_wanted_nor_taken_up() -> None:
    later = chain_of_blocks(1, view=1)[1].header
    sent = Proposal(later, (), vote(Phase.PREPARE, 1, later, 1))
    for rig in (Rig(), Rig().leave()):  # of view 0; and leaving for view 1
        assert not rig.core.wants_proposal(sent)
        rig.feed(ProposalReceived(sent, later.time_ms))
        assert rig.core.stage(1) is Stage.EMPTY
        rig.feed(NewViewReceived(new_view(1, [view_change(v, 1) for v in range(3)])))
        assert rig.core.stage(1) is Stage.EMPTY
        assert rig.core.wants_proposal(sent)
    assert not rig.core.wants_proposal(proposal(FIRST))


def test_a_block_that_is_built_too_late_is_let_go() -> None:
    primary = Rig(0).feed(PoolChanged(pending=True))
    assert of_kind(primary.out, BuildProposal)
    primary.feed(view_1())
    primary.feed(ProposalBuilt(0, 1, FIRST.header, proposal(FIRST).tx_hashes))
    assert of_kind(primary.out, Retain) == [Retain(())]
    assert not of_kind(primary.out, CastProposal)


def test_whatever_was_decided_a_primary_signs_one_block_per_height_of_its_view() -> None:
    first, second = chain_of_blocks(2, view=1)[1:]
    primary = Rig(1).feed(PoolChanged(pending=True)).feed(view_1())
    for height, block in enumerate((first, second), start=1):
        assert [build.height for build in of_kind(primary.out, BuildProposal)] == [height]
        primary.feed(ProposalBuilt(1, height, block.header, proposal(block).tx_hashes))
        assert of_kind(primary.out, CastProposal)
    # More than f faulty ones: else view 1 would have begun with this block.
    primary.feed(FIRST_DECIDED).validate(FIRST)
    assert of_kind(primary.out, Commit)
    assert not of_kind(primary.out, BuildProposal)
    assert primary.core.stage(2) is Stage.REFUSED


# ---------------------------------------------------------------------- building and fetching


def test_what_is_being_built_is_asked_for_once_and_let_go_when_its_height_is_final() -> None:
    primary = Rig(0).feed(PoolChanged(pending=True))
    first = BuildProposal(0, 1, GENESIS_BLOCK.digest)
    second = BuildProposal(0, 2, FIRST.digest)
    assert of_kind(primary.out, BuildProposal) == [first]
    assert not of_kind(primary.feed(PoolChanged(pending=True)).out, BuildProposal)
    primary.feed(FIRST_DECIDED).validate(FIRST)
    assert of_kind(primary.out, BuildProposal) == [second]
    primary.feed(ProposalBuilt(0, 1, FIRST.header, proposal(FIRST).tx_hashes))
    assert not of_kind(primary.out, CastProposal)


def test_what_is_being_built_is_not_asked_for_again_when_a_block_below_is_final() -> None:
    primary = Rig(0).feed(PoolChanged(pending=True))
    primary.feed(ProposalBuilt(0, 1, FIRST.header, proposal(FIRST).tx_hashes))
    assert [build.height for build in of_kind(primary.out, BuildProposal)] == [2]
    primary.feed(FIRST_DECIDED)
    assert of_kind(primary.out, Commit)
    assert not of_kind(primary.out, BuildProposal)
    primary.feed(ProposalBuilt(0, 2, SECOND.header, proposal(SECOND).tx_hashes))
    assert of_kind(primary.out, CastProposal)


def test_a_primary_builds_on_nothing_it_has_not_executed() -> None:
    primary = Rig(1).feed(PoolChanged(pending=True)).feed(view_1(prepared=[FIRST]))
    assert not of_kind(primary.out, BuildProposal)
    primary.validate(FIRST)
    assert of_kind(primary.out, BuildProposal) == [BuildProposal(1, 2, FIRST.digest)]


def test_a_carried_block_is_fetched_once_from_all_others_who_certified_it() -> None:
    shown = [certified(FIRST.header, Phase.PREPARE, voters=(0, 2, BACKUP))]
    changes = [view_change(validator, 1, prepared=shown) for validator in range(3)]
    rig = Rig().feed(NewViewReceived(new_view(1, changes)))
    assert asked(rig, FIRST.header) == Validate(FIRST.header, FIRST.digest, None, (0, 2))
    assert not of_kind(rig.feed(Tick()).out, Validate)


def test_what_is_known_of_a_block_is_known_when_it_is_carried_over() -> None:
    rig = Rig().propose(FIRST).feed(view_1(prepared=[FIRST]))
    assert asked(rig, FIRST.header).tx_hashes == proposal(FIRST).tx_hashes


def test_the_transactions_of_one_block_are_not_taken_for_those_of_another() -> None:
    rig = Rig().propose(FIRST).feed(DecidedReceived(certified(OTHER, Phase.COMMIT)))
    assert asked(rig, OTHER).tx_hashes is None


def test_what_a_view_carries_above_a_base_that_is_not_here_is_kept_and_fetched_meanwhile() -> None:
    blocks = chain_of_blocks(4)
    committed = [certified(block.header, Phase.COMMIT) for block in blocks[1:3]]
    shown = [certified(block.header, Phase.PREPARE) for block in blocks[3:]]
    changes = [view_change(v, 1, committed=committed, prepared=shown) for v in range(3)]
    rig = Rig().feed(NewViewReceived(new_view(1, changes)))
    heights = {each.header.height for each in of_kind(rig.out, Validate)}
    assert heights == {1, 2, 3, 4}
    assert not of_kind(rig.validate(blocks[2]).out, Commit)
    rig.validate(blocks[1])
    assert [commit.header.height for commit in of_kind(rig.out, Commit)] == [1, 2]
    assert [rig.core.stage(height) for height in (3, 4)] == [Stage.ACCEPTED] * 2


def test_two_certified_blocks_on_one_height_stop_the_node() -> None:
    orphan = replace(SECOND.header, parent=OTHER.digest(GENESIS.suite))
    rig = committed_first().feed(DecidedReceived(certified(orphan, Phase.COMMIT)))
    rig.feed(Validated(orphan.digest(GENESIS.suite), matches=True))
    assert of_kind(rig.out, Halt)
    assert not of_kind(rig.out, Commit)


# ---------------------------------------------------------------------- memory


def remembered(value: object) -> int:
    """Return how many things a core holds, at any depth of its containers."""
    if isinstance(value, dict):
        return sum(1 + remembered(each) for each in value.values())
    if isinstance(value, list | tuple | set):
        return sum(1 + remembered(each) for each in value)
    return 0


def test_a_core_remembers_no_more_after_many_blocks_than_after_few() -> None:
    rig, sizes = Rig(), []
    for block in chain_of_blocks(8)[1:]:
        rig.now_ms = block.header.time_ms - SECOND.header.time_ms
        rig.prepare(block).votes(Phase.PREPARE, block, 1, 2).votes(Phase.COMMIT, block, 1, 2)
        assert of_kind(rig.out, Commit)
        sizes.append(remembered(vars(rig.core)))
    assert len(set(sizes[2:])) == 1, sizes
