"""Certificates on the way from a time-stamping key to a root: read, checked and joined."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from node.crypto.authority import AuthorityCertificate, find_path, read_timestamp_certificate
from node.crypto.certificate import encode_pem
from node.errors import CryptoError
from tests.unit.timestamp.authority import ISSUANCE, ROOT, TSA, TSA_KEY
from tests.vectors.receipt.chain import signer

KEYS = [ec.derive_private_key(number, ec.SECP256R1()) for number in range(7, 12)]
DIGESTS = {"sha-256": "2.16.840.1.101.3.4.2.1", "sha-384": "2.16.840.1.101.3.4.2.2"}
ECDSA_WITH_SHA_256 = "1.2.840.10045.4.3.2"


def usage(*, issues: bool = False, agrees: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=agrees, key_cert_sign=issues, crl_sign=issues,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    by: ec.EllipticCurvePrivateKey,
    *extensions: tuple[x509.ExtensionType, bool],
    serial_number: int = 5,
) -> AuthorityCertificate:
    """Return a certificate as a careless authority might issue it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(f"CN={subject}"))
        .issuer_name(x509.Name.from_rfc4514_string(f"CN={issuer}"))
        .public_key(key.public_key())
        .serial_number(serial_number)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return AuthorityCertificate.read(builder.sign(by, hashes.SHA256()).public_bytes(Encoding.DER))


def authority(
    number: int, by: int, *, path_length: int | None = None, usages: x509.KeyUsage | None = None
) -> AuthorityCertificate:
    constraints = x509.BasicConstraints(ca=True, path_length=path_length)
    extensions: list[tuple[x509.ExtensionType, bool]] = [(constraints, True)]
    if usages is not None:
        extensions.append((usages, True))
    return certificate(f"ca {number}", KEYS[number], f"ca {by}", KEYS[by], *extensions)


def leaf(by: int, *extensions: tuple[x509.ExtensionType, bool]) -> AuthorityCertificate:
    return certificate("leaf", KEYS[4], f"ca {by}", KEYS[by], *extensions)


def test_a_certificate_is_read_from_both_forms_and_compared_by_its_bytes() -> None:
    read = AuthorityCertificate.read(TSA)
    assert read == AuthorityCertificate.read(encode_pem(TSA)) != AuthorityCertificate.read(ROOT)
    assert read.encoded == TSA
    assert (read.not_before_ms, read.not_after_ms) == (
        ISSUANCE.not_before_ms,
        ISSUANCE.not_after_ms,
    )
    assert read.is_of(TSA_KEY.public_key)
    assert not read.is_of(signer("another").public_key)
    read.check_valid(read.not_before_ms)
    read.check_valid(read.not_after_ms)
    for outside_ms in (read.not_before_ms - 1, read.not_after_ms + 1):
        with pytest.raises(CryptoError, match="valid in"):
            read.check_valid(outside_ms)


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ([], "got none"),
        ([([ExtendedKeyUsageOID.TIME_STAMPING], False)], "expected a critical one"),
        ([([ExtendedKeyUsageOID.CLIENT_AUTH], True)], "time-stamping alone"),
        (
            [([ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.CLIENT_AUTH], True)],
            "time-stamping alone",
        ),
    ],
)
def test_a_key_of_another_purpose_stamps_no_time(
    extensions: list[tuple[list[x509.ObjectIdentifier], bool]], reason: str
) -> None:
    found = leaf(0, *((x509.ExtendedKeyUsage(usages), critical) for usages, critical in extensions))
    with pytest.raises(CryptoError, match=reason):
        read_timestamp_certificate(found.encoded)


@pytest.mark.parametrize("usages", [usage(issues=True), usage(agrees=True)])
def test_a_key_that_does_more_than_sign_stamps_no_time(usages: x509.KeyUsage) -> None:
    purpose = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), True)
    with pytest.raises(CryptoError, match="signatures alone"):
        leaf(0, purpose, (usages, True)).check_time_stamping()
    leaf(0, purpose, (usage(), True)).check_time_stamping()
    leaf(0, purpose).check_time_stamping()


def test_what_is_critical_and_not_known_is_refused() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    with pytest.raises(CryptoError):
        leaf(0, (unknown, True))
    leaf(0, (unknown, False))
    with pytest.raises(CryptoError):
        AuthorityCertificate.read(b"no certificate")


def test_a_path_leads_to_a_root_by_way_of_others() -> None:
    root, middle, end = authority(0, 0), authority(1, 0), leaf(1)
    assert find_path(end, [end, middle], [root]) == (end, middle, root)
    assert find_path(end, [end], [root]) is None
    assert find_path(end, [middle], []) is None
    assert find_path(root, [], [root]) == (root,)
    stranger = certificate("ca 1", KEYS[3], "ca 0", KEYS[0])
    assert find_path(end, [stranger, middle], [root]) == (end, middle, root)


def test_a_path_has_at_most_four_certificates_and_ends_where_it_turns_in_a_circle() -> None:
    chain = [authority(0, 0), authority(1, 0), authority(2, 1), authority(3, 2)]
    assert len(find_path(leaf(2), chain, chain[:1]) or ()) == 4
    assert find_path(leaf(3), chain, chain[:1]) is None
    circle = [authority(1, 2), authority(2, 1)]
    assert find_path(leaf(1), circle, chain[:1]) is None


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: certificate("ca 1", KEYS[1], "ca 0", KEYS[0]), "may sign certificates"),
        (lambda: authority(1, 0, usages=usage()), "may sign certificates"),
    ],
)
def test_who_may_not_issue_is_on_no_path(
    make: Callable[[], AuthorityCertificate], reason: str
) -> None:
    with pytest.raises(CryptoError, match=reason):
        find_path(leaf(1), [make()], [authority(0, 0)])
    assert find_path(leaf(1), [authority(1, 0, usages=usage(issues=True))], [authority(0, 0)])


def test_a_root_says_how_many_may_be_below_it() -> None:
    short = authority(0, 0, path_length=0)
    assert find_path(leaf(0), [], [short])
    with pytest.raises(CryptoError, match="more than it allows"):
        find_path(leaf(1), [authority(1, 0)], [short])


def test_a_signature_is_by_the_key_the_algorithm_and_the_digest() -> None:
    read, message = leaf(0), b"what is signed"
    signature = KEYS[4].sign(message, ec.ECDSA(hashes.SHA256()))
    digest = DIGESTS["sha-256"]
    read.check_signature(message, signature, algorithm=ECDSA_WITH_SHA_256, digest=digest)
    for changed in (
        {"message": b"another"},
        {"signature": signature[:-1]},
        {"algorithm": "1.2.840.113549.1.1.11"},
        {"algorithm": "1.2.3"},
        {"digest": DIGESTS["sha-384"]},
    ):
        fields = {
            "message": message, "signature": signature,
            "algorithm": ECDSA_WITH_SHA_256, "digest": digest,
        } | changed  # fmt: skip
        with pytest.raises(CryptoError, match="signature"):
            read.check_signature(
                fields["message"],  # type: ignore[arg-type] # a field each
                fields["signature"],  # type: ignore[arg-type]
                algorithm=str(fields["algorithm"]),
                digest=str(fields["digest"]),
            )


@pytest.mark.parametrize(("bits", "is_taken"), [(2_048, True), (1_024, False)])
def test_a_short_rsa_key_signs_nothing(bits: int, *, is_taken: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library says itself what it thinks of short keys
        key = rsa.generate_private_key(65_537, bits)
        name = x509.Name.from_rfc4514_string("CN=rsa")
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), 3)
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
            .sign(key, hashes.SHA256())
        )
        signature = key.sign(b"message", padding.PKCS1v15(), hashes.SHA256())
    read = AuthorityCertificate.read(made.public_bytes(Encoding.DER))

    def check() -> None:
        read.check_signature(
            b"message", signature, algorithm="1.2.840.113549.1.1.11", digest=DIGESTS["sha-256"]
        )

    if is_taken:
        check()
    else:
        with pytest.raises(CryptoError, match="at least 2048 bits"):
            check()
