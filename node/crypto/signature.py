"""Public keys and signers of fixed-size encodings. No randomness, no files.

Two algorithms: ECDSA on P-256 with SHA-256, for everything consensus and clients sign, and Ed25519,
for the cosignatures of checkpoints, whose format (C2SP tlog-cosignature) prescribes it. BLS and SM2
have files of their own. Signing here is deterministic: no nonce can repeat on a restored machine.

A P-256 signature is r || s, 64 bytes, big endian, with 1 <= r < n and 1 <= s <= n/2. Requiring the
low s leaves one valid form: nobody can turn a signature into another one over the same message.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar, Final, Protocol, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node.errors import CryptoError

SECRET_BYTES: Final = 32

P256_PUBLIC_KEY_BYTES: Final = 33
P256_SIGNATURE_BYTES: Final = 64
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SCALAR_BYTES: Final = 32
_S_MAX: Final = (P256_ORDER // 2).to_bytes(_SCALAR_BYTES, "big")

_CURVE: Final = ec.SECP256R1()
_VERIFY: Final = ec.ECDSA(Prehashed(hashes.SHA256()))  # cheaper than to let the library hash
_SIGN: Final = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)  # RFC 6979

ED25519_PUBLIC_KEY_BYTES: Final = 32
_ED25519_FIELD: Final = 2**255 - 19
_ED25519_D: Final = -121665 * pow(121666, -1, _ED25519_FIELD) % _ED25519_FIELD
_ED25519_ORDER_8_Y: Final = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_ED25519_SMALL_ORDER_Y: Final = (
    0,
    1,
    _ED25519_FIELD - 1,
    _ED25519_ORDER_8_Y,
    _ED25519_FIELD - _ED25519_ORDER_8_Y,
)


class PublicKey(Protocol):
    """A key that checks signatures of one algorithm. Equal and hashable by its encoding."""

    @property
    def encoded(self) -> bytes:
        """The key's one canonical encoding, of a size fixed by its algorithm."""

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` is this key's over `message`. Never raises on bad input."""


class Signer(Protocol):
    """Holds a private key, in memory or in a device, and signs with it."""

    @property
    def public_key(self) -> PublicKey:
        """The key that checks what this signer signs."""

    def sign(self, message: bytes) -> bytes:
        """Return a signature over `message`; of SM2 another one each time, else the same."""


class SoftwareSigner(Signer, Protocol):
    """A signer whose private key lies in this process, and so can be made and stored by us."""

    algorithm: ClassVar[str]  # names the algorithm in key files

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Build from `SECRET_BYTES` secret bytes; raise `CryptoError` if they make no key."""

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""


@dataclass(frozen=True, slots=True)
class P256PublicKey:
    """A point of P-256 in its compressed form (SEC 1 section 2.3.3), 33 bytes."""

    encoded: bytes
    library_key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a compressed point; raise `CryptoError` on anything else, infinity included."""
        if len(data) != P256_PUBLIC_KEY_BYTES:
            message = f"public key: expected {P256_PUBLIC_KEY_BYTES} bytes, got {len(data)}"
            raise CryptoError(message)
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, data)
        except ValueError as error:
            raise CryptoError("public key: expected a compressed point of P-256") from error
        return cls(data, key)

    @classmethod
    def wrap(cls, key: ec.EllipticCurvePublicKey) -> Self:
        """Wrap the library's key; raise `CryptoError` if it is of another curve."""
        if key.curve.name != _CURVE.name:
            raise CryptoError(f"public key: expected a key of P-256, got one of {key.curve.name}")
        return cls(key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint), key)

    @property
    def coordinates(self) -> tuple[bytes, bytes]:
        """Return x and y, 32 bytes big endian each: what JWK and COSE keys hold."""
        numbers = self.library_key.public_numbers()
        return numbers.x.to_bytes(_SCALAR_BYTES, "big"), numbers.y.to_bytes(_SCALAR_BYTES, "big")

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (r || s, low s) is this key's over `message`.

        The library call takes nearly all of the time and releases the interpreter lock. It refuses
        r and s outside the group; that s is the low one is ours to ask.
        """
        r, s = signature[:_SCALAR_BYTES], signature[_SCALAR_BYTES:]
        if len(signature) != P256_SIGNATURE_BYTES or s > _S_MAX:
            return False
        encoded = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        try:
            self.library_key.verify(encoded, hashlib.sha256(message).digest(), _VERIFY)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class P256Signer:
    """Signs with a P-256 key in memory; nonces follow RFC 6979, s is always the low one."""

    algorithm: ClassVar[str] = "ecdsa-p256"

    public_key: P256PublicKey
    private_key: ec.EllipticCurvePrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Build from the private scalar, 32 bytes big endian in 1..n-1, or raise `CryptoError`."""
        scalar = int.from_bytes(secret, "big")
        if len(secret) != SECRET_BYTES or not 0 < scalar < P256_ORDER:
            raise CryptoError("private key: expected 32 bytes holding a scalar in 1..n-1")
        private_key = ec.derive_private_key(scalar, _CURVE)
        return cls(P256PublicKey.wrap(private_key.public_key()), private_key)

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""
        return self.private_key.private_numbers().private_value.to_bytes(SECRET_BYTES, "big")

    def sign(self, message: bytes) -> bytes:
        """Return r || s, 64 bytes, with the low s."""
        r, s = decode_dss_signature(self.private_key.sign(message, _SIGN))
        s = min(s, P256_ORDER - s)
        return r.to_bytes(_SCALAR_BYTES, "big") + s.to_bytes(_SCALAR_BYTES, "big")


@dataclass(frozen=True, slots=True)
class Ed25519PublicKey:
    """A point of edwards25519 in the form of RFC 8032, 32 bytes."""

    encoded: bytes
    _key: ed25519.Ed25519PublicKey = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a canonical point that is not of small order, or raise `CryptoError`.

        The library defers these checks to verification, where a key of small order would accept
        one signature for many messages.
        """
        if len(data) != ED25519_PUBLIC_KEY_BYTES:
            message = f"public key: expected {ED25519_PUBLIC_KEY_BYTES} bytes, got {len(data)}"
            raise CryptoError(message)
        if not _is_sound_ed25519_point(data):
            raise CryptoError("public key: expected a canonical Ed25519 point of large order")
        return cls(data, ed25519.Ed25519PublicKey.from_public_bytes(data))

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (RFC 8032, 64 bytes) is this key's over `message`."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Ed25519Signer:
    """Signs with an Ed25519 key in memory; RFC 8032 makes the signature deterministic."""

    algorithm: ClassVar[str] = "ed25519"

    public_key: Ed25519PublicKey
    _private_key: ed25519.Ed25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Build from the 32-byte seed of RFC 8032, or raise `CryptoError`."""
        if len(secret) != SECRET_BYTES:
            raise CryptoError(f"private key: expected {SECRET_BYTES} bytes")
        private_key = ed25519.Ed25519PrivateKey.from_private_bytes(secret)
        return cls(
            Ed25519PublicKey.decode(private_key.public_key().public_bytes_raw()), private_key
        )

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""
        return self._private_key.private_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature."""
        return self._private_key.sign(message)


@lru_cache(maxsize=1_024)  # the validators', read anew with every receipt and checkpoint
def _is_sound_ed25519_point(data: bytes) -> bool:
    """Tell whether `data` is a canonical encoding of a curve point outside the small subgroup."""
    y = int.from_bytes(data, "little") & ((1 << 255) - 1)
    if y >= _ED25519_FIELD or y in _ED25519_SMALL_ORDER_Y:
        return False
    # On the curve x^2 = (y^2 - 1) / (d y^2 + 1); a quotient is a square where the product is one.
    x_square_times_square = (y * y - 1) * (_ED25519_D * y * y + 1)
    return pow(x_square_times_square, (_ED25519_FIELD - 1) // 2, _ED25519_FIELD) == 1
