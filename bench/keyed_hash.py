"""A suite whose signatures cost a microsecond, to see what the rest costs. Safe for nothing else.

A signature is a keyed hash, so whoever can check one can make one. Everything else is the
international suite's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Self

from node.crypto.signature import Signer
from node.crypto.suite import INTERNATIONAL, Suite


@dataclass(frozen=True, slots=True)
class KeyedHashKey:
    """A key that signs and checks."""

    encoded: bytes

    def verify(self, message: bytes, signature: bytes) -> bool:
        return signature == _mac(self.encoded, message)


@dataclass(frozen=True, slots=True)
class KeyedHashSigner:
    """Signs with a key that everybody may know."""

    algorithm: ClassVar[str] = "keyed-hash"

    public_key: KeyedHashKey

    @classmethod
    def from_secret(cls, secret: bytes) -> Self:
        return cls(KeyedHashKey(secret))

    def export_secret(self) -> bytes:
        return self.public_key.encoded

    def sign(self, message: bytes) -> bytes:
        return _mac(self.public_key.encoded, message)


KEYED_HASH: Final[Suite] = replace(
    INTERNATIONAL,
    suite_id=255,
    name="keyed-hash",
    load_public_key=KeyedHashKey,
    signer_type=KeyedHashSigner,
)


def signer(name: str, suite: Suite = KEYED_HASH) -> Signer:
    """Return the fixed key of a validator or an identity."""
    return suite.signer_type.from_secret(hashlib.sha256(name.encode()).digest())


def _mac(key: bytes, message: bytes) -> bytes:
    return hashlib.blake2b(message, key=key, digest_size=INTERNATIONAL.signature_size).digest()
