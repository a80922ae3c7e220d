"""A `.tsr` file: OpenSSL takes it, we find the quorum's word in it, and every byte of it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.errors import DecodeError, ProofError
from node.timestamp import der
from node.timestamp.record_token import encode_tsr, open_tsr
from node.timestamp.token import add_chain_proof, encode_granted
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.unit.timestamp.authority import OpenSsl
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.story import DOCUMENT, PLAIN, build_chain
from tests.vectors.receipt.tokens import authority_of, issuer_of, with_token

CHAIN = build_chain()
ANCHOR, NAMED = CHAIN.trust().establish(), NamedDigest.parse(DIGEST)
ISSUER = issuer_of(authority_of(CHAIN))
RECEIPT = with_token(CHAIN.receipt(PLAIN, 1), ISSUER)
TOKEN = RECEIPT.token or b""
PROOF = replace(RECEIPT, token=None).encode()
TSR = encode_tsr(RECEIPT) or b""


def test_openssl_accepts_the_file_and_we_find_the_receipt_in_it(tmp_path: Path) -> None:
    openssl = OpenSsl(tmp_path, document=DOCUMENT, root=authority_of(CHAIN).certificate)
    assert openssl.accepts(add_chain_proof(TOKEN, PROOF))
    for data in (TSR, add_chain_proof(TOKEN, PROOF)):
        assert open_tsr(data) == RECEIPT
        verdict = verify_receipt(data, ANCHOR, NAMED)
        assert verdict.outcome is Outcome.VERIFIED
        assert [report.step for report in verdict.steps] == list(Step)


def test_a_receipt_without_a_token_has_no_such_file() -> None:
    assert encode_tsr(replace(RECEIPT, token=None)) is None


def test_a_token_without_a_chain_proof_is_one_keys_word() -> None:
    for data in (TOKEN, encode_granted(TOKEN)):
        verdict = verify_receipt(data, ANCHOR, NAMED)
        assert verdict.outcome is Outcome.NOT_ROOTED
        assert verdict.attestation is None
        assert verdict.failure is not None
        assert "the word of one key" in verdict.failure.detail


def test_the_file_is_what_the_receipt_gives_and_nothing_else() -> None:
    with_text = bytes.fromhex("3008020100") + der.encode_sequence(b"\x0c\x01x")
    for data, reason in (
        (encode_granted(TOKEN), "expected a chain proof"),
        (encode_granted(add_chain_proof(TOKEN, RECEIPT.encode())), "token-carried"),
        (encode_granted(add_chain_proof(TOKEN, b"no receipt")), "receipt: "),
        (der.encode_sequence(with_text, add_chain_proof(TOKEN, PROOF)), "answer-form"),
        (TSR + b"\x00", "no more elements"),
    ):
        with pytest.raises((DecodeError, ProofError), match=reason):
            open_tsr(data)


def test_a_proof_of_another_record_is_refused() -> None:
    other = replace(CHAIN.receipt(PLAIN, 0), token=None).encode()
    verdict = verify_receipt(encode_granted(add_chain_proof(TOKEN, other)), ANCHOR, NAMED)
    assert verdict.outcome is Outcome.NOT_VERIFIED
    stranger = Chain.found("another chain")
    verdict = verify_receipt(TSR, stranger.trust().establish(), NAMED)
    assert verdict.outcome is Outcome.NOT_ROOTED


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_flipped_byte_of_the_file_verifies() -> None:
    for position in range(len(TSR)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            flipped = bytearray(TSR)
            flipped[position] ^= mask
            verdict = verify_receipt(bytes(flipped), ANCHOR, NAMED)
            assert verdict.outcome is not Outcome.VERIFIED, (position, mask)
            assert verdict.failure is not None


def test_no_part_of_the_file_can_be_left_out() -> None:
    for end in range(0, len(TSR), 7):
        assert verify_receipt(TSR[:end], ANCHOR, NAMED).outcome is Outcome.NOT_VERIFIED
