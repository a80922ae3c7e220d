"""The profile of certificates: each thing that may be off is refused, by the name of its rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.crypto import der
from node.crypto.certificate_extensions import CertificateRefused, Reason
from node.crypto.certificate_fields import decode_certificate
from node.crypto.certificate_profile import check_authority, read_member, verify_member
from node.crypto.signature import P256_ORDER, P256Signer
from node.crypto.sm2 import Sm2Signer
from node.crypto.sm2_certificate import CertificateFields, encode_certificate
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite
from node.errors import CryptoError
from node.limits import CERTIFICATE_BYTES_MAX
from tests.unit.crypto.handmade_certificate import (
    ACCESS,
    AUTHORITY_CERTIFICATE,
    AUTHORITY_EXTENSIONS,
    AUTHORITY_KEY,
    CA_KEY,
    CONSTRAINTS,
    DISTRIBUTION,
    DNS,
    ECDSA_WITH_SHA_256,
    IA5,
    IP,
    MAIL,
    MEMBER,
    MEMBER_CERTIFICATE,
    MEMBER_EXTENSIONS,
    MEMBER_KEY,
    NAMES,
    NOW_MS,
    POLICIES,
    PRINTABLE,
    PURPOSES,
    SUBJECT_KEY,
    URI,
    USAGE,
    alternative_names,
    attribute,
    authority_body,
    bits,
    extension,
    generalized,
    key,
    member_body,
    name,
    signed,
    utc,
    validity,
)

OID = der.encode_oid
SEQUENCE = der.encode_sequence
OTHER_KEY = P256Signer.from_secret(b"\x33" * 32)
POINT = key()[-65:]
SPKI_P256 = SEQUENCE(OID("1.2.840.10045.2.1"), OID("1.2.840.10045.3.1.7"))
UNKNOWN = extension("1.2.3.4", b"\x05\x00")


def judge(certificate: bytes, authority: bytes = AUTHORITY_CERTIFICATE) -> Reason | None:
    """Return why a member's certificate is refused; None where it is accepted."""
    try:
        verify_member(
            decode_certificate(certificate), decode_certificate(authority), NOW_MS, INTERNATIONAL
        )
    except CertificateRefused as refused:
        return refused.reason
    return None


def member(**replaced: bytes) -> bytes:
    return signed(member_body(**replaced))


def extended(kind: str, content: bytes, *, critical: bool = False) -> bytes:
    """Return a member's certificate with one extension more, or another in its place."""
    added = extension(kind, content, critical=critical)
    return signed(member_body({**MEMBER_EXTENSIONS, kind: added}))


def names(*given: tuple[int, bytes]) -> bytes:
    return extended(NAMES, alternative_names((URI, b"govchain:agency:bureau"), *given))


def public_key(algorithm: bytes, point: bytes, unused: int = 0) -> bytes:
    return SEQUENCE(algorithm, der.encode(der.BIT_STRING, bytes((unused,)) + point))


def subject(*levels: bytes) -> bytes:
    return member(subject=SEQUENCE(attribute("2.5.4.10", "org-1"), *levels))


def timed(begins: bytes, ends: bytes = MEMBER["validity"][17:]) -> bytes:
    return member(validity=validity(begins, ends))


def distribution(uri: bytes = b"http://ca.example/list.crl", tag: int = URI) -> bytes:
    full = der.encode(0xA0, der.encode(tag, uri))
    return SEQUENCE(SEQUENCE(der.encode(0xA0, full)))


def policy(*qualifier: bytes) -> bytes:
    listed = [SEQUENCE(SEQUENCE(OID("1.3.6.1.5.5.7.2.1"), *qualifier))] if qualifier else []
    return SEQUENCE(SEQUENCE(OID("1.2.156.1"), *listed))


ACCEPTED = {
    "as it is": MEMBER_CERTIFICATE,
    "high s": signed(member_body(), is_high=True),
    "no basic constraints": signed(
        member_body({k: v for k, v in MEMBER_EXTENSIONS.items() if k != CONSTRAINTS})
    ),
    "20 bytes of serial number": member(serial_number=der.encode_integer(2**159 - 1)),
    "until the end of time": timed(utc("500101000000Z"), generalized("99991231235959Z")),
    "1950": timed(utc("500101000000Z")),
    "leap day": timed(utc("240229235959Z")),
    "country and mailbox": subject(
        attribute("2.5.4.6", "CN", PRINTABLE),
        attribute("1.2.840.113549.1.9.1", "a@b.example", IA5),
    ),
    "Chinese": subject(attribute("2.5.4.11", "政务服务和数据管理局")),
    "hosts": names((DNS, b"a.example"), (IP, bytes(4)), (IP, bytes(16)), (MAIL, b"a@b")),
    "other usages": extended(USAGE, bits(0, 1, 2, 3, 4)),
    "key identifiers": signed(
        member_body(
            {
                **MEMBER_EXTENSIONS,
                SUBJECT_KEY: extension(SUBJECT_KEY, der.encode(der.OCTET_STRING, b"\1" * 20)),
                AUTHORITY_KEY: extension(AUTHORITY_KEY, SEQUENCE(der.encode(0x80, b"\2" * 20))),
            }
        )
    ),
    "policy": extended(POLICIES, policy()),
    "practice": extended(POLICIES, policy(der.encode(IA5, b"https://ca.example/cps"))),
    "revocations": extended(DISTRIBUTION, distribution()),
    "authority information": extended(
        ACCESS,
        SEQUENCE(SEQUENCE(OID("1.3.6.1.5.5.7.48.2"), der.encode(URI, b"http://ca.example"))),
    ),
}

REFUSED: dict[str, tuple[Reason, bytes]] = {
    # The whole
    "nothing": (Reason.ENCODING, b""),
    "too long": (Reason.SIZE, bytes(CERTIFICATE_BYTES_MAX + 1)),
    "trailing byte": (Reason.ENCODING, MEMBER_CERTIFICATE + b"\0"),
    "cut": (Reason.ENCODING, MEMBER_CERTIFICATE[:-1]),
    "indefinite length": (
        Reason.ENCODING,
        b"\x30\x80" + MEMBER_CERTIFICATE[4:] + b"\0\0",
    ),
    "padded length": (
        Reason.ENCODING,
        b"\x30\x83\0" + MEMBER_CERTIFICATE[2:],
    ),
    "signature missing": (Reason.ENCODING, SEQUENCE(member_body(), ECDSA_WITH_SHA_256)),
    "fourth element": (
        Reason.ENCODING,
        SEQUENCE(*[MEMBER_CERTIFICATE[4:], der.encode(der.NULL, b"")]),
    ),
    # Version and serial number
    "version 1": (Reason.VERSION, member(version=b"")),
    "version 2": (Reason.VERSION, member(version=der.encode(0xA0, der.encode_integer(1)))),
    "version 4": (Reason.VERSION, member(version=der.encode(0xA0, der.encode_integer(3)))),
    "version twice": (
        Reason.ENCODING,
        member(version=der.encode(0xA0, der.encode_integer(2) * 2)),
    ),
    "serial number 0": (Reason.SERIAL_NUMBER, member(serial_number=der.encode_integer(0))),
    "negative serial number": (
        Reason.SERIAL_NUMBER,
        member(serial_number=der.encode_integer(-7)),
    ),
    "21 bytes of serial number": (
        Reason.SERIAL_NUMBER,
        member(serial_number=der.encode_integer(2**160 - 1)),
    ),
    "padded serial number": (
        Reason.ENCODING,
        member(serial_number=der.encode(der.INTEGER, b"\0\7")),
    ),
    # Algorithms and signature
    "SHA-512": (
        Reason.ALGORITHM,
        signed(
            member_body(algorithm=SEQUENCE(OID("1.2.840.10045.4.3.4"))),
            algorithm=SEQUENCE(OID("1.2.840.10045.4.3.4")),
        ),
    ),
    "SHA-384, of P-384": (
        Reason.ISSUER,
        signed(
            member_body(algorithm=SEQUENCE(OID("1.2.840.10045.4.3.3"))),
            algorithm=SEQUENCE(OID("1.2.840.10045.4.3.3")),
        ),
    ),
    "algorithm with NULL": (
        Reason.ALGORITHM,
        signed(
            member_body(algorithm=SEQUENCE(ECDSA_WITH_SHA_256[2:], der.encode(der.NULL, b""))),
            algorithm=SEQUENCE(ECDSA_WITH_SHA_256[2:], der.encode(der.NULL, b"")),
        ),
    ),
    "two algorithms": (
        Reason.ALGORITHM,
        signed(member_body(), algorithm=SEQUENCE(OID("1.2.840.10045.4.3.3"))),
    ),
    "signature of odd bits": (
        Reason.SIGNATURE_FORM,
        SEQUENCE(member_body(), ECDSA_WITH_SHA_256, der.encode(der.BIT_STRING, b"\1\x30\0")),
    ),
    "signature not DER": (
        Reason.SIGNATURE_FORM,
        SEQUENCE(member_body(), ECDSA_WITH_SHA_256, der.encode(der.BIT_STRING, b"\0" + bytes(64))),
    ),
    "signature of zero": (
        Reason.SIGNATURE_FORM,
        SEQUENCE(
            member_body(),
            ECDSA_WITH_SHA_256,
            der.encode(
                der.BIT_STRING, b"\0" + SEQUENCE(der.encode_integer(0), der.encode_integer(1))
            ),
        ),
    ),
    "signature of n": (
        Reason.SIGNATURE_FORM,
        SEQUENCE(
            member_body(),
            ECDSA_WITH_SHA_256,
            der.encode(
                der.BIT_STRING,
                b"\0" + SEQUENCE(der.encode_integer(1), der.encode_integer(P256_ORDER)),
            ),
        ),
    ),
    "another's signature": (Reason.ISSUER, signed(member_body(), OTHER_KEY)),
    # Names
    "empty subject": (Reason.NAME, member(subject=SEQUENCE())),
    "empty issuer": (Reason.NAME, member(issuer=SEQUENCE())),
    "another issuer": (Reason.ISSUER, member(issuer=name(common_name="another"))),
    "two attributes on a level": (
        Reason.ENCODING,
        member(
            subject=SEQUENCE(
                der.encode_set(
                    SEQUENCE(OID("2.5.4.10"), der.encode(der.UTF8_STRING, b"org-1")),
                    SEQUENCE(OID("2.5.4.3"), der.encode(der.UTF8_STRING, b"one")),
                )
            )
        ),
    ),
    "17 attributes": (
        Reason.NAME,
        subject(*(attribute("2.5.4.11", f"unit {number}") for number in range(16))),
    ),
    "unknown attribute": (Reason.NAME, subject(attribute("2.5.4.200", "x"))),
    "empty attribute": (Reason.NAME, subject(attribute("2.5.4.3", ""))),
    "65 characters": (Reason.NAME, subject(attribute("2.5.4.3", "x" * 65))),
    "not UTF-8": (Reason.NAME, subject(attribute("2.5.4.3", b"\xff"))),
    "surrogate": (Reason.NAME, subject(attribute("2.5.4.3", b"\xed\xa0\x80"))),
    "NUL": (Reason.NAME, subject(attribute("2.5.4.3", "a\0b"))),
    "C1 control": (Reason.NAME, subject(attribute("2.5.4.3", "a\x85b"))),
    "not printable": (Reason.NAME, subject(attribute("2.5.4.3", "a@b", PRINTABLE))),
    "BMPString": (Reason.NAME, subject(attribute("2.5.4.3", b"\0a", 0x1E))),
    "T61String": (Reason.NAME, subject(attribute("2.5.4.3", "a", 0x14))),
    "country of three": (Reason.NAME, subject(attribute("2.5.4.6", "CHN", PRINTABLE))),
    "country in UTF-8": (Reason.NAME, subject(attribute("2.5.4.6", "CN"))),
    "mailbox in UTF-8": (Reason.NAME, subject(attribute("1.2.840.113549.1.9.1", "a@b"))),
    "no organisation": (
        Reason.ORGANISATION,
        member(subject=SEQUENCE(attribute("2.5.4.3", "one"))),
    ),
    "two organisations": (Reason.ORGANISATION, subject(attribute("2.5.4.10", "org-2"))),
    "another organisation": (Reason.ORGANISATION, member(subject=name("org-2"))),
    # Validity
    "ends before it begins": (Reason.VALIDITY, timed(utc("370101000000Z"))),
    "no seconds": (Reason.VALIDITY, timed(utc("2601010000Z"))),
    "time zone": (Reason.VALIDITY, timed(utc("260101000000+0800"))),
    "no Z": (Reason.VALIDITY, timed(utc("260101000000"))),
    "30 February": (Reason.VALIDITY, timed(utc("260230000000Z"))),
    "leap second": (Reason.VALIDITY, timed(utc("251231235960Z"))),
    "GeneralizedTime too early": (Reason.VALIDITY, timed(generalized("20260101000000Z"))),
    "fraction": (
        Reason.VALIDITY,
        timed(utc("260101000000Z"), generalized("20510101000000.5Z")),
    ),
    "time as text": (Reason.VALIDITY, timed(der.encode(PRINTABLE, b"260101000000Z"))),
    "three times": (
        Reason.ENCODING,
        member(validity=SEQUENCE(*[utc("260101000000Z")] * 3)),
    ),
    "over": (Reason.TIME, timed(utc("200101000000Z"), utc("260101000000Z"))),
    "not yet": (Reason.TIME, timed(utc("350101000000Z"))),
    # Keys
    "compressed point": (
        Reason.KEY,
        member(key=public_key(SPKI_P256, MEMBER_KEY.public_key.encoded)),
    ),
    "hybrid point": (Reason.KEY, member(key=public_key(SPKI_P256, b"\6" + POINT[1:]))),
    "point at infinity": (Reason.KEY, member(key=public_key(SPKI_P256, b"\0"))),
    "off the curve": (Reason.KEY, member(key=public_key(SPKI_P256, POINT[:-1] + b"\1"))),
    "coordinate not below the prime": (
        Reason.KEY,
        member(key=public_key(SPKI_P256, b"\4" + b"\xff" * 64)),
    ),
    "odd bits": (Reason.KEY, member(key=public_key(SPKI_P256, POINT, unused=1))),
    "P-384": (
        Reason.KEY,
        member(
            key=ec.derive_private_key(7, ec.SECP384R1())
            .public_key()
            .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        ),
    ),
    "unnamed curve": (
        Reason.KEY,
        member(key=public_key(SEQUENCE(OID("1.2.840.10045.2.1"), SEQUENCE()), POINT)),
    ),
    "unique identifier": (
        Reason.ENCODING,
        signed(member_body(key=key() + der.encode(0x81, b"\0\1"))),
    ),
    # Extensions
    "no extensions": (Reason.KEY_USAGE, member(extensions=b"")),
    "no extension among them": (
        Reason.ENCODING,
        member(extensions=der.encode(0xA3, SEQUENCE())),
    ),
    "unknown": (Reason.EXTENSION, signed(member_body({**MEMBER_EXTENSIONS, "": UNKNOWN}))),
    "unknown and critical": (Reason.EXTENSION, extended("1.2.3.4", b"", critical=True)),
    "name constraints": (Reason.EXTENSION, extended("2.5.29.30", SEQUENCE(), critical=True)),
    "twice": (
        Reason.EXTENSION,
        signed(member_body({**MEMBER_EXTENSIONS, "": MEMBER_EXTENSIONS[NAMES]})),
    ),
    "17 extensions": (
        Reason.EXTENSION,
        signed(member_body({**{str(each): UNKNOWN for each in range(17)}})),
    ),
    "critical pointer": (
        Reason.EXTENSION,
        extended(DISTRIBUTION, distribution(), critical=True),
    ),
    "explicit FALSE": (
        Reason.ENCODING,
        signed(
            member_body(
                {
                    **MEMBER_EXTENSIONS,
                    NAMES: SEQUENCE(
                        OID(NAMES),
                        der.encode(der.BOOLEAN, b"\0"),
                        der.encode(
                            der.OCTET_STRING, alternative_names((URI, b"govchain:agency:bureau"))
                        ),
                    ),
                }
            )
        ),
    ),
    "an authority": (Reason.ROLE, extended(CONSTRAINTS, SEQUENCE(der.TRUE), critical=True)),
    "FALSE written out": (
        Reason.BASIC_CONSTRAINTS,
        extended(CONSTRAINTS, SEQUENCE(der.encode(der.BOOLEAN, b"\0"))),
    ),
    "path length of a member": (
        Reason.BASIC_CONSTRAINTS,
        extended(CONSTRAINTS, SEQUENCE(der.encode_integer(0))),
    ),
    "negative path length": (
        Reason.BASIC_CONSTRAINTS,
        extended(CONSTRAINTS, SEQUENCE(der.TRUE, der.encode_integer(-1))),
    ),
    "no signatures": (Reason.KEY_USAGE, extended(USAGE, bits(2))),
    "issuing": (Reason.KEY_USAGE, extended(USAGE, bits(0, 5))),
    "lists": (Reason.KEY_USAGE, extended(USAGE, bits(0, 6))),
    "encipher only": (Reason.KEY_USAGE, extended(USAGE, bits(0, 7))),
    "no usage": (Reason.KEY_USAGE, extended(USAGE, der.encode(der.BIT_STRING, b"\0"))),
    "padded usage": (Reason.KEY_USAGE, extended(USAGE, der.encode(der.BIT_STRING, b"\0\x80"))),
    "usage of two bytes": (
        Reason.KEY_USAGE,
        extended(USAGE, der.encode(der.BIT_STRING, b"\7\x80\x80")),
    ),
    "no purposes": (Reason.EXTENDED_KEY_USAGE, extended(PURPOSES, SEQUENCE())),
    "servers alone": (
        Reason.EXTENDED_KEY_USAGE,
        extended(PURPOSES, SEQUENCE(OID("1.3.6.1.5.5.7.3.1"))),
    ),
    "a purpose twice": (
        Reason.EXTENDED_KEY_USAGE,
        extended(PURPOSES, SEQUENCE(*[OID("1.3.6.1.5.5.7.3.2")] * 2)),
    ),
    "17 purposes": (
        Reason.EXTENDED_KEY_USAGE,
        extended(PURPOSES, SEQUENCE(*(OID(f"1.2.3.{each}") for each in range(17)))),
    ),
    "a purpose of 2**28": (
        Reason.EXTENDED_KEY_USAGE,
        extended(PURPOSES, SEQUENCE(OID("1.3.6.1.5.5.7.3.2"), OID(f"1.2.{2**28}"))),
    ),
    "no names": (Reason.ALTERNATIVE_NAMES, extended(NAMES, SEQUENCE())),
    "65 names": (Reason.ALTERNATIVE_NAMES, names(*[(DNS, b"a")] * 64)),
    "directory name": (Reason.ALTERNATIVE_NAMES, names((0xA4, name()))),
    "other name": (Reason.ALTERNATIVE_NAMES, names((0xA0, b""))),
    "wildcard": (Reason.ALTERNATIVE_NAMES, names((DNS, b"*.example"))),
    "empty host": (Reason.ALTERNATIVE_NAMES, names((DNS, b""))),
    "host with NUL": (Reason.ALTERNATIVE_NAMES, names((DNS, b"a\0b"))),
    "host not ASCII": (Reason.ALTERNATIVE_NAMES, names((DNS, "政务".encode()))),
    "address of 8 bytes": (Reason.ALTERNATIVE_NAMES, names((IP, bytes(8)))),
    "256 bytes": (Reason.ALTERNATIVE_NAMES, names((URI, b"x" * 256))),
    "two identities": (Reason.IDENTITY, names((URI, b"govchain:agency:another"))),
    "no identity": (
        Reason.IDENTITY,
        extended(NAMES, alternative_names((URI, b"https://ca.example"))),
    ),
    "identity escaped in vain": (
        Reason.IDENTITY,
        extended(NAMES, alternative_names((URI, b"govchain:agency:%62ureau"))),
    ),
    "empty key identifier": (
        Reason.KEY_IDENTIFIER,
        extended(SUBJECT_KEY, der.encode(der.OCTET_STRING, b"")),
    ),
    "issuer in the key identifier": (
        Reason.KEY_IDENTIFIER,
        extended(
            AUTHORITY_KEY,
            SEQUENCE(
                der.encode(0x80, b"\2" * 20),
                der.encode(0xA1, der.encode(0xA4, name())),
                der.encode(0x82, b"\1"),
            ),
        ),
    ),
    "malformed pointer": (Reason.POINTER, extended(DISTRIBUTION, b"\x30\x01")),
    "pointer to nothing": (Reason.POINTER, extended(DISTRIBUTION, SEQUENCE())),
    "pointer not a URI": (Reason.POINTER, extended(DISTRIBUTION, distribution(tag=DNS))),
    "policy twice": (Reason.POINTER, extended(POLICIES, SEQUENCE(policy()[2:] * 2))),
    "policy notice": (
        Reason.POINTER,
        extended(
            POLICIES,
            SEQUENCE(
                SEQUENCE(OID("1.2.156.1"), SEQUENCE(SEQUENCE(OID("1.3.6.1.5.5.7.2.2"), SEQUENCE())))
            ),
        ),
    ),
    "no authority information": (Reason.POINTER, extended(ACCESS, SEQUENCE())),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_what_keeps_the_profile_is_accepted(what: str) -> None:
    assert judge(ACCEPTED[what]) is None


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_is_refused_by_the_name_of_its_rule(what: str) -> None:
    reason, certificate = REFUSED[what]
    assert judge(certificate) is reason


def test_every_reason_is_given_for_something() -> None:
    of_authorities = {Reason.ROLE, Reason.ALGORITHM, Reason.BASIC_CONSTRAINTS}
    assert {reason for reason, _ in REFUSED.values()} | of_authorities == set(Reason)


def test_a_certificate_says_what_was_written_into_it() -> None:
    read = decode_certificate(ACCEPTED["hosts"])
    assert read.subject_names == (("2.5.4.10", "org-1"), ("2.5.4.3", "one"))
    assert read.extensions.dns_names == ("a.example",)
    assert read.extensions.ip_addresses == (bytes(4), bytes(16))
    assert read.extensions.emails == ("a@b",)
    shown = read_member(read)
    assert (shown.identity_id, shown.role, shown.organisation) == ("bureau", "agency", "org-1")
    assert shown.public_key_encoded == MEMBER_KEY.public_key.encoded
    assert (shown.not_before_ms, shown.not_after_ms) == (1_767_225_600_000, 2_082_758_400_000)


def test_every_byte_of_a_certificate_counts() -> None:
    for at in range(len(MEMBER_CERTIFICATE)):
        for mask in (0x01, 0x20, 0x80, 0xFF):
            altered = bytearray(MEMBER_CERTIFICATE)
            altered[at] ^= mask
            assert judge(bytes(altered)) is not None


# --- Authorities


def authority_extended(kind: str, content: bytes, *, critical: bool = False) -> bytes:
    added = extension(kind, content, critical=critical)
    return signed(authority_body({**AUTHORITY_EXTENSIONS, kind: added}))


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        (Reason.ROLE, lambda: MEMBER_CERTIFICATE),
        (Reason.ROLE, lambda: authority_extended(USAGE, bits(0))),
        (Reason.ROLE, lambda: signed(authority_body({USAGE: AUTHORITY_EXTENSIONS[USAGE]}))),
        (
            Reason.BASIC_CONSTRAINTS,
            lambda: authority_extended(CONSTRAINTS, SEQUENCE(der.TRUE)),
        ),
        (
            Reason.EXTENDED_KEY_USAGE,
            lambda: authority_extended(PURPOSES, SEQUENCE(OID("1.3.6.1.5.5.7.3.2"))),
        ),
    ],
)
def test_who_may_not_certify_certifies_nobody(reason: Reason, make: Callable[[], bytes]) -> None:
    assert judge(MEMBER_CERTIFICATE, make()) is reason


def test_key_identifiers_that_differ_name_another_authority() -> None:
    own = authority_extended(SUBJECT_KEY, der.encode(der.OCTET_STRING, b"\2" * 20))
    other = authority_extended(SUBJECT_KEY, der.encode(der.OCTET_STRING, b"\3" * 20))
    assert judge(ACCEPTED["key identifiers"], own) is None
    assert judge(ACCEPTED["key identifiers"], other) is Reason.ISSUER


# --- The national suite

SM2_KEY = Sm2Signer.from_secret(b"\x34" * 32)


def by_sm2(body: bytes) -> bytes:
    """Return a certificate signed by a key of SM2, of fields that name it."""
    algorithm = SEQUENCE(OID("1.2.156.10197.1.501"))
    raw = SM2_KEY.sign(body)
    pair = SEQUENCE(*(der.encode_integer(int.from_bytes(h, "big")) for h in (raw[:32], raw[32:])))
    return SEQUENCE(body, algorithm, der.encode(der.BIT_STRING, b"\0" + pair))


SM2_ALGORITHM = SEQUENCE(OID("1.2.156.10197.1.501"))
SM2_SPKI = public_key(
    SEQUENCE(OID("1.2.840.10045.2.1"), OID("1.2.156.10197.1.301")),
    SM2_KEY.public_key.uncompressed(),
)
SM2_AUTHORITY = by_sm2(authority_body(algorithm=SM2_ALGORITHM, key=SM2_SPKI))
SM2_MEMBER = by_sm2(member_body(algorithm=SM2_ALGORITHM))


def verify_on(suite: Suite, certificate: bytes, authority: bytes) -> str:
    shown = verify_member(
        decode_certificate(certificate), decode_certificate(authority), NOW_MS, suite
    )
    return shown.identity_id


def test_an_authority_of_sm2_certifies_on_a_chain_of_the_national_suite_alone() -> None:
    assert verify_on(NATIONAL, SM2_MEMBER, SM2_AUTHORITY) == "bureau"
    assert verify_on(NATIONAL, MEMBER_CERTIFICATE, AUTHORITY_CERTIFICATE) == "bureau"
    with pytest.raises(CertificateRefused, match="one of P-256, P-384, RSA, got SM2") as refused:
        verify_on(INTERNATIONAL, SM2_MEMBER, SM2_AUTHORITY)
    assert refused.value.reason is Reason.ALGORITHM


def test_a_signature_of_one_algorithm_is_none_of_the_other() -> None:
    for certificate, authority in (
        (SM2_MEMBER, AUTHORITY_CERTIFICATE),
        (MEMBER_CERTIFICATE, SM2_AUTHORITY),
    ):
        with pytest.raises(CertificateRefused) as refused:
            verify_on(NATIONAL, certificate, authority)
        assert refused.value.reason is Reason.ISSUER


def test_a_member_has_a_key_that_tls_knows() -> None:
    certificate = signed(member_body(key=SM2_SPKI))
    with pytest.raises(CertificateRefused) as refused:
        verify_on(NATIONAL, certificate, AUTHORITY_CERTIFICATE)
    assert refused.value.reason is Reason.KEY


def test_what_this_project_issues_by_sm2_keeps_the_profile() -> None:
    fields = CertificateFields(
        serial_number=1,
        issuer=MEMBER["issuer"],
        subject=MEMBER["issuer"],
        not_before_ms=NOW_MS,
        not_after_ms=NOW_MS,
        key=SM2_KEY.public_key,
        extensions=(),
    )
    read = decode_certificate(encode_certificate(fields, SM2_KEY))
    assert (read.key_algorithm, read.signed_by.name) == ("SM2", "SM2 with SM3")
    assert read.public_key == SM2_KEY.public_key.encoded
    assert read.not_before_ms == NOW_MS
    with pytest.raises(CryptoError):
        check_authority(read, NATIONAL)  # it has none of the extensions of an authority


def test_a_key_of_the_suite_is_not_taken_for_the_certificates() -> None:
    assert judge(signed(member_body(), CA_KEY)) is None
    assert judge(signed(member_body(), MEMBER_KEY)) is Reason.ISSUER
