"""HMAC (RFC 2104, GB/T 15852.2) and HKDF (RFC 5869) over a suite's hash. No randomness."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


@dataclass(frozen=True, slots=True)
class KeyedHash:
    """What a hash gives together with a key. `name` is the hash's, as key files have it."""

    name: str
    _hash: hashes.HashAlgorithm = field(repr=False, compare=False)

    def authenticate(self, key: bytes, message: bytes) -> bytes:
        """Return the HMAC of `message`, of the hash's size."""
        return self._begin(key, message).finalize()

    def is_authentic(self, key: bytes, message: bytes, code: bytes) -> bool:
        """Tell whether `code` is the HMAC of `message`, in a time that tells nothing of it."""
        try:
            self._begin(key, message).verify(code)
        except InvalidSignature:
            return False
        return True

    def derive(self, secret: bytes, *, salt: bytes, info: bytes, size: int) -> bytes:
        """Return `size` bytes by HKDF: other ones for each `info`. At most 255 digests."""
        return HKDF(self._hash, size, salt=salt, info=info).derive(secret)

    def derive_into(
        self, secret: bytes | bytearray, *, salt: bytes, info: bytes, key: bytearray
    ) -> None:
        """Write by HKDF as many bytes as `key` has."""
        HKDF(self._hash, len(key), salt=salt, info=info).derive_into(secret, key)

    def _begin(self, key: bytes, message: bytes) -> HMAC:
        code = HMAC(key, self._hash)
        code.update(message)
        return code


KEYED_SHA_256: Final = KeyedHash("sha256", hashes.SHA256())
KEYED_SM3: Final = KeyedHash("sm3", hashes.SM3())
