"""That G6 objects: to votes for what came too late or too early, by what D was when it came.

Told (test_tale.py) of a mistake and of the same without it.
"""

from __future__ import annotations

from functools import partial

import pytest

from node.consensus.messages import Reason
from node.execution.state import ExecutedBlock
from tests.simulation.test_guard_told import changed
from tests.simulation.test_rules import Case
from tests.simulation.test_tale import PREPARE, Tale, told
from tests.simulation.world import MS, UTC_AT_START_MS

CASES: list[Case] = []
about = partial(told, cases=CASES)
TOO_LATE = "G6: T is {}, and it came at {}"


def wait_past(tale: Tale, block: ExecutedBlock, late_ms: int) -> None:
    """Have time pass until so long after T of a block."""
    tale.world.run_until((block.header.time_ms - UTC_AT_START_MS + late_ms) * MS)


@about(TOO_LATE)
def a_proposal_comes_too_late(*, wrong: bool) -> None:
    tale = Tale(0)
    parameters = tale.genesis.parameters
    tale.vote_late(2, parameters.message_delay_ms + parameters.precision_ms + wrong)


@about(TOO_LATE)
def a_proposal_comes_too_early(*, wrong: bool) -> None:
    tale = Tale(0)
    tale.vote_late(2, -tale.genesis.parameters.precision_ms - wrong)


@about(TOO_LATE)
def a_view_that_failed_lets_more_time(*, wrong: bool) -> None:
    tale = Tale(1)
    changed(tale, 1)
    parameters = tale.genesis.parameters
    grown_ms = parameters.message_delay_ms * 11 // 10
    tale.vote_late(2, grown_ms + parameters.precision_ms + wrong, view=1)


@about(TOO_LATE)
def a_view_that_began_on_schedule_is_taken_for_a_failed_one(*, wrong: bool) -> None:
    tale = Tale(1)
    changed(tale, 1, reason=Reason.ROTATION if wrong else Reason.TIMEOUT)
    parameters = tale.genesis.parameters
    tale.vote_late(2, parameters.message_delay_ms + parameters.precision_ms + 1, view=1)


@about(TOO_LATE)
def a_view_with_a_final_block_is_taken_for_a_failed_one(*, wrong: bool) -> None:
    """Have the block be final before the proposal came, or in the turn in which it is voted for."""
    tale = Tale(1)
    changed(tale, 1)
    first = tale.block(view=1)
    certificate = tale.decide(first, view=1, voters=(1, 0, 2))
    parameters = tale.genesis.parameters
    block = tale.block(on=first, view=1)
    wait_past(tale, block, parameters.message_delay_ms + parameters.precision_ms + 1)
    if wrong:
        tale.turn(2, (first, certificate))
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)
    tale.turn(2, *(() if wrong else ((first, certificate),)))


@about(TOO_LATE)
def many_failed_views_let_more_time_than_is_promised(*, wrong: bool) -> None:
    tale = Tale(1, 3)
    tale.tell(*(left := [tale.leave(number, 9) for number in (1, 3)]))
    tale.begin(9, [left[0], tale.leave(2, 9), left[1]])
    parameters = tale.genesis.parameters
    most_ms = parameters.accuracy_ms - parameters.clock_error_ms
    tale.vote_late(2, most_ms + wrong, view=9)


@about(TOO_LATE)
def what_came_too_early_comes_again(*, wrong: bool) -> None:
    tale = Tale(0)
    block = tale.block(time_ms=tale.world.utc_ms + tale.genesis.parameters.precision_ms + wrong)
    vote = tale.propose(block)
    wait_past(tale, block, 0)
    tale.pass_on(block, vote)
    tale.vote(2, PREPARE, block)
    tale.turn(2)


@about(TOO_LATE)
def what_came_before_its_view_began_came_in_time(*, wrong: bool) -> None:
    """Who is not in a view keeps nothing of it, so that it is new, and too late, once it is."""
    tale = Tale(1)
    block = tale.block(view=1)
    vote = tale.vote(1, PREPARE, block, view=1)
    if wrong:
        tale.pass_on(block, vote)
    changed(tale, 1)
    if not wrong:
        tale.pass_on(block, vote)
    wait_past(tale, block, tale.genesis.parameters.accuracy_ms)
    tale.pass_on(block, vote)
    tale.vote(2, PREPARE, block, view=1)
    tale.turn(2)


@about(TOO_LATE)
def what_came_in_an_earlier_life_is_voted_for(*, wrong: bool) -> None:
    tale = Tale(0)
    block = tale.block()
    tale.propose(block)
    if wrong:
        tale.restart(2)
    tale.vote(2, PREPARE, block)
    tale.turn(2)


@about(TOO_LATE)
def a_view_that_ended_on_schedule_unused_counts_as_failed(*, wrong: bool) -> None:
    tale = Tale(2)
    changed(tale, 1, reason=Reason.ROTATION)
    changed(tale, 2)
    tale.turn(3)
    parameters = tale.genesis.parameters
    grown_ms = parameters.message_delay_ms * 11 // 10
    tale.vote_late(3, grown_ms + parameters.precision_ms + wrong, view=2)


@about(TOO_LATE)
def what_is_above_the_window_is_judged_as_it_comes(*, wrong: bool) -> None:
    """Have the block below the window be final after it came, in the view that so has not failed.

    The block that it stands on came in time.
    """
    tale = Tale(1)
    changed(tale, 1)
    first = tale.block(view=1)
    certificate = tale.decide(first, view=1, voters=(1, 0, 2))
    second = tale.block(on=first, view=1)
    third = tale.block(on=second, view=1)
    tale.propose(second, view=1)
    parameters = tale.genesis.parameters
    wait_past(tale, third, parameters.message_delay_ms + parameters.precision_ms + wrong)
    tale.propose(third, view=1)
    tale.turn(2, (first, certificate))
    tale.vote(2, PREPARE, second, view=1)
    tale.vote(2, PREPARE, third, view=1)
    tale.turn(2)


@about(TOO_LATE)
def what_stands_on_an_unknown_block_is_judged_as_it_comes(*, wrong: bool) -> None:
    """Have what it stands on be final after it came, and proposed before, or not."""
    tale = Tale(0, 1, 3)
    changed(tale, 1)
    first = tale.block(view=1)
    if not wrong:
        tale.propose(first, view=1)
    certificate = tale.commit(first, view=1, voters=(0, 1, 3))
    second = tale.block(on=first, view=1)
    parameters = tale.genesis.parameters
    wait_past(tale, second, parameters.message_delay_ms + parameters.precision_ms + 1)
    tale.propose(second, view=1)
    tale.turn(2, (first, certificate))
    tale.vote(2, PREPARE, second, view=1)
    tale.turn(2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.check(monkeypatch)
