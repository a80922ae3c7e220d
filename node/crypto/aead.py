"""Authenticated encryption: AES-256-GCM, nonces of 12 bytes, tags of 16. Nothing else."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.errors import CryptoError

AEAD_KEY_BYTES: Final = 32
AEAD_NONCE_BYTES: Final = 12
AEAD_TAG_BYTES: Final = 16


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Encrypt and return ciphertext and tag. A (key, nonce) pair must never be used twice."""
    return _cipher(key, nonce).encrypt(nonce, plaintext, associated_data)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """Return what was sealed; raise `CryptoError` if anything at all was changed."""
    try:
        return _cipher(key, nonce).decrypt(nonce, sealed, associated_data)
    except InvalidTag as error:
        raise CryptoError("ciphertext: does not open under this key and associated data") from error


def _cipher(key: bytes, nonce: bytes) -> AESGCM:
    # The library takes other sizes too; none of them is part of this format.
    if len(key) != AEAD_KEY_BYTES or len(nonce) != AEAD_NONCE_BYTES:
        message = f"expected {AEAD_KEY_BYTES} key and {AEAD_NONCE_BYTES} nonce bytes"
        raise CryptoError(f"ciphertext: {message}, got {len(key)} and {len(nonce)}")
    return AESGCM(key)
