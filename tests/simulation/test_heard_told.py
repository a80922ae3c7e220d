"""That what was not said by who it seems to be from counts as heard for no rule on votes.

Liars say much that permits nothing. Each rule is told (test_tale.py) of a validator that acts on
it, and of one that acts on the same as it ought to be.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from node.chain.block import CertifiedHeader
from node.consensus.messages import Proposal, Reason
from tests.simulation.test_oracles_told import grown
from tests.simulation.test_rules import Case
from tests.simulation.test_tale import COMMIT, PREPARE, VOTERS, Tale, forged, told
from tests.simulation.world import MS, SECOND, UTC_AT_START_MS

CASES: list[Case] = []
about = partial(told, cases=CASES)
NOT_PREPARED = "G2: {} is not prepared, only by {}"
NOT_PROPOSED = "G1: not proposed"
NOT_CARRIED = "G1: neither carried over nor proposed above what is"
SKIPPED = "G4: leaves for view {} with no more than {} behind it"


# --- Votes and proposals ---


@about(NOT_PREPARED)
def a_vote_with_another_time_than_was_signed_counts(*, wrong: bool) -> None:
    tale = Tale(3)
    block = tale.block()
    tale.prepare(block, voters=(0, 1))
    vote = tale.vote(3, PREPARE, block)
    tale.hear(1, replace(vote, time_ms=vote.time_ms + wrong))
    tale.vote(1, COMMIT, block)


@about(NOT_PREPARED)
def a_vote_counts_for_another_than_who_signed_it(*, wrong: bool) -> None:
    tale = Tale(2, 3)
    block = tale.block()
    tale.prepare(block, voters=(0, 1))
    tale.hear(1, replace(tale.vote(3, PREPARE, block), validator=2 if wrong else 3))
    tale.vote(1, COMMIT, block)


@about(NOT_PREPARED)
def four_of_six_are_a_quorum_and_three_are_none(*, wrong: bool) -> None:
    tale = Tale(size=6)
    block = tale.block()
    tale.prepare(block, voters=VOTERS if wrong else (0, 1, 2, 3))
    tale.vote(1, COMMIT, block)


@about(NOT_PROPOSED)
def a_proposal_whose_header_was_altered_counts(*, wrong: bool) -> None:
    tale = Tale(0)
    block, other = tale.block(), tale.block()
    header = other.header if wrong else block.header
    hashes = tuple(each.transaction.tx_hash for each in block.transactions)
    tale.hear(1, Proposal(header, hashes, tale.vote(0, PREPARE, block)))
    tale.vote(1, PREPARE, block)


# --- VIEW-CHANGEs ---


@about(SKIPPED)
def a_forged_view_change_pulls_along(*, wrong: bool) -> None:
    tale = Tale(2, 3)
    left = [tale.leave(2, 7), tale.leave(3, 7)]
    tale.tell(left[0], forged(left[1]) if wrong else left[1])
    tale.leave(1, 7)


@about(SKIPPED)
def an_older_view_change_takes_the_place_of_a_newer(*, wrong: bool) -> None:
    tale = Tale(2, 3)
    tale.tell(
        tale.leave(2, 7), tale.leave(2, 5), tale.leave(3, 5 if wrong else 7), tale.leave(3, 4)
    )
    tale.leave(1, 7)


@about(SKIPPED)
def a_view_that_nothing_is_certified_in_lets_others_be_skipped(*, wrong: bool) -> None:
    tale = Tale(0, 2, 3)
    block = tale.block()
    for number in (2, 3) if wrong else (0, 2, 3):
        tale.vote(number, PREPARE, block, view=3)
    tale.leave(1, 4)


# --- NEW-VIEWs ---


@about(NOT_CARRIED)
def a_view_that_too_few_have_left_for_is_entered(*, wrong: bool) -> None:
    tale = Tale(1)
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left[wrong:])
    block = tale.block(view=1)
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_CARRIED)
def a_view_that_one_has_left_for_twice_is_entered(*, wrong: bool) -> None:
    tale = Tale(1)
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, [left[0], left[1], left[1] if wrong else left[2]])
    block = tale.block(view=1)
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_CARRIED)
def a_view_that_rests_on_a_forged_view_change_is_entered(*, wrong: bool) -> None:
    tale = Tale(1)
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, [*left[:2], forged(left[2]) if wrong else left[2]])
    block = tale.block(view=1)
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_CARRIED)
def a_view_that_another_than_its_primary_begins_is_entered(*, wrong: bool) -> None:
    tale = Tale(1, 3)
    left = [tale.leave(number, 1) for number in (0, 1, 3)]
    tale.tell(*left)
    tale.begin(1, left, by=3 if wrong else 1)
    block = tale.block(view=1)
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_CARRIED)
def what_one_vote_makes_a_quorum_of_is_carried_over(*, wrong: bool) -> None:
    tale = Tale(1)
    block = tale.block()
    certificate = tale.prepare(block)
    if wrong:
        votes = tuple(replace(certificate.votes[0], validator=number) for number in VOTERS)
        certificate = replace(certificate, votes=votes)
    shown = CertifiedHeader(block.header, certificate)
    left = [tale.leave(0, 1), tale.leave(1, 1, prepared=[shown]), tale.leave(2, 1)]
    tale.tell(*left)
    tale.begin(1, left)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_CARRIED)
def what_too_few_have_prepared_is_carried_over(*, wrong: bool) -> None:
    tale = Tale(1)
    block = tale.block()
    certificate = tale.prepare(block)
    certificate = replace(certificate, votes=certificate.votes[wrong:])
    shown = CertifiedHeader(block.header, certificate)
    left = [tale.leave(0, 1), tale.leave(1, 1, prepared=[shown]), tale.leave(2, 1)]
    tale.tell(*left)
    tale.begin(1, left)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_CARRIED)
def what_is_final_in_a_view_is_proposed_again(*, wrong: bool) -> None:
    tale = Tale(1)
    first = tale.block()
    certificate = tale.decide(first, voters=(0, 1, 2))
    tale.turn(2, (first, certificate))
    final = CertifiedHeader(first.header, certificate)
    left = [tale.leave(0, 1, committed=[final]), tale.leave(1, 1)]
    left.append(tale.leave(2, 1, committed=[final]))
    tale.tell(*left)
    tale.begin(1, left)
    block = tale.block(view=1) if wrong else tale.block(on=first, view=1)
    tale.propose(block, view=1)
    tale.vote(2, PREPARE, block, view=1)


@about(NOT_PROPOSED)
def what_was_said_of_an_epoch_before_it_began_is_lost(*, wrong: bool) -> None:
    """Have a proposal heard, or not, before it was known who decides in its epoch."""
    tale = Tale(0)
    last, certificate, first = grown(tale)
    if not wrong:
        tale.propose(first)
    for number in (1, 2):
        tale.turn(number, (last, certificate))
    tale.vote(1, PREPARE, first)


@about("G6: T is {}, and it came at {}")
def a_proposal_comes_too_late_and_before_its_epoch(*, wrong: bool) -> None:
    tale = Tale(0)
    last, certificate, first = grown(tale)
    parameters = tale.genesis.parameters
    late_ms = parameters.message_delay_ms + parameters.precision_ms + wrong
    tale.world.run_until((first.header.time_ms - UTC_AT_START_MS + late_ms) * MS)
    tale.propose(first)
    tale.turn(1, (last, certificate))
    tale.vote(1, PREPARE, first)
    tale.turn(1)


@about("G6: T is {}, and it came at {}")
def what_came_before_its_epoch_and_a_crash_came_in_time(*, wrong: bool) -> None:
    """Have a proposal come in time, and too late again, with a crash between or without."""
    tale = Tale(0)
    last, certificate, first = grown(tale)
    vote = tale.propose(first)
    if wrong:
        tale.restart(1)
    tale.world.run_until(3 * SECOND)
    tale.pass_on(first, vote)
    tale.turn(1, (last, certificate))
    tale.vote(1, PREPARE, first)
    tale.turn(1)


@about("G6: T is {}, and it came at {}")
def one_that_says_it_was_time_makes_a_schedule(*, wrong: bool) -> None:
    """Where two correct ones said so the view has not failed; where one liar did, it has."""
    tale = Tale(1)
    on_schedule = (0, 2) if wrong else (1,)
    left = [
        tale.leave(number, 1, reason=Reason.ROTATION if number in on_schedule else Reason.TIMEOUT)
        for number in VOTERS
    ]
    tale.tell(*left)
    tale.begin(1, left)
    parameters = tale.genesis.parameters
    tale.vote_late(2, parameters.message_delay_ms + parameters.precision_ms + 1, view=1)


# --- Certificates: W ---

WAITS = "W: validator {} waits {} ms for {}"
WAIT_US = 3 * SECOND


def wait_for_two(tale: Tale, wait_us: int, *, knows: bool, becomes_known: bool = False) -> None:
    """Have two blocks be decided, and one that hears so of the second wait for its bodies."""
    tale.oracles.wait_max_us = WAIT_US
    first = tale.block()
    second = tale.block(on=first)
    certificates = [tale.decide(each) for each in (first, second)]
    decided = CertifiedHeader(second.header, certificates[1])
    if knows:
        tale.hear(3, decided)
    tale.turn(3, (first, certificates[0]))
    tale.world.run_until(tale.world.now_us + wait_us)
    if becomes_known:
        tale.hear(3, decided)
    tale.turn(3)


@about(WAITS)
def bodies_of_the_next_block_do_not_come(*, wrong: bool) -> None:
    wait_for_two(Tale(), WAIT_US + wrong, knows=True)


@about(WAITS)
def bodies_of_what_is_known_to_be_decided_do_not_come(*, wrong: bool) -> None:
    wait_for_two(Tale(), 2 * WAIT_US, knows=wrong, becomes_known=True)


@about(WAITS)
def who_has_not_started_again_knows_what_it_heard(*, wrong: bool) -> None:
    tale = Tale()
    tale.oracles.wait_max_us = WAIT_US
    first = tale.block()
    tale.hear(3, CertifiedHeader(first.header, tale.decide(first)))
    tale.turn(3)
    if not wrong:
        tale.restart(3)
    tale.world.run_until(tale.world.now_us + WAIT_US + MS)
    tale.turn(3)


@about(WAITS)
def bodies_of_what_a_view_starts_from_do_not_come(*, wrong: bool) -> None:
    """Of a liar nobody knows whether its NEW-VIEW was taken."""
    tale = Tale(0 if wrong else 1)
    tale.oracles.wait_max_us = WAIT_US
    first = tale.block()
    final = CertifiedHeader(first.header, tale.decide(first))
    left = [tale.leave(number, 1, committed=[final]) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left)
    tale.turn(3)
    tale.world.run_until(tale.world.now_us + WAIT_US + MS)
    tale.turn(3)


@about(WAITS)
def what_was_left_before_it_was_entered_may_not_have_been_read(*, wrong: bool) -> None:
    tale = Tale()
    tale.oracles.wait_max_us = WAIT_US
    first = tale.block()
    final = CertifiedHeader(first.header, tale.decide(first))
    left = [tale.leave(number, 1, committed=[final]) for number in VOTERS]
    tale.tell(*left)
    tale.begin(1, left)
    if not wrong:
        tale.leave(3, 2)
    tale.turn(3)
    tale.world.run_until(tale.world.now_us + WAIT_US + MS)
    tale.turn(3)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.check(monkeypatch)
