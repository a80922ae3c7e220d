"""Which views the core leaves, follows others to, announces and enters; what it builds there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.chain.certificate import Phase
from node.consensus.events import (
    AdoptNewView,
    AnnounceNewView,
    CastProposal,
    CastViewChange,
    CastVote,
    Commit,
    DecidedReceived,
    NewViewReceived,
    Now,
    OwnNewViewDurable,
    OwnViewChangeDurable,
    PassedOver,
    PoolChanged,
    ProposalBuilt,
    ProposalReceived,
    Tick,
    Trace,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Proposal, Reason
from node.consensus.state import Stage
from node.errors import InvariantViolation
from tests.unit.consensus.rig import (
    BACKUP,
    FIRST,
    FIRST_DECIDED,
    OTHER,
    SECOND,
    TIMEOUT_MS,
    Rig,
    asked,
    committed_first,
    of_kind,
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
