"""What is remembered of what validators sign, for how long, and what is told of it to whom.

Told to the part itself, with no engine around it; test_misconduct.py has the rest.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import Header
from node.chain.certificate import Phase, Vote
from node.chain.epoch import Anchor, Epoch
from node.chain.evidence import Charge, Evidence, Offence, Statement
from node.chain.governance import SetParameters
from node.chain.membership import ValidatorSet
from node.errors import PeerError
from node.execution.apply import Executor
from node.service import misconduct
from node.service.misconduct import BLOCKS_REMEMBERED, VOTES_REMEMBERED, Misconduct, in_messages
from node.service.output import Outlet
from node.service.term import Roster, Term
from node.service.wire import Accusations, MessageKind, decode_message
from node.storage.ledger import LedgerStore
from node.storage.memory import MemoryStore
from tests.unit.consensus.signing import (
    chain_of_blocks,
    evidence_against,
    two_view_changes,
    validator_signer,
    vote,
)
from tests.unit.execution.governed_chain import GOVERNED, statement
from tests.unit.execution.small_chain import GENESIS, signer
from tests.unit.service.chatting import Chat, govern, notarize

HEADER = chain_of_blocks(1)[1].header
OTHER = replace(HEADER, time_ms=HEADER.time_ms + 1)
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
FORGED = bytes(64)


def term_of(epoch: int) -> Term:
    """Return an epoch of the founders as the fourth of them sees it."""
    validators = ValidatorSet(epoch, GENESIS.validators.validators, GENESIS.suite)
    rules = Epoch(GENESIS.chain_id, validators, GENESIS.parameters)
    return Term.of(rules, Anchor(0, bytes(32)), FOUNDERS[3], Roster(GENESIS.validators))


class Watch:
    """The part, in an epoch, and what it has sent."""

    def __init__(self, epoch: int = 0) -> None:
        self.outlet = Outlet(view=lambda: 0)
        ledger = LedgerStore.open(MemoryStore(), GENESIS.suite, Executor(GENESIS).genesis_block())
        self.part = Misconduct(
            term=term_of(epoch), founders=GENESIS.validators, ledger=ledger, outlet=self.outlet
        )

    def hear(self, peer: int, *votes: Vote) -> Watch:
        for each in votes:
            self.part.hear(peer, each)
        return self

    def votes_sent(self) -> list[tuple[int | None, Vote]]:
        size = GENESIS.suite.signature_size
        sent = [(each.to, decode_message(each.data, size)) for each in self.outlet.drain().messages]
        return [(to, message) for to, message in sent if isinstance(message, Vote)]

    def accused(self) -> list[int]:
        return [each.validator for each in self.part.evidence]


def moved(cast: Vote, *, view: int = 0, height: int = 1, epoch: int = 0) -> Vote:
    """Return a vote for another place, signed no more."""
    return replace(cast, subject=replace(cast.subject, view=view, height=height), epoch=epoch)


COMMITS = [vote(Phase.COMMIT, 0, header, 2) for header in (HEADER, OTHER)]
PREPARES = [vote(Phase.PREPARE, 0, header, 2) for header in (HEADER, OTHER)]
OFFERS = [vote(Phase.PREPARE, 0, header, 0) for header in (HEADER, OTHER)]
"""Of the primary."""


# --- What is remembered ---


def test_what_a_voter_brings_itself_is_remembered_unchecked() -> None:
    assert Watch().hear(2, *COMMITS).accused() == [2]


@pytest.mark.parametrize(("away", "accused"), [(0, [2]), (1, [])])
def test_votes_far_from_the_newest_block_are_not_remembered(away: int, accused: list[int]) -> None:
    far = [
        vote(Phase.COMMIT, 0, replace(header, height=BLOCKS_REMEMBERED + away), 2)
        for header in (HEADER, OTHER)
    ]
    assert Watch().hear(2, *far).accused() == accused


@pytest.mark.parametrize(("peer", "epoch"), [(1, 0), (2, 1)])
def test_what_another_brings_or_is_of_another_epoch_pushes_out_no_vote(
    peer: int, epoch: int
) -> None:
    watch = Watch()
    watch.part.note_vote(COMMITS[0])
    for view in range(1, VOTES_REMEMBERED + 1):
        watch.hear(peer, moved(COMMITS[0], view=view, epoch=epoch))
    assert watch.hear(2, COMMITS[1]).accused() == [2]


@pytest.mark.parametrize(("more", "accused"), [(VOTES_REMEMBERED - 1, [2]), (VOTES_REMEMBERED, [])])
def test_so_many_votes_of_a_validator_are_remembered(more: int, accused: list[int]) -> None:
    watch = Watch()
    watch.part.note_vote(COMMITS[0])
    for view in range(1, more + 1):
        watch.part.note_vote(moved(COMMITS[0], view=view))
    assert watch.hear(2, COMMITS[1]).accused() == accused


def test_a_forged_vote_gives_way_to_one_that_was_checked() -> None:
    watch = Watch().hear(2, replace(COMMITS[0], signature=FORGED), COMMITS[1])
    assert watch.accused() == []
    assert watch.hear(2, COMMITS[0]).accused() == [2]


@pytest.mark.parametrize(
    "other",
    [
        replace(OFFERS[0], signature=FORGED),
        replace(OFFERS[0], time_ms=OFFERS[0].time_ms + 1),
        replace(OFFERS[0], subject=OFFERS[1].subject),
    ],
)
def test_what_came_unchecked_is_not_taken_for_the_checked_vote_that_it_resembles(
    other: Vote,
) -> None:
    watch = Watch().hear(0, other)
    watch.part.note_vote(OFFERS[0])
    assert watch.hear(2, PREPARES[1]).votes_sent() == [(2, OFFERS[0])]


def test_what_votes_for_a_block_have_in_common_is_held_once() -> None:
    watch = Watch()
    for cast in (OFFERS[0], PREPARES[0]):
        watch.part.note_vote(cast)
    votes = watch.part._votes  # noqa: SLF001 - how much memory it takes shows nowhere else
    (offered,), (prepared,) = (votes[validator].values() for validator in (0, 2))
    assert (offered.vote, prepared.vote) == (OFFERS[0], PREPARES[0])
    assert prepared.vote.subject is offered.vote.subject is not PREPARES[0].subject


def test_what_is_proven_needs_no_second_proof() -> None:
    watch = Watch().hear(2, *COMMITS)
    again = vote(Phase.COMMIT, 0, replace(HEADER, time_ms=HEADER.time_ms + 2), 2)
    watch.hear(2, replace(again, signature=FORGED))
    with pytest.raises(PeerError):
        Watch().hear(2, COMMITS[0], replace(again, signature=FORGED))


def test_a_forged_view_change_of_who_is_proven_guilty_is_nobodys_fault() -> None:
    watch = Watch()
    one, other = two_view_changes(2)
    watch.part.note(one)
    with pytest.raises(PeerError):
        watch.part.hear(1, replace(other, signature=FORGED))
    watch.part.hear(2, other)
    assert watch.accused() == [2]
    watch.part.hear(1, replace(other, signature=FORGED))


# --- Who is shown what the primary signed ---


def test_who_prepares_another_header_is_shown_the_one_of_the_primary() -> None:
    watch = Watch()
    watch.part.note_vote(OFFERS[0])
    assert watch.hear(2, PREPARES[0]).votes_sent() == []
    assert watch.hear(2, PREPARES[1]).votes_sent() == [(2, OFFERS[0])]


def test_nobody_is_shown_anything_for_what_another_brought_or_committed() -> None:
    watch = Watch()
    watch.part.note_vote(OFFERS[0])
    watch.part.note_vote(vote(Phase.COMMIT, 0, HEADER, 0))
    watch.hear(1, PREPARES[1]).hear(2, COMMITS[1])
    assert watch.votes_sent() == []


def test_what_nobody_checked_is_shown_to_nobody() -> None:
    assert Watch().hear(0, OFFERS[0]).hear(2, PREPARES[1]).votes_sent() == []
    replaced = Watch().hear(0, replace(OFFERS[1], signature=FORGED), OFFERS[0])
    assert replaced.hear(2, PREPARES[1]).votes_sent() == [(2, OFFERS[0])]


def test_the_primary_is_not_shown_its_own_vote() -> None:
    watch = Watch()
    watch.part.note_vote(OFFERS[0])
    assert watch.hear(0, OFFERS[1]).votes_sent() == []
    assert watch.accused() == [0]


def test_votes_of_an_epoch_that_ended_are_answered_by_nothing() -> None:
    watch = Watch()
    watch.part.note_vote(OFFERS[0])
    watch.part.begin(term_of(1))
    assert watch.hear(2, PREPARES[1]).votes_sent() == []


# --- The sets of epochs ---


def test_evidence_of_the_epoch_in_force_needs_no_look_into_the_ledger() -> None:
    """Which may begin with a later block than where the epoch begins."""
    watch = Watch(epoch=1)
    validators = watch.part._validators  # noqa: SLF001 - the set in force

    def cast(header: Header) -> Vote:
        subject = vote(Phase.COMMIT, 0, header, 2).subject
        message = subject.sign_bytes(GENESIS.chain_id, validators, 5)
        return Vote(subject, 2, 5, validator_signer(2).sign(message), 1)

    evidence = Evidence.of(cast(HEADER), cast(OTHER), validators)
    watch.part.take(Accusations((evidence,)))
    assert watch.accused() == [2]


def test_votes_of_an_epoch_between_the_first_and_this_are_judged() -> None:
    chat = Chat(*FOUNDERS)
    parameters = GOVERNED.parameters
    for timeout_ms in (900, 901):
        notarize(chat, f"before {timeout_ms}")
        slower = SetParameters(replace(parameters, view_timeout_ms=timeout_ms))
        govern(chat, slower, members=FOUNDERS)
    node = chat.nodes["validator-1"]
    assert node.engine.term.epoch.number == 2
    second = ValidatorSet(1, GOVERNED.validators.validators, GOVERNED.suite)
    _, certificate = node.ledger.header_at(3) or (None, None)
    assert certificate is not None
    assert certificate.epoch == 1
    guilty = certificate.votes[-1].validator
    subject = replace(certificate.subject, header_digest=bytes(32))
    message = subject.sign_bytes(GOVERNED.chain_id, second, 5)
    signature = signer(FOUNDERS[guilty]).sign(message)
    watching = node.engine._misconduct  # noqa: SLF001 - no other message brings it
    watching.hear(guilty, Vote(subject, guilty, 5, signature, 1))
    assert [each.charge for each in watching.evidence] == [Charge(1, Offence.COMMIT, guilty)]


def test_checkpoints_of_an_epoch_that_had_not_that_height_contradict_each_other() -> None:
    chat = Chat(*FOUNDERS)
    notarize(chat, "first")
    slower = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900))
    govern(chat, slower, members=FOUNDERS)
    notarize(chat, "second")
    node = chat.nodes["validator-1"]
    watching = node.engine._misconduct  # noqa: SLF001 - no message brings it
    assert (node.ledger.header.height, node.ledger.header.epoch) == (3, 1)
    for time_ms in (1, 2):
        watching.note_checkpoint(
            statement(FOUNDERS[3], replace(node.ledger.header, epoch=0, time_ms=time_ms))
        )
    assert [each.charge for each in watching.evidence] == [Charge(0, Offence.CHECKPOINT, 3)]


# --- How much of it ---


@pytest.mark.parametrize(("short", "accused"), [(0, [1]), (1, [])])
def test_evidence_that_is_too_long_is_not_kept(
    short: int, accused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence, watch = evidence_against(1), Watch()
    monkeypatch.setattr(misconduct, "EVIDENCE_BYTES_MAX", len(evidence.encode()) - short)
    watch.part.take(Accusations((evidence,)))
    assert watch.accused() == accused


def test_messages_are_filled_to_the_brim_and_none_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = evidence_against(1)
    long = replace(evidence, first=Statement(bytes(5_000_000), 0, b""))
    assert [len(each.evidence) for each in in_messages([long, evidence])] == [1, 1]
    monkeypatch.setattr(misconduct, "MESSAGE_BYTES_AIM", 2 * len(evidence.encode()))
    assert [len(each.evidence) for each in in_messages([evidence] * 3)] == [2, 1]


def test_an_accusation_is_sent_to_all() -> None:
    watch = Watch().hear(2, *COMMITS)
    (sent,) = watch.outlet.drain().messages
    assert (sent.to, sent.kind) == (None, MessageKind.EVIDENCE)
