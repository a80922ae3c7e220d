"""A block may be proposed in one view and decided in a later one: the later one is what counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import Header
from node.chain.certificate import Phase
from node.chain.time_rules import delay_for
from node.consensus.events import (
    CastViewChange,
    DecidedReceived,
    NewViewReceived,
    PoolChanged,
    ProposalReceived,
    Send,
    Tick,
    Trace,
    ViewChangeReceived,
    VoteReceived,
)
from node.consensus.messages import NewView, Proposal, Reason, ViewChange
from node.consensus.verification import Verifier
from node.execution.apply import ExecutedBlock
from tests.unit.consensus.rig import (
    BACKUP,
    FIRST,
    SECOND,
    TIMEOUT_MS,
    Rig,
    of_kind,
    proposal,
)
from tests.unit.consensus.signing import (
    certified,
    new_view,
    validator_signer,
    view_change,
    vote,
)
from tests.unit.execution.small_chain import GENESIS

PARAMETERS = GENESIS.parameters
VERIFIER = Verifier(GENESIS.chain_id, GENESIS.validators, GENESIS.suite, PARAMETERS.window_slots)


def entering(view: int, reason: Reason = Reason.TIMEOUT) -> NewViewReceived:
    """Return a view that begins with nothing carried over."""
    return NewViewReceived(new_view(view, [view_change(v, view, reason=reason) for v in range(3)]))


def decided(header: Header, *, view: int) -> DecidedReceived:
    return DecidedReceived(certified(header, Phase.COMMIT, view=view))


def view_changes(rig: Rig) -> list[ViewChange]:
    """Return what was cast with the last event, signed."""
    unsigned = [cast.view_change for cast in of_kind(rig.out, CastViewChange)]
    return [
        replace(
            each,
            signature=validator_signer(rig.me).sign(each.sign_bytes(GENESIS.chain_id)),
        )
        for each in unsigned
    ]


def refused_after(rig: Rig, header: Header, late_by_ms: int) -> list[str]:
    """Offer a header that comes so long after its T; return the rules it breaks."""
    own = vote(Phase.PREPARE, header.view, header, header.proposer)
    offer = Proposal(header, proposal(SECOND).tx_hashes, own)
    rig.feed(ProposalReceived(offer, header.time_ms + late_by_ms))
    return [trace.rule for trace in of_kind(rig.out, Trace)]


def later(header: Header, view: int) -> Header:
    """Return the same header as first proposed in a later view."""
    return replace(header, view=view, proposer=GENESIS.validators.primary(view))


# ---------------------------------------------------------------------- leaving


@pytest.mark.parametrize("view", [0, 1, 5])
@pytest.mark.parametrize("block", [FIRST, SECOND])
def test_a_view_is_left_for_one_that_all_certificates_shown_are_older_than(
    block: ExecutedBlock, view: int
) -> None:
    rig = Rig().feed(decided(block.header, view=view)).validate(block).leave()
    while not (cast := view_changes(rig)):
        rig.last(TIMEOUT_MS)
    (shown,) = cast[0].committed + cast[0].prepared
    assert (cast[0].view, shown.certificate.subject.view) == (view + 1, view)
    VERIFIER.check_view_change(cast[0])


def test_what_is_prepared_again_is_shown_with_the_later_view() -> None:
    shown = [certified(FIRST.header, Phase.PREPARE)]
    changes = [view_change(validator, 5, prepared=shown) for validator in range(3)]
    rig = Rig().feed(NewViewReceived(new_view(5, changes))).validate(FIRST)
    for validator in (0, 1):
        rig.feed(VoteReceived(vote(Phase.PREPARE, 5, FIRST.header, validator)))
    while not (cast := view_changes(rig)):
        rig.last(TIMEOUT_MS)
    assert [each.view for each in cast] == [6]
    assert [item.certificate.subject.view for item in cast[0].prepared] == [5]
    VERIFIER.check_view_change(cast[0])


@pytest.mark.parametrize(("target", "follows"), [(5, False), (6, True)])
def test_nobody_is_followed_to_a_view_in_which_a_carried_block_was_decided(
    target: int, *, follows: bool
) -> None:
    rig = Rig().feed(decided(SECOND.header, view=5))
    for validator in (1, 2):
        rig.feed(ViewChangeReceived(view_change(validator, target)))
    assert bool(view_changes(rig)) == follows


# ---------------------------------------------------------------------- starting over


def in_view_6(*, view: int) -> Rig:
    """Return a core in view 6, to which block 1, of view 0, was final since `view`."""
    rig = Rig().feed(entering(6)).feed(decided(FIRST.header, view=view)).validate(FIRST)
    assert rig.core.tip == FIRST.header
    return rig


@pytest.mark.parametrize(("view", "failed_views"), [(5, 1), (3, 3)])
def test_a_commit_of_a_carried_block_starts_the_growth_of_d_over(
    view: int, failed_views: int
) -> None:
    latest_ms = delay_for(failed_views, PARAMETERS) + PARAMETERS.precision_ms
    header = later(SECOND.header, 6)
    assert refused_after(in_view_6(view=view), header, latest_ms) == []
    assert refused_after(in_view_6(view=view), header, latest_ms + 1) == ["header-timely"]


def test_a_commit_of_a_carried_block_starts_the_growth_of_timeouts_over() -> None:
    rig = in_view_6(view=5).feed(PoolChanged(pending=True))
    assert not view_changes(rig.last(2 * TIMEOUT_MS - 1))
    assert [each.view for each in view_changes(rig.last(1))] == [7]


@pytest.mark.parametrize(("view", "repeats"), [(5, True), (6, False)])
def test_a_primary_repeats_no_new_view_once_a_carried_block_is_final_in_it(
    view: int, *, repeats: bool
) -> None:
    primary = Rig(2).feed(entering(6)).feed(decided(FIRST.header, view=view)).validate(FIRST)
    assert refused_after(primary, later(SECOND.header, 6), 0) == []
    primary.feed(Tick()).last(TIMEOUT_MS)
    again = [send.message for send in of_kind(primary.out, Send)]
    assert any(isinstance(message, NewView) for message in again) == repeats


@pytest.mark.parametrize(
    ("rotated", "view", "failed_views"),
    [(6, 6, 0), (6, 7, 1), (6, 8, 2), (0, 6, 6)],
)
def test_d_grows_with_the_views_that_failed_and_not_with_those_that_rotated(
    rotated: int, view: int, failed_views: int
) -> None:
    latest_ms = delay_for(failed_views, PARAMETERS) + PARAMETERS.precision_ms
    for late_by_ms, refusals in ((latest_ms, []), (latest_ms + 1, ["header-timely"])):
        rig = Rig(BACKUP)
        if rotated:
            rig.feed(entering(rotated, Reason.ROTATION))
        if view != rotated:
            rig.feed(entering(view))
        header = later(FIRST.header, view)
        assert refused_after(rig, header, late_by_ms) == refusals
