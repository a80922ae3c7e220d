"""The algorithms that certificates of a chain may be signed by: their keys and signatures, read.

Part of the profile of certificate_profile.py. Keys of P-256 and SM2 are checked by the key types of
this room. RSA is of authorities alone, external ones above all: its signature is a power of a
number (RFC 8017 section 8.2.2), compared with the one right encoding, byte by byte, so that nothing
of it is parsed. Nothing is secret here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from node.crypto import der
from node.crypto.certificate_extensions import CertificateRefused, Reason
from node.crypto.signature import P256_ORDER, P256PublicKey, PublicKey
from node.crypto.sm2 import Sm2PublicKey
from node.crypto.sm2_library import SM2_ORDER
from node.errors import DecodeError

RSA_BITS_MIN: Final = 3_072
"""128 bits of strength, as the curves have (NIST SP 800-57 part 1, table 2)."""
RSA_BITS_MAX: Final = 8_192
"""What TLS libraries take at most."""

_SCALAR_BYTES: Final = 32
_POINT_BYTES: Final = 1 + 2 * _SCALAR_BYTES
_UNCOMPRESSED: Final = 4


class Algorithm(Protocol):
    """Keys of one kind and their signatures, as X.509 names them."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def key_identifier(self) -> bytes:
        """DER of the AlgorithmIdentifier of a key."""

    @property
    def signature_identifier(self) -> bytes:
        """DER of the AlgorithmIdentifier of a signature."""

    def read_key(self, content: bytes) -> bytes:
        """Return a key as it is kept; raises `CertificateRefused`."""

    def read_signature(self, content: bytes) -> bytes:
        """Return a signature as it is kept; raises `CertificateRefused`."""

    def verifies(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's over a message, both as they are kept."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Keys of one curve: kept as compressed points, 33 bytes, signatures as r || s, 64 bytes."""

    name: str
    key_identifier: bytes
    signature_identifier: bytes
    prime: int
    a: int
    b: int
    """Of the curve y^2 = x^3 + ax + b."""
    order: int
    decode_key: Callable[[bytes], PublicKey]
    has_low_s: bool
    """Whether the key's `verify` takes the lower of two equally good s alone."""

    def read_key(self, content: bytes) -> bytes:
        """Return the compressed form of an uncompressed point."""
        x, y = (int.from_bytes(half, "big") for half in (content[1:33], content[33:]))
        if (
            len(content) != _POINT_BYTES
            or content[0] != _UNCOMPRESSED
            or max(x, y) >= self.prime
            or (y * y - (x * x + self.a) * x - self.b) % self.prime
        ):
            raise CertificateRefused(
                Reason.KEY, f"certificate: expected an uncompressed point of {self.name}"
            )
        return bytes((2 + (y & 1),)) + content[1:33]

    def read_signature(self, content: bytes) -> bytes:
        """Return r || s of a signature in DER, each in 1..n-1."""
        try:
            pair = der.read_only(content, der.SEQUENCE, "signature")
            scalars = (pair.read_integer(), pair.read_integer())
            pair.finish()
        except DecodeError as error:
            raise CertificateRefused(Reason.SIGNATURE_FORM, f"certificate: {error}") from error
        if not all(0 < each < self.order for each in scalars):
            raise CertificateRefused(
                Reason.SIGNATURE_FORM, "certificate: expected a signature of two numbers in 1..n-1"
            )
        return b"".join(each.to_bytes(_SCALAR_BYTES, "big") for each in scalars)

    def verifies(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell it by the key type of this room."""
        if self.has_low_s:  # (r, s) is as good as (r, n - s): other tools make either
            r, s = signature[:_SCALAR_BYTES], int.from_bytes(signature[_SCALAR_BYTES:], "big")
            signature = r + min(s, self.order - s).to_bytes(_SCALAR_BYTES, "big")
        return self.decode_key(key).verify(message, signature)


@dataclass(frozen=True, slots=True)
class Rsa:
    """Keys of RSA with the exponent 65,537: kept as their modulus, big endian, in whole bytes.

    Signatures are PKCS #1 v1.5 with SHA-256, as long as the modulus.
    """

    name: str
    key_identifier: bytes
    signature_identifier: bytes
    exponent: int
    digest_info_start: bytes
    """DER of a DigestInfo up to the digest."""

    def read_key(self, content: bytes) -> bytes:
        """Return the modulus of an RSAPublicKey (RFC 8017 appendix A.1.1)."""
        try:
            fields = der.read_only(content, der.SEQUENCE, "key")
            modulus = int.from_bytes(fields.read_integer_bytes(), "big", signed=True)
            exponent = fields.read_integer()
            fields.finish()
        except DecodeError as error:
            raise CertificateRefused(Reason.KEY, f"certificate: {error}") from error
        bits = modulus.bit_length()
        is_sized = modulus > 0 and RSA_BITS_MIN <= bits <= RSA_BITS_MAX and not bits % 8
        if not is_sized or not modulus & 1 or exponent != self.exponent:
            raise CertificateRefused(
                Reason.KEY,
                f"certificate: expected a key of RSA of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, in "
                f"whole bytes, with the exponent {self.exponent}",
            )
        return modulus.to_bytes(bits // 8, "big")

    def read_signature(self, content: bytes) -> bytes:
        """Return it as it is, of a length that a key may have."""
        if not RSA_BITS_MIN <= 8 * len(content) <= RSA_BITS_MAX:
            raise CertificateRefused(
                Reason.SIGNATURE_FORM,
                f"certificate: expected a signature by a key of RSA of {RSA_BITS_MIN} to "
                f"{RSA_BITS_MAX} bits",
            )
        return content

    def verifies(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether its power is the encoding of the message's digest (section 9.2)."""
        modulus, number = int.from_bytes(key, "big"), int.from_bytes(signature, "big")
        if len(signature) != len(key) or number >= modulus:
            return False
        told = self.digest_info_start + hashlib.sha256(message).digest()
        padding = b"\xff" * (len(key) - len(told) - 3)
        expected = b"\0\1" + padding + b"\0" + told
        return pow(number, self.exponent, modulus).to_bytes(len(key), "big") == expected


_EC_PUBLIC_KEY: Final = der.encode_oid("1.2.840.10045.2.1")
_NULL: Final = b"\x05\x00"
_P256_PRIME: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_SM2_PRIME: Final = 2**256 - 2**224 - 2**96 + 2**64 - 1

P256: Final = Curve(
    name="P-256",
    key_identifier=der.encode_sequence(_EC_PUBLIC_KEY, der.encode_oid("1.2.840.10045.3.1.7")),
    signature_identifier=der.encode_sequence(der.encode_oid("1.2.840.10045.4.3.2")),
    prime=_P256_PRIME,
    a=_P256_PRIME - 3,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    order=P256_ORDER,
    decode_key=P256PublicKey.decode,
    has_low_s=True,
)
SM2: Final = Curve(
    name="SM2",
    key_identifier=der.encode_sequence(_EC_PUBLIC_KEY, der.encode_oid("1.2.156.10197.1.301")),
    signature_identifier=der.encode_sequence(der.encode_oid("1.2.156.10197.1.501")),
    prime=_SM2_PRIME,
    a=_SM2_PRIME - 3,
    b=0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93,
    order=SM2_ORDER,
    decode_key=Sm2PublicKey.decode,
    has_low_s=False,
)
RSA: Final = Rsa(
    name="RSA",
    key_identifier=der.encode_sequence(der.encode_oid("1.2.840.113549.1.1.1"), _NULL),
    signature_identifier=der.encode_sequence(der.encode_oid("1.2.840.113549.1.1.11"), _NULL),
    exponent=65_537,
    digest_info_start=bytes.fromhex("3031300d060960864801650304020105000420"),
)
ALGORITHMS: Final[tuple[Algorithm, ...]] = (P256, SM2, RSA)
