"""Certificates that the X.509 library remarks upon: whatever they hold, nobody is told but by us.

Warnings are errors in tests, so one that gets through fails them all; what a user would see is
looked at in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from datetime import UTC, datetime
from pathlib import Path

import pytest
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.crypto import der
from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import certificate_key, load_certificate
from node.crypto.member_certificate import read_identity
from node.crypto.revocation import RevocationList
from node.errors import CryptoError

ROOT = Path(__file__).parents[3]
KEY = ec.derive_private_key(7, ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "CN")])
SERIAL_NUMBER = b"\x02\x01\x03"
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)
PRIME = 2**2_048 - 1_942_289  # so large that the library takes it; whether it is prime, nobody asks


def policies(text: bytes) -> bytes:
    """Return certificate policies with a notice whose text is said to be of visible characters."""
    notice = der.encode_sequence(der.encode(0x1A, text))
    qualifier = der.encode_sequence(der.encode_oid("1.3.6.1.5.5.7.2.2"), notice)
    return der.encode_sequence(
        der.encode_sequence(der.encode_oid("2.5.29.32.0"), der.encode_sequence(qualifier))
    )


def certificate(extension: bytes = policies(b"plain"), *, issuing: bool = False) -> bytes:
    builder = (
        x509.CertificateBuilder(NAME, NAME, KEY.public_key(), 3)
        .not_valid_before(SINCE)
        .not_valid_after(UNTIL)
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.32"), extension),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=issuing, path_length=None), critical=True)
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)


def altered(old: bytes, new: bytes, times: int, *, issuing: bool = False) -> bytes:
    """Return the certificate with a part of what is signed replaced so many times."""
    read = asn1.Certificate.load(certificate(issuing=issuing))
    content = read["tbs_certificate"].contents
    assert content.count(old) == times
    signed = der.encode(der.SEQUENCE, content.replace(old, new))
    rest = read["signature_algorithm"].dump() + read["signature_value"].dump()
    return der.encode(der.SEQUENCE, signed + rest)


def with_country(name: bytes) -> bytes:
    """Return the certificate with another country in both names, of any length."""
    old = NAME.public_bytes()
    value = der.encode_sequence(der.encode_oid("2.5.4.6"), der.encode(0x13, name))
    return altered(old, der.encode_sequence(der.encode(der.SET, value)), 2)


def of_diffie_hellman(*, issuing: bool = False) -> bytes:
    group = der.encode_sequence(der.encode_integer(PRIME), der.encode_integer(2))
    algorithm = der.encode_sequence(der.encode_oid("1.2.840.113549.1.3.1"), group)
    key = der.encode(0x03, b"\0" + der.encode_integer(5))
    own = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return altered(own, der.encode_sequence(algorithm, key), 1, issuing=issuing)


REFUSED = {
    "serial number 0": altered(SERIAL_NUMBER, b"\x02\x01\x00", 1),
    "serial number below 0": altered(SERIAL_NUMBER, b"\x02\x01\xff", 1),
}
REMARKED = {
    "a country of five letters": with_country(b"CHINA"),
    "no country": with_country(b""),
    "another alphabet in a notice": certificate(policies("公".encode())),
    "a Diffie-Hellman key": of_diffie_hellman(),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("read", [load_certificate, read_identity, AuthorityCertificate.read])
def test_a_serial_number_that_is_not_positive_is_refused_by_rule(read: object, data: bytes) -> None:
    assert callable(read)
    with pytest.raises(CryptoError, match="expected a positive serial number"):
        read(data)


@pytest.mark.parametrize("data", REMARKED.values(), ids=REMARKED)
def test_what_the_library_only_remarks_upon_is_judged_by_our_rules(data: bytes) -> None:
    read = AuthorityCertificate.read(data)
    assert read.encoded == data
    assert read.subject.startswith("C=")
    assert read.key_algorithm in {"p-256", "unknown"}
    for check in (read.check_time_stamping, lambda: read.check_authority(0)):
        with pytest.raises(CryptoError):
            check()
    with pytest.raises(CryptoError, match="signature"):
        read.check_signature(
            b"message", b"none", algorithm="1.2.840.10045.4.3.2", digest="2.16.840.1.101.3.4.2.1"
        )
    assert not AuthorityCertificate.read(altered(SERIAL_NUMBER, b"\x02\x01\x04", 1)).is_issued_by(
        read
    )
    with pytest.raises(CryptoError):
        read_identity(data)


def test_the_library_does_remark_upon_all_of_these() -> None:
    """Else the tests above would show nothing."""
    for name, data in {**REFUSED, **REMARKED}.items():
        with warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always")
            read = x509.load_der_x509_certificate(data)
            assert read.extensions
            assert read.subject.rfc4514_string()
            assert read.public_key() is not None
        assert remarks, name


def test_a_key_whose_reading_takes_as_long_as_its_maker_likes_is_not_read() -> None:
    read = AuthorityCertificate.read(REMARKED["a Diffie-Hellman key"])
    loaded = load_certificate(read.encoded)
    with pytest.raises(UnsupportedAlgorithm):
        certificate_key(loaded)
    issuing = AuthorityCertificate.read(of_diffie_hellman(issuing=True))
    with pytest.raises(CryptoError, match="expected one of ECDSA, RSA or SM2"):
        issuing.check_authority(0)
    of_every_kind = (
        KEY,
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)),
        rsa.generate_private_key(65_537, 2_048),
    )
    for key in of_every_kind:
        own = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        info = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        found = certificate_key(load_certificate(altered(own, info, 1)))
        assert found == key.public_key()


def test_a_list_in_an_odd_name_is_read_without_a_word() -> None:
    odd = AuthorityCertificate.read(REMARKED["a country of five letters"])
    builder = x509.CertificateRevocationListBuilder(NAME).last_update(SINCE).next_update(UNTIL)
    made = builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.DER)
    assert RevocationList.read(made).find(odd, odd) is None


@pytest.mark.parametrize("told", ["default", "error"])
def test_nothing_is_printed_by_a_process_that_reads_them(tmp_path: Path, told: str) -> None:
    for number, data in enumerate([*REFUSED.values(), *REMARKED.values()]):
        (tmp_path / f"{number}.der").write_bytes(data)
    program = (
        "import sys, pathlib, warnings\n"
        "from node.crypto.authority import AuthorityCertificate\n"
        "from node.errors import CryptoError\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n"
        "        print(AuthorityCertificate.read(path.read_bytes()).subject)\n"
        "    except CryptoError as error:\n"
        "        print(error)\n"
        "warnings.warn('of another', UserWarning)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", told, "-P", "-c", program, str(tmp_path)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert len(done.stdout.splitlines()) == len(REFUSED) + len(REMARKED)
    assert done.stderr.count("Warning: ") == 1, "nobody else's warnings are touched"
    assert "of another" in done.stderr
