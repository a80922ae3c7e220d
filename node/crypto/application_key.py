"""Keys by which applications of others sign their HTTP requests (RFC 9421 section 3.3).

Made and kept by whoever runs the application; only the public half ever comes here. Two algorithms,
by the names of the HTTP Signature Algorithms registry.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from node.crypto.library_warnings import ignore_remarks
from node.crypto.signature import (
    P256_ORDER,
    P256_SIGNATURE_BYTES,
    Ed25519PublicKey,
    P256PublicKey,
    PublicKey,
    Signer,
)
from node.errors import CryptoError

ED25519: Final = "ed25519"
ECDSA_P256: Final = "ecdsa-p256-sha256"
KEY_PEM_BYTES_MAX: Final = 4_096

_KEY_ID_DIGITS: Final = 32
_SCALAR_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class ApplicationKey:
    """A public key of an application."""

    algorithm: str
    """`ed25519` or `ecdsa-p256-sha256`."""
    key_id: str
    """The first 32 hexadecimal digits of the SHA-256 of its SubjectPublicKeyInfo."""
    public_key: PublicKey = field(repr=False)

    @classmethod
    def read(cls, pem: bytes) -> ApplicationKey:
        """Read a public key in PEM; raises `CryptoError` for anything else, a private key too."""
        ignore_remarks()
        if len(pem) > KEY_PEM_BYTES_MAX or b"PRIVATE KEY" in pem:
            raise CryptoError(
                "application key: expected one public key in PEM, and nothing of a private one",
                fix="openssl pkey -in application.key -pubout -out application.pub",
            )
        try:
            loaded = load_pem_public_key(pem)
        except UnsupportedAlgorithm as error:  # SM2 among others
            raise _of_another_kind() from error
        except (ValueError, TypeError) as error:
            raise CryptoError("application key: expected a public key in PEM") from error
        encoded = loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        key_id = hashlib.sha256(encoded).hexdigest()[:_KEY_ID_DIGITS]
        if isinstance(loaded, ed25519.Ed25519PublicKey):
            raw = loaded.public_bytes(Encoding.Raw, PublicFormat.Raw)
            return cls(ED25519, key_id, Ed25519PublicKey.decode(raw))
        if isinstance(loaded, ec.EllipticCurvePublicKey):
            return cls(ECDSA_P256, key_id, P256PublicKey.wrap(loaded))
        raise _of_another_kind()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's: of P-256, r || s, and s may be either."""
        if self.algorithm == ECDSA_P256:
            signature = _with_low_s(signature)
        return self.public_key.verify(message, signature)


def _of_another_kind() -> CryptoError:
    return CryptoError(
        "application key: expected one of Ed25519 or P-256",
        fix="openssl genpkey -algorithm ed25519 -out application.key",
    )


def encode_public_pem(signer: Signer) -> bytes:
    """Return the PEM of a signer's public key, as `ApplicationKey.read` takes it."""
    key = signer.public_key
    if isinstance(key, P256PublicKey):
        library_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey = key.library_key
    else:
        library_key = ed25519.Ed25519PublicKey.from_public_bytes(key.encoded)
    return library_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _with_low_s(signature: bytes) -> bytes:
    """Return the equal signature with the lower s: libraries give either, ours takes that one."""
    r, s = signature[:_SCALAR_BYTES], int.from_bytes(signature[_SCALAR_BYTES:])
    if len(signature) != P256_SIGNATURE_BYTES or not P256_ORDER // 2 < s < P256_ORDER:
        return signature
    return r + (P256_ORDER - s).to_bytes(_SCALAR_BYTES)
