"""That the rules on what a validator may sign, given what it heard, object: G1 to G6 and V.

Each is told (test_tale.py) of a mistake and of the same without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from node.chain.block import CertifiedHeader
from node.consensus.messages import Proposal, Reason
from node.execution.state import ExecutedBlock
from tests.simulation.test_rules import Case
from tests.simulation.test_tale import COMMIT, PREPARE, VOTERS, Tale, forged, told
from tests.simulation.world import MS, UTC_AT_START_MS

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
    tale.oracles.hearing(tale.places[1], [])
    tale.begin(1, left[1:] if wrong else left[:3])


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def one_doubt_more_than_may_be_false_is_left_out(*, wrong: bool) -> None:
    tale = Tale(3)
    doubters = (0, 2) if wrong else (0,)
    left = [tale.leave(number, 1, clock_bit=number in doubters) for number in range(4)]
    tale.tell(*left)
    tale.oracles.hearing(tale.places[1], [])
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


# --- When it was heard: G6 ---


@about("G6: T is {}, and it came at {}")
def a_proposal_comes_too_late(*, wrong: bool) -> None:
    tale = Tale(0)
    parameters = tale.genesis.parameters
    tale.vote_late(2, parameters.message_delay_ms + parameters.precision_ms + wrong)


@about("G6: T is {}, and it came at {}")
def a_proposal_comes_too_early(*, wrong: bool) -> None:
    tale = Tale(0)
    tale.vote_late(2, -tale.genesis.parameters.precision_ms - wrong)


@about("G6: T is {}, and it came at {}")
def a_view_that_failed_lets_more_time(*, wrong: bool) -> None:
    tale = Tale(1)
    changed(tale, 1)
    parameters = tale.genesis.parameters
    grown_ms = parameters.message_delay_ms * 11 // 10
    tale.vote_late(2, grown_ms + parameters.precision_ms + wrong, view=1)


@about("G6: T is {}, and it came at {}")
def a_view_that_began_on_schedule_is_taken_for_a_failed_one(*, wrong: bool) -> None:
    tale = Tale(1)
    changed(tale, 1, reason=Reason.ROTATION if wrong else Reason.TIMEOUT)
    parameters = tale.genesis.parameters
    tale.vote_late(2, parameters.message_delay_ms + parameters.precision_ms + 1, view=1)


@about("G6: T is {}, and it came at {}")
def a_view_with_a_final_block_is_taken_for_a_failed_one(*, wrong: bool) -> None:
    """Have the block be final before the proposal came, or in the turn in which it is voted for."""
    tale = Tale(1)
    changed(tale, 1)
    first = tale.block(view=1)
    certificate = tale.decide(first, view=1, voters=(1, 0, 2))
    parameters = tale.genesis.parameters
    block = tale.block(on=first, view=1)
    late_ms = parameters.message_delay_ms + parameters.precision_ms + 1
    tale.world.run_until(block.header.time_ms * MS - UTC_AT_START_MS * MS + late_ms * MS)
    if wrong:
        tale.turn(2, (first, certificate))
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)
    tale.turn(2, *(() if wrong else ((first, certificate),)))


@about("G6: T is {}, and it came at {}")
def many_failed_views_let_more_time_than_is_promised(*, wrong: bool) -> None:
    tale = Tale(1, 3)
    tale.tell(*(left := [tale.leave(number, 9) for number in (1, 3)]))
    tale.begin(9, [left[0], tale.leave(2, 9), left[1]])
    parameters = tale.genesis.parameters
    most_ms = parameters.accuracy_ms - parameters.clock_error_ms
    tale.vote_late(2, most_ms + wrong, view=9)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.check(monkeypatch)
