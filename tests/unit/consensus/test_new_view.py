"""What a view starts from: base, highest view, parent, first gap, and nothing invented."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase
from node.chain.epoch import Anchor
from node.consensus.messages import Reason, ViewChange
from node.consensus.new_view import ViewStart, is_rotation, new_view
from tests.unit.consensus.signing import QUORUM, certified, chain_of_blocks, view_change
from tests.unit.execution.small_chain import GENESIS

BLOCKS = chain_of_blocks(4)
HEADERS = [block.header for block in BLOCKS]
OTHERS = [block.header for block in chain_of_blocks(4, view=1)]
"""Another chain above the same genesis, proposed in a later view."""
COMMITTED = [certified(header, Phase.COMMIT) for header in HEADERS[1:]]


def prepared(header: Header, view: int = 0) -> CertifiedHeader:
    return certified(header, Phase.PREPARE, view=view)


def start_of(*view_changes: ViewChange) -> ViewStart:
    """Return the start of the view, which must not depend on the order of the view changes."""
    starts = [
        new_view(
            ordered,
            Anchor(0, BLOCKS[0].digest),
            lambda header: header.digest(GENESIS.suite),
            GENESIS.validators,
        )
        for ordered in permutations(view_changes)
    ]
    assert all(start == starts[0] for start in starts)
    return starts[0]


def test_at_genesis_nothing_is_carried_over() -> None:
    assert start_of(*(view_change(v, 2) for v in QUORUM)) == ViewStart((), ())


def test_the_base_is_the_highest_that_anybody_has_committed() -> None:
    start = start_of(
        view_change(0, 2),
        view_change(1, 2, committed=COMMITTED[1:3]),
        view_change(2, 2, committed=COMMITTED[:2]),
    )
    assert start == ViewStart(tuple(COMMITTED[1:3]), ())


def test_what_one_has_prepared_above_the_base_is_carried_over_up_to_the_first_gap() -> None:
    first, second, fourth = (prepared(HEADERS[height]) for height in (1, 2, 4))
    start = start_of(
        view_change(0, 2, prepared=[first]), view_change(1, 2, prepared=[second, fourth])
    )
    assert start == ViewStart((), (first, second))


def test_what_is_prepared_at_or_below_the_base_is_not_up_for_decision() -> None:
    third = prepared(HEADERS[3])
    start = start_of(
        view_change(0, 2, committed=COMMITTED[:2]),
        view_change(1, 2, prepared=[prepared(OTHERS[1], 1), prepared(OTHERS[2], 1)]),
        view_change(2, 2, committed=COMMITTED[:1], prepared=[prepared(HEADERS[2]), third]),
    )
    assert start == ViewStart(tuple(COMMITTED[:2]), (third,))


def test_of_several_certificates_for_a_height_that_of_the_highest_view_counts() -> None:
    later = prepared(OTHERS[1], 1)
    start = start_of(
        view_change(0, 2, prepared=[prepared(HEADERS[1])]), view_change(1, 2, prepared=[later])
    )
    assert start == ViewStart((), (later,))


def test_a_later_certificate_on_a_header_that_was_not_chosen_does_not_count() -> None:
    chosen, above = prepared(HEADERS[1], 2), prepared(HEADERS[2])
    start = start_of(
        view_change(0, 3, prepared=[prepared(OTHERS[1], 1), prepared(OTHERS[2], 1)]),
        view_change(1, 3, prepared=[chosen, above]),
    )
    assert start == ViewStart((), (chosen, above))


def test_a_certificate_that_leaves_a_height_out_is_not_carried_over() -> None:
    first, above = prepared(HEADERS[1]), prepared(replace(HEADERS[2], height=3))
    start = start_of(view_change(0, 2, prepared=[first, above]), view_change(1, 2))
    assert start == ViewStart((), (first,))


@pytest.mark.parametrize(("on_schedule", "counts"), [(0, False), (1, False), (2, True), (3, True)])
def test_a_rotation_is_what_more_than_f_say_was_one(on_schedule: int, *, counts: bool) -> None:
    reasons = [Reason.ROTATION] * on_schedule + [Reason.TIMEOUT] * (3 - on_schedule)
    changes = [view_change(v, 1, reason=reason) for v, reason in enumerate(reasons)]
    assert is_rotation(changes, GENESIS.validators.faults) is counts
