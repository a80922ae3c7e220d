"""A `.tsr` file: OpenSSL takes it, we find the quorum's word in it, and every byte of it counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography.x509 import ReasonFlags

from node.crypto import der
from node.crypto.authority import AuthorityCertificate
from node.crypto.revocation import RevocationList, RevokedSerial, build_revocation_list
from node.crypto.suite import SHA_256
from node.errors import DecodeError, ProofError
from node.timestamp.tokens.issuing import add_chain_proof, encode_granted
from node.timestamp.tokens.of_record import encode_tsr, open_tsr
from node.timestamp.tokens.reading import ReadToken
from node.timestamp.tokens.request import Imprint, TimeStampRequest
from node.timestamp.verify import NamedDigest, Outcome, Step, verify_receipt
from tests.unit.timestamp.authority import OpenSsl
from tests.vectors.receipt.case import DIGEST
from tests.vectors.receipt.chain import Chain
from tests.vectors.receipt.story import DOCUMENT, PLAIN, build_chain
from tests.vectors.receipt.tokens import (
    FIVE_YEARS,
    authority_of,
    issuer_of,
    tsa_certificate_of,
    with_token,
)

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
        assert open_tsr(data) == (RECEIPT, None)
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


def test_no_flipped_byte_of_the_file_verifies() -> None:
    for position in range(len(TSR)):
        flipped = bytearray(TSR)
        flipped[position] ^= 1 << position % 8
        verdict = verify_receipt(bytes(flipped), ANCHOR, NAMED)
        assert verdict.outcome is not Outcome.VERIFIED, position
        assert verdict.failure is not None


def test_no_part_of_the_file_can_be_left_out() -> None:
    for end in range(0, len(TSR), 7):
        assert verify_receipt(TSR[:end], ANCHOR, NAMED).outcome is Outcome.NOT_VERIFIED


def test_a_file_without_certificates_is_verified_by_one_beside_it() -> None:
    receipt = with_token(CHAIN.receipt(PLAIN, 1), ISSUER, has_certificates=False)
    data = encode_tsr(receipt) or b""
    (certificate,) = ReadToken.decode(TOKEN).certificates
    verdict = verify_receipt(data, ANCHOR, NAMED)
    assert verdict.outcome is Outcome.NOT_VERIFIED
    assert verdict.failure is not None
    assert verdict.failure.detail.startswith("certificate-missing")
    for beside in ([certificate], [authority_of(CHAIN).certificate, certificate]):
        verdict = verify_receipt(data, ANCHOR, NAMED, certificates=beside)
        assert verdict.outcome is Outcome.VERIFIED
    twin = issuer_of(authority_of(CHAIN), issuance=replace(FIVE_YEARS, serial_number=77))
    (other,) = ReadToken.decode(with_token(RECEIPT, twin).token or b"").certificates
    failure = verify_receipt(data, ANCHOR, NAMED, certificates=[other]).failure
    assert failure is not None
    assert failure.detail.startswith("certificate-missing")


def test_an_empty_set_of_certificates_is_another_form() -> None:
    token = with_token(CHAIN.receipt(PLAIN, 1), ISSUER, has_certificates=False).token or b""
    read = cms.ContentInfo.load(token)
    read["content"]["certificates"] = cms.CertificateSet([])
    data = encode_granted(add_chain_proof(read.dump(force=True), PROOF))
    certificates = ReadToken.decode(TOKEN).certificates
    failure = verify_receipt(data, ANCHOR, NAMED, certificates=certificates).failure
    assert failure is not None
    assert failure.detail.startswith("token-form")


def test_a_request_is_answered_by_the_token_of_the_record_or_not_at_all() -> None:
    imprint = Imprint.of(SHA_256, bytes.fromhex(DIGEST.removeprefix("sha-256:")))
    request = TimeStampRequest(imprint=imprint, nonce=b"\x2a", wants_certificates=True)
    answered = with_token(CHAIN.receipt(PLAIN, 1), ISSUER, nonce=b"\x2a")
    good = encode_tsr(answered) or b""
    assert verify_receipt(good, ANCHOR, NAMED, request=request).outcome is Outcome.VERIFIED
    for data, asked, reason in (
        (TSR, request, "nonce: expected"),
        (good, replace(request, nonce=None), "nonce: expected"),
        (good, replace(request, policy="1.2.3"), "policy: expected"),
        (good, replace(request, wants_certificates=False), "certificates: expected none"),
        (PROOF, request, "token-missing"),
    ):
        failure = verify_receipt(data, ANCHOR, NAMED, request=asked).failure
        assert failure is not None
        assert failure.step is Step.TOKEN
        assert failure.detail.startswith(reason)


def test_a_stolen_key_undoes_no_record_and_is_told() -> None:
    serial_number = AuthorityCertificate.read(tsa_certificate_of(authority_of(CHAIN))).serial_number
    since_ms = RECEIPT.block.header.time_ms - 1_000
    data = build_revocation_list(
        authority_of(CHAIN),
        [RevokedSerial(serial_number, since_ms, ReasonFlags.key_compromise)],
        made_ms=since_ms,
        next_ms=since_ms,
    )
    revocations = [RevocationList.read(data)]
    verdict = verify_receipt(TSR, ANCHOR, NAMED, revocations=revocations)
    assert verdict.outcome is Outcome.VERIFIED
    assert "its key is not believed since" in verdict.steps[Step.TOKEN - 1].detail
    alone = verify_receipt(TOKEN, ANCHOR, NAMED, revocations=revocations)
    assert alone.outcome is Outcome.NOT_VERIFIED
