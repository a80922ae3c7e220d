"""Authorities of others, made by openssl: which the profile takes, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from node.crypto.certificate import encode_der
from node.crypto.certificate_algorithms import SIGNATURE_ALGORITHMS, SM2
from node.crypto.certificate_extensions import CertificateRefused, Reason
from node.crypto.certificate_fields import AcceptedCertificate, decode_certificate
from node.crypto.certificate_profile import (
    CertificateIdentity,
    check_authority,
    is_for_tls,
    verify_member,
)
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite
from tests.unit.crypto.openssl_authority import (
    NOT_TAKEN,
    OF_ANOTHER_CURVE,
    SM2_WITH_SM3,
    TAKEN,
    Issued,
    issue,
    verifies,
)

SUITES = [INTERNATIONAL, NATIONAL]
ALTERED_EVERY = 16


def read(certificate: bytes) -> AcceptedCertificate:
    return decode_certificate(encode_der(certificate))


def judged(issued: Issued, suite: Suite = INTERNATIONAL) -> CertificateIdentity:
    authority, member = read(issued.authority), read(issued.member)
    check_authority(authority, suite)
    return verify_member(member, authority, member.not_before_ms, suite, "org-1")


def test_each_algorithm_of_the_profile_is_tried() -> None:
    of_tls = {each.name for each in SIGNATURE_ALGORITHMS if each.key_algorithm is not SM2}
    assert of_tls == set(TAKEN)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
@pytest.mark.parametrize("name", TAKEN)
def test_what_tls_takes_certifies_on_every_chain(tmp_path: Path, name: str, suite: Suite) -> None:
    issued = issue(tmp_path, TAKEN[name])
    assert judged(issued, suite).identity_id == "validator-1"
    authority = read(issued.authority)
    assert is_for_tls(authority)
    assert authority.signed_by.name == read(issued.member).signed_by.name == name
    theirs = x509.load_pem_x509_certificate(issued.member)
    theirs.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.authority))
    assert verifies(tmp_path)


def test_sm2_certifies_on_a_national_chain_alone(tmp_path: Path) -> None:
    issued = issue(tmp_path, SM2_WITH_SM3)
    assert judged(issued, NATIONAL).identity_id == "validator-1"
    with pytest.raises(CertificateRefused, match="one of P-256, P-384, RSA, got SM2"):
        judged(issued)


@pytest.mark.parametrize("name", TAKEN)
def test_no_altered_byte_of_a_signature_holds(tmp_path: Path, name: str) -> None:
    issued = issue(tmp_path, TAKEN[name])
    authority, member = read(issued.authority), read(issued.member)
    for at in range(0, len(member.signature), ALTERED_EVERY):
        altered = bytearray(member.signature)
        altered[at] ^= 1
        assert not member.signed_by.verifies(
            authority.public_key, member.signed_part, bytes(altered)
        )
    assert not member.signed_by.verifies(
        authority.public_key, member.signed_part + b"\0", member.signature
    )


@pytest.mark.parametrize("name", NOT_TAKEN)
def test_what_is_not_taken_is_named_beside_what_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(CertificateRefused) as refused:
        judged(issue(tmp_path, NOT_TAKEN[name]))
    assert refused.value.reason in (Reason.ALGORITHM, Reason.KEY)
    assert name in str(refused.value)
    assert "expected a" in str(refused.value)
    assert "RSA" in str(refused.value)


def test_a_key_of_p256_signs_with_no_other_hash(tmp_path: Path) -> None:
    with pytest.raises(CertificateRefused) as refused:
        judged(issue(tmp_path, OF_ANOTHER_CURVE["P-256"]))
    assert refused.value.reason is Reason.ISSUER
    assert "whose key is of P-256: signed by P-384 with SHA-384" in str(refused.value)


def test_a_key_of_p384_signs_with_no_other_hash(tmp_path: Path) -> None:
    with pytest.raises(CertificateRefused) as refused:
        judged(issue(tmp_path, OF_ANOTHER_CURVE["P-384"]))
    assert refused.value.reason is Reason.SIGNATURE_FORM
    assert "as a key of P-256 makes by P-256 with SHA-256" in str(refused.value)
