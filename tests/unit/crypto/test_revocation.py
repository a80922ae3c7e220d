"""Lists of revoked certificates: what they say, whose they are, and what is refused of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ReasonFlags

from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import Authority
from node.crypto.revocation import (
    Revocation,
    RevocationList,
    RevokedSerial,
    build_revocation_list,
    encode_list_pem,
)
from node.errors import CryptoError
from tests.unit.timestamp.authority import AUTHORITY, TSA
from tests.unit.timestamp.reference_token import certificate_of
from tests.vectors.evidence.authorities import FIRST, SECOND, year
from tests.vectors.receipt.chain import seed, signer

LEAF, ROOT = map(AuthorityCertificate.read, (FIRST.certificate, FIRST.root))
SINCE_MS = year(2027)
AUTHORITY_CERTIFICATE = AuthorityCertificate.read(AUTHORITY.certificate)


@pytest.mark.parametrize(
    "reason",
    [
        ReasonFlags.unspecified,
        ReasonFlags.affiliation_changed,
        ReasonFlags.superseded,
        ReasonFlags.cessation_of_operation,
    ],
)
def test_a_key_that_is_no_longer_used_is_told_from_a_stolen_one(reason: ReasonFlags) -> None:
    assert FIRST.revoke(SINCE_MS, reason).find(LEAF, ROOT) == Revocation(SINCE_MS, True)  # noqa: FBT003
    early = FIRST.revoke(SINCE_MS, reason, stolen_ms=year(2026)).find(LEAF, ROOT)
    assert early == Revocation(SINCE_MS, True)  # noqa: FBT003


@pytest.mark.parametrize("reason", [None, ReasonFlags.key_compromise, ReasonFlags.ca_compromise])
def test_a_stolen_key_counts_from_when_it_was_stolen(reason: ReasonFlags | None) -> None:
    assert FIRST.revoke(SINCE_MS, reason).find(LEAF, ROOT) == Revocation(SINCE_MS, False)  # noqa: FBT003
    early = FIRST.revoke(SINCE_MS, reason, stolen_ms=year(2026)).find(LEAF, ROOT)
    assert early == Revocation(year(2026), False)  # noqa: FBT003


def test_a_list_speaks_of_its_issuers_certificates_alone() -> None:
    others = AuthorityCertificate.read(SECOND.root)
    assert FIRST.revoke(SINCE_MS).find(LEAF, others) is None
    assert FIRST.revoke(SINCE_MS).find(ROOT, ROOT) is None, "another serial number"


def test_a_list_that_its_issuer_did_not_sign_is_refused() -> None:
    with pytest.raises(CryptoError, match="not signed by"):
        FIRST.revoke(SINCE_MS, signed_by="somebody").find(LEAF, ROOT)


def test_a_list_in_pem_is_the_same_list() -> None:
    found = FIRST.revoke(SINCE_MS)
    pem = x509.load_der_x509_crl(found.encoded).public_bytes(Encoding.PEM)
    assert RevocationList.read(pem).encoded == found.encoded


@pytest.mark.parametrize("data", [b"", b"none", b"-----BEGIN X509 CRL-----\n", FIRST.root])
def test_anything_else_is_no_list(data: bytes) -> None:
    with pytest.raises(CryptoError, match="revocation list"):
        RevocationList.read(data)


def test_a_part_of_a_list_is_refused() -> None:
    name = x509.load_der_x509_certificate(FIRST.root).subject
    now = datetime.fromtimestamp(SINCE_MS // 1_000, UTC)
    key = ec.derive_private_key(int.from_bytes(seed("first root")), ec.SECP256R1())
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name)
        .last_update(now)
        .next_update(now)
        .add_extension(x509.DeltaCRLIndicator(1), critical=True)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(CryptoError, match="got a part"):
        RevocationList.read(made.public_bytes(Encoding.DER)).find(LEAF, ROOT)


def made(*revoked: RevokedSerial, previous: RevocationList | None = None) -> RevocationList:
    """Return a list of the authority's, made on the day after the revocation."""
    earlier = [] if previous is None else previous.entries(AUTHORITY_CERTIFICATE)
    encoded = build_revocation_list(
        AUTHORITY, [*earlier, *revoked], made_ms=SINCE_MS + 1, next_ms=SINCE_MS + 86_400_000
    )
    return RevocationList.read(encoded)


def test_a_list_that_is_made_says_what_it_was_made_of() -> None:
    leaf = AuthorityCertificate.read(TSA)
    retired = RevokedSerial(leaf.serial_number, SINCE_MS, ReasonFlags.superseded)
    stolen = RevokedSerial(4_711, SINCE_MS, ReasonFlags.key_compromise)
    unsaid = RevokedSerial(4_712, SINCE_MS, None)
    assert made().find(leaf, AUTHORITY_CERTIFICATE) is None
    first = made(stolen, unsaid)
    assert first.find(leaf, AUTHORITY_CERTIFICATE) is None
    assert first.entries(AUTHORITY_CERTIFICATE) == [stolen, unsaid]
    second = made(retired, previous=first)
    assert second.find(leaf, AUTHORITY_CERTIFICATE) == Revocation(SINCE_MS, True)  # noqa: FBT003
    assert second.entries(AUTHORITY_CERTIFICATE) == [stolen, unsaid, retired]
    assert made(retired, previous=first).encoded == second.encoded
    with pytest.raises(CryptoError, match="not signed by"):
        second.entries(ROOT)
    assert RevocationList.read(encode_list_pem(second.encoded)).encoded == second.encoded


def test_an_authority_signs_with_the_key_of_its_certificate() -> None:
    other = Authority(AUTHORITY.certificate, signer("another"))
    with pytest.raises(CryptoError, match="its key is not the one"):
        build_revocation_list(other, [], made_ms=SINCE_MS, next_ms=SINCE_MS)


def test_what_was_said_of_a_certificate_is_not_taken_back() -> None:
    stolen = RevokedSerial(7, SINCE_MS, ReasonFlags.key_compromise)
    retired = RevokedSerial(7, SINCE_MS, ReasonFlags.superseded)
    assert retired.is_milder_than([stolen])
    assert not stolen.is_milder_than([retired])
    assert not retired.is_milder_than([RevokedSerial(8, SINCE_MS, None)])


@pytest.mark.parametrize("wrong", ["usage", "algorithm"])
def test_a_list_by_a_key_or_an_algorithm_that_is_not_for_lists_is_refused(wrong: str) -> None:
    private = signer("an issuer").private_key
    issuer = AuthorityCertificate.read(
        certificate_of(private, name="issuer", issuer=("issuer", private), is_authority=True)
        if wrong == "usage"
        else FIRST.root
    )
    key = private if wrong == "usage" else signer("first root").private_key
    now = datetime.fromtimestamp(SINCE_MS // 1_000, UTC)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.load_der_x509_certificate(issuer.encoded).subject)
        .last_update(now)
        .next_update(now)
        .sign(key, hashes.SHA256() if wrong == "usage" else hashes.SHA3_256())
    )
    with pytest.raises(CryptoError, match="not signed by"):
        RevocationList.read(made.public_bytes(Encoding.DER)).find(LEAF, issuer)
