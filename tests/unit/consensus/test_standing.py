"""Where a core stands, told from outside: views, timers, and who voted."""

from __future__ import annotations

from node.chain.certificate import Phase
from node.consensus.events import (
    PoolChanged,
    ProposalReceived,
    Tick,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
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


def test_votes_for_the_header_followed_are_told_and_no_others() -> None:
    core = fresh_core(3)
    core.step(ProposalReceived(PROPOSAL, NOW.utc_ms), NOW)
    core.step(Validated(FIRST.digest, matches=True), NOW)
    core.step(VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, 1)), NOW)
    (slot,) = standing_of(core, NOW).undecided
    assert (slot.height, slot.stage) == (1, Stage.PREPARING)
    assert (slot.prepares, slot.commits) == ((0,), (1,))


def test_between_views_those_who_left_are_told() -> None:
    core = fresh_core(3)
    for validator in (1, 2):
        core.step(ViewChangeReceived(view_change(validator, 1)), NOW)
    standing = standing_of(core, NOW)
    assert (standing.view, standing.view_active, standing.leaving) == (1, False, (1, 2))


def test_what_is_told_is_bounded() -> None:
    core = fresh_core(3)
    for height in range(1, 40):
        far = vote(Phase.COMMIT, 0, FIRST.header, 1)
        subject = far.subject.__class__(Phase.COMMIT, 0, height, FIRST.digest)
        core.step(VoteReceived(far.__class__(subject, 1, 0, far.signature, far.epoch)), NOW)
    assert len(standing_of(core, NOW).undecided) <= HEIGHTS_SHOWN_MAX
