"""Where a core stands, told from outside: views, timers, and who voted."""

from __future__ import annotations

from dataclasses import replace

from node.chain.certificate import Phase
from node.consensus.events import (
    PoolChanged,
    ProposalReceived,
    Tick,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Proposal
from node.consensus.standing import HEIGHTS_SHOWN_MAX, standing_of
from node.consensus.state import Stage
from tests.unit.consensus.signing import view_change, vote
from tests.unit.consensus.test_core import FIRST, NOW, PROPOSAL, at, fresh_core


def test_a_core_at_rest_waits_for_nothing() -> None:
    core = fresh_core(3)
    core.step(Tick(), NOW)
    standing = standing_of(core, NOW)
    assert (standing.view, standing.view_active, standing.undecided) == (0, True, ())
    assert (standing.waited_ms, standing.view_ends_in_ms, standing.leaving) == (None, None, ())


def test_work_without_a_commit_is_told_with_the_timer_that_ends_the_view() -> None:
    core = fresh_core(3)
    core.step(PoolChanged(pending=True), at(100))
    standing = standing_of(core, at(400))
    assert standing.waited_ms == 300
    assert standing.view_ends_in_ms == core.parameters.view_timeout_ms - 300
    assert standing_of(core, at(10**6)).view_ends_in_ms == 0


def test_votes_for_the_header_followed_are_told_and_no_others() -> None:
    core = fresh_core(3)
    core.step(ProposalReceived(PROPOSAL, NOW.utc_ms), NOW)
    core.step(Validated(FIRST.digest, matches=True), NOW)
    core.step(VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, 1)), NOW)
    (slot,) = standing_of(core, NOW).undecided
    assert (slot.height, slot.stage) == (1, Stage.PREPARING)
    assert (slot.prepares, slot.commits) == ((0,), (1,))


def test_where_no_header_is_followed_all_votes_are_told_in_the_order_of_validators() -> None:
    core = fresh_core(3)
    for validator in (2, 1):
        core.step(VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, validator)), NOW)
    assert standing_of(core, NOW).undecided == (), "nothing is proposed yet"
    too_late_ms = NOW.utc_ms + 10**6
    core.step(ProposalReceived(PROPOSAL, too_late_ms), NOW)
    (slot,) = standing_of(core, NOW).undecided
    assert (slot.stage, slot.prepares, slot.commits) == (Stage.REFUSED, (0,), (1, 2))


def test_between_views_those_who_left_are_told() -> None:
    core = fresh_core(3)
    for validator in (1, 2):
        core.step(ViewChangeReceived(view_change(validator, 1)), NOW)
    standing = standing_of(core, NOW)
    assert (standing.view, standing.view_active, standing.leaving) == (1, False, (1, 2))


def test_of_many_undecided_heights_the_lowest_are_told() -> None:
    core = fresh_core(3)
    for height in range(2 * HEIGHTS_SHOWN_MAX, 0, -1):
        header = replace(FIRST.header, height=height)
        offered = Proposal(header, (), vote(Phase.PREPARE, 0, header, 0))
        core.step(ProposalReceived(offered, NOW.utc_ms), NOW)
    told = [each.height for each in standing_of(core, NOW).undecided]
    assert told == list(range(1, 1 + HEIGHTS_SHOWN_MAX))
