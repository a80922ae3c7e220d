"""Certificates put together piece by piece, each piece replaceable: what no builder would write."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.crypto import der
from node.crypto.signature import P256_ORDER, P256Signer

CA_KEY = P256Signer.from_secret(b"\x31" * 32)
MEMBER_KEY = P256Signer.from_secret(b"\x32" * 32)

NOW_MS = 1_800_000_000_000  # 2027-01-15
ECDSA_WITH_SHA_256 = der.encode_sequence(der.encode_oid("1.2.840.10045.4.3.2"))
PRINTABLE, IA5 = 0x13, 0x16
URI, DNS, MAIL, IP = 0x86, 0x82, 0x81, 0x87

CONSTRAINTS, USAGE, PURPOSES, NAMES = "2.5.29.19", "2.5.29.15", "2.5.29.37", "2.5.29.17"
SUBJECT_KEY, AUTHORITY_KEY = "2.5.29.14", "2.5.29.35"
POLICIES, DISTRIBUTION, ACCESS = "2.5.29.32", "2.5.29.31", "1.3.6.1.5.5.7.1.1"


def attribute(kind: str, value: str | bytes, tag: int = der.UTF8_STRING) -> bytes:
    """Return one level of a name."""
    text = value.encode() if isinstance(value, str) else value
    return der.encode_set(der.encode_sequence(der.encode_oid(kind), der.encode(tag, text)))


def name(organisation: str = "org-1", common_name: str = "one") -> bytes:
    return der.encode_sequence(
        attribute("2.5.4.10", organisation), attribute("2.5.4.3", common_name)
    )


def utc(text: str) -> bytes:
    return der.encode(der.UTC_TIME, text.encode())


def generalized(text: str) -> bytes:
    return der.encode(der.GENERALIZED_TIME, text.encode())


def validity(begins: bytes, ends: bytes) -> bytes:
    return der.encode_sequence(begins, ends)


def bits(*numbers: int) -> bytes:
    """Return a BIT STRING of named bits, 0..7, in its shortest form."""
    value = sum(1 << (7 - number) for number in numbers)
    return der.encode(der.BIT_STRING, bytes((7 - max(numbers), value)))


def extension(kind: str, content: bytes, *, critical: bool = False) -> bytes:
    flag = der.TRUE if critical else b""
    return der.encode_sequence(der.encode_oid(kind), flag, der.encode(der.OCTET_STRING, content))


def alternative_names(*names: tuple[int, bytes]) -> bytes:
    return der.encode_sequence(*(der.encode(tag, value) for tag, value in names))


def key(signer: P256Signer = MEMBER_KEY) -> bytes:
    return signer.public_key.library_key.public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )


MEMBER_EXTENSIONS: Mapping[str, bytes] = {
    CONSTRAINTS: extension(CONSTRAINTS, der.encode_sequence(), critical=True),
    USAGE: extension(USAGE, bits(0), critical=True),
    PURPOSES: extension(PURPOSES, der.encode_sequence(der.encode_oid("1.3.6.1.5.5.7.3.2"))),
    NAMES: extension(NAMES, alternative_names((URI, b"govchain:agency:bureau"))),
}
AUTHORITY_EXTENSIONS: Mapping[str, bytes] = {
    CONSTRAINTS: extension(CONSTRAINTS, der.encode_sequence(der.TRUE), critical=True),
    USAGE: extension(USAGE, bits(5, 6), critical=True),
}
MEMBER: Mapping[str, bytes] = {
    "version": der.encode(0xA0, der.encode_integer(2)),
    "serial_number": der.encode_integer(7),
    "algorithm": ECDSA_WITH_SHA_256,
    "issuer": name(common_name="authority"),
    "validity": validity(utc("260101000000Z"), utc("360101000000Z")),
    "subject": name(),
    "key": key(),
}
"""The fields of a member's certificate in their order; `with_extensions` has the rest."""


def with_extensions(extensions: Mapping[str, bytes]) -> bytes:
    return der.encode(0xA3, der.encode_sequence(*extensions.values()))


def member_body(extensions: Mapping[str, bytes] = MEMBER_EXTENSIONS, /, **replaced: bytes) -> bytes:
    """Return the part of a member's certificate that is signed."""
    fields = {**MEMBER, "extensions": with_extensions(extensions), **replaced}
    return der.encode_sequence(*fields.values())


def authority_body(
    extensions: Mapping[str, bytes] = AUTHORITY_EXTENSIONS, /, **replaced: bytes
) -> bytes:
    """Return the part of an authority's certificate that is signed."""
    own = {"subject": MEMBER["issuer"], "key": key(CA_KEY), **replaced}
    return member_body(extensions, **own)


def signed(
    body: bytes,
    signer: P256Signer = CA_KEY,
    *,
    algorithm: bytes = ECDSA_WITH_SHA_256,
    is_high: bool = False,
) -> bytes:
    """Return the certificate of a signed part; `is_high` takes the higher of the two good s."""
    raw = signer.sign(body)
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    signature = encode_dss_signature(r, P256_ORDER - s if is_high else s)
    return der.encode_sequence(body, algorithm, der.encode(der.BIT_STRING, b"\0" + signature))


AUTHORITY_CERTIFICATE = signed(authority_body())
MEMBER_CERTIFICATE = signed(member_body())
