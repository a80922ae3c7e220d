"""Equivocation is found, kept across restarts, passed on once, and bounded; nobody else suffers."""

from __future__ import annotations

from dataclasses import replace

from node.chain.certificate import Phase, Vote
from node.chain.epoch import Anchor, Epoch
from node.chain.evidence import Evidence
from node.consensus.messages import Proposal
from node.execution.apply import ExecutedBlock, Executor
from node.limits import EVIDENCE_PER_MESSAGE_MAX, EVIDENCE_PER_VALIDATOR_MAX
from node.service.misconduct import BLOCKS_REMEMBERED, Misconduct
from node.service.output import Outlet
from node.service.term import Roster, Term
from node.service.wire import Accusations, encode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import chain_of_blocks, evidence_against, vote
from tests.unit.execution.small_chain import GENESIS
from tests.unit.service.lone import Lone, proposal_of

FIRST = chain_of_blocks(1)[1]


def other_proposal(block: ExecutedBlock) -> Proposal:
    """Return what an equivocating primary shows somebody else."""
    header = replace(block.header, time_ms=block.header.time_ms + 1)
    proposal = proposal_of(block)
    return Proposal(header, proposal.tx_hashes, vote(Phase.PREPARE, 0, header, header.proposer))


def accusations(node: Lone) -> list[Accusations]:
    return [message for message in node.said() if isinstance(message, Accusations)]


def test_two_votes_of_one_validator_are_kept_and_told_to_all_once() -> None:
    node = Lone(3)
    header = FIRST.header
    for time_ms in range(3):
        cast = vote(Phase.COMMIT, 0, replace(header, time_ms=header.time_ms + time_ms), 1)
        node.hear(1, cast, 1)
    (evidence,) = node.engine.evidence
    evidence.check(GENESIS.chain_id, GENESIS.validators)
    assert evidence.place.validator == 1
    assert accusations(node) == [Accusations((evidence,))]
    assert node.ledger.evidence() == [evidence]
    assert node.engine.accused == (GENESIS.validators.validators[1],)


def test_a_primary_that_shows_each_peer_one_header_is_found_out_by_comparing() -> None:
    one, other = Lone(2), Lone(3)
    one.hear(0, proposal_of(FIRST), 1)
    other.hear(0, other_proposal(FIRST), 1)
    heard = other_proposal(FIRST).vote.subject
    theirs = Vote(heard, 3, 0, vote(Phase.PREPARE, 0, FIRST.header, 3).signature, 0)
    one.said()
    one.hear(3, theirs, 2)
    (shown,) = [message for message in one.said() if isinstance(message, Vote)]
    assert shown == proposal_of(FIRST).vote
    other.hear(2, shown, 3)
    (evidence,) = other.engine.evidence
    assert evidence.place.validator == 0
    one.hear(3, Accusations((evidence,)), 4)
    assert one.engine.evidence == (evidence,)


def test_who_votes_otherwise_is_answered_once_per_block() -> None:
    node = Lone(2)
    node.hear(0, proposal_of(FIRST), 1)
    node.said()
    for time_ms in range(2, 20):
        header = replace(FIRST.header, time_ms=FIRST.header.time_ms + time_ms)
        node.hear(3, vote(Phase.PREPARE, 0, header, 3), 2)
    answers = [message for message in node.said() if isinstance(message, Vote)]
    assert len(answers) == 1


def test_a_second_proposal_is_evidence_even_where_nothing_is_wanted_any_more() -> None:
    node = Lone(3)
    node.hear(0, proposal_of(FIRST), 1)
    node.hear(0, other_proposal(FIRST), 2)
    (evidence,) = node.engine.evidence
    assert evidence.place.validator == 0


def test_a_forged_second_word_of_the_primary_is_refused() -> None:
    node = Lone(3)
    node.hear(0, proposal_of(FIRST), 1)
    forged = other_proposal(FIRST)
    node.hear(1, replace(forged, vote=replace(forged.vote, signature=bytes(64))), 2)
    assert node.engine.evidence == ()
    assert node.engine.counters.messages_refused == 1


def test_evidence_that_proves_nothing_is_refused_and_what_came_before_it_kept() -> None:
    node = Lone(3)
    sound, forged = evidence_against(1), evidence_against(2)
    forged = replace(forged, first=replace(forged.first, signature=bytes(64)))
    node.hear(0, Accusations((sound, forged)), 1)
    assert node.engine.evidence == (sound,)
    assert node.engine.counters.messages_refused == 1


def test_evidence_of_another_epoch_is_left_alone() -> None:
    node = Lone(3)
    node.hear(0, Accusations((replace(evidence_against(1), epoch=9),)), 1)
    assert (node.engine.evidence, node.engine.counters.messages_refused) == ((), 0)


def test_what_is_known_is_not_passed_on_again() -> None:
    node = Lone(3)
    message = Accusations((evidence_against(1),))
    node.engine.receive(0, [encode_message(message)] * 3, node.at(1))
    assert accusations(node) == [message]
    node.hear(2, message, 2)
    assert accusations(node) == []


def test_a_peer_that_comes_is_told_what_it_may_have_missed() -> None:
    node = Lone(3)
    message = Accusations((evidence_against(1),))
    node.hear(0, message, 1)
    node.said()
    node.engine.connected(2)
    assert accusations(node) == [message]


def misconduct(store: MemoryStore, outlet: Outlet) -> Misconduct:
    genesis_block = Executor(GENESIS).genesis_block()
    ledger = LedgerStore.open(store, GENESIS.suite, genesis_block)
    name = GENESIS.validators.validators[3].validator_id
    term = Term.of(
        Epoch.of_genesis(GENESIS),
        Anchor(0, genesis_block.digest),
        name,
        Roster(GENESIS.validators),
    )
    return Misconduct(term=term, ledger=ledger, outlet=outlet)


def test_it_survives_a_restart_and_is_bounded_per_validator() -> None:
    store, outlet = MemoryStore(), Outlet(view=lambda: 0)
    kept = misconduct(store, outlet)
    many = [
        evidence_against(validator, height=height)
        for validator in (1, 2)
        for height in range(1, EVIDENCE_PER_VALIDATOR_MAX + 4)
    ]
    for evidence in many:
        kept.take(Accusations((evidence,)))
    assert len(kept.evidence) == 2 * EVIDENCE_PER_VALIDATOR_MAX
    again = misconduct(store, outlet)
    assert again.evidence == kept.evidence
    again.take(Accusations((evidence_against(1, height=99),)))
    assert again.evidence == kept.evidence
    outlet.drain()
    again.tell(3)
    told = outlet.drain().messages
    assert len(told) == -(-2 * EVIDENCE_PER_VALIDATOR_MAX // EVIDENCE_PER_MESSAGE_MAX)


def test_what_primaries_showed_is_forgotten_in_time() -> None:
    outlet = Outlet(view=lambda: 0)
    watching = misconduct(MemoryStore(), outlet)
    shown = proposal_of(FIRST).vote
    watching.note_shown(shown)
    for height in range(2, BLOCKS_REMEMBERED + 2):
        subject = replace(shown.subject, height=height)
        watching.note_shown(replace(shown, subject=subject))
    watching.note_heard(0, other_proposal(FIRST).vote)
    assert watching.evidence == ()


def test_the_lesser_digest_stands_first_whatever_came_first() -> None:
    outlet = Outlet(view=lambda: 0)
    watching = misconduct(MemoryStore(), outlet)
    one, other = proposal_of(FIRST).vote, other_proposal(FIRST).vote
    watching.report(other, one)
    assert watching.evidence == (Evidence.of(one, other, GENESIS.validators),)
