"""The algorithms that certificates of a chain may be signed by: their keys and signatures, read.

Part of the profile of certificate_profile.py. Besides SM2, of the national suite, they are those
that TLS 1.3 has for certificates (RFC 8446 section 4.2.3) and gRPC's library offers, so that who is
registered gets through handshakes: ECDSA on P-256 and P-384, each with its own hash, and RSA by
PKCS #1 v1.5 and PSS. Keys of P-256 and SM2 are checked by the key types of this room. P-384 and RSA
are of authorities alone, external ones above all. A signature of RSA is a power of a number (RFC
8017 section 5.2.2), and what that has to be is reckoned here, byte by byte. Nothing is secret here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from node.crypto import der
from node.crypto.certificate_extensions import CertificateRefused, Reason
from node.crypto.signature import P256_ORDER, P256PublicKey
from node.crypto.sm2 import Sm2PublicKey
from node.crypto.sm2_library import SM2_ORDER
from node.errors import DecodeError

RSA_BITS_MIN: Final = 3_072
"""128 bits of strength, as the curves have (NIST SP 800-57 part 1, table 2)."""
RSA_BITS_MAX: Final = 8_192
"""What TLS libraries take at most."""

_UNCOMPRESSED: Final = 4
_SHOWN_BYTES_MAX: Final = 64


class KeyAlgorithm(Protocol):
    """Keys of one kind, as X.509 names them."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def identifier(self) -> bytes:
        """DER of the AlgorithmIdentifier."""

    def read(self, content: bytes) -> bytes:
        """Return a key as it is kept; raises `CertificateRefused`."""


class SignatureAlgorithm(Protocol):
    """Signatures by keys of one kind over one hash, as X.509 names them."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def identifier(self) -> bytes:
        """DER of the AlgorithmIdentifier."""

    @property
    def key_algorithm(self) -> KeyAlgorithm:
        """Which keys sign so."""

    def read(self, content: bytes) -> bytes:
        """Return a signature as it is kept; raises `CertificateRefused`."""

    def verifies(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's over a message, both as they are kept."""


# --- Curves


@dataclass(frozen=True, slots=True)
class Curve:
    """Points of y^2 = x^3 + ax + b: kept compressed, a byte longer than a coordinate."""

    name: str
    identifier: bytes
    prime: int
    a: int
    b: int
    order: int

    @property
    def size(self) -> int:
        """Bytes of a coordinate, and of either number of a signature."""
        return (self.prime.bit_length() + 7) // 8

    def read(self, content: bytes) -> bytes:
        """Return the compressed form of an uncompressed point."""
        abscissa, ordinate = content[1 : 1 + self.size], content[1 + self.size :]
        x, y = int.from_bytes(abscissa, "big"), int.from_bytes(ordinate, "big")
        if (
            len(content) != 1 + 2 * self.size
            or content[0] != _UNCOMPRESSED
            or max(x, y) >= self.prime
            or (y * y - (x * x + self.a) * x - self.b) % self.prime
        ):
            raise CertificateRefused(
                Reason.KEY, f"certificate: expected an uncompressed point of {self.name}"
            )
        return bytes((2 + (y & 1),)) + abscissa


@dataclass(frozen=True, slots=True)
class CurveSignature:
    """Two numbers in 1..n-1: kept as r || s, each as long as a coordinate."""

    name: str
    identifier: bytes
    key_algorithm: Curve
    check: Callable[[bytes, bytes, bytes], bool]
    """Tells of key, message and signature, as they are kept, whether they belong together."""

    def read(self, content: bytes) -> bytes:
        """Return r || s of a signature in DER."""
        try:
            pair = der.read_only(content, der.SEQUENCE, "signature")
            scalars = (pair.read_integer(), pair.read_integer())
            pair.finish()
        except DecodeError as error:
            raise CertificateRefused(Reason.SIGNATURE_FORM, f"certificate: {error}") from error
        curve = self.key_algorithm
        if not all(0 < each < curve.order for each in scalars):
            raise CertificateRefused(
                Reason.SIGNATURE_FORM,
                "certificate: expected a signature of two numbers in 1..n-1, as a key of "
                f"{curve.name} makes by {self.name}",
            )
        return b"".join(each.to_bytes(curve.size, "big") for each in scalars)

    def verifies(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell it by the key type of the curve."""
        return self.check(key, message, signature)


def _is_by_p256(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is that of a key of P-256, whichever of the two good s it has.

    Other tools make either; the key type of this room takes the lower one alone.
    """
    r, s = _halves(signature)
    s = min(s, P256_ORDER - s)
    lower = r.to_bytes(P256.size, "big") + s.to_bytes(P256.size, "big")
    return P256PublicKey.decode(key).verify(message, lower)


def _is_by_p384(key: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature is that of a key of P-384: the library solves, nothing is parsed."""
    point = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), key)
    digest = hashlib.sha384(message).digest()
    try:
        point.verify(encode_dss_signature(*_halves(signature)), digest, _ECDSA_SHA_384)
    except InvalidSignature:
        return False
    return True


def _is_by_sm2(key: bytes, message: bytes, signature: bytes) -> bool:
    return Sm2PublicKey.decode(key).verify(message, signature)


def _halves(signature: bytes) -> tuple[int, int]:
    middle = len(signature) // 2
    return int.from_bytes(signature[:middle], "big"), int.from_bytes(signature[middle:], "big")


# --- RSA


@dataclass(frozen=True, slots=True)
class RsaKey:
    """Keys of RSA of one exponent: kept as their modulus, big endian, in whole bytes."""

    name: str
    identifier: bytes
    exponent: int

    def read(self, content: bytes) -> bytes:
        """Return the modulus of an RSAPublicKey (RFC 8017 appendix A.1.1)."""
        try:
            fields = der.read_only(content, der.SEQUENCE, "key")
            modulus = int.from_bytes(fields.read_integer_bytes(), "big", signed=True)
            exponent = fields.read_integer()
            fields.finish()
        except DecodeError as error:
            raise CertificateRefused(Reason.KEY, f"certificate: {error}") from error
        bits = max(modulus, 0).bit_length()
        if not RSA_BITS_MIN <= bits <= RSA_BITS_MAX or bits % 8:
            raise CertificateRefused(
                Reason.KEY,
                f"certificate: expected a key of RSA of {RSA_BITS_MIN} to {RSA_BITS_MAX} bits, in "
                f"whole bytes, got one of {bits}",
            )
        if not modulus & 1 or exponent != self.exponent:
            raise CertificateRefused(
                Reason.KEY,
                "certificate: expected a key of RSA with an odd modulus and the exponent "
                f"{self.exponent}",
            )
        return modulus.to_bytes(bits // 8, "big")


@dataclass(frozen=True, slots=True)
class RsaSignature:
    """Signatures by RSA: as long as the modulus."""

    name: str
    identifier: bytes
    key_algorithm: RsaKey
    is_encoding: Callable[[bytes, bytes], bool]
    """Tells whether this, as long as the modulus, encodes a message."""

    def read(self, content: bytes) -> bytes:
        """Return it as it is, of a length that a key may have."""
        if not RSA_BITS_MIN <= 8 * len(content) <= RSA_BITS_MAX:
            raise CertificateRefused(
                Reason.SIGNATURE_FORM,
                f"certificate: expected a signature by a key of RSA of {RSA_BITS_MIN} to "
                f"{RSA_BITS_MAX} bits",
            )
        return content

    def verifies(self, key: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether its power encodes the message."""
        modulus, number = int.from_bytes(key, "big"), int.from_bytes(signature, "big")
        if len(signature) != len(key) or number >= modulus:
            return False
        power = pow(number, self.key_algorithm.exponent, modulus)
        return self.is_encoding(power.to_bytes(len(key), "big"), message)


@dataclass(frozen=True, slots=True)
class Pkcs1Encoding:
    """EMSA-PKCS1-v1_5 (RFC 8017 section 9.2): a message has one."""

    hash_name: str
    digest_info_start: bytes
    """DER of a DigestInfo up to the digest."""

    def __call__(self, encoded: bytes, message: bytes) -> bool:
        """Tell whether this is a message's."""
        told = self.digest_info_start + hashlib.new(self.hash_name, message).digest()
        padding = b"\xff" * (len(encoded) - len(told) - 3)
        return encoded == b"\0\1" + padding + b"\0" + told


@dataclass(frozen=True, slots=True)
class PssEncoding:
    """EMSA-PSS (RFC 8017 section 9.1.2) of a modulus in whole bytes.

    MGF1 goes by the same hash, the salt is as long as a digest: what TLS libraries take alone.
    """

    hash_name: str

    def __call__(self, encoded: bytes, message: bytes) -> bool:
        """Tell whether this is one of a message's, by whatever salt."""
        size = hashlib.new(self.hash_name).digest_size
        masked, digest, trailer = encoded[: -size - 1], encoded[-size - 1 : -1], encoded[-1:]
        if trailer != b"\xbc" or masked[0] & 0x80:
            return False
        mask = self._mask(digest, len(masked))
        block = bytes(one ^ other for one, other in zip(masked, mask, strict=True))
        padding = len(block) - size - 1
        # The topmost bit is none of the number's: one less than the modulus has.
        if bytes((block[0] & 0x7F,)) + block[1 : padding + 1] != b"\0" * padding + b"\1":
            return False
        own = hashlib.new(self.hash_name, message).digest()
        return digest == hashlib.new(self.hash_name, bytes(8) + own + block[-size:]).digest()

    def _mask(self, seed: bytes, size: int) -> bytes:
        """Return so many bytes of MGF1 (appendix B.2.1)."""
        mask = b""
        while len(mask) < size:
            count = len(mask) // hashlib.new(self.hash_name).digest_size
            mask += hashlib.new(self.hash_name, seed + count.to_bytes(4, "big")).digest()
        return mask[:size]


# --- Which there are

_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
_RSA_ENCRYPTION: Final = "1.2.840.113549.1.1.1"
_RSA_PSS: Final = "1.2.840.113549.1.1.10"
_MGF1: Final = "1.2.840.113549.1.1.8"
_NULL: Final = b"\x05\x00"
_P256_PRIME: Final = 2**256 - 2**224 + 2**192 + 2**96 - 1
_P384_PRIME: Final = 2**384 - 2**128 - 2**96 + 2**32 - 1
_SM2_PRIME: Final = 2**256 - 2**224 - 2**96 + 2**64 - 1
_ECDSA_SHA_384: Final = ec.ECDSA(Prehashed(hashes.SHA384()))


def _identifier(oid: str, *parameters: bytes) -> bytes:
    return der.encode_sequence(der.encode_oid(oid), *parameters)


P256: Final = Curve(
    name="P-256",
    identifier=_identifier(_EC_PUBLIC_KEY, der.encode_oid("1.2.840.10045.3.1.7")),
    prime=_P256_PRIME,
    a=_P256_PRIME - 3,
    b=0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
    order=P256_ORDER,
)
P384: Final = Curve(  # FIPS 186-4 appendix D.1.2.4
    name="P-384",
    identifier=_identifier(_EC_PUBLIC_KEY, der.encode_oid("1.3.132.0.34")),
    prime=_P384_PRIME,
    a=_P384_PRIME - 3,
    b=int(
        "B3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875A"
        "C656398D8A2ED19D2A85C8EDD3EC2AEF",
        16,
    ),
    order=int(
        "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF"
        "581A0DB248B0A77AECEC196ACCC52973",
        16,
    ),
)
SM2: Final = Curve(
    name="SM2",
    identifier=_identifier(_EC_PUBLIC_KEY, der.encode_oid("1.2.156.10197.1.301")),
    prime=_SM2_PRIME,
    a=_SM2_PRIME - 3,
    b=0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93,
    order=SM2_ORDER,
)
RSA: Final = RsaKey("RSA", _identifier(_RSA_ENCRYPTION, _NULL), exponent=65_537)
KEY_ALGORITHMS: Final[tuple[KeyAlgorithm, ...]] = (P256, P384, RSA, SM2)


def _pkcs1(hash_name: str, oid: str, digest_info_start: str) -> RsaSignature:
    encoding = Pkcs1Encoding(hash_name, bytes.fromhex(digest_info_start))
    name = f"RSA with {_HASH_NAMES[hash_name]}"
    return RsaSignature(name, _identifier(oid, _NULL), RSA, encoding)


def _pss(hash_name: str, hash_oid: str) -> RsaSignature:
    """Return it with the one form of parameters (RFC 4055 section 3.1) that TLS libraries take."""
    hashed = _identifier(hash_oid, _NULL)
    parameters = der.encode_sequence(
        der.encode(der.context(0, constructed=True), hashed),
        der.encode(der.context(1, constructed=True), _identifier(_MGF1, hashed)),
        der.encode(
            der.context(2, constructed=True),
            der.encode_integer(hashlib.new(hash_name).digest_size),
        ),
    )
    name = f"RSA-PSS with {_HASH_NAMES[hash_name]}"
    return RsaSignature(name, _identifier(_RSA_PSS, parameters), RSA, PssEncoding(hash_name))


_HASH_NAMES: Final = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
SIGNATURE_ALGORITHMS: Final[tuple[SignatureAlgorithm, ...]] = (
    CurveSignature("P-256 with SHA-256", _identifier("1.2.840.10045.4.3.2"), P256, _is_by_p256),
    CurveSignature("P-384 with SHA-384", _identifier("1.2.840.10045.4.3.3"), P384, _is_by_p384),
    _pkcs1("sha256", "1.2.840.113549.1.1.11", "3031300d060960864801650304020105000420"),
    _pkcs1("sha384", "1.2.840.113549.1.1.12", "3041300d060960864801650304020205000430"),
    _pkcs1("sha512", "1.2.840.113549.1.1.13", "3051300d060960864801650304020305000440"),
    _pss("sha256", "2.16.840.1.101.3.4.2.1"),
    _pss("sha384", "2.16.840.1.101.3.4.2.2"),
    _pss("sha512", "2.16.840.1.101.3.4.2.3"),
    CurveSignature("SM2 with SM3", _identifier("1.2.156.10197.1.501"), SM2, _is_by_sm2),
)

_NAMES: Final[Mapping[str, str]] = {
    "1.2.840.10045.4.1": "ECDSA with SHA-1",
    "1.2.840.10045.4.3.1": "ECDSA with SHA-224",
    "1.2.840.10045.4.3.2": "ECDSA with SHA-256",
    "1.2.840.10045.4.3.3": "ECDSA with SHA-384",
    "1.2.840.10045.4.3.4": "ECDSA with SHA-512",
    "1.2.840.113549.1.1.4": "RSA with MD5",
    "1.2.840.113549.1.1.5": "RSA with SHA-1",
    "1.2.840.113549.1.1.11": "RSA with SHA-256",
    "1.2.840.113549.1.1.12": "RSA with SHA-384",
    "1.2.840.113549.1.1.13": "RSA with SHA-512",
    "1.2.840.113549.1.1.14": "RSA with SHA-224",
    _RSA_ENCRYPTION: "RSA",
    _RSA_PSS: "RSA-PSS",
    "1.2.156.10197.1.501": "SM2 with SM3",
    "1.2.156.10197.1.504": "RSA with SM3",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.3.132.0.10": "secp256k1",
    "1.3.132.0.35": "P-521",
}
"""What is met in certificates, taken or not: names for refusals."""


def find_signature_algorithm(identifier: bytes) -> SignatureAlgorithm:
    """Return the algorithm of an AlgorithmIdentifier in DER; raises `CertificateRefused`."""
    for each in SIGNATURE_ALGORITHMS:
        if each.identifier == identifier:
            return each
    got = _describe(identifier)
    raise CertificateRefused(
        Reason.ALGORITHM,
        "certificate: expected a signature by P-256 with SHA-256, P-384 with SHA-384, RSA or "
        "RSA-PSS with SHA-256, SHA-384 or SHA-512 (of RSA-PSS with MGF1 by the same hash, and a "
        f"salt of its length), or SM2 with SM3, got {got}",
    )


def find_key_algorithm(identifier: bytes) -> KeyAlgorithm:
    """Return the algorithm of a key's AlgorithmIdentifier in DER; raises `CertificateRefused`."""
    for each in KEY_ALGORITHMS:
        if each.identifier == identifier:
            return each
    raise CertificateRefused(
        Reason.KEY,
        f"certificate: expected a key of P-256, P-384, RSA or SM2, got {_describe(identifier)}",
    )


def _describe(identifier: bytes) -> str:
    """Return what an AlgorithmIdentifier names, with its numbers, and its parameters in hex."""
    try:
        fields = der.read_only(identifier, der.SEQUENCE, "algorithm")
        oid = fields.read_oid()
        if oid == _EC_PUBLIC_KEY and not fields.is_empty:
            oid = fields.read_oid()
        parameters = b"" if fields.is_empty else fields.read().encoded
    except DecodeError:
        return identifier[:_SHOWN_BYTES_MAX].hex()
    told = f"{oid} {parameters[:_SHOWN_BYTES_MAX].hex()}".rstrip()
    name = _NAMES.get(oid)
    return told if name is None else f"{name} ({told})"
