"""What the core does not do: with what comes too late, twice, from elsewhere, or after its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.chain.block import Header
from node.chain.certificate import Phase
from node.consensus.core import HEIGHTS_AHEAD_MAX
from node.consensus.events import (
    Action,
    AdoptNewView,
    AnnounceNewView,
    BuildProposal,
    CastProposal,
    CastViewChange,
    CastVote,
    Commit,
    DecidedReceived,
    Event,
    Halt,
    NewViewReceived,
    Now,
    OwnNewViewDurable,
    OwnViewChangeDurable,
    OwnVoteDurable,
    PassedOver,
    PoolChanged,
    ProposalBuilt,
    ProposalReceived,
    ReportEvidence,
    Retain,
    StatusReceived,
    Tick,
    Trace,
    Validate,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Proposal, Reason, Status
from node.consensus.state import Stage
from node.errors import InvariantViolation
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
from tests.unit.consensus.signing import (
    certified,
    chain_of_blocks,
    new_view,
    two_view_changes,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import GENESIS

OTHER = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
ANOTHER = replace(FIRST.header, time_ms=FIRST.header.time_ms + 2)
REACH = GENESIS.parameters.window_slots + HEIGHTS_AHEAD_MAX
BEHIND = StatusReceived(1, Status(0, 0, view_active=True, height=0))


def committed_first() -> Rig:
    return Rig().feed(FIRST_DECIDED).validate(FIRST)


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


# ---------------------------------------------------------------------- views


def test_a_new_view_that_became_durable_too_late_begins_nothing() -> None:
    primary = Rig(1).leave()
    late = new_view(1, [view_change(validator, 1) for validator in range(3)])
    for validator in (2, 3):
        primary.feed(ViewChangeReceived(view_change(validator, 6)))
    assert not of_kind(primary.feed(OwnNewViewDurable(late)).out, Trace)
    assert (primary.core.view, primary.core.view_active) == (6, False)


def test_a_new_view_begins_once() -> None:
    primary = Rig(1).leave()
    made = new_view(1, [view_change(validator, 1) for validator in range(3)])
    entered = [
        [trace.rule for trace in of_kind(primary.feed(OwnNewViewDurable(made)).out, Trace)]
        for _ in range(2)
    ]
    assert entered == [["view-entered"], []]


def test_who_is_leaving_is_told_in_order() -> None:
    rig = Rig()
    for validator in (2, 0):
        rig.feed(ViewChangeReceived(view_change(validator, 9 - validator)))
    assert rig.core.leaving == (0, 2, BACKUP)


def left(rig: Rig) -> list[tuple[int, Reason]]:
    """Return the views left for with the last event, and why."""
    casts = of_kind(rig.out, CastViewChange)
    return [(cast.view_change.view, cast.view_change.reason) for cast in casts]


def leaving_for_6(me: int) -> Rig:
    """Return a core that left view 0 by its timer, and then followed two others to view 6."""
    rig = Rig(me).leave()
    for validator in {0, 1, 2, 3} - {0, me}:
        rig.feed(ViewChangeReceived(view_change(validator, 6)))
    return rig


def test_a_new_view_below_the_one_left_for_is_not_entered() -> None:
    rig = leaving_for_6(BACKUP).feed(view_1())
    assert not of_kind(rig.out, AdoptNewView)
    assert (rig.core.view, rig.core.view_active) == (6, False)


def test_a_new_view_that_comes_again_takes_no_vote_back() -> None:
    rig = Rig().feed(view_1()).feed(VoteReceived(vote(Phase.COMMIT, 1, FIRST.header, 0)))
    assert not of_kind(rig.feed(view_1()).out, AdoptNewView)
    assert list(rig.core.slots[1].commits) == [0]


def test_of_two_view_changes_of_a_validator_for_a_view_the_first_counts() -> None:
    first, second = two_view_changes(0)
    primary = Rig(1).leave()
    for leaving in (first, second, view_change(2, 1)):
        primary.feed(ViewChangeReceived(leaving))
    (announced,) = of_kind(primary.out, AnnounceNewView)
    assert announced.new_view.view_changes[0] == first


def test_a_view_is_announced_once_and_with_the_own_view_change_when_that_is_durable() -> None:
    core, now = Rig(1).core, Now(0, FIRST.header.time_ms)
    actions = [
        action
        for validator in (0, 2, 3)
        for action in core.step(ViewChangeReceived(view_change(validator, 1)), now)
    ]
    assert of_kind(actions, CastViewChange)
    assert not of_kind(actions, AnnounceNewView)
    durable = OwnViewChangeDurable(view_change(1, 1))
    (announced,) = of_kind(core.step(durable, now), AnnounceNewView)
    assert [each.validator for each in announced.new_view.view_changes] == [0, 1, 2, 3]
    assert not of_kind(core.step(Tick(), now), AnnounceNewView)


def test_a_view_that_has_begun_is_not_announced_again() -> None:
    primary = Rig(1).leave().feed(view_1())
    for validator, view in ((3, 5), (0, 1), (2, 1)):
        primary.feed(ViewChangeReceived(view_change(validator, view)))
        assert not of_kind(primary.out, AnnounceNewView)


@pytest.mark.parametrize(("view", "follows"), [(2, False), (3, False), (4, True)])
def test_nobody_is_followed_to_a_view_that_is_known_to_be_over(view: int, *, follows: bool) -> None:
    later = chain_of_blocks(1, view=3)[1]
    rig = Rig().feed(DecidedReceived(certified(later.header, Phase.COMMIT, view=3)))
    for validator in (1, 2):
        rig.feed(ViewChangeReceived(view_change(validator, view)))
    assert left(rig) == ([(view, Reason.OTHERS)] if follows else [])


@pytest.mark.parametrize(
    ("said", "believed"),
    [(Reason.ROTATION, Reason.ROTATION), (Reason.TIMEOUT, Reason.OTHERS)],
)
def test_it_was_time_if_one_more_than_f_say_so(said: Reason, believed: Reason) -> None:
    rig = Rig()
    for validator, reason in ((1, Reason.ROTATION), (2, said)):
        rig.feed(ViewChangeReceived(view_change(validator, 2, reason=reason)))
    assert left(rig) == [(2, believed)]


def test_the_primary_of_a_view_that_has_not_begun_is_not_followed() -> None:
    rig = Rig().leave().feed(ViewChangeReceived(view_change(1, 7)))
    assert left(rig) == []


@pytest.mark.parametrize(
    ("rotation_blocks", "final", "is_near"),
    [(4, 0, False), (4, 1, False), (3, 1, True), (3, 0, False), (2, 0, False), (2, 1, True)],
)
def test_a_rotation_by_blocks_is_near_a_window_before_its_height(
    rotation_blocks: int, final: int, *, is_near: bool
) -> None:
    rig = Rig(parameters=replace(GENESIS.parameters, rotation_blocks=rotation_blocks))
    if final:
        rig.feed(FIRST_DECIDED).validate(FIRST)
    rig.feed(ViewChangeReceived(view_change(0, 1, reason=Reason.ROTATION)))
    assert left(rig) == [(1, Reason.ROTATION if is_near else Reason.OTHERS)]


PASSED_OVER = PassedOver(0, bytes(32), 1_000)


def of_a_later_view() -> Rig:
    later = chain_of_blocks(1, view=3)[1]
    rig = Rig().feed(DecidedReceived(certified(later.header, Phase.COMMIT, view=3)))
    return rig.validate(later)


@pytest.mark.parametrize(
    ("begun", "leaves"),
    [
        (Rig, True),
        (lambda: Rig(0), False),  # it does not accuse itself
        (lambda: Rig().feed(view_1()), False),  # another primary's view
        (lambda: Rig().leave(), False),
        (of_a_later_view, False),
        (lambda: Rig().feed(FIRST_DECIDED), False),  # behind: others go on
    ],
)
def test_a_primary_that_prefers_some_loses_its_own_view_alone(
    begun: Callable[[], Rig], *, leaves: bool
) -> None:
    rig = begun().feed(PASSED_OVER)
    assert left(rig) == ([(1, Reason.FAIRNESS)] if leaves else [])


def test_between_views_no_primary_is_blamed() -> None:
    rig = Rig().leave()
    assert left(rig.feed(PassedOver(1, bytes(32), 1_000))) == []


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


def asked(rig: Rig, header: Header) -> Validate:
    """Return what was asked last about a header."""
    return [each for each in of_kind(rig.out, Validate) if each.header == header][-1]


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


# ---------------------------------------------------------------------- more of views


def test_what_a_view_carries_is_not_replaced_by_what_its_primary_proposes() -> None:
    instead = replace(OTHER, view=1, proposer=1)
    sent = Proposal(instead, proposal(FIRST).tx_hashes, vote(Phase.PREPARE, 1, instead, 1))
    rig = Rig().feed(view_1(prepared=[FIRST]))
    rig.feed(ProposalReceived(sent, instead.time_ms))
    assert rig.core.slots[1].header == FIRST.header


def test_the_transactions_of_an_earlier_view_are_not_taken_for_those_of_another_block() -> None:
    shown = [certified(OTHER, Phase.PREPARE)]
    changes = [view_change(validator, 1, prepared=shown) for validator in range(3)]
    rig = Rig().propose(FIRST).feed(NewViewReceived(new_view(1, changes)))
    assert asked(rig, OTHER).tx_hashes is None


def test_a_block_that_is_built_between_views_is_let_go() -> None:
    primary = Rig(0).leave().feed(ProposalBuilt(0, 1, FIRST.header, proposal(FIRST).tx_hashes))
    assert not of_kind(primary.out, CastProposal)


def test_a_primary_that_prepared_what_it_had_forgotten_rather_stops_than_signs_another() -> None:
    header = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    for built, refused in ((FIRST.header, False), (header, True)):
        primary = Rig(0).feed(PoolChanged(pending=True)).propose(FIRST).validate(FIRST)
        assert of_kind(primary.out, CastVote)
        event = ProposalBuilt(0, 1, built, proposal(FIRST).tx_hashes)
        if refused:
            with pytest.raises(InvariantViolation):
                primary.feed(event)
        else:
            assert of_kind(primary.feed(event).out, CastProposal)


def test_each_view_lasts_its_own_time_however_it_was_entered() -> None:
    rig = Rig().feed(Tick()).last(GENESIS.parameters.rotation_ms - 1).feed(view_1())
    assert left(rig.last(2 * TIMEOUT_MS)) == []


@pytest.mark.parametrize(("ahead_ms", "is_told"), [(100, False), (101, True)])
def test_a_tip_ahead_of_the_own_clock_is_told_when_leaving(ahead_ms: int, *, is_told: bool) -> None:
    rig = committed_first().feed(PoolChanged(pending=True))
    late = Now(rig.now_ms + TIMEOUT_MS, FIRST.header.time_ms - ahead_ms)
    (cast,) = of_kind(rig.core.step(Tick(), late), CastViewChange)
    assert cast.view_change.clock_bit == is_told


def test_it_is_told_why_a_view_was_left_and_what_it_left_undecided() -> None:
    timeout = of_kind(Rig().propose(FIRST).leave().out, Trace)[0]
    assert (timeout.rule, timeout.detail) == (
        "view-left",
        "timeout: towards view 1: 1 accepted, 2 empty",
    )
    rotation = Rig(0).feed(Tick()).last(GENESIS.parameters.rotation_ms)
    assert of_kind(rotation.out, Trace)[0].rule == "view-rotating"


@pytest.mark.parametrize(("on_schedule", "rule"), [(1, "view-entered"), (2, "view-rotated")])
def test_a_view_began_on_schedule_if_one_more_than_f_say_so(on_schedule: int, rule: str) -> None:
    reasons = [Reason.ROTATION] * on_schedule + [Reason.TIMEOUT] * (3 - on_schedule)
    changes = [view_change(v, 1, reason=reason) for v, reason in enumerate(reasons)]
    rig = Rig().feed(NewViewReceived(new_view(1, changes)))
    assert [trace.rule for trace in of_kind(rig.out, Trace)] == [rule]


def test_a_barrier_as_base_of_a_view_closes_the_window_before_it_is_here() -> None:
    barrier = certified(replace(FIRST.header, next_set_digest=bytes(32)), Phase.COMMIT)
    changes = [view_change(v, 1, committed=[barrier]) for v in range(3)]
    rig = Rig().feed(NewViewReceived(new_view(1, changes)))
    assert (rig.core.tip.height, rig.core.window_top) == (0, 1)


def test_a_decided_block_that_is_no_barrier_leaves_the_window_open() -> None:
    assert Rig().feed(FIRST_DECIDED).core.window_top == GENESIS.parameters.window_slots


def test_the_latest_of_all_certificates_says_which_views_are_over() -> None:
    later = chain_of_blocks(2, view=3)[2].header
    rig = committed_first().feed(DecidedReceived(certified(later, Phase.COMMIT, view=3)))
    for validator in (1, 2):
        rig.feed(ViewChangeReceived(view_change(validator, 2)))
    assert left(rig) == []


def test_where_another_block_was_decided_the_next_height_is_still_open() -> None:
    sent = Proposal(OTHER, proposal(FIRST).tx_hashes, vote(Phase.PREPARE, 0, OTHER, 0))
    rig = Rig().feed(ProposalReceived(sent, OTHER.time_ms)).votes(Phase.PREPARE, SECOND, 1)
    rig.feed(FIRST_DECIDED).validate(FIRST)
    assert rig.propose(SECOND).core.stage(2) is Stage.ACCEPTED


def test_all_that_follows_from_a_vote_is_done_at_once() -> None:
    first, second, third = chain_of_blocks(3)[1:]
    rig = Rig().prepare(first).prepare(second)
    rig.feed(DecidedReceived(certified(third.header, Phase.COMMIT))).validate(third)
    rig.propose(third).votes(Phase.PREPARE, first, 1).votes(Phase.COMMIT, first, 0, 1)
    assert [commit.header for commit in of_kind(rig.out, Commit)] == [first.header]
    assert [cast.subject.height for cast in of_kind(rig.out, CastVote)] == [3]


def test_nothing_is_final_above_a_barrier_whoever_certified_it() -> None:
    barrier = replace(FIRST.header, next_set_digest=bytes(32))
    above = replace(SECOND.header, parent=barrier.digest(GENESIS.suite))
    rig = Rig()
    for header in (above, barrier):
        rig.feed(DecidedReceived(certified(header, Phase.COMMIT)))
        rig.feed(Validated(header.digest(GENESIS.suite), matches=True))
    assert [commit.header for commit in of_kind(rig.out, Commit)] == [barrier]
