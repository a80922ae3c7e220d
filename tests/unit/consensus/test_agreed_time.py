"""When a validator vouches for time, and what T may be where f + 1 do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import Header
from node.chain.certificate import Phase
from node.chain.epoch import Anchor
from node.chain.time_rules import DEGRADED_ROTATION_MS
from node.consensus.events import (
    AnnounceNewView,
    BuildProposal,
    CastViewChange,
    CastVote,
    DecidedReceived,
    NewViewReceived,
    PoolChanged,
    ProposalReceived,
    Tick,
    Trace,
    Validate,
    ViewChangeReceived,
)
from node.consensus.messages import NewView, Proposal, Reason
from node.consensus.new_view import new_view as start_of
from tests.unit.consensus.rig import FIRST, GENESIS_BLOCK, TIMEOUT_MS, Rig, proposal, view_1
from tests.unit.consensus.signing import certified, new_view, view_change, vote
from tests.unit.execution.small_chain import GENESIS

PARAMETERS = GENESIS.parameters
CLOCK_MS = FIRST.header.time_ms
"""What the clocks shown in VIEW-CHANGEs read."""


def degraded_view(*clocks_ms: int, bits: int = 2) -> NewView:
    """Return view 1 from validators who show these clocks; so many of them have the clock bit."""
    changes = [
        view_change(v, 1, clock_bit=v < bits, clock_ms=clock_ms)
        for v, clock_ms in enumerate(clocks_ms or (CLOCK_MS,) * 3)
    ]
    return new_view(1, changes)


def degraded_block(time_ms: int, *, view: int = 1) -> Header:
    return replace(
        FIRST.header,
        view=view,
        proposer=view % 4,
        time_ms=time_ms,
        time_degraded=True,
    )


def offered(rig: Rig, header: Header, arrival_ms: int) -> list[str]:
    """Offer a header; return the rules it breaks, which is none if it is taken up."""
    hashes = proposal(FIRST).tx_hashes
    own = vote(Phase.PREPARE, header.view, header, header.proposer)
    rig.feed(ProposalReceived(Proposal(header, hashes, own), arrival_ms))
    refusals = [action.rule for action in rig.out if isinstance(action, Trace)]
    assert any(isinstance(action, Validate) for action in rig.out) == (not refusals)
    return refusals


def leaving(rig: Rig) -> CastViewChange:
    [cast] = [action for action in rig.out if isinstance(action, CastViewChange)]
    return cast


# ---------------------------------------------------------------------- what a view allows


@pytest.mark.parametrize(("bits", "allowed"), [(0, False), (1, False), (2, True), (3, True)])
def test_degraded_blocks_need_one_more_than_f_clock_bits(bits: int, *, allowed: bool) -> None:
    rig = Rig().feed(NewViewReceived(degraded_view(bits=bits)))
    assert rig.core.is_degraded == allowed
    refusals = offered(rig, degraded_block(CLOCK_MS), CLOCK_MS)
    assert refusals == ([] if allowed else ["header-degraded"])


def test_whether_blocks_may_be_degraded_is_decided_anew_in_every_view() -> None:
    rig = Rig().feed(NewViewReceived(degraded_view()))
    rig.feed(NewViewReceived(new_view(2, [view_change(v, 2) for v in range(3)])))
    assert not rig.core.is_degraded
    assert offered(rig, degraded_block(CLOCK_MS, view=2), CLOCK_MS) == ["header-degraded"]


@pytest.mark.parametrize(
    ("clocks_ms", "reached_ms"),
    [
        ((500, 500, 500), 500),
        ((500, 500, 3_600_500), 500),  # one that runs ahead carries T nowhere
        ((500, 500, 10), 10),  # one that is behind keeps T back where no more than q are shown
        ((500, 500, 10, 501), 500),  # and does not where more are
    ],
)
def test_t_goes_where_a_quorum_of_the_clocks_shown_had_been(
    clocks_ms: tuple[int, ...], reached_ms: int
) -> None:
    message = degraded_view(*(CLOCK_MS + clock_ms for clock_ms in clocks_ms))
    anchor = Anchor(0, GENESIS_BLOCK.digest)
    validators = GENESIS.validators
    start = start_of(message.view_changes, anchor, lambda h: h.digest(GENESIS.suite), validators)
    assert start.degraded_to_ms == CLOCK_MS + reached_ms


LEAST_MS = GENESIS_BLOCK.header.time_ms + 1
REACHED_MS = LEAST_MS + 10_000


@pytest.mark.parametrize(
    ("time_ms", "arrival_ms", "allowed"),
    [
        (LEAST_MS, 0, True),  # whatever the own clock says
        (LEAST_MS + 1, LEAST_MS + 1 - PARAMETERS.precision_ms, True),
        (LEAST_MS + 1, LEAST_MS - PARAMETERS.precision_ms, False),
        (REACHED_MS, REACHED_MS + 3_600_000, True),
        (REACHED_MS + 1, REACHED_MS + 3_600_000, False),
    ],
)
def test_t_of_a_degraded_block_is_the_least_step_or_sober(
    time_ms: int, arrival_ms: int, *, allowed: bool
) -> None:
    rig = Rig().feed(NewViewReceived(degraded_view(REACHED_MS, REACHED_MS, REACHED_MS)))
    refusals = offered(rig, degraded_block(time_ms), arrival_ms)
    assert refusals == ([] if allowed else ["header-degraded-time"])


def test_a_primary_is_told_up_to_where_it_may_stamp() -> None:
    rig = Rig(1).feed(NewViewReceived(degraded_view())).feed(PoolChanged(pending=True))
    asked = [action for action in rig.out if isinstance(action, BuildProposal)]
    assert asked == [BuildProposal(1, 1, GENESIS_BLOCK.digest, CLOCK_MS)]


def test_what_is_carried_over_keeps_its_time_and_is_not_judged_again() -> None:
    rig = Rig()
    rig.clock_is_fit = False
    rig.now_ms = 60_000
    rig.feed(view_1(prepared=[FIRST])).validate(FIRST)
    assert [a.subject.phase for a in rig.out if isinstance(a, CastVote)] == [Phase.PREPARE]


# ---------------------------------------------------------------------- when a clock is unfit


def test_who_is_unfit_votes_for_no_time_and_finds_degraded_blocks_well() -> None:
    rig = Rig()
    rig.clock_is_fit = False
    rig.prepare(FIRST).votes(Phase.PREPARE, FIRST, 1, 2)
    assert not [action for action in rig.out if isinstance(action, CastVote)]
    rig.feed(NewViewReceived(degraded_view()))
    header = degraded_block(CLOCK_MS)
    assert offered(rig, header, CLOCK_MS) == []


def test_who_is_unfit_looks_at_a_quorum_of_the_others_votes() -> None:
    rig = Rig()
    rig.clock_is_fit = False
    rig.propose(FIRST).votes(Phase.PREPARE, FIRST, 1)
    assert rig.core.wants_vote(vote(Phase.PREPARE, 0, FIRST.header, 2))
    rig.votes(Phase.PREPARE, FIRST, 2)
    fit = Rig().propose(FIRST).votes(Phase.PREPARE, FIRST, 1)
    assert not fit.core.wants_vote(vote(Phase.PREPARE, 0, FIRST.header, 2))


def test_who_becomes_unfit_looks_at_more_votes_for_what_it_has_not_accepted_yet() -> None:
    second = vote(Phase.PREPARE, 0, FIRST.header, 2)
    for accepted in (False, True):
        rig = Rig()
        if accepted:
            rig.propose(FIRST)
        rig.clock_is_fit = False
        rig.votes(Phase.PREPARE, FIRST, 1)
        assert rig.core.wants_vote(second) is not accepted


def test_nothing_is_committed_above_what_was_only_followed() -> None:
    rig = Rig()
    rig.clock_is_fit = False
    rig.propose(FIRST).validate(FIRST).votes(Phase.PREPARE, FIRST, 1, 2)
    rig.clock_is_fit = True
    rig.feed(Tick())
    assert not [action for action in rig.out if isinstance(action, CastVote)]


@pytest.mark.parametrize("me", [0, 3])
def test_a_primary_that_is_unfit_leaves_once_there_is_work(me: int) -> None:
    rig = Rig(me)
    rig.clock_is_fit = False
    rig.feed(Tick()).feed(PoolChanged(pending=True))
    casts = [a.view_change for a in rig.out if isinstance(a, CastViewChange)]
    expected = [(1, Reason.CLOCK, True)] if me == 0 else []
    assert [(cast.view, cast.reason, cast.clock_bit) for cast in casts] == expected


def test_who_is_to_lead_the_next_view_does_not_leave_it_before_it_begins() -> None:
    rig = Rig(1)
    rig.clock_is_fit = False
    rig.leave()
    assert leaving(rig).view_change.view == 1
    rig.feed(Tick())
    assert (rig.core.view, rig.core.view_active) == (1, False)


def test_an_unfit_primary_of_degraded_blocks_proposes_them() -> None:
    rig = Rig(1)
    rig.clock_is_fit = False
    rig.feed(NewViewReceived(degraded_view())).feed(PoolChanged(pending=True))
    assert [action.view for action in rig.out if isinstance(action, BuildProposal)] == [1]


# ---------------------------------------------------------------------- the clock bit


def test_a_sound_clock_sets_no_bit() -> None:
    cast = leaving(Rig().leave())
    assert (cast.view_change.clock_bit, cast.view_change.reason) == (False, Reason.TIMEOUT)


def test_an_unfit_clock_sets_the_bit() -> None:
    rig = Rig()
    rig.clock_is_fit = False
    assert leaving(rig.leave()).view_change.clock_bit


@pytest.mark.parametrize(("ahead_ms", "bit"), [(100, False), (101, True)])
def test_a_prepared_block_ahead_of_the_own_clock_sets_the_bit(ahead_ms: int, *, bit: bool) -> None:
    rig = Rig()
    header = replace(FIRST.header, time_ms=FIRST.header.time_ms + 50_000)
    ahead = certified(header, Phase.PREPARE)
    rig.feed(NewViewReceived(new_view(1, [view_change(v, 1, prepared=[ahead]) for v in range(3)])))
    rig.feed(PoolChanged(pending=True))
    behind_ms = header.time_ms - ahead_ms
    rig.now_ms = behind_ms - rig.utc_at_start_ms
    rig.feed(Tick())
    assert leaving(rig).view_change.clock_bit == bit


@pytest.mark.parametrize(
    ("reason_view", "bit_view", "bit"),
    [("timeout", 1, True), ("timeout", 0, False), ("rotation", 1, False)],
)
def test_the_bit_of_one_is_taken_up_when_the_timer_runs_out(
    reason_view: str, bit_view: int, *, bit: bool
) -> None:
    rig = Rig()
    if bit_view:
        rig.feed(ViewChangeReceived(view_change(1, bit_view, clock_bit=True)))
    if reason_view == "timeout":
        rig.leave()
    else:
        rig.feed(ViewChangeReceived(view_change(0, 1, reason=Reason.ROTATION)))
    assert leaving(rig).view_change.clock_bit == bit


def test_the_own_bit_is_not_taken_up_once_the_clock_is_fit_again() -> None:
    rig = Rig()
    rig.clock_is_fit = False
    assert leaving(rig.leave()).view_change.clock_bit
    rig.clock_is_fit = True
    for validator in (0, 1, 2):
        if validator != rig.me:
            rig.feed(ViewChangeReceived(view_change(validator, 1)))
    rig.last(2 * TIMEOUT_MS)
    said = leaving(rig).view_change
    assert (said.view, said.clock_bit) == (2, False)


@pytest.mark.parametrize(("view", "bit"), [(1, True), (2, False)])
def test_a_bit_is_taken_up_as_long_as_it_is_about_this_view_or_a_later_one(
    view: int, *, bit: bool
) -> None:
    rig = Rig().feed(ViewChangeReceived(view_change(2, 1, clock_bit=True)))
    rig.feed(NewViewReceived(new_view(view, [view_change(v, view) for v in range(3)])))
    rig.feed(PoolChanged(pending=True)).last(TIMEOUT_MS << view)
    assert leaving(rig).view_change.clock_bit == bit


@pytest.mark.parametrize(
    ("growth_ms", "late_by_ms", "bit"),
    [(0, 1, True), (0, 0, False), (1, 1, False)],
)
def test_a_header_that_no_growth_of_d_could_make_timely_sets_the_bit(
    growth_ms: int, late_by_ms: int, *, bit: bool
) -> None:
    delay_ms = PARAMETERS.accuracy_ms - PARAMETERS.precision_ms - PARAMETERS.clock_error_ms
    rig = Rig(parameters=replace(PARAMETERS, message_delay_ms=delay_ms - growth_ms))
    latest_ms = FIRST.header.time_ms + delay_ms - growth_ms + PARAMETERS.precision_ms
    rig.feed(ProposalReceived(proposal(FIRST), latest_ms + late_by_ms))
    assert leaving(rig.leave()).view_change.clock_bit == bit


def test_a_header_that_came_too_early_is_no_matter_of_delay() -> None:
    delay_ms = PARAMETERS.accuracy_ms - PARAMETERS.precision_ms - PARAMETERS.clock_error_ms
    rig = Rig(parameters=replace(PARAMETERS, message_delay_ms=delay_ms))
    rig.feed(ProposalReceived(proposal(FIRST), FIRST.header.time_ms - 60_000))
    assert not leaving(rig.leave()).view_change.clock_bit


def test_lateness_is_forgotten_with_the_view_and_with_a_commit() -> None:
    delay_ms = PARAMETERS.accuracy_ms - PARAMETERS.precision_ms - PARAMETERS.clock_error_ms
    for heals in ("view", "commit"):
        rig = Rig(parameters=replace(PARAMETERS, message_delay_ms=delay_ms))
        rig.feed(ProposalReceived(proposal(FIRST), FIRST.header.time_ms + 60_000))
        if heals == "view":
            rig.feed(view_1())
        else:
            rig.feed(DecidedReceived(certified(FIRST.header, Phase.COMMIT))).validate(FIRST)
        rig.leave()
        if heals == "view":  # the second in a row, which lasts twice as long
            rig.last(TIMEOUT_MS)
        assert not leaving(rig).view_change.clock_bit


def test_the_clock_shown_is_the_own() -> None:
    rig = Rig().leave()
    assert leaving(rig).view_change.clock_ms == rig.utc_at_start_ms + TIMEOUT_MS


def test_a_new_primary_shows_every_bit_it_holds() -> None:
    rig = Rig(1).leave()
    for validator in (0, 2):
        rig.feed(ViewChangeReceived(view_change(validator, 1, clock_bit=True)))
    [made] = [action.new_view for action in rig.out if isinstance(action, AnnounceNewView)]
    assert [vc.validator for vc in made.view_changes if vc.clock_bit] == [0, 2]


# ---------------------------------------------------------------------- how long it lasts


def test_a_view_of_degraded_blocks_lasts_a_minute() -> None:
    rig = Rig(1).feed(NewViewReceived(degraded_view())).feed(Tick())
    rig.last(DEGRADED_ROTATION_MS - 1)
    assert rig.core.view_active
    rig.last(1)
    cast = leaving(rig).view_change
    assert (cast.view, cast.reason, cast.clock_bit) == (2, Reason.ROTATION, False)


def test_a_schedule_that_is_shorter_yet_holds() -> None:
    parameters = replace(PARAMETERS, rotation_ms=59_000, view_timeout_max_ms=2_000)
    rig = Rig(1, parameters).feed(NewViewReceived(degraded_view())).feed(Tick())
    assert rig.last(58_999).core.view == 1
    assert leaving(rig.last(1)).view_change.reason is Reason.ROTATION
