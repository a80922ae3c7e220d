"""That the rules on what a validator may sign, given what it heard, object: G1 to G5 and V.

Each is told (test_tale.py) of a mistake and of the same without it. When it has to have been heard,
G6, is told in test_timely_told.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from node.chain.block import CertifiedHeader
from node.consensus.messages import Proposal, Reason
from node.execution.state import ExecutedBlock
from tests.simulation.test_oracles_told import grown
from tests.simulation.test_rules import Case
from tests.simulation.test_tale import COMMIT, PREPARE, SPARE, VOTERS, Tale, forged, told

CASES: list[Case] = []
about = partial(told, cases=CASES)

# --- What is said in leaving: V ---


@about("V: {}")
def a_final_header_is_left_out(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    second = tale.block(on=first)
    final = [CertifiedHeader(each.header, tale.decide(each)) for each in (first, second)]
    tale.leave(1, 1, committed=final[wrong:])


# --- What was heard: G1 to G5 ---


def changed(
    tale: Tale, view: int, *, carried: ExecutedBlock | None = None, reason: Reason = Reason.TIMEOUT
) -> None:
    """Have all voters leave for a view, which carries what is prepared, and begin it."""
    prepared = () if carried is None else (CertifiedHeader(carried.header, tale.prepare(carried)),)
    left = [tale.leave(number, view, prepared=prepared, reason=reason) for number in VOTERS]
    tale.tell(*left)
    tale.begin(view, left)


@about("G1: not proposed")
def a_vote_is_for_what_its_primary_has_not_proposed(*, wrong: bool) -> None:
    tale = Tale()
    block, other = tale.block(), tale.block()
    tale.propose(block)
    tale.vote(1, PREPARE, other if wrong else block)


@about("G1: not proposed")
def a_vote_is_for_what_another_has_proposed(*, wrong: bool) -> None:
    tale = Tale(3)
    block = tale.block()
    hashes = tuple(each.transaction.tx_hash for each in block.transactions)
    vote = tale.vote(3 if wrong else 0, PREPARE, block)
    tale.hear(1, Proposal(block.header, hashes, vote))
    tale.vote(1, PREPARE, block)


@about("G1: neither carried over nor proposed above what is")
def what_is_carried_over_is_replaced(*, wrong: bool) -> None:
    tale = Tale(1)
    block = tale.block()
    changed(tale, 1, carried=block)
    other = tale.block(view=1)
    tale.propose(other, view=1)
    tale.vote(2, PREPARE, other if wrong else block, view=1)


@about("G1: neither carried over nor proposed above what is")
def the_certificate_of_the_lowest_view_is_taken(*, wrong: bool) -> None:
    tale = Tale(0, 1, 3)
    liars = (0, 1, 3)
    blocks = (tale.block(), tale.block(view=1))
    shown = [
        CertifiedHeader(block.header, tale.prepare(block, view, voters=liars))
        for view, block in enumerate(blocks)
    ]
    left = [tale.leave(0, 2, prepared=shown[:1]), tale.leave(1, 2, prepared=shown[1:])]
    tale.tell(*left)
    left.append(tale.leave(2, 2))
    tale.begin(2, left)
    tale.vote(2, PREPARE, blocks[not wrong], view=2)


@about("G1: neither carried over nor proposed above what is")
def what_is_carried_over_stands_on_another_block(*, wrong: bool) -> None:
    tale = Tale(1, 2, 3)
    liars = (1, 2, 3)
    first, other = tale.block(), tale.block(view=1)
    second = tale.block(on=first if wrong else other, view=1)
    shown = [
        CertifiedHeader(block.header, tale.prepare(block, 1, voters=liars))
        for block in (other, second)
    ]
    left = [tale.leave(1, 2, prepared=shown), tale.leave(3, 2)]
    tale.tell(*left)
    tale.begin(2, [tale.leave(0, 2), *left])
    tale.vote(0, PREPARE, other, view=2)
    tale.vote(0, PREPARE, second, view=2)


NO_FOOTING = "G1: stands on what is neither final here nor decided about in its view"


@about(NO_FOOTING)
def what_it_stands_on_was_never_proposed(*, wrong: bool) -> None:
    tale = Tale(0)
    first = tale.block()
    second = tale.block(on=first)
    if not wrong:
        tale.propose(first)
    tale.propose(second)
    tale.vote(1, PREPARE, second)


@about(NO_FOOTING)
def what_it_stands_on_is_final_elsewhere(*, wrong: bool) -> None:
    tale = Tale(1)
    first = tale.block()
    certificate = tale.decide(first)
    final = [CertifiedHeader(first.header, certificate)]
    left = [tale.leave(number, 1, committed=final) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left)
    second = tale.block(on=first, view=1)
    tale.propose(second, view=1)
    if not wrong:
        tale.turn(3, (first, certificate))
    tale.vote(3, PREPARE, second, view=1)


@about(NO_FOOTING)
def what_it_stands_on_was_proposed_in_an_earlier_view(*, wrong: bool) -> None:
    tale = Tale(1)
    first = tale.block()
    if wrong:
        tale.propose(first)
    changed(tale, 1, carried=None if wrong else first)
    second = tale.block(on=first, view=1)
    tale.propose(second, view=1)
    tale.vote(2, PREPARE, second, view=1)


@about(NO_FOOTING)
def a_primary_builds_on_what_it_never_proposed(*, wrong: bool) -> None:
    """Which only its disk tells, as nobody else has seen the block."""
    tale = Tale()
    first = tale.block()
    second = tale.block(on=first)
    if not wrong:
        tale.vote(0, PREPARE, first)
    tale.vote(0, PREPARE, second)
    tale.sync(0)


@about(NO_FOOTING)
def a_primary_that_dies_has_built_on_what_it_never_proposed(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    second = tale.block(on=first)
    if not wrong:
        tale.vote(0, PREPARE, first)
    tale.vote(0, PREPARE, second)
    tale.restart(0, spared=True)


@about(NO_FOOTING)
def a_primary_builds_on_a_proposal_that_died_with_it(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    tale.vote(0, PREPARE, first)
    tale.restart(0, spared=not wrong)
    tale.vote(0, PREPARE, tale.block(on=first))
    tale.sync(0)


@about("G2: {} is not prepared, only by {}")
def a_vote_that_died_with_its_voter_counts(*, wrong: bool) -> None:
    tale = Tale(3)
    block = tale.block()
    tale.propose(block)
    tale.hear(1, tale.vote(2, PREPARE, block))
    tale.vote(1, PREPARE, block)
    tale.restart(1, spared=not wrong)
    tale.vote(1, COMMIT, block)


@about("G2: {} is not prepared, only by {}")
def what_too_few_have_prepared_is_committed(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.prepare(block, voters=(0, 1) if wrong else VOTERS)
    tale.vote(1, COMMIT, block)


@about("G2: {} is not prepared, only by {}")
def votes_of_an_earlier_view_count(*, wrong: bool) -> None:
    tale = Tale(1)
    block = tale.block()
    changed(tale, 1, carried=block)
    tale.tell(*(tale.vote(number, PREPARE, block, view=1) for number in (0, 2)))
    if not wrong:
        tale.tell(tale.vote(1, PREPARE, block, view=1))
    tale.vote(2, COMMIT, block, view=1)


@about("G2: {} is not prepared, only by {}")
def what_stands_on_nothing_prepared_is_committed(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    second = tale.block(on=first)
    if wrong:
        tale.propose(first)
    else:
        tale.prepare(first)
    tale.prepare(second)
    tale.vote(1, COMMIT, second)


@about("G3: a NEW-VIEW for {} from {}")
def a_view_begins_on_too_few(*, wrong: bool) -> None:
    tale = Tale()
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left[wrong:])


@about("G3: a NEW-VIEW for {} from {}")
def another_than_the_primary_begins_a_view(*, wrong: bool) -> None:
    tale = Tale()
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left, by=2 if wrong else 1)


@about("G3: a NEW-VIEW for {} rests on what nobody signed")
def a_view_begins_on_a_forged_view_change(*, wrong: bool) -> None:
    tale = Tale(3)
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    if wrong:
        left[2] = forged(left[2])
    tale.begin(1, left)


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def a_primary_picks_whom_it_begins_with(*, wrong: bool) -> None:
    tale = Tale()
    left = [tale.leave(number, 1, clock_bit=number in (0, 2)) for number in range(4)]
    tale.tell(*left)
    tale.hear(1)
    tale.begin(1, left[1:] if wrong else left[:3])


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def one_doubt_more_than_may_be_false_is_left_out(*, wrong: bool) -> None:
    tale = Tale(3)
    doubters = (0, 2) if wrong else (0,)
    left = [tale.leave(number, 1, clock_bit=number in doubters) for number in range(4)]
    tale.tell(*left)
    tale.hear(1)
    tale.begin(1, left[1:])


def grown_to_five(tale: Tale) -> None:
    """Have a fifth validator join: the next epoch begins at all that are correct."""
    last, certificate, _ = grown(tale)
    for number in range(4):
        tale.turn(number, (last, certificate))


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def doubts_of_a_later_epoch_are_left_out(*, wrong: bool) -> None:
    tale = Tale()
    grown_to_five(tale)
    left = [tale.leave(number, 1, clock_bit=number in (0, 2)) for number in range(5)]
    tale.tell(*left)
    tale.hear(1)
    tale.begin(1, left[1:] if wrong else left[:4])


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def doubts_heard_in_an_epoch_are_left_out(*, wrong: bool) -> None:
    """Where they were heard before it began they are not held: who is not in it keeps none."""
    tale = Tale()
    last, certificate, _ = grown(tale)
    left = [tale.leave(number, 1, clock_bit=number in (0, 2)) for number in range(5)]
    if not wrong:
        tale.tell(*left)
    for number in range(4):
        tale.turn(number, (last, certificate))
    tale.tell(*left[wrong ^ 1 :])
    tale.hear(1)
    tale.begin(1, left[1:])


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def doubts_that_a_member_passes_on_are_left_out(*, wrong: bool) -> None:
    """From who is no member they are not taken, whoever signed them."""
    tale = Tale()
    grown_to_five(tale)
    left = [tale.leave(number, 1, clock_bit=number in (0, 2)) for number in range(5)]
    for view_change in left[2:]:
        tale.hear(1, view_change)
    tale.hear(1, left[0], peer=SPARE if wrong else SPARE + 1)
    tale.hear(1)
    tale.begin(1, left[1:])


@about("G4: leaves for view {} with no more than {} behind it")
def a_view_is_skipped(*, wrong: bool) -> None:
    tale = Tale()
    tale.leave(1, 2 if wrong else 1)


@about("G4: leaves for view {} with no more than {} behind it")
def one_that_leaves_pulls_all_along(*, wrong: bool) -> None:
    tale = Tale(2, 3)
    tale.tell(*(tale.leave(number, 7) for number in ((3,) if wrong else (2, 3))))
    tale.leave(1, 7)


@about("G4: leaves for view {} although only {} have left for {}")
def a_view_that_too_few_have_left_for_is_left(*, wrong: bool) -> None:
    tale = Tale()
    for number in (0, 1) if wrong else VOTERS:
        tale.tell(tale.leave(number, 1))
    tale.leave(1, 2)


@about("G5: degraded in a view that nobody left another for")
def the_first_view_has_a_degraded_block(*, wrong: bool) -> None:
    tale = Tale(0)
    block = tale.block(degraded=wrong)
    tale.propose(block)
    tale.vote(1, PREPARE, block)


def doubted(tale: Tale, doubters: Sequence[int]) -> None:
    """Have a view begin in which some could not vouch for time."""
    left = [tale.leave(number, 1, clock_bit=number in doubters) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left)


@about("G5: degraded, and nothing allows it, or its T")
def one_doubt_is_enough_to_degrade(*, wrong: bool) -> None:
    tale = Tale(1)
    doubted(tale, (0,) if wrong else (0, 2))
    block = tale.block(view=1, degraded=True)
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)


@about("G5: degraded, and nothing allows it, or its T")
def a_primary_degrades_what_it_proposes_itself(*, wrong: bool) -> None:
    tale = Tale()
    doubted(tale, (0,) if wrong else (0, 2))
    tale.vote(1, PREPARE, tale.block(view=1, degraded=True), view=1)
    tale.sync(1)


@about("G5: degraded in a view that nobody left another for")
def the_first_primary_degrades_what_it_proposes_itself(*, wrong: bool) -> None:
    tale = Tale()
    tale.vote(0, PREPARE, tale.block(degraded=wrong))
    tale.sync(0)


@about("G5: degraded, and nothing allows it, or its T")
def a_degraded_block_is_later_than_a_quorum_of_clocks(*, wrong: bool) -> None:
    tale = Tale(1)
    now_ms = tale.world.utc_ms
    clocks_ms = (now_ms + 9, now_ms + 7, now_ms + 3, now_ms + 5)
    left = [
        tale.leave(number, 1, clock_bit=True, clock_ms=clock_ms)
        for number, clock_ms in enumerate(clocks_ms)
    ]
    tale.tell(*left)
    tale.begin(1, left)
    block = tale.block(view=1, degraded=True, time_ms=now_ms)
    other = tale.block(on=block, view=1, degraded=True, time_ms=now_ms + 5 + wrong)
    tale.prepare(block, view=1, voters=(1, 0, 2))
    tale.propose(other, view=1)
    tale.vote(2, PREPARE, other, view=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.check(monkeypatch)
