"""Which consensus messages are acceptable at all: sound ones pass, each broken rule is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader, Header, TransactionRoots
from node.chain.certificate import Phase, Subject, build_certificate
from node.consensus.messages import NewView, Proposal, ViewChange
from node.consensus.verification import Verifier
from node.crypto.hashing import Hasher, HashFunction
from node.errors import PeerError
from tests.unit.consensus.signing import (
    QUORUM,
    certified,
    chain_of_blocks,
    new_view,
    validator_signer,
    view_change,
    vote,
    vote_on,
)
from tests.unit.execution.small_chain import GENESIS

WINDOW = GENESIS.parameters.window_slots
BLOCKS = chain_of_blocks(5)
HEADERS = [block.header for block in BLOCKS]
COMMITTED = [certified(header, Phase.COMMIT) for header in HEADERS[1:3]]
ORPHAN = certified(replace(HEADERS[2], parent=bytes(32)), Phase.COMMIT)
ABOVE_A_GAP = certified(replace(HEADERS[2], height=3), Phase.COMMIT)
PREPARED = [certified(header, Phase.PREPARE) for header in HEADERS[3:5]]
HASHES = tuple(verified.transaction.tx_hash for verified in BLOCKS[1].transactions)


def verifier() -> Verifier:
    return Verifier(GENESIS.chain_id, GENESIS.validators, GENESIS.suite, WINDOW)


def full(validator: int, view: int = 2) -> ViewChange:
    return view_change(validator, view, committed=COMMITTED, prepared=PREPARED)


def signed(message: ViewChange, validator: int = 0) -> ViewChange:
    """Return the message signed anew, after a change."""
    signature = validator_signer(validator).sign(message.sign_bytes(GENESIS.chain_id))
    return replace(message, signature=signature)


def proposal(header: Header = HEADERS[1], voter: int = 0) -> Proposal:
    return Proposal(header, HASHES, vote(Phase.PREPARE, header.view, header, voter))


def test_sound_messages_pass() -> None:
    check = verifier()
    assert check.check_proposal(proposal()) == BLOCKS[1].digest
    check.check_decided(COMMITTED[0])
    check.check_view_change(view_change(3, 1))
    check.check_view_change(full(0))
    check.check_new_view(new_view(2, [full(validator) for validator in QUORUM]))


def test_the_root_of_a_list_that_was_checked_is_known_to_who_executes_the_block() -> None:
    hashed = 0

    def counting(data: bytes = b"", /) -> Hasher:
        nonlocal hashed
        hashed += 1
        return GENESIS.suite.new_hash(data)

    roots = TransactionRoots(HashFunction(counting))
    replace(verifier(), tx_roots=roots).check_tx_root(HEADERS[1], HASHES)
    spent = hashed
    assert roots.of(HASHES) == HEADERS[1].tx_root
    assert hashed == spent > 0


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (proposal(voter=1), "proposal-vote"),
        (replace(proposal(), header=HEADERS[2]), "proposal-vote"),
        (replace(proposal(), header=replace(HEADERS[1], state_root=bytes(32))), "proposal-vote"),
        (replace(proposal(), header=replace(HEADERS[1], time_ms=1)), "proposal-vote"),
        (replace(proposal(), vote=vote(Phase.COMMIT, 0, HEADERS[1], 0)), "proposal-vote"),
        (replace(proposal(), vote=vote(Phase.PREPARE, 1, HEADERS[1], 0)), "proposal-vote"),
        (replace(proposal(), tx_hashes=()), "tx-root"),
        (replace(proposal(), tx_hashes=(*HASHES, *HASHES)), "tx-root"),
        (
            replace(proposal(), vote=replace(proposal().vote, signature=bytes(64))),
            "proposal-signature",
        ),
    ],
)
def test_a_proposal_that_breaks_a_rule(message: Proposal, rule: str) -> None:
    with pytest.raises(PeerError) as refused:
        verifier().check_proposal(message)
    assert refused.value.rule == rule


OF_ANOTHER_CHAIN = replace(HEADERS[1], chain_id=bytes(32))
OF_ANOTHER_EPOCH = replace(HEADERS[1], epoch=1)
OF_A_LATER_VIEW = replace(HEADERS[1], view=1)
ELSEWHERE = Subject(Phase.COMMIT, 0, 2, BLOCKS[1].digest)
AT_ANOTHER_HEIGHT = CertifiedHeader(
    HEADERS[1],
    build_certificate([vote_on(ELSEWHERE, voter) for voter in QUORUM], GENESIS.validators),
)
"""What a quorum signed about a header, but for a height that is not its own."""


@pytest.mark.parametrize(
    ("decided", "rule"),
    [
        (certified(HEADERS[1], Phase.PREPARE), "certified-phase"),
        (certified(OF_ANOTHER_CHAIN, Phase.COMMIT), "certified-chain"),
        (certified(OF_ANOTHER_EPOCH, Phase.COMMIT), "certified-chain"),
        (replace(COMMITTED[0], header=HEADERS[2]), "certified-header"),
        (replace(COMMITTED[0], header=replace(HEADERS[1], time_ms=1)), "certified-header"),
        (AT_ANOTHER_HEIGHT, "certified-header"),
        (certified(OF_A_LATER_VIEW, Phase.COMMIT, view=0), "certified-view"),
        (certified(HEADERS[1], Phase.COMMIT, voters=(0, 1)), "certificate-quorum"),
    ],
)
def test_a_decided_header_that_breaks_a_rule(decided: CertifiedHeader, rule: str) -> None:
    with pytest.raises(PeerError) as refused:
        verifier().check_decided(decided)
    assert refused.value.rule == rule


def test_a_certificate_is_remembered_by_its_very_bytes() -> None:
    check = verifier()
    check.check_decided(COMMITTED[0])
    (first, *rest) = COMMITTED[0].certificate.votes
    altered = replace(first, signature=bytes(64))
    forged = replace(COMMITTED[0].certificate, votes=(altered, *rest))
    with pytest.raises(PeerError, match="certificate-signature"):
        check.check_decided(replace(COMMITTED[0], certificate=forged))


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (signed(replace(full(0), epoch=1)), "view-change-epoch"),
        (replace(full(0), validator=4), "view-change-epoch"),
        (view_change(0, 0), "view-change-view"),
        (replace(full(0), validator=1), "view-change-signature"),
        (replace(full(0), clock_ms=0), "view-change-signature"),
        (view_change(0, 2, committed=COMMITTED[1:]), "view-change-committed"),
        (view_change(0, 2, committed=(COMMITTED[0], PREPARED[0])), "view-change-chain"),
        (view_change(0, 2, committed=(COMMITTED[0], ORPHAN)), "view-change-chain"),
        (view_change(0, 2, committed=(COMMITTED[0], ABOVE_A_GAP)), "view-change-chain"),
        (
            view_change(0, 2, committed=(certified(HEADERS[1], Phase.PREPARE), COMMITTED[1])),
            "certified-phase",
        ),
        (view_change(0, 2, committed=COMMITTED, prepared=PREPARED[::-1]), "view-change-prepared"),
        (
            view_change(0, 2, committed=COMMITTED, prepared=(PREPARED[0], PREPARED[0])),
            "view-change-prepared",
        ),
        (
            view_change(0, 2, prepared=(certified(HEADERS[WINDOW + 1], Phase.PREPARE),)),
            "view-change-prepared",
        ),
        (
            view_change(0, 2, prepared=(certified(HEADERS[1], Phase.PREPARE, voters=(0, 1)),)),
            "certificate-quorum",
        ),
        (
            view_change(0, 2, prepared=(replace(PREPARED[0], header=HEADERS[1]),)),
            "certified-header",
        ),
        (
            view_change(0, 2, prepared=(certified(HEADERS[1], Phase.PREPARE, view=2),)),
            "view-change-later",
        ),
        (
            view_change(0, 2, committed=(certified(HEADERS[1], Phase.COMMIT, view=3),)),
            "view-change-later",
        ),
    ],
)
def test_a_view_change_that_breaks_a_rule(message: ViewChange, rule: str) -> None:
    with pytest.raises(PeerError) as refused:
        verifier().check_view_change(message)
    assert refused.value.rule == rule


OF_QUORUM = [full(validator) for validator in QUORUM]
SOUND = new_view(2, OF_QUORUM)


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (new_view(2, OF_QUORUM[:2]), "new-view-quorum"),
        (new_view(2, [*OF_QUORUM[:2], OF_QUORUM[1]]), "new-view-quorum"),
        (new_view(2, OF_QUORUM[::-1]), "new-view-quorum"),
        (replace(SOUND, epoch=1), "new-view-epoch"),
        (new_view(2, [*OF_QUORUM[:2], full(2, view=3)]), "new-view-view"),
        (replace(SOUND, view_changes=(*OF_QUORUM[:2], full(3))), "new-view-signature"),
        (
            new_view(2, [*OF_QUORUM[:2], replace(full(2), clock_ms=0)]),
            "view-change-signature",
        ),
    ],
)
def test_a_new_view_that_breaks_a_rule(message: NewView, rule: str) -> None:
    with pytest.raises(PeerError) as refused:
        verifier().check_new_view(message)
    assert refused.value.rule == rule
