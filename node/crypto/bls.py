"""BLS12-381 signatures that can be aggregated: keys of 48 bytes in G1, signatures of 96 in G2.

Ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ (draft-irtf-cfrg-bls-signature-06, hashing
to the curve as in RFC 9380): a key counts only with its proof of possession, which is what stops a
key chosen to cancel others out. So many signatures of one message make one, of the same 96 bytes.

Keys and signatures are refused unless they are the one encoding of a point of the prime-order
subgroup that is not infinity. The arithmetic is behind `bls_backend`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.crypto.bls_backend import (
    BLS_PUBLIC_KEY_BYTES,
    BLS_SIGNATURE_BYTES,
    MissingLibraryError,
    backend,
)
from node.crypto.signature import SECRET_BYTES
from node.errors import CryptoError

__all__ = [
    "BLS_PUBLIC_KEY_BYTES",
    "BLS_SIGNATURE_BYTES",
    "BlsPublicKey",
    "BlsSigner",
    "aggregate_signatures",
    "is_native",
    "verify_aggregate",
]

_ORDER: Final = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
_KEYGEN_SALT: Final = b"BLS-SIG-KEYGEN-SALT-"
_KEYGEN_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class BlsPublicKey:
    """A point of G1 in its compressed form, 48 bytes."""

    encoded: bytes

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a canonical point of the prime-order subgroup that is not infinity.

        Raises `CryptoError` on anything else. A key decoded from outside must also pass
        `verify_possession` before any signature of its owner is believed.
        """
        if not backend().is_key(data):
            raise CryptoError("public key: expected a compressed BLS12-381 point of order r in G1")
        return cls(data)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (96 bytes) is this key's over `message`."""
        return verify_aggregate([self], message, signature)

    def verify_possession(self, proof: bytes) -> bool:
        """Tell whether `proof` (96 bytes) shows that someone holds this key's private half."""
        library = backend()
        return library.is_signature(proof) and library.verify_possession(self.encoded, proof)


@dataclass(frozen=True, slots=True)
class BlsSigner:
    """Signs with a BLS12-381 key in memory; the signature is deterministic by construction."""

    algorithm: ClassVar[str] = "bls12-381"

    public_key: BlsPublicKey
    _seed: bytes = field(repr=False, compare=False)
    _scalar: int = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Derive the key from a 32-byte seed (KeyGen of the draft), or raise `CryptoError`."""
        if len(secret) != SECRET_BYTES:
            raise CryptoError(f"private key: expected a seed of {SECRET_BYTES} bytes")
        scalar = _generate(secret)
        return cls(BlsPublicKey(backend().public_key(scalar)), secret, scalar)

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""
        return self._seed

    def sign(self, message: bytes) -> bytes:
        """Return the 96-byte signature."""
        return backend().sign(self._scalar, message)

    def prove_possession(self) -> bytes:
        """Return the 96-byte proof that this signer holds the key, for its registration."""
        return backend().prove(self._scalar, self.public_key.encoded)


def aggregate_signatures(signatures: Sequence[bytes]) -> bytes:
    """Return one signature of 96 bytes for many; raises `CryptoError` on none or a malformed one.

    Whether they are of one message, and whose, only `verify_aggregate` tells.
    """
    library = backend()
    if not signatures or not all(library.is_signature(each) for each in signatures):
        raise CryptoError("aggregate: expected one or more BLS12-381 points of order r in G2")
    return library.aggregate(signatures)


def verify_aggregate(keys: Sequence[BlsPublicKey], message: bytes, signature: bytes) -> bool:
    """Tell whether `signature` is the aggregate of the signatures of `message` by all `keys`.

    The possession of each key must have been proved, and no key may occur twice: that is for
    whoever registers keys. No keys, or keys that cancel each other out, have signed nothing.
    """
    library = backend()
    if not keys or not library.is_signature(signature):
        return False
    return library.verify([key.encoded for key in keys], message, signature)


def is_native() -> bool:
    """Tell whether the native library is there: without it a node takes no part in aggregates."""
    try:
        return backend().name == "native"
    except MissingLibraryError:
        return False


def _generate(seed: bytes) -> int:
    """KeyGen, section 2.3 of the draft, without key_info."""
    salt, scalar = _KEYGEN_SALT, 0
    while not scalar:
        salt = hashlib.sha256(salt).digest()
        info = _KEYGEN_BYTES.to_bytes(2, "big")
        material = HKDF(hashes.SHA256(), _KEYGEN_BYTES, salt=salt, info=info).derive(seed + b"\x00")
        scalar = int.from_bytes(material, "big") % _ORDER
    return scalar
