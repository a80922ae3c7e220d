"""The core alone: events in, actions out, one rule per test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.certificate import Phase
from node.chain.epoch import Anchor
from node.chain.validation import HeaderContext
from node.consensus.core import HEIGHTS_AHEAD_MAX, Core
from node.consensus.events import (
    Action,
    BuildProposal,
    CastViewChange,
    Commit,
    DecidedReceived,
    NewViewReceived,
    Now,
    OwnViewChangeDurable,
    PoolChanged,
    ProposalReceived,
    Send,
    StatusReceived,
    Tick,
    Trace,
    Validate,
    Validated,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import Proposal, Reason, Status
from node.consensus.state import Recovered
from tests.unit.consensus.signing import certified, chain_of_blocks, new_view, view_change, vote
from tests.unit.execution.small_chain import GENESIS

BLOCKS = chain_of_blocks(3)
FIRST = BLOCKS[1]
PROPOSAL = Proposal(
    FIRST.header,
    tuple(tx.transaction.tx_hash for tx in FIRST.transactions),
    vote(Phase.PREPARE, 0, FIRST.header, 0),
)
NOW = Now(monotonic_ms=0, utc_ms=FIRST.header.time_ms)


def at(monotonic_ms: int) -> Now:
    return NOW._replace(monotonic_ms=monotonic_ms)


def fresh_core(me: int) -> Core:
    return Core(
        validators=GENESIS.validators,
        me=me,
        parameters=GENESIS.parameters,
        context=HeaderContext.of_genesis(GENESIS),
        anchor=Anchor(0, BLOCKS[0].digest),
        digest_of=lambda header: header.digest(GENESIS.suite),
        recovered=Recovered(tip=BLOCKS[0].header, tip_digest=BLOCKS[0].digest, recent=()),
    )


def test_a_vote_is_wanted_only_while_the_quorum_needs_it_besides_those_sure_to_come() -> None:
    core = fresh_core(3)
    prepares = [vote(Phase.PREPARE, 0, FIRST.header, validator) for validator in range(3)]
    commits = [vote(Phase.COMMIT, 0, FIRST.header, validator) for validator in range(3)]
    # Without the proposal: the primary's PREPARE comes with it, the own one after it.
    assert core.wants_vote(prepares[1])
    core.step(VoteReceived(prepares[1]), NOW)
    assert not core.wants_vote(prepares[1])
    assert not core.wants_vote(prepares[2])
    core.step(ProposalReceived(PROPOSAL, NOW.utc_ms), NOW)
    assert not core.wants_vote(prepares[2])
    for commit in commits[:2]:
        assert core.wants_vote(commit)
        core.step(VoteReceived(commit), NOW)
    assert not core.wants_vote(commits[2])


def test_a_second_vote_for_another_header_is_always_wanted_as_evidence() -> None:
    core = fresh_core(3)
    core.step(VoteReceived(vote(Phase.COMMIT, 0, FIRST.header, 1)), NOW)
    other_header = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    assert core.wants_vote(vote(Phase.COMMIT, 0, other_header, 1))


def test_a_primary_that_knows_of_a_later_view_proposes_nothing_in_its_own() -> None:
    primary = fresh_core(0)
    later = chain_of_blocks(1, view=3)[1]
    primary.step(DecidedReceived(certified(later.header, Phase.COMMIT, view=3)), NOW)
    actions = primary.step(Validated(later.digest, matches=True), NOW)
    assert any(isinstance(action, Commit) for action in actions)
    actions = primary.step(PoolChanged(pending=True), NOW)
    assert not any(isinstance(action, BuildProposal) for action in actions)


@pytest.mark.parametrize(
    ("early_by_ms", "late_by_ms", "timely"),
    [(100, 0, True), (101, 0, False), (0, 600, True), (0, 601, False)],
)
def test_a_proposal_is_taken_up_only_if_its_time_fits_the_clock(
    early_by_ms: int, late_by_ms: int, *, timely: bool
) -> None:
    assert (GENESIS.parameters.precision_ms, GENESIS.parameters.message_delay_ms) == (100, 500)
    arrival_ms = FIRST.header.time_ms - early_by_ms + late_by_ms
    actions = fresh_core(3).step(ProposalReceived(PROPOSAL, arrival_ms), NOW)
    assert any(isinstance(action, Validate) for action in actions) == timely
    refusals = [action.rule for action in actions if isinstance(action, Trace)]
    assert refusals == ([] if timely else ["header-timely"])


def test_a_degraded_header_is_refused_where_no_view_change_allows_it() -> None:
    header = replace(FIRST.header, time_degraded=True)
    proposal = Proposal(header, PROPOSAL.tx_hashes, vote(Phase.PREPARE, 0, header, 0))
    actions = fresh_core(3).step(ProposalReceived(proposal, NOW.utc_ms), NOW)
    assert [action.rule for action in actions if isinstance(action, Trace)] == ["header-degraded"]
    assert not any(isinstance(action, Validate) for action in actions)


def test_a_view_change_is_not_repeated_for_a_view_that_was_left() -> None:
    core = fresh_core(3)
    durable = view_change(3, 1)
    core.step(PoolChanged(pending=True), NOW)
    [cast] = [a for a in core.step(Tick(), at(1_000)) if isinstance(a, CastViewChange)]
    assert cast.view_change.view == 1
    core.step(OwnViewChangeDurable(durable), at(1_000))
    # The timer of the NEW-VIEW needs a quorum, and runs out when the repetition is due too.
    for validator in (0, 2):
        core.step(ViewChangeReceived(view_change(validator, 1)), at(1_000))
    actions = core.step(Tick(), at(3_000))
    own = [a.message for a in actions if isinstance(a, Send) and a.message == durable]
    [cast] = [action for action in actions if isinstance(action, CastViewChange)]
    assert (cast.view_change.view, len(own)) == (2, 1)


def test_early_votes_of_one_validator_are_bounded_and_push_out_no_others() -> None:
    core = fresh_core(3)
    bound = 4 * GENESIS.parameters.window_slots
    flood = [vote(Phase.COMMIT, view, FIRST.header, 1) for view in range(1, bound + 2)]
    other = vote(Phase.COMMIT, 1, FIRST.header, 2)
    for early in (other, *flood):
        assert core.wants_vote(early)
        core.step(VoteReceived(early), NOW)
    assert [early for early in flood if core.wants_vote(early)] == [flood[0]]
    assert not core.wants_vote(other)


def test_what_is_far_above_the_window_costs_nothing() -> None:
    core = fresh_core(3)
    reach = GENESIS.parameters.window_slots + HEIGHTS_AHEAD_MAX
    for height, wanted in ((reach, True), (reach + 1, False)):
        header = replace(FIRST.header, height=height)
        assert core.wants_vote(vote(Phase.PREPARE, 0, header, 1)) == wanted
        proposal = Proposal(header, (), vote(Phase.PREPARE, 0, header, 0))
        assert core.wants_proposal(proposal) == wanted


@pytest.mark.parametrize(
    ("heights", "leaves"),
    [
        ((), True),
        ((10**9,), True),  # one may lie
        ((10**9, GENESIS.parameters.window_slots + 1), False),
        ((10**9, GENESIS.parameters.window_slots), True),  # its votes still reach the next heights
    ],
)
def test_a_validator_left_behind_blames_no_primary(
    heights: tuple[int, ...], *, leaves: bool
) -> None:
    core = fresh_core(3)
    core.step(PoolChanged(pending=True), NOW)
    for peer, height in enumerate(heights):
        status = Status(epoch=0, view=0, view_active=True, height=height)
        core.step(StatusReceived(peer, status), NOW)
    late = Now(GENESIS.parameters.view_timeout_ms, NOW.utc_ms)
    cast = [action for action in core.step(Tick(), late) if isinstance(action, CastViewChange)]
    assert bool(cast) == leaves


def left(actions: list[Action]) -> list[tuple[int, Reason]]:
    """Return the views left for, and why."""
    changes = [action.view_change for action in actions if isinstance(action, CastViewChange)]
    return [(change.view, change.reason) for change in changes]


@pytest.mark.parametrize(
    ("passed_ms", "said", "believed"),
    [
        (0, Reason.ROTATION, Reason.OTHERS),
        (299_999, Reason.ROTATION, Reason.OTHERS),
        (300_000, Reason.ROTATION, Reason.ROTATION),
        (300_000, Reason.TIMEOUT, Reason.OTHERS),
    ],
)
def test_a_primary_that_leaves_is_followed_and_believed_when_it_may_be_time(
    passed_ms: int, said: Reason, believed: Reason
) -> None:
    core = fresh_core(3)
    core.step(Tick(), NOW)
    actions = core.step(ViewChangeReceived(view_change(0, 7, reason=said)), at(passed_ms))
    assert left(actions) == [(1, believed)]


def test_who_is_not_primary_is_not_followed_alone() -> None:
    core = fresh_core(3)
    leaving = view_change(1, 1, reason=Reason.ROTATION)
    assert left(core.step(ViewChangeReceived(leaving), at(300_000))) == []


def test_nobody_leaves_on_schedule_a_view_that_is_known_to_be_over() -> None:
    core = fresh_core(0)
    core.step(Tick(), NOW)
    block = chain_of_blocks(1, view=3)[1]
    core.step(DecidedReceived(certified(block.header, Phase.COMMIT, view=3)), NOW)
    assert left(core.step(Tick(), at(600_000))) == []
    assert core.deadline() > at(600_000).monotonic_ms
    assert left(core.step(ViewChangeReceived(view_change(0, 1)), at(600_001))) == []


@pytest.mark.parametrize(
    ("reason", "timeout_ms"), [(Reason.ROTATION, 1_000), (Reason.OTHERS, 8_000)]
)
def test_views_that_ended_on_schedule_do_not_make_timeouts_grow(
    reason: Reason, timeout_ms: int
) -> None:
    core = fresh_core(2)
    changes = [view_change(validator, 3, reason=reason) for validator in range(3)]
    core.step(NewViewReceived(new_view(3, changes)), NOW)
    core.step(PoolChanged(pending=True), NOW)
    assert left(core.step(Tick(), at(timeout_ms - 1))) == []
    assert left(core.step(Tick(), at(timeout_ms))) == [(4, Reason.TIMEOUT)]
