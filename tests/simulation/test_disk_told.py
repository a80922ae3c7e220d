"""That the rules on what is durable object, D1 to D4, and all across crashes and rotations.

Each is told (test_tale.py) of a mistake and of the same without it: of a disk that kept something
its validator forgets, or lost something it rests on.
"""

from __future__ import annotations

from functools import partial

import pytest

from node.chain.block import CertifiedHeader
from node.consensus.messages import Reason
from node.service.log_records import ViewChangeRecord, VoteRecord, encode_log_record
from tests.simulation.test_oracles_told import across_epochs
from tests.simulation.test_rules import Case
from tests.simulation.test_tale import COMMIT, PREPARE, VOTERS, Tale, told
from tests.simulation.world import MS

CASES: list[Case] = []
about = partial(told, cases=CASES)

# --- What is signed, logged and sent ---


@about("D1: validator {} signs twice for {}")
def a_vote_that_is_durable_is_forgotten(*, wrong: bool) -> None:
    tale = Tale(0)
    first, second = tale.block(), tale.block()
    tale.propose(first)
    tale.vote(1, PREPARE, first)
    if wrong:
        tale.sync(1)
    tale.restart(1)
    tale.propose(second)
    tale.vote(1, PREPARE, second)


@about("D1: validator {} signs twice for {}")
def a_second_proposal_takes_the_place_of_the_first(*, wrong: bool) -> None:
    tale = Tale(0)
    first, second = tale.block(), tale.block()
    tale.propose(first)
    tale.propose(second)
    if wrong:
        tale.vote(1, PREPARE, first)
    tale.vote(1, PREPARE, second)


@about("D1: validator {} signs twice for {}")
def a_view_is_left_twice(*, wrong: bool) -> None:
    tale = Tale()
    tale.leave(1, 1)
    if wrong:
        tale.sync(1)
    tale.restart(1)
    tale.leave(1, 1, reason=Reason.FAIRNESS)


@about("D1: validator {} signs twice for {}")
def a_view_is_begun_twice(*, wrong: bool) -> None:
    tale = Tale()
    left = [tale.leave(number, 1) for number in range(4)]
    tale.tell(*left)
    tale.sync(*range(4))
    tale.begin(1, left[:3])
    if wrong:
        tale.sync(1)
    tale.restart(1)
    tale.begin(1, left[1:])


@about("D2: validator {} sends {} unsynced")
def a_vote_leaves_before_it_is_durable(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.propose(block)
    vote = tale.vote(1, PREPARE, block)
    if not wrong:
        tale.sync(1)
    tale.send(1, vote)


@about("D2: validator {} sends {} unsynced")
def a_new_view_leaves_before_it_is_durable(*, wrong: bool) -> None:
    tale = Tale()
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.sync(*VOTERS)
    new_view = tale.begin(1, left)
    if not wrong:
        tale.sync(1)
    tale.send(1, new_view)


@about("D3: validator {} logs {} before it")
def a_vote_is_durable_before_its_block(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.propose(block)
    vote = tale.vote(1, PREPARE, block)
    log = tale.places[1].log
    tale.oracles.synced(tale.places[1], log.synced(log.last_lsn)[wrong:])
    tale.send(1, vote)


@about("D4: validator {} votes in {} after leaving it")
def who_has_left_a_view_votes_in_it(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.propose(block)
    tale.leave(1, 1)
    tale.sync(1)
    if wrong:
        tale.vote(1, PREPARE, block)
    tale.vote(2, PREPARE, block)


@about("D4: validator {} votes in {} after leaving it")
def a_restart_resumes_the_view_that_was_left(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.leave(1, 1)
    if wrong:
        tale.sync(1)
    tale.restart(1)
    tale.propose(block)
    tale.vote(1, PREPARE, block)


@about("D4: validator {} hides its COMMIT at {} in view {} when leaving for {}: tip {}, shown {}")
def who_has_committed_does_not_show_it(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    prepared = CertifiedHeader(block.header, tale.prepare(block))
    tale.vote(1, COMMIT, block)
    tale.sync(1)
    tale.leave(1, 1, prepared=() if wrong else (prepared,))


@about("D4: validator {} hides its COMMIT at {} in view {} when leaving for {}: tip {}, shown {}")
def what_another_epoch_had_above_its_barrier_is_not_shown(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    child = tale.block(on=block)
    for each in (block, child):
        tale.prepare(each)
        tale.vote(2, COMMIT, each)
    tale.sync(2)
    left = [tale.leave(number, 1) for number in (0, 1, 3)]
    tale.tell(*left)
    tale.begin(1, left)
    barrier, first, following = across_epochs(tale, view=1)
    certificate = tale.decide(barrier, view=1, voters=(1, 0, 3))
    for number in range(4):
        tale.turn(number, (barrier, certificate))
    tale.set = following
    if wrong:
        tale.propose(first)
        votes = [tale.vote(number, PREPARE, first) for number in (1, 2, 3)]
        tale.tell(*votes)
        tale.vote(2, COMMIT, first)
        tale.sync(2)
    tale.leave(2, 1)


# --- Crashes ---


@about("D1: validator {} signs twice for {}")
def a_vote_that_a_crash_spared_is_cast_again(*, wrong: bool) -> None:
    tale = Tale(0)
    first, second = tale.block(), tale.block()
    tale.propose(first)
    tale.vote(1, PREPARE, first)
    tale.restart(1, spared=wrong)
    tale.propose(second)
    tale.vote(1, PREPARE, second)


@about("D4: validator {} hides its COMMIT at {} in view {} when leaving for {}: tip {}, shown {}")
def a_commit_that_a_crash_spared_is_hidden(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    prepared = CertifiedHeader(block.header, tale.prepare(block))
    tale.sync(1)
    tale.vote(1, COMMIT, block)
    tale.restart(1, spared=True)
    tale.leave(1, 1, prepared=() if wrong else (prepared,))


@about("D4: validator {} votes in {} after leaving it")
def a_view_is_resumed_although_a_crash_spared_that_it_was_left(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.leave(1, 1)
    tale.restart(1, spared=wrong)
    tale.propose(block)
    tale.vote(1, PREPARE, block)


@about("D3: validator {} logs {} before it")
def a_block_that_a_crash_took_counts_as_logged(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    proposal = tale.propose(block)
    tale.vote(1, PREPARE, block)
    tale.restart(1)
    tale.pass_on(block, proposal)
    tale.vote(1, PREPARE, block, logs_block=not wrong)
    tale.sync(1)


@about("G3: a NEW-VIEW for {} leaves out the clock bits of {}")
def clock_bits_that_no_crash_took_are_left_out(*, wrong: bool) -> None:
    tale = Tale()
    left = [tale.leave(number, 1, clock_bit=number in (0, 2)) for number in range(4)]
    tale.tell(*left)
    tale.sync(1)
    tale.hear(1)
    if not wrong:
        tale.restart(1)
    tale.begin(1, left[1:])


@about("G6: T is {}, and it came at {}")
def a_proposal_that_came_in_time_before_a_crash_counts(*, wrong: bool) -> None:
    tale = Tale(0)
    parameters = tale.genesis.parameters
    block = tale.block()
    proposal = tale.propose(block)
    if wrong:
        tale.restart(1)
    late_ms = parameters.message_delay_ms + parameters.precision_ms + 1
    tale.world.run_until(tale.world.now_us + late_ms * MS)
    tale.pass_on(block, proposal)
    tale.vote(1, PREPARE, block)
    tale.turn(1)


# --- Rotations of the log ---


@about("D2: validator {} sends {} unsynced")
def a_rotation_leaves_out_a_vote_that_may_count_yet(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.propose(block)
    vote = tale.vote(1, PREPARE, block)
    tale.oracles.rotated(tale.places[1], [] if wrong else [encode_log_record(VoteRecord(vote))])
    tale.send(1, vote)


@about("D2: validator {} sends {} unsynced")
def a_rotation_leaves_out_a_vote_of_the_view_that_it_states(*, wrong: bool) -> None:
    """Of views below the newest it states, it may leave out what was signed in them."""
    tale = Tale(2)
    block = tale.block()
    left = [tale.leave(number, 1) for number in VOTERS]
    tale.tell(*left)
    tale.sync(1)
    tale.begin(1, left)
    tale.sync(1)
    tale.propose(block, view=1)
    vote = tale.vote(0, PREPARE, block, view=1)
    stated = left[0] if wrong else tale.leave(0, 2)
    tale.oracles.rotated(tale.places[0], [encode_log_record(ViewChangeRecord(stated))])
    tale.send(0, vote)


@about("D1: validator {} signs twice for {}")
def a_vote_for_what_was_final_is_cast_again_after_a_rotation(*, wrong: bool) -> None:
    tale = Tale(0)
    block, other = tale.block(), tale.block()
    tale.prepare(block)
    certificate = tale.commit(block)
    tale.turn(1, (block, certificate))
    tale.places[1].ledger.commit([(block, certificate)], sync=True)
    if wrong:
        tale.oracles.rotated(tale.places[1], [])
    tale.restart(1)
    tale.vote(1, COMMIT, other)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.check(monkeypatch)
