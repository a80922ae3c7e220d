"""Refreshed receipts: every bit counts, and no keys of retired epochs forge one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from node.timestamp.consistency import ConsistencyProof
from node.timestamp.receipt import Receipt
from node.timestamp.refreshed import RefreshedReceipt
from node.timestamp.trust import TrustAnchor, load_trust
from node.timestamp.verify import NamedDigest, Outcome, Verdict, verify_receipt
from tests.unit.timestamp.independent_proofs import verify_refreshed
from tests.unit.timestamp.independent_verifier import Trust
from tests.vectors.receipt.chain import Chain, record_of, validator_set
from tests.vectors.receipt.story import (
    DOCUMENT,
    FIRST_OF_EPOCH_2,
    LAST_OF_EPOCH_0,
    PLAIN,
    build_chain,
    forked,
    sha_256_of,
)

DIGEST = sha_256_of(DOCUMENT)
FORGERS = validator_set(1, (6, 7, 8, 9))


@cache
def chain() -> Chain:
    return build_chain()


@cache
def trust() -> tuple[TrustAnchor, Trust]:
    """Return what pins the last of three epochs, for either verifier."""
    text = chain().trust(FIRST_OF_EPOCH_2).encode()
    return load_trust(text), Trust(text)


@cache
def genuine() -> bytes:
    joined = chain().consistency(PLAIN, FIRST_OF_EPOCH_2)
    return RefreshedReceipt(chain().receipt(PLAIN, 1), joined).encode()


def verdict_of(data: bytes, digest: str = DIGEST) -> Verdict:
    """Verify by our own code and by the one written from the page: they have to agree."""
    ours, theirs = trust()
    verdict = verify_receipt(data, ours, NamedDigest.parse(digest))
    stated = (verdict.outcome.value, verdict.failure and verdict.failure.step)
    assert verify_refreshed(data, digest, theirs) == stated
    return verdict


def test_the_genuine_one_verifies() -> None:
    assert verdict_of(genuine()).outcome is Outcome.VERIFIED


@given(st.integers(0, 2**20))
@example(30_832)  # the voters of what it is joined to are out of order
@settings(max_examples=200)
def test_every_bit_counts(drawn: int) -> None:
    flipped = bytearray(genuine())
    bit = drawn % (8 * len(flipped))
    flipped[bit // 8] ^= 1 << bit % 8
    if flipped.startswith(genuine()[:20]):  # else it is of no format that both know
        assert verdict_of(bytes(flipped)).outcome is not Outcome.VERIFIED
    else:
        anchor, digest = trust()[0], NamedDigest.parse(DIGEST)
        assert verify_receipt(bytes(flipped), anchor, digest).outcome is not Outcome.VERIFIED


def forged_receipt(height: int, others: int, content: bytes) -> tuple[Receipt, Chain]:
    """Return what all keys of epoch 0 together make of a document that was never recorded."""
    fork = forked(chain(), height)
    before = [record_of(b"other %d" % number) for number in range(others)]
    return fork.receipt(fork.append(*before, record_of(content)), others), fork


@given(st.integers(1, 5), st.integers(0, 5), st.binary(min_size=1, max_size=9), st.data())
@settings(max_examples=60)
def test_all_keys_of_a_retired_epoch_forge_nothing(
    height: int, others: int, content: bytes, data: st.DataObject
) -> None:
    forged, fork = forged_receipt(height, others, content)
    true = chain().consistency(height, data.draw(st.sampled_from((7, 8, FIRST_OF_EPOCH_2))))
    header = forged.block.header

    def own_epoch() -> ConsistencyProof:
        """Join it within a chain of the forgers' own, over a handover that the old keys sign."""
        while fork.tip.height < LAST_OF_EPOCH_0 - 1:
            fork.append(record_of(b"filler"))
        fork.append(next_set=FORGERS)
        fork.append(record_of(b"filler"))
        return fork.consistency(height, fork.tip.height)

    ways: list[Callable[[], ConsistencyProof]] = [
        lambda: true,
        lambda: replace(true, old=header),
        lambda: replace(true, old=replace(true.old, log_roots=header.log_roots)),
        lambda: replace(true, handovers=()),
        own_epoch,
        lambda: replace(own_epoch(), handovers=true.handovers),
        lambda: replace(true, old=header, log_path=own_epoch().log_path),
    ]
    joined = data.draw(st.sampled_from(ways))()
    verdict = verdict_of(RefreshedReceipt(forged, joined).encode(), sha_256_of(content))
    assert verdict.outcome is not Outcome.VERIFIED
    assert verdict.attestation is None
