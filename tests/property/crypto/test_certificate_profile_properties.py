"""Whatever certificate the chain accepts, two libraries accept too, and read the same in it.

Certificates are taken apart into elements of DER, altered there, and signed anew, so that what is
altered is judged for itself rather than for its signature. The other way round nothing is claimed:
libraries take much more.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import event, given, settings
from hypothesis import strategies as st

from node.crypto import der
from node.crypto.certificate_extensions import CertificateRefused, Extensions
from node.crypto.certificate_fields import AcceptedCertificate, decode_certificate
from node.crypto.certificate_profile import verify_member
from node.crypto.library_warnings import ignore_remarks
from node.crypto.member_certificate import encode_authority_pem
from node.crypto.suite import INTERNATIONAL
from node.errors import DecodeError
from tests.unit.crypto.handmade_certificate import (
    AUTHORITY_CERTIFICATE,
    MEMBER_EXTENSIONS,
    NOW_MS,
    member_body,
    signed,
)
from tests.unit.crypto.test_certificate_profile import ACCEPTED, REFUSED

CONSTRUCTED = 0x20
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AUTHORITY = decode_certificate(AUTHORITY_CERTIFICATE)

Tree = tuple[int, "bytes | list[Tree]"]


def take_apart(data: bytes) -> list[Tree]:
    """Return the elements of DER, those within octet strings included."""
    found: list[Tree] = []
    reader = der.Reader(data, "tree")
    while not reader.is_empty:
        element = reader.read()
        content: bytes | list[Tree] = element.content
        if element.tag & CONSTRUCTED:
            content = take_apart(element.content)
        elif element.tag == der.OCTET_STRING:
            with suppress(DecodeError):  # of some the content is no DER
                content = take_apart(element.content)
        found.append((element.tag, content))
    return found


def put_together(trees: list[Tree]) -> bytes:
    return b"".join(
        der.encode(tag, content if isinstance(content, bytes) else put_together(content))
        for tag, content in trees
    )


def places(trees: list[Tree]) -> list[tuple[list[Tree], int]]:
    """Return where each element lies: the list that holds it, and its index."""
    found = []
    for at, (_, content) in enumerate(trees):
        found.append((trees, at))
        if isinstance(content, list):
            found += places(content)
    return found


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Draw the signed part of a member's certificate, of which a few elements were altered."""
    source = draw(st.sampled_from([*ACCEPTED.values()]))
    outer = der.read_only(source, der.SEQUENCE, "certificate")
    trees = take_apart(outer.read(der.SEQUENCE).encoded)
    for _ in range(draw(st.integers(0, 3))):
        where = places(trees)
        held, at = where[draw(st.integers(min(1, len(where) - 1), len(where) - 1))]
        tag, content = held[at]
        match draw(st.sampled_from(["drop", "repeat", "swap", "tag", "bytes", "graft"])):
            case "drop":
                del held[at]
            case "repeat":
                held.insert(at, deepcopy(held[at]))
            case "swap":
                other = draw(st.integers(0, len(held) - 1))
                held[at], held[other] = held[other], held[at]
            case "tag":
                held[at] = (draw(st.sampled_from([0x0C, 0x13, 0x16, 0x17, 0x18, tag ^ 1])), content)
            case "bytes" if isinstance(content, bytes):
                kept = draw(st.integers(0, len(content)))
                held[at] = (tag, content[:kept] + draw(st.binary(max_size=3)) + content[kept + 1 :])
            case _:
                from_held, from_at = where[draw(st.integers(0, len(where) - 1))]
                if from_at < len(from_held) and from_held is not trees:
                    held[at] = deepcopy(from_held[from_at])
        if not trees:
            break
    return put_together(trees)


def judged(certificate: bytes) -> AcceptedCertificate | None:
    """Return a certificate if the chain accepts it as a member's; refuse by one error alone."""
    try:
        read = decode_certificate(certificate)
        verify_member(read, AUTHORITY, NOW_MS, INTERNATIONAL)
    except CertificateRefused:
        return None
    return read


def milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def extensions_of(certificate: x509.Certificate) -> Extensions:
    """Return what the library reads in the extensions."""
    ignore_remarks()
    said: dict[str, object] = {}
    for each in certificate.extensions:
        match each.value:
            case x509.BasicConstraints() as value:
                said |= {"is_authority": value.ca, "path_length": value.path_length}
            case x509.KeyUsage() as value:
                flags = (
                    value.digital_signature,
                    value.content_commitment,
                    value.key_encipherment,
                    value.data_encipherment,
                    value.key_agreement,
                    value.key_cert_sign,
                    value.crl_sign,
                )
                said["key_usage"] = frozenset(at for at, is_set in enumerate(flags) if is_set)
            case x509.ExtendedKeyUsage() as value:
                said["purposes"] = tuple(purpose.dotted_string for purpose in value)
            case x509.SubjectAlternativeName() as value:
                said["uris"] = tuple(value.get_values_for_type(x509.UniformResourceIdentifier))
                said["dns_names"] = tuple(value.get_values_for_type(x509.DNSName))
                said["emails"] = tuple(value.get_values_for_type(x509.RFC822Name))
                said["ip_addresses"] = tuple(
                    address.packed
                    for address in value.get_values_for_type(x509.IPAddress)
                    if isinstance(address, IPv4Address | IPv6Address)
                )
            case x509.SubjectKeyIdentifier() as value:
                said["subject_key_identifier"] = value.digest
            case x509.AuthorityKeyIdentifier() as value:
                said["authority_key_identifier"] = value.key_identifier
                assert (value.authority_cert_issuer, value.authority_cert_serial_number) == (
                    None,
                    None,
                )
            case value:
                assert isinstance(
                    value,
                    x509.CRLDistributionPoints
                    | x509.CertificatePolicies
                    | x509.AuthorityInformationAccess,
                )
    critical = frozenset(each.oid.dotted_string for each in certificate.extensions if each.critical)
    return Extensions(**said, critical=critical)  # type: ignore[arg-type]  # as its fields are


def assert_read_alike(certificate: bytes, read: AcceptedCertificate) -> None:
    """Check that the library accepts a certificate, and reads in it what we read."""
    other = x509.load_der_x509_certificate(certificate)
    assert other.version is x509.Version.v3
    assert other.serial_number == read.serial_number
    assert other.tbs_certificate_bytes == read.signed_part
    assert other.issuer.public_bytes() == read.issuer
    assert other.subject.public_bytes() == read.subject
    attributes = [(each.oid.dotted_string, each.value) for each in other.subject]
    assert tuple(attributes) == read.subject_names
    assert milliseconds(other.not_valid_before_utc) == read.not_before_ms
    assert milliseconds(other.not_valid_after_utc) == read.not_after_ms
    key = other.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint) == read.public_key
    assert extensions_of(other) == read.extensions
    other.verify_directly_issued_by(x509.load_der_x509_certificate(AUTHORITY_CERTIFICATE))


@pytest.mark.parametrize("what", ACCEPTED)
def test_each_accepted_form_is_read_alike(what: str) -> None:
    read = judged(ACCEPTED[what])
    assert read is not None
    assert_read_alike(ACCEPTED[what], read)


@settings(max_examples=1_500, deadline=None)
@given(bodies(), st.booleans())
def test_what_is_accepted_is_accepted_and_read_alike_by_the_library(
    body: bytes,
    is_high: bool,  # noqa: FBT001 - drawn
) -> None:
    certificate = signed(body, is_high=is_high)
    read = judged(certificate)
    event("refused" if read is None else "accepted")
    if read is not None:
        assert_read_alike(certificate, read)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from([*ACCEPTED.values()]), st.data())
def test_bytes_altered_anywhere_are_refused_and_by_our_error_alone(
    certificate: bytes, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(certificate)))
    gone = data.draw(st.integers(0, 4))
    altered = certificate[:at] + data.draw(st.binary(max_size=4)) + certificate[at + gone :]
    assert (judged(altered) is None) is (altered != certificate)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_by_our_error_alone(data: bytes) -> None:
    assert judged(data) is None
    assert judged(der.encode_sequence(data)) is None
    assert judged(signed(der.encode_sequence(data))) is None


def openssl_accepts(folder: Path, certificate: bytes) -> bool:
    """Tell whether openssl verifies a certificate as a TLS client's under the authority."""
    (folder / "ca.pem").write_bytes(encode_authority_pem(AUTHORITY_CERTIFICATE))
    (folder / "member.der").write_bytes(certificate)
    command = ["openssl", "verify", "-purpose", "sslclient", "-attime", str(NOW_MS // 1_000)]
    done = subprocess.run(
        [*command, "-CAfile", folder / "ca.pem", folder / "member.der"],
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize("what", ACCEPTED)
def test_each_accepted_form_is_accepted_by_openssl(tmp_path: Path, what: str) -> None:
    assert openssl_accepts(tmp_path, ACCEPTED[what])


def test_openssl_refuses_too_what_is_of_another_authority_or_over(tmp_path: Path) -> None:
    for what in ("another's signature", "over", "servers alone", "cut"):
        assert not openssl_accepts(tmp_path, REFUSED[what][1])


@settings(max_examples=60, deadline=None)
@given(body=bodies())
def test_what_is_accepted_is_accepted_by_openssl(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    certificate = signed(body)
    if judged(certificate) is not None:
        assert openssl_accepts(tmp_path_factory.mktemp("openssl"), certificate)


def test_taking_apart_loses_nothing() -> None:
    body = member_body(MEMBER_EXTENSIONS)
    assert put_together(take_apart(body)) == body
