"""The arithmetic of BLS12-381 signatures, by either of two libraries that must never differ.

`native` is blst, in assembly, through pyblst (extra `[bls]`): constant-time signing, a verification
in a millisecond. `reference` is py-ecc, in pure Python: the oracle of tests, and the fallback where
a receipt is verified offline. It takes a third of a second per verification and holds the
interpreter lock meanwhile. Execution may run either, so a differing verdict would split the chain:
what the libraries treat differently (infinity, other encodings of a point) is refused here alike.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Final, Protocol

from node.errors import CryptoError

BLS_PUBLIC_KEY_BYTES: Final = 48
BLS_SIGNATURE_BYTES: Final = 96

# draft-irtf-cfrg-bls-signature-06, section 4.2.3; hashing to the curve is RFC 9380's.
_SIGNATURE_TAG: Final = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_POSSESSION_TAG: Final = b"BLS_POP_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_"
_GENERATOR: Final = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac58"
    "6c55e83ff97a1aeffb3af00adb22c6bb"
)
_INFINITY_BIT: Final = 0x40


class MissingLibraryError(ImportError):
    """A signature cannot be checked on this machine. Not a verdict: nothing is known to be wrong.

    No `CryptoError`, which execution takes for one: a node without a library has to stop instead.
    """


class Backend(Protocol):
    """What is asked of a library. Points come and go in their compressed form."""

    name: ClassVar[str]

    def public_key(self, scalar: int) -> bytes:
        """Return the key of a secret scalar, 48 bytes."""

    def sign(self, scalar: int, message: bytes) -> bytes:
        """Return the signature of a message, 96 bytes."""

    def prove(self, scalar: int, public_key: bytes) -> bytes:
        """Return the proof of possession of a key, 96 bytes."""

    def is_key(self, data: bytes) -> bool:
        """Tell whether this is the one encoding of a key: in the subgroup, not infinity."""

    def is_signature(self, data: bytes) -> bool:
        """Tell whether this is the one encoding of a signature: in the subgroup, not infinity."""

    def verify(self, keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
        """Tell whether a sound signature is the aggregate of all these sound keys'."""

    def verify_possession(self, key: bytes, proof: bytes) -> bool:
        """Tell whether a sound signature proves possession of a sound key."""

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        """Return the sum of one or more sound signatures."""


@cache
def backend() -> Backend:
    """Return the native library where it is installed, else the reference.

    Raises `MissingLibraryError` where neither is: verification elsewhere needs none of them.
    """
    try:
        return native()
    except ImportError:
        pass
    try:
        return reference()
    except ImportError:
        raise MissingLibraryError(
            "no library for BLS12-381 here: install py-ecc, or pyblst (extra govchain[bls])"
        ) from None


def native() -> Backend:
    """Return blst by pyblst; raises `ImportError` where that is not installed."""
    return _Native()


def reference() -> Backend:
    """Return py-ecc."""
    return _Reference()


def is_finite(data: bytes, size: int) -> bool:
    """Tell whether this has the size of a point and does not claim to be infinity."""
    return len(data) == size and not data[0] & _INFINITY_BIT


class _Native:
    """Points are sound wherever they are asked for: `uncompress` raises on any other."""

    name: ClassVar[str] = "native"

    def __init__(self) -> None:
        import pyblst  # noqa: PLC0415 - optional, and most processes never need it

        self._library: Any = pyblst
        self._g1: Any = pyblst.BlstP1Element
        self._g2: Any = pyblst.BlstP2Element
        self._generator = self._g1.uncompress(_GENERATOR)

    def public_key(self, scalar: int) -> bytes:
        return bytes(self._generator.scalar_mul(scalar).compress())

    def sign(self, scalar: int, message: bytes) -> bytes:
        return self._sign(scalar, message, _SIGNATURE_TAG)

    def prove(self, scalar: int, public_key: bytes) -> bytes:
        return self._sign(scalar, public_key, _POSSESSION_TAG)

    def is_key(self, data: bytes) -> bool:
        return _is_sound(self._g1, data, BLS_PUBLIC_KEY_BYTES)

    def is_signature(self, data: bytes) -> bool:
        return _is_sound(self._g2, data, BLS_SIGNATURE_BYTES)

    def verify(self, keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
        return self._verify(_sum(self._g1, keys), message, signature, _SIGNATURE_TAG)

    def verify_possession(self, key: bytes, proof: bytes) -> bool:
        return self._verify(self._g1.uncompress(key), key, proof, _POSSESSION_TAG)

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        return bytes(_sum(self._g2, signatures).compress())

    def _sign(self, scalar: int, message: bytes, tag: bytes) -> bytes:
        return bytes(self._g2.hash_to_group(message, tag).scalar_mul(scalar).compress())

    def _verify(self, key: Any, message: bytes, signature: bytes, tag: bytes) -> bool:  # noqa: ANN401 - a point of the library
        if not is_finite(key.compress(), BLS_PUBLIC_KEY_BYTES):
            return False  # keys that cancel each other out
        pair = self._library.miller_loop
        point = self._g2.uncompress(signature)
        hashed = self._g2.hash_to_group(message, tag)
        return bool(self._library.final_verify(pair(self._generator, point), pair(key, hashed)))


class _Reference:
    """The proof-of-possession scheme of py-ecc as it is."""

    name: ClassVar[str] = "reference"

    def __init__(self) -> None:
        # Importing it raises the recursion limit of the whole process so far that hostile nesting
        # overflows the C stack instead of raising RecursionError. The scheme does not need it.
        limit = sys.getrecursionlimit()
        try:
            from py_ecc.bls import g2_primitives  # noqa: PLC0415 - takes half a second
            from py_ecc.bls.ciphersuites import G2ProofOfPossession  # noqa: PLC0415
        finally:
            sys.setrecursionlimit(limit)
        self._scheme: Any = G2ProofOfPossession
        self._points: Any = g2_primitives

    def public_key(self, scalar: int) -> bytes:
        return bytes(self._scheme.SkToPk(scalar))

    def sign(self, scalar: int, message: bytes) -> bytes:
        return bytes(self._scheme.Sign(scalar, message))

    def prove(self, scalar: int, public_key: bytes) -> bytes:  # noqa: ARG002 - it derives the key
        return bytes(self._scheme.PopProve(scalar))

    def is_key(self, data: bytes) -> bool:
        return is_finite(data, BLS_PUBLIC_KEY_BYTES) and bool(self._scheme.KeyValidate(data))

    def is_signature(self, data: bytes) -> bool:
        if not is_finite(data, BLS_SIGNATURE_BYTES):
            return False
        try:
            point = self._points.signature_to_G2(data)
        except ValueError:
            return False
        sound = self._points.subgroup_check(point)
        return bool(sound) and bytes(self._points.G2_to_signature(point)) == data

    def verify(self, keys: Sequence[bytes], message: bytes, signature: bytes) -> bool:
        return bool(self._scheme.FastAggregateVerify(list(keys), message, signature))

    def verify_possession(self, key: bytes, proof: bytes) -> bool:
        return bool(self._scheme.PopVerify(key, proof))

    def aggregate(self, signatures: Sequence[bytes]) -> bytes:
        return bytes(self._scheme.Aggregate(list(signatures)))


def _is_sound(group: Any, data: bytes, size: int) -> bool:  # noqa: ANN401 - a class of the library
    if not is_finite(data, size):
        return False
    try:
        return bool(group.uncompress(data).compress() == data)
    except ValueError:
        return False


def _sum(group: Any, points: Sequence[bytes]) -> Any:  # noqa: ANN401 - a point of the library
    if not points:
        raise CryptoError("aggregate: expected at least one point")
    first, *others = (group.uncompress(point) for point in points)
    total = first
    for point in others:
        total += point
    return total
