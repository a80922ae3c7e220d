"""Proofs of any value of the state: what they attest, and every way in which they do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.chain.block import CertifiedHeader
from node.errors import CryptoError, DecodeError, NodeError, PeerError, ProofError
from node.timestamp.state_value import StateValueProof, verify_state_value
from node.timestamp.steps import CLOCK_ERROR_MS
from node.timestamp.trust import TrustAnchor
from tests.vectors.receipt.chain import SUITE, seed, validator_set
from tests.vectors.standing.chain import StandingChain, name_of, record_under

PRESENT, ABSENT = name_of("licence-1").key, name_of("never").key


def chain_of() -> StandingChain:
    chain = StandingChain.found()
    chain.append(record_under("licence-1", b"one"))
    chain.append(record_under("other", b"other"), next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append()
    return chain


CHAIN = chain_of()
ANCHOR: TrustAnchor = CHAIN.trust().establish()


def proof(key: bytes, height: int = 3, chain: StandingChain = CHAIN) -> StateValueProof:
    standing = chain.proof(name_of("licence-1" if key == PRESENT else "never"), height)
    return StateValueProof(
        suite=SUITE,
        key=key,
        value=chain.states[height].values.get(key),
        proof=standing.proof,
        block=standing.block,
        handovers=standing.handovers,
    )


@pytest.mark.parametrize("height", [1, 2, 3])
def test_a_value_and_its_absence_are_attested_as_of_a_block(height: int) -> None:
    for key in (PRESENT, ABSENT):
        found = verify_state_value(proof(key, height).encode(), key, ANCHOR)
        assert found.value == CHAIN.states[height].values.get(key)
        assert found.height == height
        assert found.time_ms == CHAIN.chain.blocks[height - 1].header.time_ms
    assert CHAIN.states[3].values[PRESENT]


def refused(changed: StateValueProof, key: bytes = PRESENT, now_ms: int | None = None) -> str:
    with pytest.raises((CryptoError, DecodeError, PeerError, ProofError)) as raised:
        verify_state_value(changed.encode(), key, ANCHOR, now_ms=now_ms)
    error = raised.value
    assert isinstance(error, NodeError)
    return str(error)


def test_what_does_not_hold_is_refused() -> None:
    good = proof(PRESENT)
    assert "state-key" in refused(good, ABSENT)
    assert "state-root" in refused(replace(good, value=b"something else"))
    assert "state-root" in refused(replace(good, value=None))
    assert "state-other-leaf" in refused(replace(proof(ABSENT), value=good.value), ABSENT)
    other = proof(PRESENT, 1)
    mixed = CertifiedHeader(good.block.header, other.block.certificate)
    refused(replace(good, block=mixed))
    assert "state-root-of-trust" in refused(replace(good, handovers=()))
    early = good.block.header.time_ms - CLOCK_ERROR_MS - 1
    assert "time-future" in refused(good, now_ms=early)
    verify_state_value(good.encode(), PRESENT, ANCHOR, now_ms=early + 1)


def test_a_proof_of_another_chain_is_refused() -> None:
    other = StandingChain.found(neighbours=3)
    other.append(record_under("licence-1", b"one"))
    forked = proof(PRESENT, 1, other)
    header = replace(forked.block.header, chain_id=seed("another chain"))
    refused(replace(forked, block=CertifiedHeader(header, forked.block.certificate)))


def test_bytes_that_are_no_proof_are_refused() -> None:
    encoded = proof(PRESENT).encode()
    for data in (b"", encoded[:-1], encoded + b"\x00", CHAIN.proof(name_of("x"), 1).encode()):
        with pytest.raises(DecodeError):
            verify_state_value(data, PRESENT, ANCHOR)
