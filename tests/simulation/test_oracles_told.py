"""That the rules on blocks, epochs and time object: A1 to A5, E1 to E3 and T.

Each is told (test_tale.py) of a mistake and of the same without it. What can be planted in what
runs is planted in test_oracles.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from node.chain.certificate import QuorumCertificate
from node.chain.evidence import Evidence
from node.chain.genesis import Parameters
from node.chain.governance import AddValidator, Governance, Operation, RemoveValidator
from node.chain.identity import ChangeStatus, RotateIdentity, Status, Subject
from node.chain.membership import ValidatorSet
from node.execution.state import ExecutedBlock
from tests.simulation.at_rest import judge_evidence
from tests.simulation.cluster import AGENCIES
from tests.simulation.test_rules import Case
from tests.simulation.test_tale import PREPARE, SPARE, VOTERS, Tale, told
from tests.simulation.world import MS, SECOND, UTC_AT_START_MS

CASES: list[Case] = []
about = partial(told, cases=CASES)

# --- Agreement: A1 to A5 ---


@about("A1: validator {} has another block {}")
def votes_that_died_with_their_voters_decide(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    tale.prepare(first)
    lost = tale.commit(first)
    tale.restart(*VOTERS)
    second = tale.block()
    kept = tale.decide(second)
    tale.turn(0, (second, kept))
    tale.turn(1, (first, lost) if wrong else (second, kept))


@about("A1: validator {} restarts on a foreign block {}")
def a_database_holds_a_block_that_nobody_decided(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    certificate = tale.decide(block)
    if not wrong:
        tale.turn(0, (block, certificate))
    tale.places[1].ledger.commit([(block, certificate)], sync=True)
    tale.restart(1)


@about("A2: two certifiable headers for {}")
def a_quorum_prepares_two_headers_in_one_view(*, wrong: bool) -> None:
    tale = Tale(0, 3)
    first, second = tale.block(), tale.block()
    for block, voters in ((first, (1, 3)), (second, (3, 2) if wrong else (3,))):
        tale.propose(block)
        for number in voters:
            tale.vote(number, PREPARE, block)


@about("A2: two certifiable blocks at height {}")
def a_quorum_commits_another_header_in_the_next_view(*, wrong: bool) -> None:
    tale = Tale(0, 3)
    first = tale.block()
    tale.prepare(first, voters=(0, 1, 3))
    tale.commit(first, voters=(0, 1, 3))
    view_changes = [tale.leave(number, 3) for number in (0, 3)]
    tale.tell(*view_changes)
    tale.begin(3, [view_changes[0], tale.leave(2, 3), view_changes[1]])
    second = tale.block(view=3) if wrong else first
    tale.prepare(second, view=3, voters=(0, 2, 3))
    tale.commit(second, view=3, voters=(0, 2, 3))


@about("A3: block {} holds a transaction nobody signed")
def a_transaction_is_made_up(*, wrong: bool) -> None:
    tale = Tale()
    request = tale.request()
    if wrong:
        del tale.history.submitted[request.transaction.tx_id]
    block = tale.block(request)
    tale.turn(0, (block, tale.decide(block)))


def above(tale: Tale, operation: Operation) -> None:
    """Have an operation take effect, and on top of it a block of what the first agency asks."""
    first = tale.block()
    tale.turn(0, (governed(tale, first, operation), tale.decide(first)))
    second = tale.block(on=first)
    tale.turn(0, (second, tale.decide(second)))


@about("A3: block {} holds what {} signed under another key")
def a_transaction_is_signed_under_a_key_that_the_block_before_rotates(*, wrong: bool) -> None:
    tale = Tale()
    fresh = tale.cluster.ring.signer("fresh").public_key.encoded
    above(tale, RotateIdentity(AGENCIES[0 if wrong else 1], b"", fresh, 0, ""))


@about("A3: {} is frozen and has its way")
def what_a_frozen_client_asks_is_carried_out(*, wrong: bool) -> None:
    name = AGENCIES[0 if wrong else 1]
    above(Tale(), ChangeStatus(Subject.IDENTITY, name, Status.FROZEN, ""))


@about("A3: the certificate of block {} is of {}, by {}")
def a_quorum_of_prepares_decides(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    prepared = tale.prepare(block)
    committed = tale.commit(block)
    tale.turn(0, (block, prepared if wrong else committed))


@about("A3: the certificate of block {} is of {}, by {}")
def a_vote_is_counted_twice(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    certificate = tale.decide(block)
    one, other, third = certificate.votes
    votes = (one, other, other if wrong else third)
    tale.turn(0, (block, replace(certificate, votes=votes)))


@about("A3: the certificate of block {} is of {}, by {}")
def the_certificate_is_that_of_another_block(*, wrong: bool) -> None:
    tale = Tale(0, 3)
    block, other = tale.block(), tale.block()
    tale.propose(other)
    certificate = tale.decide(block)
    tale.turn(1, (other if wrong else block, certificate))


@about("A3: the certificate of block {} is of {}, by {}")
def the_certificate_is_of_another_epoch(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.turn(0, (block, replace(tale.decide(block), epoch=int(wrong))))


@about("A3: the certificate of block {} is of {}, by {}")
def fewer_than_a_quorum_decide(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    certificate = tale.decide(block)
    tale.turn(0, (block, replace(certificate, votes=certificate.votes[wrong:])))


@about("A3: a false signature certifies block {}")
def the_time_of_a_vote_is_not_what_was_signed(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    certificate = tale.decide(block)
    one, *others = certificate.votes
    votes = (replace(one, time_ms=one.time_ms + wrong), *others)
    tale.turn(0, (block, replace(certificate, votes=votes)))


@about("A4: validator {} commits {} on top of {}")
def a_block_is_committed_before_the_one_below_it(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    second = tale.block(on=first)
    blocks = [(each, tale.decide(each)) for each in (first, second)]
    tale.turn(0, *blocks)
    tale.turn(1, *(blocks[1:] if wrong else blocks))


@about("A4: block {} does not follow its parent")
def a_block_names_another_parent(*, wrong: bool) -> None:
    tale = Tale(*VOTERS)
    block = tale.block()
    if wrong:
        block = tale.altered(block, replace(block.header, parent=bytes(32)))
    tale.turn(3, (block, tale.decide(block)))


@about("A4: block {} does not follow its parent")
def time_does_not_rise(*, wrong: bool) -> None:
    tale = Tale()
    first = tale.block()
    second = tale.block(on=first)
    time_ms = first.header.time_ms + (not wrong)
    second = tale.altered(second, replace(second.header, time_ms=time_ms))
    for each in (first, second):
        tale.turn(0, (each, tale.decide(each)))


@about("A5: {} in {} and {}")
def a_transaction_is_executed_again(*, wrong: bool) -> None:
    tale = Tale()
    request = tale.request()
    first = tale.block(request)
    second = tale.block(on=first)
    if wrong:
        second = replace(second, transactions=(request,))
    for each in (first, second):
        tale.turn(0, (each, tale.decide(each)))


# --- Epochs: E1 to E3 ---


def governed(tale: Tale, block: ExecutedBlock, *operations: Operation) -> ExecutedBlock:
    """Return a block in which operations had their effect."""
    payload = Governance(
        epoch=block.header.epoch,
        not_after_ms=1,
        nonce=bytes(16),
        operations=operations,
        evidence=(),
    )
    return replace(block, transactions=(tale.request(payload),))


def set_of(tale: Tale, epoch: int, *numbers: int) -> ValidatorSet:
    return ValidatorSet(epoch, tuple(tale.cluster.roster[each] for each in numbers), tale.suite)


def across_epochs(tale: Tale, view: int = 0) -> tuple[ExecutedBlock, ExecutedBlock, ValidatorSet]:
    """Return a barrier, of a view, the first block after it, and the set that decides that."""
    ending = tale.block(view=view)
    following = set_of(tale, 1, *range(tale.size), SPARE)
    governing = governed(tale, ending, addition(tale, SPARE))
    header = replace(governing.header, next_set_digest=following.digest)
    barrier = tale.altered(governing, header)
    first = tale.block(on=ending, view=view)
    header = replace(
        first.header,
        epoch=1,
        view=0,
        parent=barrier.digest,
        next_set_digest=following.digest,
    )
    return barrier, tale.altered(first, header), following


def addition(tale: Tale, number: int) -> AddValidator:
    return AddValidator(tale.cluster.roster[number], b"")


def removal(tale: Tale, number: int) -> RemoveValidator:
    return RemoveValidator(tale.cluster.roster[number].validator_id)


def grown(tale: Tale) -> tuple[ExecutedBlock, QuorumCertificate, ExecutedBlock]:
    """Return a decided block that adds the spare, its certificate, and one of the next epoch.

    From now on the tale is of that epoch.
    """
    adding = governed(tale, tale.block(), addition(tale, SPARE))
    following = set_of(tale, 1, 0, 1, 2, 3, SPARE)
    last = tale.altered(adding, replace(adding.header, next_set_digest=following.digest))
    certificate = tale.decide(last)
    first = tale.block(on=adding)
    header = replace(first.header, epoch=1, parent=last.digest, next_set_digest=following.digest)
    tale.set = following
    return last, certificate, tale.altered(first, header)


@about("E1: block {} names another set than {}")
def an_addition_names_the_old_set(*, wrong: bool) -> None:
    tale = Tale()
    block = governed(tale, tale.block(), addition(tale, SPARE))
    if not wrong:
        digest = set_of(tale, 1, 0, 1, 2, 3, SPARE).digest
        block = tale.altered(block, replace(block.header, next_set_digest=digest))
    tale.turn(0, (block, tale.decide(block)))


@about("E1: members {} after {} were removed")
def who_was_removed_comes_back(*, wrong: bool) -> None:
    tale = Tale()
    removing = governed(tale, tale.block(), removal(tale, 3))
    digest = set_of(tale, 1, 0, 1, 2).digest
    first = tale.altered(removing, replace(removing.header, next_set_digest=digest))
    certificate = tale.decide(first)
    for number in VOTERS:
        tale.turn(number, (first, certificate))
    tale.set = set_of(tale, 1, 0, 1, 2)
    back = 3 if wrong else SPARE
    second = governed(tale, tale.block(on=removing), addition(tale, back))
    digest = set_of(tale, 2, 0, 1, 2, back).digest
    second = tale.altered(
        second, replace(second.header, epoch=1, parent=first.digest, next_set_digest=digest)
    )
    tale.turn(0, (second, tale.decide(second)))


@about("E1: block {} is of epoch {}, not {}")
def a_block_is_of_an_epoch_that_has_not_begun(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    block = tale.altered(block, replace(block.header, epoch=int(wrong)))
    tale.turn(0, (block, tale.decide(block)))


@about("E1: block {} is judged by other parameters")
def a_block_is_judged_by_other_parameters(*, wrong: bool) -> None:
    tale = Tale()
    others = Parameters(precision_ms=101) if wrong else Parameters()
    block = tale.block()
    digest = others.digest(tale.suite)
    block = tale.altered(block, replace(block.header, parameters_digest=digest))
    tale.turn(0, (block, tale.decide(block)))


@about("E2: validator {} votes {}, members are {}")
def who_is_no_member_votes(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.propose(block)
    tale.vote(SPARE if wrong else 1, PREPARE, block)


@about("E2: validator {} votes {}, members are {}")
def a_vote_is_for_another_set(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.propose(block)
    if wrong:
        tale.set = set_of(tale, 0, 0, 1, 2)
    tale.vote(1, PREPARE, block)


def accused(tale: Tale, number: int) -> Evidence:
    """Return evidence against a validator that votes again after it lost that it did."""
    first, second = tale.block(), tale.block()
    tale.propose(first)
    one = tale.vote(number, PREPARE, first)
    if number in tale.correct:
        tale.restart(number)
    tale.propose(second)
    return Evidence.of(one, tale.vote(number, PREPARE, second), tale.set)


@about("E3: validator {} accuses {}, which is correct, of {}")
def a_vote_that_was_lost_accuses(*, wrong: bool) -> None:
    tale = Tale(0, 3)
    tale.places[2].ledger.keep_evidence(accused(tale, 1 if wrong else 3))
    judge_evidence(tale.places[:3], tale.history)


@about("E3: validator {} keeps {}")
def evidence_names_the_next_in_line(*, wrong: bool) -> None:
    tale = Tale(0, 3)
    evidence = accused(tale, 3)
    kept = replace(evidence, validator=0) if wrong else evidence
    tale.places[2].ledger.keep_evidence(kept)
    judge_evidence(tale.places[:3], tale.history)


# --- Time: T ---


def turn_clocks(tale: Tale, by_ms: int) -> None:
    """Have every clock be off, and nobody say so."""
    for place in tale.places:
        place.step_clock(by_ms)


@about("T: block {} was sealed at {}, before it existed")
def votes_are_dated_back(*, wrong: bool) -> None:
    tale = Tale()
    block = tale.block()
    tale.prepare(block)
    early_ms = tale.genesis.parameters.clock_error_ms + wrong
    certificate = tale.commit(block, time_ms=tale.world.utc_ms - early_ms)
    tale.turn(0, (block, certificate))


@about("T: block {} is stamped {}, ahead of time")
def a_block_is_stamped_ahead_of_time(*, wrong: bool) -> None:
    tale = Tale()
    parameters = tale.genesis.parameters
    ahead_ms = parameters.precision_ms + parameters.clock_error_ms + wrong
    turn_clocks(tale, ahead_ms)
    block = tale.block(time_ms=tale.world.utc_ms + ahead_ms)
    tale.turn(0, (block, tale.decide(block)))


@about("T: block {} is stamped {}, in the past")
def a_block_is_stamped_before_what_is_in_it_was_signed(*, wrong: bool) -> None:
    tale = Tale()
    late_ms = tale.genesis.parameters.accuracy_ms + wrong
    turn_clocks(tale, -late_ms)
    block = tale.block(time_ms=tale.world.utc_ms - late_ms)
    tale.turn(0, (block, tale.decide(block)))


@about("T: block {} is stamped {}, and came to who is correct at {}")
def a_block_comes_later_than_its_stamp_may_be_off(*, wrong: bool) -> None:
    tale = Tale()
    late_ms = tale.genesis.parameters.accuracy_ms + wrong
    block = tale.block()
    tale.world.run_until(SECOND + late_ms * MS)
    turn_clocks(tale, -late_ms)
    tale.turn(0, (block, tale.decide(block)))


@about("T: block {} is stamped {}, and came to who is correct at {}")
def a_block_comes_later_than_that_and_before_its_epoch(*, wrong: bool) -> None:
    """Have it proposed by a liar, while nobody correct has what its epoch begins with."""
    tale = Tale(0)
    last, certificate, first = grown(tale)
    late_ms = tale.genesis.parameters.accuracy_ms + wrong
    tale.world.run_until((first.header.time_ms - UTC_AT_START_MS + late_ms) * MS)
    turn_clocks(tale, -late_ms)
    tale.propose(first)
    for number in (1, 2, 3):
        tale.turn(number, (last, certificate))
    tale.world.run_until(tale.world.now_us + SECOND)
    tale.turn(1, (first, tale.decide(first, voters=(0, 1, 2, 3))))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_mistake_is_found_by_the_rule_it_breaks_and_its_neighbour_passes(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.check(monkeypatch)
