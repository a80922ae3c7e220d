"""Envelopes: content sealed in chunks under one key, and that key wrapped for each recipient.

Chunks are sealed one by one as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizar: "Online
authenticated-encryption and its nonce-reuse misuse-resistance", CRYPTO 2015), by the AEAD of the
suite: the nonce holds the chunk's index and whether it is the last, so that chunks can be neither
reordered, dropped nor cut off. A content key seals one content alone: nonces need no randomness,
and the same chunk is sealed to the same bytes again.

A key is wrapped, under the international suite, by HPKE (RFC 9180) in base mode: DHKEM(P-256,
HKDF-SHA256), HKDF-SHA256, AES-256-GCM; the wrapped key is `enc` (65 bytes), then the ciphertext.
Under the national suite it is SM2's (GB/T 32918.4), C1 || C3 || C2, of the SM3 digest of the
context, then the secret. Who wrapped it, neither says: its digest stands in a signed transaction.
The format for strangers: proto/VAULT.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import ec

from node.crypto.aead import AEAD_TAG_BYTES, Aead
from node.crypto.signature import P256PublicKey, P256Signer, SoftwareSigner
from node.crypto.sm2 import Sm2PublicKey, Sm2Signer
from node.crypto.suite import INTERNATIONAL, NATIONAL, Suite
from node.errors import CryptoError

CHUNK_BYTES: Final = 1_048_576
"""Of content in the clear; the last chunk is shorter, or empty where it is the only one."""
SEALED_CHUNK_BYTES_MAX: Final = CHUNK_BYTES + AEAD_TAG_BYTES
CHUNKS_MAX: Final = 65_536
WRAPPED_KEY_BYTES_MAX: Final = 1_024

_PREFIX: Final = bytes(7)
_INDEX_BYTES: Final = 4
_HPKE: Final = hpke.Suite(hpke.KEM.P256, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class ContentCipher:
    """Seals and opens the chunks of one content. `associated_data` names that content."""

    aead: Aead
    key: bytes = field(repr=False)
    associated_data: bytes

    def seal(self, index: int, plaintext: bytes, *, is_last: bool) -> bytes:
        """Return the sealed chunk at `index`; the same for the same plaintext."""
        if not 0 <= index < CHUNKS_MAX or len(plaintext) > CHUNK_BYTES:
            raise CryptoError(f"chunk {index}: expected at most {CHUNK_BYTES} bytes")
        nonce = _nonce(index, is_last=is_last)
        return self.aead.seal(self.key, nonce, plaintext, self.associated_data)

    def open(self, index: int, sealed: bytes, *, is_last: bool) -> bytes:
        """Return the content of the chunk at `index`; raises `CryptoError` naming the chunk."""
        nonce = _nonce(index, is_last=is_last)
        try:
            return self.aead.unseal(self.key, nonce, sealed, self.associated_data)
        except CryptoError as error:
            raise CryptoError(f"chunk {index}: does not open: it is not what was sealed") from error


class Opener(Protocol):
    """Holds a private encryption key, and opens what was wrapped for it."""

    @property
    def public_key(self) -> bytes:
        """The key others wrap under, in the suite's one encoding."""

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return what was wrapped under this very `info`; raises `CryptoError`."""


@dataclass(frozen=True, slots=True)
class HpkeOpener:
    """Opens by HPKE with a key of P-256."""

    public_key: bytes
    _private_key: ec.EllipticCurvePrivateKey = field(repr=False)

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return what was wrapped under this very `info`; raises `CryptoError`."""
        if len(wrapped) > WRAPPED_KEY_BYTES_MAX:
            raise CryptoError(f"wrapped key: expected at most {WRAPPED_KEY_BYTES_MAX} bytes")
        try:
            return _HPKE.decrypt(wrapped, self._private_key, info=info)
        except (InvalidTag, ValueError) as error:
            raise CryptoError("wrapped key: does not open under this key and context") from error


@dataclass(frozen=True, slots=True)
class Sm2Opener:
    """Opens what was encrypted to a key of SM2."""

    _key: Sm2Signer = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """The key others wrap under."""
        return self._key.public_key.encoded

    def unwrap(self, wrapped: bytes, info: bytes) -> bytes:
        """Return what was wrapped under this very `info`; raises `CryptoError`."""
        if len(wrapped) > WRAPPED_KEY_BYTES_MAX:
            raise CryptoError(f"wrapped key: expected at most {WRAPPED_KEY_BYTES_MAX} bytes")
        context = NATIONAL.hash(info)
        try:
            plain = self._key.decrypt(wrapped)
        except CryptoError as error:
            raise CryptoError("wrapped key: does not open under this key and context") from error
        if not plain.startswith(context):
            raise CryptoError("wrapped key: does not open under this key and context")
        return plain.removeprefix(context)


def wrap_key(suite: Suite, public_key: bytes, secret: bytes, info: bytes) -> bytes:
    """Return `secret` wrapped for the holder of `public_key`, bound to `info`; another each time.

    Raises `CryptoError` for what is no key of the suite.
    """
    if suite is NATIONAL:
        return Sm2PublicKey.decode(public_key).encrypt(NATIONAL.hash(info) + secret)
    return _HPKE.encrypt(secret, P256PublicKey.decode(public_key).library_key, info=info)


def opener_of(suite: Suite, key: SoftwareSigner) -> Opener:
    """Return what opens with a key from the key store."""
    if suite is NATIONAL and isinstance(key, Sm2Signer):
        return Sm2Opener(key)
    if suite is INTERNATIONAL and isinstance(key, P256Signer):
        return HpkeOpener(key.public_key.encoded, key.private_key)
    raise CryptoError(f"encryption key: expected one of suite {suite.name}, got {key.algorithm}")


def _nonce(index: int, *, is_last: bool) -> bytes:
    return _PREFIX + index.to_bytes(_INDEX_BYTES) + bytes((is_last,))
