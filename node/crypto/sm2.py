"""SM2 (GB/T 32918.2) with SM3: the keys by which validators and clients of a national chain sign.

Here is the fixed-size form that goes into blocks; the arithmetic is the library's (`libcrypto.py`).
A signature is r || s, 64 bytes, big endian, both in 1..n-1; nobody can make a second one of it, as
of ECDSA's. Nonces are drawn by the library, so a key signs one message differently each time:
nothing may rest on a signature being made the same twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from node.crypto.libcrypto import SM2_SCALAR_BYTES, Sm2Handle, load_sm2_point, load_sm2_secret

SM2_SIGNATURE_BYTES: Final = 2 * SM2_SCALAR_BYTES


@dataclass(frozen=True, slots=True)
class Sm2PublicKey:
    """A point of SM2's curve (sm2p256v1) in compressed form, 33 bytes."""

    encoded: bytes
    _handle: Sm2Handle = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a compressed point; raise `CryptoError` on anything else, infinity included."""
        return cls(data, load_sm2_point(data))

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (r || s) is this key's over `message`.

        The library refuses r and s outside 1..n-1, and releases the interpreter lock.
        """
        if len(signature) != SM2_SIGNATURE_BYTES:
            return False
        r, s = signature[:SM2_SCALAR_BYTES], signature[SM2_SCALAR_BYTES:]
        encoded = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
        return self._handle.verify(message, encoded)


@dataclass(frozen=True, slots=True)
class Sm2Signer:
    """Signs with an SM2 key in memory, by the default identity of GM/T 0009."""

    algorithm: ClassVar[str] = "sm2"

    public_key: Sm2PublicKey
    _secret: bytes = field(repr=False, compare=False)
    _handle: Sm2Handle = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Build from the private scalar, 32 bytes big endian in 1..n-2, or raise `CryptoError`."""
        handle = load_sm2_secret(secret)
        return cls(Sm2PublicKey.decode(handle.point()), secret, handle)

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""
        return self._secret

    def sign(self, message: bytes) -> bytes:
        """Return r || s, 64 bytes; another one each time."""
        r, s = decode_dss_signature(self._handle.sign(message))
        return r.to_bytes(SM2_SCALAR_BYTES, "big") + s.to_bytes(SM2_SCALAR_BYTES, "big")
