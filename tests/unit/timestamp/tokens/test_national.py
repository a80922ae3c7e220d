"""Time-stamp tokens by SM2 and SM3 (GB/T 20520): issued, verified, and refused when altered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asn1crypto import cms, tsp

from node.crypto.authority import AuthorityCertificate
from node.crypto.suite import DOCUMENT_DIGESTS, SM3, DocumentDigest
from node.timestamp.steps import Outcome
from node.timestamp.tokens.check import Expectation, TokenStep, verify_token
from node.timestamp.tokens.issuing import encode_granted
from node.timestamp.tokens.of_record import encode_again
from node.timestamp.tokens.reading import ReadToken
from tests.unit.timestamp.authority import DOCUMENT, ISSUER, ROOT, imprint_of, stamp
from tests.unit.timestamp.national_authority import (
    SM2_ROOT,
    SM2_TSA,
    SM2_TSA_BY_SM2,
    sm2_issuer,
)

SM2_WITH_SM3 = "1.2.156.10197.1.501"
SM3_STAMP = stamp(imprint=imprint_of(algorithm=SM3))
EXPECTED = Expectation(document=(SM3, SM3.new_hash(DOCUMENT).digest()), roots=[ROOT, SM2_ROOT])


def failed_step(token: bytes, expected: Expectation = EXPECTED) -> tuple[TokenStep, str]:
    """Return the step at which a token fails, which it does at the last one at the latest."""
    _, reports = verify_token(token, expected)
    return TokenStep(reports[-1].step), reports[-1].detail


@pytest.mark.parametrize("leaf", [SM2_TSA, SM2_TSA_BY_SM2], ids=["root of P-256", "root of SM2"])
@pytest.mark.parametrize("digest", DOCUMENT_DIGESTS, ids=lambda each: each.name)
def test_a_token_holds_but_for_the_chain_proof(leaf: bytes, digest: DocumentDigest) -> None:
    token = sm2_issuer(leaf).issue(stamp(imprint=imprint_of(algorithm=digest)))
    expected = replace(EXPECTED, document=(digest, digest.new_hash(DOCUMENT).digest()))
    outcome, reports = verify_token(encode_granted(token), expected)
    assert (outcome, reports[-1].step) == (Outcome.NOT_ROOTED, TokenStep.CHAIN)
    assert "one key" in reports[-1].detail


def test_its_parts_are_those_of_the_standard_as_another_library_reads_them() -> None:
    token = cms.ContentInfo.load(sm2_issuer().issue(SM3_STAMP))
    data = token["content"]
    (signer,) = data["signer_infos"]
    assert signer["digest_algorithm"]["algorithm"].dotted == SM3.oid
    assert [each["algorithm"].dotted for each in data["digest_algorithms"]] == [SM3.oid]
    assert signer["signature_algorithm"]["algorithm"].dotted == SM2_WITH_SM3
    attributes = {each["type"].native: each["values"] for each in signer["signed_attrs"]}
    (named,) = attributes["signing_certificate_v2"]
    assert isinstance(named, tsp.SigningCertificateV2)
    (certificate_id,) = named["certs"]
    assert certificate_id["hash_algorithm"]["algorithm"].dotted == SM3.oid
    assert certificate_id["cert_hash"].native == SM3.new_hash(SM2_TSA).digest()
    content = data["encap_content_info"]["content"].contents
    assert attributes["message_digest"].native == [SM3.new_hash(content).digest()]


def test_the_token_that_a_node_makes_of_the_same_signature_is_the_same() -> None:
    """So that every byte of a record's token is accounted for."""
    token = sm2_issuer().issue(SM3_STAMP)
    path = [AuthorityCertificate.read(each) for each in (SM2_TSA, ROOT)]
    assert encode_again(ReadToken.decode(token), path) == token
    assert sm2_issuer().issue(SM3_STAMP) != token  # another nonce


def test_every_flipped_byte_of_what_is_signed_or_signs_is_refused() -> None:
    token = sm2_issuer(SM2_TSA_BY_SM2).issue(SM3_STAMP)
    read = ReadToken.decode(token)
    assert failed_step(token)[0] is TokenStep.CHAIN
    for part in (read.info.encoded, read.signed_attributes, read.signature, SM2_TSA_BY_SM2):
        (at,) = (at for at in range(len(token)) if token.startswith(part, at))
        for position in range(at, at + len(part)):
            changed = bytearray(token)
            changed[position] ^= 1
            outcome, reports = verify_token(bytes(changed), EXPECTED)
            assert outcome is Outcome.NOT_VERIFIED or reports[-1].step is TokenStep.AUTHORITY
            assert reports[-1].step is not TokenStep.CHAIN, position


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("06082a811ccf55018375", "06082a8648ce3d040302", "signature algorithm: expected"),
        ("06082a811ccf55018311", "0609608648016503040201", "digest-algorithms"),
    ],
)
def test_algorithms_that_do_not_belong_together_are_refused(
    old: str, new: str, reason: str
) -> None:
    token = sm2_issuer().issue(SM3_STAMP)
    assert bytes.fromhex(old) in token
    step, detail = failed_step(token.replace(bytes.fromhex(old), bytes.fromhex(new)))
    assert step is not TokenStep.CHAIN
    assert reason in detail or step is TokenStep.ANSWER


def test_a_key_of_another_kind_is_told() -> None:
    """The signature of one algorithm under a certificate of the other."""
    token = sm2_issuer().issue(SM3_STAMP)
    sm2, ecdsa = ReadToken.decode(token), ReadToken.decode(ISSUER.issue(stamp()))
    p256_leaf = AuthorityCertificate.read(ecdsa.certificates[0])
    sm2_leaf = AuthorityCertificate.read(SM2_TSA)
    assert (sm2_leaf.key_algorithm, p256_leaf.key_algorithm) == ("sm2", "p-256")
    assert AuthorityCertificate.read(SM2_TSA_BY_SM2).issuing_digest == SM3.name
    assert not sm2_leaf.has_key_of(p256_leaf)
    assert sm2_leaf.has_key_of(AuthorityCertificate.read(SM2_TSA_BY_SM2))
    for leaf, read in ((sm2_leaf, ecdsa), (p256_leaf, sm2)):
        with pytest.raises(Exception, match=r"it is not the key's|expected one of ECDSA"):
            leaf.check_signature(
                b"message",
                read.signature,
                algorithm=read.signature_algorithm,
                digest=read.digest_algorithm,
            )


def test_a_root_of_neither_is_no_root() -> None:
    token = sm2_issuer(SM2_TSA_BY_SM2).issue(SM3_STAMP)
    assert failed_step(token, replace(EXPECTED, roots=[ROOT]))[0] is TokenStep.AUTHORITY
    assert failed_step(token)[0] is TokenStep.CHAIN
