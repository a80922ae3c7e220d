"""Equivocation is found, kept across restarts, passed on once, and bounded; nobody else suffers."""

from __future__ import annotations

from dataclasses import replace

from node.chain.block import ResultCode
from node.chain.certificate import Phase, Vote
from node.chain.epoch import Anchor, Epoch
from node.chain.evidence import Charge, Evidence, Offence, Statement
from node.chain.governance import RemoveValidator, SetParameters
from node.consensus.messages import Proposal
from node.execution.apply import ExecutedBlock, Executor
from node.limits import EVIDENCE_PER_MESSAGE_MAX
from node.service.misconduct import VOTES_REMEMBERED, Misconduct, in_messages
from node.service.output import Outlet
from node.service.term import Roster, Term
from node.service.wire import Accusations, encode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import (
    certified,
    chain_of_blocks,
    evidence_against,
    evidence_of_messages,
    new_view,
    two_new_views,
    two_view_changes,
    view_change,
    vote,
)
from tests.unit.execution.governed_chain import GOVERNED, governed, governed_tx, statement
from tests.unit.execution.small_chain import GENESIS, signer
from tests.unit.service.chatting import Chat, govern, notarize
from tests.unit.service.lone import Lone, certified_block, proposal_of

FIRST = chain_of_blocks(1)[1]
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")


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
    assert evidence.validator == 1
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
    assert evidence.validator == 0
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
    assert evidence.validator == 0


def test_a_forged_second_word_of_the_primary_is_refused() -> None:
    node = Lone(3)
    node.hear(0, proposal_of(FIRST), 1)
    forged = other_proposal(FIRST)
    node.hear(1, replace(forged, vote=replace(forged.vote, signature=bytes(64))), 2)
    assert not node.engine.evidence
    assert node.engine.counters.messages_refused == 1


def test_evidence_that_proves_nothing_is_refused_and_what_came_before_it_kept() -> None:
    node = Lone(3)
    sound, forged = evidence_against(1), evidence_against(2)
    forged = replace(forged, first=replace(forged.first, signature=bytes(64)))
    node.hear(0, Accusations((sound, forged)), 1)
    assert node.engine.evidence == (sound,)
    assert node.engine.counters.messages_refused == 1


def test_what_is_proven_already_is_not_looked_at_again() -> None:
    node = Lone(3)
    sound = evidence_against(1)
    forged = replace(sound, first=replace(sound.first, signature=bytes(64)))
    node.hear(0, Accusations((sound,)), 1)
    node.hear(0, Accusations((forged,)), 2)
    assert (node.engine.evidence, node.engine.counters.messages_refused) == ((sound,), 0)


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
    founders = GENESIS.validators
    return Misconduct(term=term, founders=founders, ledger=ledger, outlet=outlet)


def test_it_survives_a_restart_and_one_proof_of_each_offence_is_enough() -> None:
    store, outlet = MemoryStore(), Outlet(view=lambda: 0)
    kept = misconduct(store, outlet)
    many = [
        evidence_against(validator, height=height, phase=phase)
        for validator in (1, 2)
        for height in range(1, 20)
        for phase in Phase
    ]
    for evidence in many:
        kept.take(Accusations((evidence,)))
    assert [each.charge for each in kept.evidence] == [
        Charge(0, offence, validator)
        for offence in (Offence.PREPARE, Offence.COMMIT)
        for validator in (1, 2)
    ]
    assert {each.height for each in kept.evidence} == {1}
    again = misconduct(store, outlet)
    assert again.evidence == kept.evidence
    again.take(Accusations((evidence_against(1, height=99),)))
    assert again.evidence == kept.evidence


def test_all_that_is_told_to_one_peer_fits_one_message() -> None:
    outlet = Outlet(view=lambda: 0)
    holding = misconduct(MemoryStore(), outlet)
    holding.tell(3)
    assert outlet.drain().messages == []
    holding.take(Accusations((evidence_against(1), evidence_against(2))))
    outlet.drain()
    holding.tell(3)
    (told,) = outlet.drain().messages
    assert told.to == 3


def test_long_evidence_is_passed_on_in_several_messages() -> None:
    long = replace(evidence_against(1), first=Statement(bytes(1_000_000), 0, b""))
    batches = [message.evidence for message in in_messages([long] * 9)]
    assert [len(batch) for batch in batches] == [4, 4, 1]
    short = [evidence_against(1)] * (EVIDENCE_PER_MESSAGE_MAX + 1)
    assert [len(message.evidence) for message in in_messages(short)] == [64, 1]


def test_the_lesser_digest_stands_first_whatever_came_first() -> None:
    outlet = Outlet(view=lambda: 0)
    watching = misconduct(MemoryStore(), outlet)
    one, other = proposal_of(FIRST).vote, other_proposal(FIRST).vote
    watching.report(other, one)
    assert watching.evidence == (Evidence.of(one, other, GENESIS.validators),)


# --- Votes against certificates, and of heights that are final ---


def with_final_block() -> Lone:
    """Return a validator to which the first block is final, by votes of the first three."""
    node = Lone(3)
    node.fetch([certified_block(FIRST).encode()], 1)
    assert node.engine.height == 1
    node.said()
    return node


def test_a_vote_against_ones_own_in_a_commit_certificate_is_evidence_when_all_is_final() -> None:
    node = with_final_block()
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    node.hear(1, vote(Phase.COMMIT, 0, other, 1), 2)
    (evidence,) = node.engine.evidence
    assert evidence.charge == Charge(0, Offence.COMMIT, 1)
    evidence.check(GENESIS.chain_id, GENESIS.validators)
    node.hear(2, vote(Phase.COMMIT, 0, FIRST.header, 2), 3)  # the very same: nothing
    node.hear(2, vote(Phase.COMMIT, 1, other, 2), 4)  # in another view: nothing
    node.hear(2, vote(Phase.PREPARE, 0, other, 2), 5)  # the first word of its kind: nothing
    assert node.engine.evidence == (evidence,)


def test_what_a_certificate_holds_is_known_again_after_a_restart() -> None:
    node = with_final_block()
    again = Lone(3, ledger=node.ledger)
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    again.hear(1, vote(Phase.COMMIT, 0, other, 1), 2)
    assert [each.charge for each in again.engine.evidence] == [Charge(0, Offence.COMMIT, 1)]


def test_a_vote_nobody_checked_is_held_against_the_certificate_that_comes_later() -> None:
    """Verification stops at the quorum; what the fourth said is remembered nevertheless."""
    node = Lone(3)
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    node.hear(2, vote(Phase.COMMIT, 0, other, 2), 1)
    node.fetch([certified_block(FIRST).encode()], 2)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.COMMIT, 2)]


def test_a_forged_vote_in_ones_own_name_neither_proves_nor_hides_anything() -> None:
    node = Lone(3)
    outlet_of = node.engine.counters
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    forged = replace(vote(Phase.COMMIT, 2, other, 2), signature=bytes(64))
    node.hear(2, forged, 1)
    for view in (2, 2):  # checked against the forged one, which gives way
        node.hear(2, vote(Phase.COMMIT, view, FIRST.header, 2), 2)
    assert not node.engine.evidence
    node.hear(2, vote(Phase.COMMIT, 2, other, 2), 3)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.COMMIT, 2)]
    assert outlet_of.messages_refused <= 1


def test_a_forged_contradiction_in_the_name_of_another_is_refused() -> None:
    node = with_final_block()
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    forged = replace(vote(Phase.COMMIT, 0, other, 1), signature=bytes(64))
    node.hear(2, forged, 2)
    assert (node.engine.evidence, node.engine.counters.messages_refused) == ((), 1)


def test_a_certificate_in_a_view_change_is_held_against_votes() -> None:
    node = Lone(3)
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    node.hear(2, vote(Phase.PREPARE, 0, other, 2), 1)
    prepared = certified(FIRST.header, Phase.PREPARE, voters=(0, 1, 2))
    node.hear(1, view_change(1, 1, prepared=[prepared]), 2)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.PREPARE, 2)]


def test_a_checked_vote_that_another_brought_is_remembered() -> None:
    node = Lone(3)
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    node.hear(1, vote(Phase.COMMIT, 0, FIRST.header, 2), 1)
    node.hear(1, new_view(1, [view_change(voter, 1) for voter in (0, 1, 2)]), 2)
    node.hear(2, vote(Phase.COMMIT, 0, other, 2), 3)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.COMMIT, 2)]


def test_the_votes_of_a_certificate_are_remembered_before_its_block_is_there() -> None:
    node = Lone(3)
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    node.hear(0, certified(FIRST.header, Phase.COMMIT, voters=(0, 1, 2)), 1)
    node.hear(1, vote(Phase.COMMIT, 0, other, 1), 2)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.COMMIT, 1)]


def test_who_votes_otherwise_is_shown_what_a_certificate_says_that_the_primary_signed() -> None:
    node = Lone(3)
    prepared = certified(FIRST.header, Phase.PREPARE, voters=(0, 1, 3))
    node.hear(1, view_change(1, 1, prepared=[prepared]), 1)
    node.said()
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    node.hear(2, vote(Phase.PREPARE, 0, other, 2), 2)
    (shown,) = [message for message in node.said() if isinstance(message, Vote)]
    assert (shown.validator, shown.subject.header_digest) == (0, FIRST.digest)


def test_votes_are_forgotten_in_time_each_validators_own_alone() -> None:
    outlet = Outlet(view=lambda: 0)
    watching = misconduct(MemoryStore(), outlet)
    first = vote(Phase.COMMIT, 0, FIRST.header, 1)
    watching.note_vote(first)
    watching.note_vote(vote(Phase.COMMIT, 0, FIRST.header, 2))
    for height in range(2, VOTES_REMEMBERED + 2):
        subject = replace(first.subject, height=height)
        watching.note_vote(replace(first, subject=subject))
    other = replace(FIRST.header, time_ms=FIRST.header.time_ms + 1)
    watching.hear(0, vote(Phase.COMMIT, 0, other, 1))
    assert not watching.evidence
    watching.hear(0, vote(Phase.COMMIT, 0, other, 2))
    assert [each.validator for each in watching.evidence] == [2]


# --- VIEW-CHANGEs and NEW-VIEWs ---


def test_two_view_changes_for_one_view_are_evidence_and_a_repeated_one_is_none() -> None:
    node = Lone(3)
    one, other = two_view_changes(1)
    node.hear(1, one, 1)
    node.hear(2, one, 2)
    assert not node.engine.evidence
    node.hear(2, other, 3)
    (evidence,) = node.engine.evidence
    assert evidence == evidence_of_messages(one, other, 1)
    assert accusations(node) == [Accusations((evidence,))]
    assert node.engine.counters.messages_refused == 0


def test_a_forged_second_view_change_is_refused() -> None:
    node = Lone(3)
    one, other = two_view_changes(1)
    node.hear(1, one, 1)
    node.hear(2, replace(other, signature=bytes(64)), 2)
    assert (node.engine.evidence, node.engine.counters.messages_refused) == ((), 1)


def test_a_view_change_shown_in_a_new_view_is_held_against_the_one_that_came() -> None:
    node = Lone(3)
    one, other = two_view_changes(2)
    node.hear(2, one, 1)
    node.hear(1, new_view(1, [view_change(0, 1), view_change(1, 1), other]), 2)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.VIEW_CHANGE, 2)]
    node.hear(2, one, 3)  # of a view that began long since: compared all the same
    assert len(node.engine.evidence) == 1


def test_a_second_view_change_for_a_view_that_is_over_is_evidence() -> None:
    node = Lone(3)
    one, other = two_view_changes(2)
    node.hear(2, one, 1)
    node.hear(2, new_view(2, [view_change(voter, 2) for voter in (0, 1, 2)]), 2)
    node.hear(2, other, 3)
    assert [each.charge for each in node.engine.evidence] == [Charge(0, Offence.VIEW_CHANGE, 2)]


def test_two_new_views_of_one_view_are_evidence_also_when_none_is_wanted_any_more() -> None:
    node = Lone(3)
    one, other = two_new_views(1)
    node.hear(1, one, 1)
    node.hear(0, one, 2)
    assert not node.engine.evidence
    node.hear(0, other, 3)
    (evidence,) = node.engine.evidence
    assert evidence == evidence_of_messages(one, other, 1)
    evidence.check(GENESIS.chain_id, GENESIS.validators)


# --- Checkpoints ---


def test_a_false_checkpoint_in_a_governed_transaction_is_evidence_and_a_true_one_is_none() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    header = chat.nodes["validator-1"].ledger.header
    false = statement("validator-4", replace(header, time_ms=header.time_ms + 1))
    true = [statement(name, header) for name in FOUNDERS[:3]]
    unsigned = replace(statement("validator-3", header), signature=bytes(64))
    slower = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900))
    for nonce, said in enumerate(([*true, false], [true[0], unsigned], true)):
        chat.submit("validator-1", governed_tx(governed(slower, evidence=said), nonce=nonce))
    for node in chat.nodes.values():
        (evidence,) = node.engine.evidence
        assert evidence.charge == Charge(0, Offence.FALSE_CHECKPOINT, 3)
        evidence.check(GOVERNED.chain_id, GOVERNED.validators)
    assert chat.nodes["validator-1"].engine.term.epoch.number == 1
    assert [each.validator_id for each in chat.nodes["validator-2"].engine.accused] == [
        "validator-4"
    ]


def test_two_checkpoints_above_the_tip_contradict_each_other_and_later_the_chain() -> None:
    chat = Chat(*FOUNDERS)
    watching = chat.nodes["validator-1"].engine._misconduct  # noqa: SLF001 - no message brings it
    notarize(chat, "first")
    tip = chat.nodes["validator-1"].ledger.header
    above = [replace(tip, height=3, time_ms=tip.time_ms + n) for n in (1, 2)]
    watching.note_checkpoint(statement("validator-4", above[0]))
    watching.note_checkpoint(statement("validator-4", above[0]))
    watching.note_checkpoint(statement("validator-3", above[0]))
    assert not watching.evidence
    watching.note_checkpoint(statement("validator-4", above[1]))
    assert [each.charge for each in watching.evidence] == [Charge(0, Offence.CHECKPOINT, 3)]
    for number in range(3):  # the last of them when the height in question is written
        notarize(chat, f"more {number}")
    assert [each.charge for each in watching.evidence] == [
        Charge(0, Offence.CHECKPOINT, 3),
        Charge(0, Offence.FALSE_CHECKPOINT, 2),
        Charge(0, Offence.FALSE_CHECKPOINT, 3),
    ]


def test_what_the_chain_has_is_not_held_against_what_comes() -> None:
    """Only genesis shows it, which no certificate holds against anybody."""
    chat = Chat(*FOUNDERS)
    node = chat.nodes["validator-1"]
    watching = node.engine._misconduct  # noqa: SLF001 - no message brings it
    for time_ms in (0, 1):
        stated = replace(node.ledger.header, time_ms=node.ledger.header.time_ms + time_ms)
        watching.note_checkpoint(statement("validator-4", stated))
    assert not watching.evidence


def test_a_checkpoint_of_nobody_or_of_another_chain_is_left_alone() -> None:
    watching = misconduct(MemoryStore(), Outlet(view=lambda: 0))
    genesis = Executor(GOVERNED).genesis_block().header
    for stated in (
        statement("nobody", genesis),
        statement("nobody", replace(genesis, height=9)),
        statement("nobody", replace(genesis, height=9, time_ms=1)),
        statement("validator-1", replace(genesis, height=9)),
        statement("validator-1", replace(genesis, height=9, time_ms=1)),
        replace(statement("validator-1", genesis), header=b"none"),
        statement("validator-1", replace(genesis, epoch=7)),
    ):
        watching.note_checkpoint(stated)
    assert not watching.evidence


# --- From epoch to epoch ---


def test_evidence_of_an_epoch_that_ended_is_taken_and_later_votes_of_it_are_judged() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    assert govern(chat, RemoveValidator("validator-4"), members=FOUNDERS[:3]) is ResultCode.OK
    notarize(chat, "second")
    node = chat.nodes["validator-1"]
    assert node.engine.term.epoch.number == 1
    header, certificate = node.ledger.header_at(2) or (None, None)
    assert header is not None
    assert certificate is not None
    guilty = certificate.votes[-1].validator
    name = GOVERNED.validators.validators[guilty].validator_id
    subject = replace(certificate.subject, header_digest=bytes(32))
    message = subject.sign_bytes(GOVERNED.chain_id, GOVERNED.validators, 5)
    cast = Vote(subject, guilty, 5, signer(name).sign(message), 0)
    node.engine.receive(1, [encode_message(cast)], chat.now)
    (evidence,) = node.engine.evidence
    assert evidence.charge == Charge(0, Offence.COMMIT, guilty)
    other = chat.nodes["validator-2"].engine
    other.receive(0, [encode_message(Accusations((evidence,)))], chat.now)
    assert other.evidence == (evidence,)
    assert [each.validator_id for each in other.accused] == (
        [name] if name != "validator-4" else []
    )
