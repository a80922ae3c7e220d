"""Refreshed receipts beyond their vectors: the verifier's clock, and what they attest."""

from __future__ import annotations

import hashlib

from node.crypto.suite import SHA_256
from node.timestamp.refreshed import REFRESHED_PREFIX, RefreshedReceipt
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.vectors.receipt.chain import Chain, record_of, validator_set

DOCUMENT = b"a document"
DIGEST = NamedDigest(SHA_256, hashlib.sha256(DOCUMENT).digest())
LATER_MS = 600_000


def slow_chain() -> Chain:
    chain = Chain.found()
    chain.append(record_of(DOCUMENT))
    chain.append(next_set=validator_set(1, (1, 2, 3, 4, 5)))
    chain.append(after_ms=LATER_MS)
    return chain


def test_neither_block_may_be_after_the_clock_of_the_verifier() -> None:
    chain = slow_chain()
    anchor = chain.trust(3).establish()
    data = RefreshedReceipt(chain.receipt(1), chain.consistency(1, 3)).encode()
    assert data.startswith(REFRESHED_PREFIX)
    own_ms, joined_ms = (chain.blocks[at].header.time_ms for at in (0, 2))
    for now_ms, outcome in (
        (None, Outcome.VERIFIED),
        (joined_ms, Outcome.VERIFIED),
        (own_ms, Outcome.NOT_VERIFIED),
        (own_ms - LATER_MS, Outcome.NOT_VERIFIED),
    ):
        verdict = verify_receipt(data, anchor, DIGEST, now_ms=now_ms)
        assert verdict.outcome is outcome, verdict.failure
        if verdict.failure is not None:
            assert verdict.failure.step is Step.HISTORY
            assert "time-future" in verdict.failure.detail


def test_the_votes_that_count_are_those_of_the_later_block() -> None:
    chain = slow_chain()
    data = RefreshedReceipt(chain.receipt(1), chain.consistency(1, 3)).encode()
    later = chain.blocks[2].certificate
    retired = verify_receipt(data, chain.trust(3).establish(), DIGEST).attestation
    assert retired is not None
    assert (retired.joined_height, retired.validator_count) == (3, 5)
    assert retired.seal_time_ms == later.seal_time_ms()
    believed = verify_receipt(data, chain.trust().establish(), DIGEST).attestation
    assert believed is not None
    assert (believed.joined_height, believed.validator_count) == (None, 4)
    assert believed.seal_time_ms == chain.blocks[0].certificate.seal_time_ms()
