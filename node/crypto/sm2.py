"""SM2 (GB/T 32918) with SM3: the keys by which validators and clients of a national chain sign.

Here is the fixed-size form that goes into blocks, and the form in which a plaintext, a content key,
is encrypted to one key; the arithmetic is a library's: the system's libcrypto, unless a process
chose Botan (`sm2_choice.py`).

A signature is r || s, 64 bytes, big endian, both in 1..n-1; nobody can make a second one of it, as
of ECDSA's. Nonces are drawn by the library, so a key signs one message differently each time:
nothing may rest on a signature being made the same twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar, Final, Self

from node.crypto.botan import Botan
from node.crypto.libcrypto import Libcrypto
from node.crypto.sm2_ciphertext import decode_der, encode_der, is_trivial
from node.crypto.sm2_library import (
    SM2_SIGNATURE_BYTES,
    Sm2Key,
    Sm2Library,
    compress,
    has_known_answers,
    no_plaintext,
)
from node.errors import CryptoError

SM2_LIBRARIES: Final[dict[str, type[Sm2Library]]] = {
    library.name: library for library in (Libcrypto, Botan)
}

SM2_PLAINTEXT_BYTES_MAX: Final = 1_024
"""What is encrypted to a key are other keys: SM2 is no way to encrypt documents."""


def sm2_library() -> Sm2Library:
    """Return the library that this process uses; raises as `use_sm2_library` does."""
    return _in_use[0] if _in_use else use_sm2_library(Libcrypto.name)


def use_sm2_library(name: str) -> Sm2Library:
    """Have keys computed by one of `SM2_LIBRARIES` from now on, tried with known answers.

    Raises `CryptoError` where it is missing or answers wrongly. Keys loaded before stay as they
    are.
    """
    library = _tried(name)
    _in_use[:] = [library]
    return library


_in_use: Final[list[Sm2Library]] = []


@cache
def _tried(name: str) -> Sm2Library:
    library = SM2_LIBRARIES[name]()
    if not has_known_answers(library):
        raise library.failure()
    return library


@dataclass(frozen=True, slots=True)
class Sm2PublicKey:
    """A point of SM2's curve (sm2p256v1) in compressed form, 33 bytes."""

    encoded: bytes
    _key: Sm2Key = field(repr=False, compare=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode a compressed point; raise `CryptoError` on anything else, infinity included."""
        return cls(data, sm2_library().load_point(data))

    def uncompressed(self) -> bytes:
        """Return the point with both coordinates, 65 bytes, as certificates have it."""
        return b"\x04" + self._key.coordinates()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Tell whether `signature` (r || s) is this key's over `message`.

        The library refuses r and s outside 1..n-1, and releases the interpreter lock.
        """
        return len(signature) == SM2_SIGNATURE_BYTES and self._key.verify(message, signature)

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return C1 || C3 || C2 (GB/T 32918.4), 97 bytes longer than `plaintext`.

        Raises `CryptoError` for a plaintext of no bytes, or of more than `SM2_PLAINTEXT_BYTES_MAX`.
        """
        if not 0 < len(plaintext) <= SM2_PLAINTEXT_BYTES_MAX:
            expected = f"1 to {SM2_PLAINTEXT_BYTES_MAX} bytes"
            raise CryptoError(f"content: expected {expected}, got {len(plaintext)}")
        while True:
            made = decode_der(self._key.encrypt(plaintext))
            # The standard draws again where the mask is zero; the library hands the plaintext out.
            if not is_trivial(made, plaintext):
                return made


@dataclass(frozen=True, slots=True)
class Sm2Signer:
    """Signs with an SM2 key in memory, by the default identity of GM/T 0009."""

    algorithm: ClassVar[str] = "sm2"

    public_key: Sm2PublicKey
    _secret: bytes = field(repr=False, compare=False)
    _key: Sm2Key = field(repr=False, compare=False)

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        """Build from the private scalar, 32 bytes big endian in 1..n-2, or raise `CryptoError`."""
        key = sm2_library().load_secret(secret)
        return cls(Sm2PublicKey.decode(compress(key.coordinates())), secret, key)

    def export_secret(self) -> bytes:
        """Return what `from_secret` takes. For the key store alone."""
        return self._secret

    def sign(self, message: bytes) -> bytes:
        """Return r || s, 64 bytes; another one each time."""
        return self._key.sign(message)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return what was encrypted to this key, given as C1 || C3 || C2.

        Raises `CryptoError` for anything else, any altered bit included.
        """
        plaintext = self._key.decrypt(encode_der(ciphertext))
        if is_trivial(ciphertext, plaintext):  # nobody who keeps the standard makes such a one
            raise no_plaintext()
        return plaintext
