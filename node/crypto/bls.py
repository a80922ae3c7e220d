"""BLS12-381 signatures that can be aggregated: keys of 48 bytes in G1, signatures of 96 in G2.

Ciphersuite BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_ (draft-irtf-cfrg-bls-signature-05): a key
counts only with its proof of possession, which is what stops a key chosen to cancel others out.

The backend is py-ecc: pure Python, the reference and the offline fallback. It takes a large part of
a second to verify, holds the interpreter lock, and is not constant-time. It is imported on first
use, because the import alone takes half a second and most processes never need it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from node.crypto.signature import SECRET_BYTES
from node.errors import CryptoError

BLS_PUBLIC_KEY_BYTES: Final = 48


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
        if len(data) != BLS_PUBLIC_KEY_BYTES or not _scheme().KeyValidate(data):
            raise CryptoError("public key: expected a compressed BLS12-381 point of order r in G1")
        return cls(data)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (96 bytes) is this key's over `message`."""
        return bool(_scheme().Verify(self.encoded, message, signature))

    def verify_possession(self, proof: bytes) -> bool:
        """Tell whether `proof` (96 bytes) shows that someone holds this key's private half."""
        return bool(_scheme().PopVerify(self.encoded, proof))


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
        scalar = _scheme().KeyGen(secret)
        return cls(BlsPublicKey(_scheme().SkToPk(scalar)), secret, scalar)

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""
        return self._seed

    def sign(self, message: bytes) -> bytes:
        """Return the 96-byte signature."""
        return bytes(_scheme().Sign(self._scalar, message))

    def prove_possession(self) -> bytes:
        """Return the 96-byte proof that this signer holds the key, for its registration."""
        return bytes(_scheme().PopProve(self._scalar))


def _scheme() -> Any:  # noqa: ANN401 - the library types keys and signatures by names of its own
    # Importing it raises the recursion limit of the whole process so far that hostile nesting
    # overflows the C stack instead of raising RecursionError. The scheme does not need it.
    limit = sys.getrecursionlimit()
    try:
        from py_ecc.bls.ciphersuites import (  # noqa: PLC0415 - see the module docstring
            G2ProofOfPossession,
        )
    finally:
        sys.setrecursionlimit(limit)
    return G2ProofOfPossession
