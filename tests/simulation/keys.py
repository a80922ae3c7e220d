"""A signature scheme for simulations: keyed hashes, unforgeable because only the ring has secrets.

A signer is handed to its owner alone; whoever holds none cannot sign, and checking goes through the
ring. It costs a microsecond where P-256 takes sixty.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from node.crypto.suite import INTERNATIONAL, Suite
from node.errors import CryptoError

SUITE_ID = 255
_SALT_BYTES = 8
_MAC_BYTES = 56


@dataclass(frozen=True, slots=True)
class RingPublicKey:
    """The public half of a key in a ring."""

    encoded: bytes
    _secret: bytes = field(repr=False)

    def verify(self, message: bytes, signature: bytes) -> bool:
        salt, mac = signature[:_SALT_BYTES], signature[_SALT_BYTES:]
        return mac == _mac(self._secret, salt + message)


@dataclass(frozen=True, slots=True)
class RingSigner:
    """The means to sign as one party; `on_sign` sees each (message, signature)."""

    public_key: RingPublicKey
    _secret: bytes = field(repr=False)
    _salt: int = 0
    _on_sign: Callable[[bytes, bytes], None] | None = field(default=None, repr=False)

    def sign(self, message: bytes) -> bytes:
        prefix = self._salt.to_bytes(_SALT_BYTES, "big")
        signature = prefix + _mac(self._secret, prefix + message)
        if self._on_sign is not None:
            self._on_sign(message, signature)
        return signature

    def salted(self, salt: int) -> RingSigner:
        """Return a signer whose signatures differ and are valid too, as a wilful ECDSA one can."""
        return replace(self, _salt=salt)

    def watched_by(self, on_sign: Callable[[bytes, bytes], None]) -> RingSigner:
        """Return the same signer, reporting what it signs."""
        return replace(self, _on_sign=on_sign)


class KeyRing:
    """Every key of one simulation, derived from names."""

    def __init__(self) -> None:
        self._keys: dict[bytes, RingPublicKey] = {}
        self.suite: Suite = replace(
            INTERNATIONAL, suite_id=SUITE_ID, name="simulation", load_public_key=self._load
        )

    def signer(self, name: str) -> RingSigner:
        """Return the signer of a party; the same name gives the same key."""
        secret = hashlib.blake2b(name.encode(), digest_size=32).digest()
        encoded = b"\x02" + hashlib.blake2b(secret, digest_size=32).digest()
        key = self._keys.setdefault(encoded, RingPublicKey(encoded, secret))
        return RingSigner(key, secret)

    def _load(self, data: bytes) -> RingPublicKey:
        key = self._keys.get(data)
        if key is None:
            raise CryptoError(f"no such key: {data.hex()}")
        return key


def _mac(secret: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=secret, digest_size=_MAC_BYTES).digest()
