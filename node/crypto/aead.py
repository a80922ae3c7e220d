"""Authenticated encryption, one algorithm for each suite: AES-256-GCM and SM4-GCM.

Both by GCM (NIST SP 800-38D), with nonces of 12 bytes and tags of 16, and no other sizes. SM4 (GB/T
32907, in GCM by RFC 8998) has keys of 16 bytes, and no other. The library computes it by tables, so
not in constant time: where strangers measure it closely, it belongs on a machine of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.errors import CryptoError

AEAD_NONCE_BYTES: Final = 12
AEAD_TAG_BYTES: Final = 16


class _Cipher(Protocol):
    """A cipher under one key; `decrypt` raises `InvalidTag`."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Aead:
    """An algorithm that encrypts, and notices any change. `key_size` is in bytes."""

    name: str
    key_size: int
    _new: Callable[[bytes | bytearray], _Cipher] = field(repr=False, compare=False)

    def seal(
        self, key: bytes | bytearray, nonce: bytes, plaintext: bytes, associated_data: bytes
    ) -> bytes:
        """Encrypt and return ciphertext and tag. A (key, nonce) pair must never be used twice."""
        return self._cipher(key, nonce).encrypt(nonce, plaintext, associated_data)

    def unseal(
        self, key: bytes | bytearray, nonce: bytes, sealed: bytes, associated_data: bytes
    ) -> bytes:
        """Return what was sealed; raise `CryptoError` if anything at all was changed."""
        try:
            return self._cipher(key, nonce).decrypt(nonce, sealed, associated_data)
        except InvalidTag as error:
            raise CryptoError(
                "ciphertext: does not open under this key and associated data"
            ) from error

    def _cipher(self, key: bytes | bytearray, nonce: bytes) -> _Cipher:
        # The library takes other sizes too; none of them is part of this format.
        if len(key) != self.key_size or len(nonce) != AEAD_NONCE_BYTES:
            message = f"expected {self.key_size} key and {AEAD_NONCE_BYTES} nonce bytes"
            raise CryptoError(f"ciphertext: {message}, got {len(key)} and {len(nonce)}")
        return self._new(key)


class _Sm4Gcm:
    """SM4 in GCM, in the shape that the library gives AES."""

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes | bytearray) -> None:
        self._cipher = algorithms.SM4(key)  # type: ignore[arg-type]  # takes any buffer

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        context = Cipher(self._cipher, modes.GCM(nonce)).encryptor()
        context.authenticate_additional_data(associated_data)
        return context.update(data) + context.finalize() + context.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes, /) -> bytes:
        if len(data) < AEAD_TAG_BYTES:
            raise InvalidTag
        body, tag = data[:-AEAD_TAG_BYTES], data[-AEAD_TAG_BYTES:]
        context = Cipher(self._cipher, modes.GCM(nonce, tag)).decryptor()
        context.authenticate_additional_data(associated_data)
        return context.update(body) + context.finalize()


AES_256_GCM: Final = Aead("aes-256-gcm", 32, AESGCM)
SM4_GCM: Final = Aead("sm4-gcm", 16, _Sm4Gcm)
