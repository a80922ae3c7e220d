"""A token in header 270: over the signature alone, not before the root, and no byte of it free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.cose import CoseReceipt
from node.timestamp.cose_stamp import stamp_of_answer
from node.timestamp.export import export_cose, export_stamped_cose
from node.timestamp.opening import open_receipt
from node.timestamp.tokens.issuing import add_chain_proof, encode_granted
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.formats import golden_receipt, golden_stamped, stamp_of
from tests.vectors.receipt.story import build_chain

CHAIN = build_chain()
RECEIPT = golden_receipt(CHAIN)
T_MS = RECEIPT.block.header.time_ms
STAMPED = golden_stamped(CHAIN)
WRITTEN = CoseReceipt.decode(STAMPED)
TOKEN = WRITTEN.token or b""


def test_what_is_stamped_are_the_last_66_bytes_of_the_file() -> None:
    data = export_cose(RECEIPT)
    assert data is not None
    assert data[-66:] == WRITTEN.stamped_bytes
    assert export_stamped_cose(RECEIPT, stamp_of(data[-66:], CHAIN, T_MS + 60_000)) == STAMPED


def test_it_opens_to_the_receipt_and_tells_when_it_was_stamped() -> None:
    opened = open_receipt(STAMPED)
    assert (opened.receipt, opened.stamped_ms) == (RECEIPT, T_MS + 60_000)
    anchor = CHAIN.trust().establish()
    verdict = verify_receipt(STAMPED, anchor, NamedDigest.parse(DIGEST))
    assert verdict.outcome is Outcome.VERIFIED
    assert "stamped at 2025-10-09T08:54:22.000Z" in verdict.steps[0].detail


@pytest.mark.parametrize(
    ("now_ms", "outcome"), [(T_MS, Outcome.VERIFIED), (T_MS - 1, Outcome.NOT_VERIFIED)]
)
def test_it_is_held_against_the_clock_of_whoever_verifies(now_ms: int, outcome: Outcome) -> None:
    """A minute behind is fine; the block itself is from no future by either clock."""
    anchor = CHAIN.trust().establish()
    document = NamedDigest.parse(DIGEST)
    verdict = verify_receipt(STAMPED, anchor, document, now_ms=now_ms)
    assert verdict.outcome is outcome
    if verdict.failure is not None:
        assert (verdict.failure.step, verdict.failure.is_from_future) == (Step.HISTORY, True)


def test_a_tsr_file_gives_the_token_without_its_chain_proof() -> None:
    assert stamp_of_answer(encode_granted(add_chain_proof(TOKEN, b"proof"))) == TOKEN
    assert stamp_of_answer(TOKEN) == TOKEN


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (RECEIPT.token, "imprint"),
        (stamp_of(WRITTEN.signature, CHAIN, T_MS), "imprint"),
        (stamp_of(WRITTEN.stamped_bytes, CHAIN, T_MS - 1), "cose-token-time"),
        (add_chain_proof(TOKEN, b"proof"), "cose-token-form"),
        (b"", "token: expected"),
        (TOKEN + b"\0", "token: "),
    ],
)
def test_any_other_token_is_refused(token: bytes, reason: str) -> None:
    with pytest.raises((DecodeError, ProofError), match=reason):
        export_stamped_cose(RECEIPT, token)
    with pytest.raises((DecodeError, ProofError), match=reason):
        open_receipt(replace(WRITTEN, token=token).encode())


def test_the_time_of_the_root_itself_is_late_enough() -> None:
    assert export_stamped_cose(RECEIPT, stamp_of(WRITTEN.stamped_bytes, CHAIN, T_MS))


def test_without_a_signature_there_is_nothing_to_stamp() -> None:
    assert export_stamped_cose(replace(RECEIPT, cose=None), TOKEN) is None


def test_no_flipped_byte_of_the_token_opens() -> None:
    for position in range(len(TOKEN)):
        flipped = bytearray(TOKEN)
        flipped[position] ^= 1
        with pytest.raises((CryptoError, DecodeError, ProofError)):
            open_receipt(replace(WRITTEN, token=bytes(flipped)).encode())
