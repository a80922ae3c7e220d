"""Proofs of consistency: what they attest, and where they fail."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader
from node.timestamp.consistency import (
    CONSISTENCY_PREFIX,
    ConsistencyProof,
    ConsistencyStep,
    ConsistencyVerdict,
    verify_consistency_proof,
)
from node.timestamp.steps import Outcome
from node.timestamp.trust import load_trust
from tests.unit.timestamp import independent_proofs
from tests.unit.timestamp.independent_verifier import Trust
from tests.vectors.receipt.chain import certify, seed, validator_set
from tests.vectors.standing.chain import StandingChain, record_under


@pytest.fixture(scope="module")
def chain() -> StandingChain:
    """Return seven blocks of two epochs, of 1 to 4 leaves each."""
    chain = StandingChain.found()
    for number in range(6):
        records = [record_under(None, b"%d %d" % (number, at)) for at in range(number % 4)]
        ends = {"next_set": validator_set(1, (1, 2, 3, 4, 5))} if number == 3 else {}
        chain.append(*records, **ends)
    chain.append()
    return chain


def verify(
    chain: StandingChain, proof: ConsistencyProof, *, pinned: int | None = None
) -> ConsistencyVerdict:
    """Verify by our own code and by the one written from the page: they have to agree."""
    trust = chain.trust(pinned).encode()
    verdict = verify_consistency_proof(proof.encode(), load_trust(trust))
    theirs = independent_proofs.verify_consistency(proof.encode(), Trust(trust))
    assert theirs == (verdict.outcome.value, verdict.failure and verdict.failure.step)
    return verdict


def failed_at(verdict: ConsistencyVerdict) -> ConsistencyStep:
    assert verdict.outcome is Outcome.NOT_VERIFIED
    assert verdict.attestation is None
    assert verdict.failure is not None
    return ConsistencyStep(verdict.failure.step)


def test_any_two_heights_are_joined(chain: StandingChain) -> None:
    for old in range(1, chain.height):
        for new in range(old + 1, chain.height + 1):
            attested = verify(chain, chain.consistency(old, new)).attestation
            assert attested is not None
            assert (attested.old.height, attested.new.height) == (old, new)
            assert attested.validator_count == (4 if new <= 4 else 5)


def test_an_old_header_of_a_retired_epoch_is_joined_and_a_new_one_is_not_rooted(
    chain: StandingChain,
) -> None:
    assert verify(chain, chain.consistency(1, 7), pinned=6).outcome is Outcome.VERIFIED
    verdict = verify(chain, chain.consistency(1, 2), pinned=6)
    assert verdict.outcome is Outcome.NOT_ROOTED


def test_heights_have_to_rise(chain: StandingChain) -> None:
    proof = chain.consistency(2, 5)
    later = chain.chain.blocks[4].header
    for old in (later, chain.chain.blocks[5].header, replace(proof.old, epoch=2)):
        assert failed_at(verify(chain, replace(proof, old=old))) is ConsistencyStep.ORDER
    for field in ("time_ms", "log_size"):
        old = replace(proof.old, **{field: getattr(later, field) - 2})  # three blocks below
        assert failed_at(verify(chain, replace(proof, old=old))) is ConsistencyStep.ORDER


def test_a_log_that_is_no_prefix_fails(chain: StandingChain) -> None:
    proof = chain.consistency(2, 5)
    for changed in (
        replace(proof, old=replace(proof.old, log_roots=(seed("another log"),))),
        replace(proof, old=replace(proof.old, log_size=0)),
        replace(proof, log_path=proof.log_path[:-1]),
        replace(proof, log_path=(*proof.log_path, seed("more"))),
        replace(proof, log_path=(seed("another"), *proof.log_path[1:])),
    ):
        assert failed_at(verify(chain, changed)) is ConsistencyStep.LOG


def test_an_old_header_that_the_log_does_not_hold_fails(chain: StandingChain) -> None:
    proof = chain.consistency(2, 5)
    for changed in (
        replace(proof, old=replace(proof.old, state_root=seed("another state"))),
        replace(proof, old=replace(proof.old, time_ms=proof.old.time_ms - 1)),
        replace(proof, header_path=proof.header_path[:-1]),
        replace(proof, header_path=(seed("another"), *proof.header_path[1:])),
    ):
        assert failed_at(verify(chain, changed)) is ConsistencyStep.HEADER


def test_the_later_header_has_to_be_certified_and_to_fit_what_is_pinned(
    chain: StandingChain,
) -> None:
    proof = chain.consistency(2, 3)
    header = proof.block.header
    other = CertifiedHeader(header, chain.chain.blocks[1].certificate)
    assert failed_at(verify(chain, replace(proof, block=other))) is ConsistencyStep.CERTIFICATE
    strangers = CertifiedHeader(header, certify(header, validator_set(0, (6, 7, 8, 9))))
    assert failed_at(verify(chain, replace(proof, block=strangers))) is ConsistencyStep.SIGNATURES
    fork = StandingChain.found()
    for number in range(3):
        fork.append(record_under(None, b"fork %d" % number))
    assert failed_at(verify(chain, fork.consistency(2, 3), pinned=3)) is ConsistencyStep.HISTORY
    assert failed_at(verify(chain, fork.consistency(2, 3), pinned=2)) is ConsistencyStep.HISTORY


def test_every_bit_counts_and_nothing_crashes(chain: StandingChain) -> None:
    anchor = load_trust(chain.trust().encode())
    encoded = chain.consistency(2, 6).encode()
    assert encoded.startswith(CONSISTENCY_PREFIX)
    assert ConsistencyProof.decode(encoded).encode() == encoded
    assert verify_consistency_proof(encoded, anchor).outcome is Outcome.VERIFIED
    for position in range(len(encoded)):
        flipped = bytearray(encoded)
        flipped[position] ^= 1 << position % 8
        verdict = verify_consistency_proof(bytes(flipped), anchor)
        assert verdict.outcome is not Outcome.VERIFIED, position
    for cut in (b"", encoded[:-1], encoded + b"\0"):
        assert failed_at(verify_consistency_proof(cut, anchor)) is ConsistencyStep.PROOF
