"""Proofs of standing: what they attest, alone and beside a receipt, and where they fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader
from node.chain.record import RecordAction
from node.chain.reference import ReferenceName
from node.chain.state_tree import StateLeaf
from node.timestamp.receipt import Receipt
from node.timestamp.standing import (
    STANDING_PREFIX,
    Fate,
    StandingAttestation,
    StandingProof,
    StandingStep,
    StandingVerdict,
    verify_standing,
)
from node.timestamp.steps import Outcome
from node.timestamp.trust import load_trust
from tests.unit.timestamp import independent_proofs
from tests.unit.timestamp.independent_verifier import Trust
from tests.vectors.receipt.chain import CREATED_MS, SUITE, certify, seed, validator_set
from tests.vectors.standing.chain import (
    StandingChain,
    absent_beside_another,
    absent_beside_nothing,
    name_of,
    record_under,
)

SUPERSEDE, WITHDRAW = RecordAction.SUPERSEDE, RecordAction.WITHDRAW
LICENCE = name_of("licence-1")


@pytest.fixture
def chain() -> StandingChain:
    """Return a chain: recorded at 1, superseded at 2, withdrawn at 3, and an empty block."""
    chain = StandingChain.found()
    chain.append(record_under("licence-1", b"one"), record_under("other", b"other"))
    chain.append(record_under("licence-1", b"two", SUPERSEDE))
    chain.append(record_under("licence-1", b"decision", WITHDRAW))
    chain.append()
    return chain


def verify(
    chain: StandingChain,
    proof: StandingProof,
    name: ReferenceName | None = None,
    receipt: Receipt | None = None,
    *,
    pinned: int | None = None,
) -> StandingVerdict:
    """Verify by our own code and by the one written from the page: they have to agree."""
    trust = chain.trust(pinned).encode()
    verdict = verify_standing(proof.encode(), load_trust(trust), name, receipt)
    named = None if name is None else [*name.to_value()]
    encoded = None if receipt is None else receipt.encode()
    theirs = independent_proofs.verify_standing(proof.encode(), Trust(trust), named, encoded)
    assert theirs == (verdict.outcome.value, verdict.failure and verdict.failure.step)
    return verdict


def attested(verdict: StandingVerdict) -> StandingAttestation:
    assert verdict.outcome is Outcome.VERIFIED, verdict.failure
    assert verdict.attestation is not None
    return verdict.attestation


def failed_at(verdict: StandingVerdict) -> tuple[StandingStep, str]:
    assert verdict.outcome is Outcome.NOT_VERIFIED
    assert verdict.attestation is None
    assert verdict.failure is not None
    return StandingStep(verdict.failure.step), verdict.failure.detail.partition(":")[0]


# --- What is attested ---


@pytest.mark.parametrize(
    ("height", "fate", "count"),
    [(1, Fate.IN_FORCE, 1), (2, Fate.IN_FORCE, 2), (4, Fate.WITHDRAWN, 3)],
)
def test_a_proof_says_what_stands_after_its_block(
    chain: StandingChain, height: int, fate: Fate, count: int
) -> None:
    found = attested(verify(chain, chain.proof(LICENCE, height), LICENCE))
    assert (found.fate, found.name, found.height) == (fate, LICENCE, height)
    assert found.time_ms == found.known_ms == CREATED_MS + 1_000 * height
    assert found.status is not None
    assert (found.status.version, found.status.height) == (count, min(height, 3))
    assert found.signers == ("validator-1", "validator-2", "validator-3")
    assert (found.validator_count, found.accuracy_ms) == (4, 1_000)


def test_absence_is_shown_beside_another_leaf_beside_nothing_and_in_an_empty_state() -> None:
    chain = StandingChain.found(neighbours=40)
    chain.append()
    for name in (absent_beside_another(chain, 1), absent_beside_nothing(chain, 1)):
        found = attested(verify(chain, chain.proof(name, 1), name))
        assert (found.fate, found.status) == (Fate.ABSENT, None)
    bare = StandingChain.found(neighbours=0)
    bare.append()
    assert attested(verify(bare, bare.proof(LICENCE, 1))).fate is Fate.ABSENT


def test_the_same_reference_of_another_issuer_or_type_is_another(chain: StandingChain) -> None:
    for name in (name_of("licence-1", issuer="agency-9"), name_of("licence-1", "seal")):
        assert attested(verify(chain, chain.proof(name, 4), name)).fate is Fate.ABSENT
        assert failed_at(verify(chain, chain.proof(name, 4), LICENCE)) == (
            StandingStep.NAME,
            "standing-name",
        )


def test_a_degraded_time_is_not_vouched_for() -> None:
    chain = StandingChain.found()
    chain.append(record_under("licence-1", b"one"), degraded=True)
    found = attested(verify(chain, chain.proof(LICENCE, 1)))
    assert (found.time_degraded, found.accuracy_ms) == (True, None)
    assert found.known_ms == found.seal_time_ms == CREATED_MS + 1_047


# --- Epochs ---


def test_proofs_lead_over_handovers_and_a_retired_epoch_is_not_rooted() -> None:
    chain = StandingChain.found()
    chain.append(record_under("licence-1", b"one"))
    chain.append(next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(record_under("licence-1", b"two", SUPERSEDE))
    assert attested(verify(chain, chain.proof(LICENCE, 3))).validator_count == 5
    assert attested(verify(chain, chain.proof(LICENCE, 3), pinned=1)).fate is Fate.IN_FORCE
    old = verify(chain, chain.proof(LICENCE, 1), pinned=3)
    assert old.outcome is Outcome.NOT_ROOTED
    assert old.failure is not None
    assert old.failure.step is StandingStep.ROOT
    other = load_trust(StandingChain.found().trust().encode())
    another = StandingChain(type(chain.chain).found("another"), chain.states[:1])
    another.append()
    foreign = verify_standing(another.proof(LICENCE, 1).encode(), other)
    assert foreign.outcome is Outcome.NOT_ROOTED


# --- Beside a receipt ---


def test_the_fate_of_a_record_is_told_beside_its_receipt(chain: StandingChain) -> None:
    first, second, withdrawal = (chain.receipt(height) for height in (1, 2, 3))
    for receipt, height, fate in (
        (first, 1, Fate.IN_FORCE),
        (first, 2, Fate.SUPERSEDED),
        (first, 4, Fate.WITHDRAWN),
        (second, 2, Fate.IN_FORCE),
        (second, 3, Fate.WITHDRAWN),
        (withdrawal, 4, Fate.WITHDRAWN),
    ):
        found = attested(verify(chain, chain.proof(LICENCE, height), receipt=receipt))
        assert found.fate is fate, (receipt.leaf.height, height)


def test_what_was_withdrawn_stays_withdrawn_whatever_is_recorded_later(
    chain: StandingChain,
) -> None:
    chain.append(record_under("licence-1", b"three"))
    chain.append(record_under("licence-1", b"four", SUPERSEDE))
    first, second, withdrawal, third, fourth = (chain.receipt(height) for height in (1, 2, 3, 5, 6))
    for receipt, height, fate in (
        (first, 5, Fate.WITHDRAWN),
        (second, 5, Fate.WITHDRAWN),
        (withdrawal, 5, Fate.WITHDRAWN),
        (third, 5, Fate.IN_FORCE),
        (second, 6, Fate.WITHDRAWN),
        (third, 6, Fate.SUPERSEDED),
        (fourth, 6, Fate.IN_FORCE),
    ):
        found = attested(verify(chain, chain.proof(LICENCE, height), receipt=receipt))
        assert found.fate is fate, (receipt.leaf.height, height)
        alone = attested(verify(chain, chain.proof(LICENCE, height), LICENCE))
        assert alone.fate is Fate.IN_FORCE


def test_what_cannot_speak_of_the_record_fails_at_step_8(chain: StandingChain) -> None:
    chain.append(record_under(None, b"plain"))
    first, second = chain.receipt(1), chain.receipt(2)
    plain = chain.receipt(5)
    other = name_of("other")
    fork = StandingChain.found()
    fork.append(record_under("other", b"other"))
    for _ in range(4):
        fork.append(record_under(None, b"else"))
    for proof, receipt, rule in (
        (chain.proof(LICENCE, 1), second, "standing-older"),
        (chain.proof(other, 4), first, "standing-record"),
        (chain.proof(LICENCE, 5), plain, "standing-record"),
        (fork.proof(LICENCE, 1), first, "history-fork"),
    ):
        found = failed_at(verify(chain, proof, receipt=receipt))
        assert found == (StandingStep.RECORD, rule)


def test_a_state_that_contradicts_the_receipt_fails_though_a_quorum_signed_it(
    chain: StandingChain,
) -> None:
    """A quorum that lies cannot be told from headers alone; what it signed contradicts itself."""
    first, second = chain.receipt(1), chain.receipt(2)
    block = chain.chain.blocks[3]

    def signed_over(height: int, name: ReferenceName = LICENCE) -> StandingProof:
        """Return the proof of an older state, as if it were that of height 4."""
        header = replace(block.header, state_root=chain.states[height].root)
        lie = CertifiedHeader(header, certify(header, chain.chain.validators))
        return replace(chain.proof(name, height), block=lie)

    empty = replace(signed_over(1), block=signed_over(1).block)
    assert attested(verify(chain, empty, receipt=first)).fate is Fate.IN_FORCE
    assert failed_at(verify(chain, signed_over(1), receipt=second)) == (
        StandingStep.RECORD,
        "standing-contradicts",
    )
    missing = StandingChain.found()
    missing.append(record_under("other", b"other"))
    header = replace(block.header, state_root=missing.states[1].root)
    absent = replace(
        missing.proof(LICENCE, 1),
        block=CertifiedHeader(header, certify(header, chain.chain.validators)),
    )
    assert failed_at(verify(chain, absent, receipt=first)) == (
        StandingStep.RECORD,
        "standing-contradicts",
    )


# --- What fails alone ---


def test_another_status_absence_or_path_does_not_lead_to_the_root(chain: StandingChain) -> None:
    proof = chain.proof(LICENCE, 4)
    absent = chain.proof(absent_beside_another(chain, 4), 4)
    assert proof.status is not None
    siblings = proof.proof.siblings
    for changed in (
        replace(proof, status=chain.status(LICENCE, 2)),
        replace(proof, status=None),
        replace(proof, name=name_of("licence-2")),
        replace(absent, name=LICENCE),
        replace(absent, status=proof.status),
        replace(absent, proof=replace(absent.proof, other_leaf=None)),
        replace(proof, proof=replace(proof.proof, other_leaf=StateLeaf(seed("a"), seed("b")))),
        replace(proof, proof=replace(proof.proof, siblings=(*siblings, bytes(32)))),
        replace(proof, proof=replace(proof.proof, siblings=siblings[1:])),
        replace(proof, proof=replace(proof.proof, siblings=siblings[::-1] + siblings)),
    ):
        step, rule = failed_at(verify(chain, changed))
        assert step is StandingStep.STATE
        assert rule.startswith("state-")


def test_a_certificate_of_another_header_or_set_does_not_count(chain: StandingChain) -> None:
    proof = chain.proof(LICENCE, 4)
    third = chain.chain.blocks[2]
    mixed = CertifiedHeader(proof.block.header, third.certificate)
    assert failed_at(verify(chain, replace(proof, block=mixed)))[0] is StandingStep.CERTIFICATE
    strangers = validator_set(0, (6, 7, 8, 9))
    forged = CertifiedHeader(proof.block.header, certify(proof.block.header, strangers))
    assert failed_at(verify(chain, replace(proof, block=forged)))[0] is StandingStep.SIGNATURES
    few = certify(proof.block.header, chain.chain.validators)
    few = replace(few, votes=few.votes[:2])
    short = CertifiedHeader(proof.block.header, few)
    assert failed_at(verify(chain, replace(proof, block=short)))[0] is StandingStep.SIGNATURES
    fork = StandingChain.found()
    for _ in range(4):
        fork.append(record_under(None, b"else"))
    assert failed_at(verify(chain, fork.proof(LICENCE, 4), pinned=4))[0] is StandingStep.HISTORY


def test_every_bit_counts_and_nothing_crashes(chain: StandingChain) -> None:
    anchor = load_trust(chain.trust().encode())
    for name in (LICENCE, absent_beside_another(chain, 4)):
        encoded = chain.proof(name, 4).encode()
        assert encoded.startswith(STANDING_PREFIX)
        assert StandingProof.decode(encoded).encode() == encoded
        assert verify_standing(encoded, anchor).outcome is Outcome.VERIFIED
        for position in range(len(encoded)):
            flipped = bytearray(encoded)
            flipped[position] ^= 1 << position % 8
            verdict = verify_standing(bytes(flipped), anchor, name)
            assert verdict.outcome is not Outcome.VERIFIED, position
            assert verdict.failure is not None
        for cut in (b"", encoded[:-1], encoded + b"\0"):
            assert failed_at(verify_standing(cut, anchor))[0] is StandingStep.PROOF


def test_a_receipt_is_no_proof_of_standing(chain: StandingChain) -> None:
    anchor = load_trust(chain.trust().encode())
    verdict = verify_standing(chain.receipt(1).encode(), anchor)
    assert failed_at(verdict)[0] is StandingStep.PROOF
    assert not chain.receipt(1).encode().startswith(STANDING_PREFIX)
    assert chain.proof(LICENCE, 1).suite is SUITE
