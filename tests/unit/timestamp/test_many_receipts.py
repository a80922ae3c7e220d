"""Many receipts verified by one verifier: each as if alone, and what they share once."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from node.crypto.signature import P256PublicKey
from node.crypto.suite import SHA_256
from node.timestamp.trust import TrustAnchor, load_trust
from node.timestamp.verify import NamedDigest, Outcome, ReceiptVerifier, verify_receipt
from tests.vectors.receipt.chain import Chain, record_of, seed, validator_set

VECTORS = Path(__file__).parents[2] / "vectors/receipt"
DOCUMENTS = [b"document %d" % number for number in range(40)]


def digest_of(document: bytes) -> NamedDigest:
    return NamedDigest(SHA_256, hashlib.sha256(document).digest())


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Note every signature that is checked."""
    seen: list[bytes] = []
    verify = P256PublicKey.verify

    def note(key: P256PublicKey, message: bytes, signature: bytes) -> bool:
        seen.append(signature)
        return verify(key, message, signature)

    monkeypatch.setattr(P256PublicKey, "verify", note)
    return seen


def batch() -> tuple[TrustAnchor, list[bytes]]:
    """Return the receipts of a block, and of one of the next epoch."""
    chain = Chain.found()
    chain.append(*map(record_of, DOCUMENTS), next_set=validator_set(1, (5, 6, 7, 8, 9)))
    chain.append(*map(record_of, DOCUMENTS))
    receipts = [chain.receipt(height, at) for height in (1, 2) for at in range(len(DOCUMENTS))]
    return chain.trust().establish(), [receipt.encode() for receipt in receipts]


def test_signatures_of_a_block_are_checked_once(checks: list[bytes]) -> None:
    anchor, receipts = batch()
    for receipt in (receipts[0], receipts[len(DOCUMENTS)]):  # one of each block
        verify_receipt(receipt, anchor, digest_of(DOCUMENTS[0]))
    needed = len(checks)
    assert needed
    checks.clear()
    verifier = ReceiptVerifier(anchor)
    for receipt, document in zip(receipts, DOCUMENTS * 2, strict=True):
        assert verifier.verify(receipt, digest_of(document)).outcome is Outcome.VERIFIED
    assert len(checks) == needed


def test_what_was_verified_makes_nothing_else_pass() -> None:
    anchor, receipts = batch()
    verifier = ReceiptVerifier(anchor)
    digest, other = digest_of(DOCUMENTS[0]), digest_of(DOCUMENTS[1])
    for receipt in receipts[:1] + receipts[len(DOCUMENTS) :][:1]:
        assert verifier.verify(receipt, digest).outcome is Outcome.VERIFIED
        assert verifier.verify(receipt, other) == verify_receipt(receipt, anchor, other)
        for at in range(0, len(receipt), 11):
            forged = receipt[:at] + bytes((receipt[at] ^ 1,)) + receipt[at + 1 :]
            verdict = verifier.verify(forged, digest)
            assert verdict.outcome is not Outcome.VERIFIED
            assert verdict == verify_receipt(forged, anchor, digest)


def test_each_vector_is_judged_as_if_alone_in_whatever_order() -> None:
    cases: dict[str, list[tuple[bytes, NamedDigest]]] = {}
    for path in sorted((VECTORS / "cases").glob("*.json")):
        case = json.loads(path.read_text(encoding="utf-8"))
        stated = base64.b64decode(case["receipt"]), NamedDigest.parse(case["digest"])
        cases.setdefault(case["trust"], []).append(stated)
    assert max(map(len, cases.values())) > 50
    for trust, given in cases.items():
        anchor = load_trust((VECTORS / "trust" / trust).read_bytes())
        for order in (given, given[::-1]):
            verifier = ReceiptVerifier(anchor)
            for receipt, digest in order:
                alone = verify_receipt(receipt, anchor, digest)
                assert verifier.verify(receipt, digest) == alone


def test_a_false_one_does_not_stand_in_the_way_of_the_true_one() -> None:
    chain = Chain.found()
    chain.append(record_of(DOCUMENTS[0]))
    receipt, anchor = chain.receipt(1), chain.trust().establish()
    first = receipt.block.certificate.votes[0]
    votes = (replace(first, signature=seed("false") * 2), *receipt.block.certificate.votes[1:])
    certificate = replace(receipt.block.certificate, votes=votes)
    false = replace(receipt, block=replace(receipt.block, certificate=certificate))
    verifier = ReceiptVerifier(anchor)
    digest = digest_of(DOCUMENTS[0])
    for each, outcome in ((false, Outcome.NOT_VERIFIED), (receipt, Outcome.VERIFIED)) * 2:
        assert verifier.verify(each.encode(), digest).outcome is outcome


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.timestamp.steps.PROVEN_MAX", 5)
    anchor, receipts = batch()
    verifier = ReceiptVerifier(anchor)
    for receipt, document in zip(receipts[::5], (DOCUMENTS * 2)[::5], strict=True):
        assert verifier.verify(receipt, digest_of(document)).outcome is Outcome.VERIFIED
