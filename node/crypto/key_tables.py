"""Many P-256 signatures checked under a key that signs often, in half the time of one by one.

A signature (r, s) over a hash e holds where the point (e/s) G + (r/s) Q has r for its x-coordinate
(SEC 1 section 4.1.4). For the generator G every library has a table of multiples. A key Q whose
signatures were found good again and again gets one here as well, so that both products are sums of
what tables hold; and one inversion gives the inverses of all s (Montgomery 1987, section 10.3.1).

The points are computed by the system's libcrypto (OpenSSL 3) through ctypes: the equation alone is
ours. What does not hold by it is not refused here, but left to the library that checks signatures
one by one. So a table saves time and refuses nothing. Without that libcrypto, or with one that
answers a known question otherwise, there are no tables.
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Sequence
from ctypes import c_char_p, c_int, c_size_t, c_void_p
from functools import cache
from typing import Any, Final, Self

from node.crypto.libcrypto import LIBCRYPTO, declare
from node.crypto.signature import (
    P256_ORDER,
    P256_PUBLIC_KEY_BYTES,
    P256_SIGNATURE_BYTES,
    P256PublicKey,
    PublicKey,
)

TABLES_MAX: Final = 64
"""Of 150 KB each, for the keys that sign most."""
USES_WORTH_A_TABLE: Final = 2_000
"""Good signatures under a key until it gets a table: making one takes as long as 1,000 checks."""
KEYS_COUNTED_MAX: Final = 4_096
WINDOW_CHECKS: Final = 500_000
"""Over as many, at most, it is reckoned how often a key signs."""

_CURVE: Final = 415  # NID_X9_62_prime256v1 in OpenSSL's obj_mac.h
_SCALAR_BYTES: Final = 32
_NUMBERS: Final = 2
_S_MAX: Final = P256_ORDER // 2
_FIELD: Final = (1 << 256) - (1 << 224) + (1 << 192) + (1 << 96) - 1
"""The prime of the curve's field (SEC 2 section 2.4.2)."""

# RFC 6979 appendix A.2.5, with SHA-256; n - s in place of its s, which is the high one.
_KNOWN_KEY: Final = bytes.fromhex(
    "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
)
_KNOWN_MESSAGE: Final = b"sample"
_KNOWN_SIGNATURE: Final = bytes.fromhex(
    "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
    "0834e36ad29a83bf2bc9385e491d6099c8fdf9d1ed67aa7ea5f51f93782857a9"
)

Signed = tuple[bytes, bytes]
"""A message, and what is said to be a signature over it."""


def verify_many(key: PublicKey, signed: Sequence[Signed]) -> list[bool]:
    """Tell of each whether the signature is the key's over the message, as `key.verify` does."""
    if not isinstance(key, P256PublicKey):
        return [key.verify(message, signature) for message, signature in signed]
    table = _known.find(key.encoded, len(signed))
    if table is not None:
        return [
            holds or key.verify(message, signature)
            for holds, (message, signature) in zip(table.check(signed), signed, strict=True)
        ]
    verdicts = [key.verify(message, signature) for message, signature in signed]
    _known.note_good(key.encoded, sum(verdicts))
    return verdicts


class _Usage:
    """How often a key was used, and how many checks there were under any key before."""

    __slots__ = ("since", "uses")

    def __init__(self, since: int) -> None:
        self.uses, self.since = 0, since


class KeyTables:
    """The tables there are, and which keys are worth one.

    Any thread may ask, several at once: what one of them counts may be lost to another, and a table
    is made by the one that takes its key out of the count.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._tables: dict[bytes, KeyTable] = {}
        self._usage: dict[bytes, _Usage] = {}
        self._seen = 0

    @property
    def points(self) -> list[bytes]:
        """The keys that have a table, encoded."""
        return [*self._tables]

    @property
    def counted(self) -> int:
        """How many keys are counted."""
        return len(self._usage)

    def find(self, point: bytes, count: int) -> KeyTable | None:
        """Return the table of a key under which so many signatures are to be checked, if any."""
        self._seen += count
        table = self._tables.get(point)
        usage = None if table is None else self._usage.get(point)
        if usage is not None:
            usage.uses += count
        return table

    def note_good(self, point: bytes, count: int) -> None:
        """Note good signatures under a key without a table; it gets one once they are many.

        Where there are `TABLES_MAX`, only in place of one that is used half as often.
        """
        if point in self._tables:
            return  # another thread has just made it
        usage = self._usage.get(point)
        if usage is None:
            if len(self._usage) >= KEYS_COUNTED_MAX:
                kept = ((each, self._usage.get(each)) for each in self.points)
                self._usage = {each: usage for each, usage in kept if usage is not None}
            usage = self._usage[point] = _Usage(self._seen - count)
        usage.uses += count
        if usage.uses < USES_WORTH_A_TABLE or self._usage.pop(point, None) is None:
            return
        if len(self._tables) >= TABLES_MAX and not self._make_room(self._rate(usage)):
            return
        library = _tried_library()
        table = None if library is None else KeyTable.of(library, point)
        if table is not None:
            self._usage[point], self._tables[point] = usage, table

    def _make_room(self, rate: int) -> bool:
        """Let go of the table used least, if that is less than half as often as at `rate`."""
        usages = ((each, self._usage.get(each)) for each in self.points)
        rates = {each: 0 if usage is None else self._rate(usage) for each, usage in usages}
        least = min(rates, key=lambda each: rates[each])
        if 2 * rates[least] >= rate:
            return False
        self._tables.pop(least, None)
        self._usage.pop(least, None)
        return True

    def _rate(self, usage: _Usage) -> int:
        """Return how many of a million checks were under a key; what is long ago counts less."""
        window = self._seen - usage.since
        if window > WINDOW_CHECKS:
            usage.uses, usage.since = usage.uses // 2, usage.since + window // 2
            window -= window // 2
        return usage.uses * 1_000_000 // max(window, 1)


_known: Final = KeyTables()


class KeyTable:
    """The multiples of one key. Any number of threads may check by it at once."""

    __slots__ = ("_group", "_library")

    def __init__(self, library: Any, group: int) -> None:  # noqa: ANN401 - ctypes has no type for it
        """Take over a group of the library with the key for its generator, and its multiples."""
        self._library, self._group = library, group

    def __del__(self) -> None:
        self._library.EC_GROUP_free(self._group)

    @classmethod
    def of(cls, library: Any, point: bytes) -> Self | None:  # noqa: ANN401 - as above
        """Make the table of a key, a compressed point, 33 bytes; None where the library cannot."""
        with _Scratch(library) as scratch:
            group = scratch.group_around(point)
        return None if group is None else cls(library, group)

    def check(self, signed: Sequence[Signed]) -> list[bool]:
        """Tell of each whether it is seen to hold; what is not seen may hold all the same."""
        read = [_read(signature) for _, signature in signed]
        inverses = _inverses([s for _, s in read])
        with _Scratch(self._library) as scratch:
            return [
                r > 0
                and scratch.sum_has_x(
                    r,
                    int.from_bytes(hashlib.sha256(message).digest(), "big") * inverse % P256_ORDER,
                    r * inverse % P256_ORDER,
                    self._group,
                )
                for (message, _), (r, _), inverse in zip(signed, read, inverses, strict=True)
            ]


class _Scratch:
    """Points and numbers of the library for one call of one thread; freed as the block ends."""

    __slots__ = ("_context", "_first", "_library", "_numbers", "_out", "_second")

    def __init__(self, library: Any) -> None:  # noqa: ANN401 - as above
        self._library = library
        self._out = ctypes.create_string_buffer(_SCALAR_BYTES)

    def __enter__(self) -> Self:
        library = self._library
        self._context = library.BN_CTX_new()
        self._numbers = tuple(library.BN_new() for _ in range(_NUMBERS))
        self._first, self._second = (library.EC_POINT_new(library.curve) for _ in range(2))
        return self

    def __exit__(self, *_: object) -> None:
        library = self._library
        for point in (self._first, self._second):
            library.EC_POINT_free(point)
        for number in self._numbers:
            library.BN_free(number)
        library.BN_CTX_free(self._context)

    def sum_has_x(self, x: int, of_generator: int, of_key: int, around_key: int) -> bool:
        """Tell whether a multiple of G and one of a key, added, have this for their x-coordinate.

        The point is (X, Y, Z) with x = X / Z^2 (SEC 1 section 2.3; "Jacobian" coordinates), so no
        inversion is needed to compare. False where the sum is infinity, or the library failed.
        """
        library, context, first_number, second_number = self._library, self._context, *self._numbers
        first, second, curve, out = self._first, self._second, library.curve, self._out
        library.BN_bin2bn(of_generator.to_bytes(_SCALAR_BYTES, "big"), _SCALAR_BYTES, first_number)
        library.BN_bin2bn(of_key.to_bytes(_SCALAR_BYTES, "big"), _SCALAR_BYTES, second_number)
        if (
            library.EC_POINT_mul(curve, first, first_number, None, None, context) == 1
            and library.EC_POINT_mul(around_key, second, second_number, None, None, context) == 1
            and library.EC_POINT_add(curve, first, first, second, context) == 1
            and library.EC_POINT_get_Jprojective_coordinates_GFp(
                curve, first, first_number, None, second_number, context
            )
            == 1
            and library.BN_bn2binpad(first_number, out, _SCALAR_BYTES) == _SCALAR_BYTES
        ):
            above = int.from_bytes(out.raw, "big")
            if library.BN_bn2binpad(second_number, out, _SCALAR_BYTES) == _SCALAR_BYTES:
                z = int.from_bytes(out.raw, "big")
                return z > 0 and x * z * z % _FIELD == above
        library.ERR_clear_error()
        return False

    def group_around(self, point: bytes) -> int | None:
        """Return the curve with a key for its generator, and that one's multiples computed."""
        library, context, key = self._library, self._context, self._first
        curve = library.curve
        group = int(library.EC_GROUP_dup(curve))
        order, cofactor = library.EC_GROUP_get0_order(curve), library.EC_GROUP_get0_cofactor(curve)
        if (
            library.EC_POINT_oct2point(group, key, point, P256_PUBLIC_KEY_BYTES, context) == 1
            and library.EC_GROUP_set_generator(group, key, order, cofactor) == 1
            and library.EC_GROUP_precompute_mult(group, context) == 1
        ):
            return group
        library.EC_GROUP_free(group)
        library.ERR_clear_error()
        return None


def _read(signature: bytes) -> tuple[int, int]:
    """Return r and s; (0, 1) for what is no signature, whatever the message."""
    r = int.from_bytes(signature[:_SCALAR_BYTES], "big")
    s = int.from_bytes(signature[_SCALAR_BYTES:], "big")
    if len(signature) == P256_SIGNATURE_BYTES and 0 < r < P256_ORDER and 0 < s <= _S_MAX:
        return r, s
    return 0, 1


def _inverses(numbers: Sequence[int]) -> list[int]:
    """Return the inverses modulo the order of numbers that are not 0 modulo it."""
    before = [1]  # the product of those before each
    for number in numbers:
        before.append(before[-1] * number % P256_ORDER)
    inverse = pow(before.pop(), -1, P256_ORDER)  # of the product of those up to each, from behind
    inverses = []
    for number in reversed(numbers):
        inverses.append(inverse * before.pop() % P256_ORDER)
        inverse = inverse * number % P256_ORDER
    inverses.reverse()
    return inverses


@cache
def _tried_library() -> Any | None:  # noqa: ANN401 - as above
    """Return the library, tried with a known answer; None where it is not as it is needed."""
    try:
        library = _declared()
    except (OSError, AttributeError):
        return None
    library.curve = library.EC_GROUP_new_by_curve_name(_CURVE)
    table = KeyTable.of(library, _KNOWN_KEY)
    if table is None:
        return None
    other = _KNOWN_SIGNATURE[:-1] + b"\xaa"
    answers = table.check(
        [
            (_KNOWN_MESSAGE, _KNOWN_SIGNATURE),
            (_KNOWN_MESSAGE + b"!", _KNOWN_SIGNATURE),
            (_KNOWN_MESSAGE, other),
        ]
    )
    return library if answers == [True, False, False] else None


def _declared() -> Any:  # noqa: ANN401 - as above
    """Return the library as ctypes has to know it; `AttributeError` where a function is missing.

    Products, which take most of the time, let go of the interpreter lock. The others are done
    sooner than another thread could take it and give it back.
    """
    pointer = c_void_p
    products: dict[str, tuple[Any, ...]] = {
        "EC_GROUP_precompute_mult": (c_int, pointer, pointer),  # deprecated since OpenSSL 3.0
        "EC_POINT_mul": (c_int, *[pointer] * 6),
    }
    others: dict[str, tuple[Any, ...]] = {
        "ERR_clear_error": (None,),
        "BN_CTX_new": (pointer,),
        "BN_CTX_free": (None, pointer),
        "BN_new": (pointer,),
        "BN_free": (None, pointer),
        "BN_bin2bn": (pointer, c_char_p, c_int, pointer),
        "BN_bn2binpad": (c_int, pointer, c_char_p, c_int),
        "EC_GROUP_new_by_curve_name": (pointer, c_int),
        "EC_GROUP_dup": (pointer, pointer),
        "EC_GROUP_free": (None, pointer),
        "EC_GROUP_get0_order": (pointer, pointer),
        "EC_GROUP_get0_cofactor": (pointer, pointer),
        "EC_GROUP_set_generator": (c_int, pointer, pointer, pointer, pointer),
        "EC_POINT_new": (pointer, pointer),
        "EC_POINT_free": (None, pointer),
        "EC_POINT_oct2point": (c_int, pointer, pointer, c_char_p, c_size_t, pointer),
        "EC_POINT_add": (c_int, *[pointer] * 5),
        "EC_POINT_get_Jprojective_coordinates_GFp": (c_int, *[pointer] * 6),  # as above
    }
    library, unlocking = ctypes.PyDLL(LIBCRYPTO), ctypes.CDLL(LIBCRYPTO)
    declare(library, others)
    declare(unlocking, products)
    for name in products:
        setattr(library, name, getattr(unlocking, name))
    return library
