"""Canonical bytes of everything hashed or signed: a bounded, strict subset of CBOR.

The subset (RFC 8949 section 4.2.1, narrowed): unsigned and negative integers below 2**64, byte
strings, UTF-8 text, definite-length arrays, true, false, null. No maps, tags, floats or indefinite
lengths. One value has exactly one encoding, and every other byte string is rejected.

`encode` is our own, as the library takes up to twice as long for the small values there are most
of; tests hold each to the other. The library decoder accepts more than the subset, so `decode`
first walks the item heads: types, depth and item count are bounded before anything is allocated,
and each argument is seen to have its shortest form. What is then left to refuse is text that is not
UTF-8, and the library does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from typing import Any, Final

import cbor2

from node.errors import DecodeError, InvariantViolation
from node.limits import CBOR_DEPTH_MAX, CBOR_ITEMS_MAX

UINT64_MAX: Final = 2**64 - 1
# Controls, separators but the space, blanks, and marks that hide or reorder what a person reads. A
# list of our own, because the tables behind `str.isprintable` differ between versions of Python,
# and validators must agree on what decodes. What selects the form of the letter before it, as names
# in Chinese or Mongolian script may need (U+180B-180F, FE00-FE0F, E0100-E01EF), is none of them.
_INVISIBLE: Final = re.compile(
    "[\\u0000-\\u001f\\u007f-\\u00a0\\u00ad\\u034f\\u061c\\u115f\\u1160\\u1680\\u17b4\\u17b5"
    "\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f\\u2800\\u3000\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb"
    "\\U0001bca0-\\U0001bca3\\U0001d173-\\U0001d17a\\U000e0000-\\U000e00ff\\U000e01f0-\\U000e0fff]"
)
_UNSIGNED: Final = 0x00  # the first head of the major types (RFC 8949 section 3.1)
_NEGATIVE: Final = 0x20
_BYTES: Final = 0x40
_TEXT: Final = 0x60
_ARRAY: Final = 0x80
_MAP: Final = 0xA0
_SIMPLE_VALUES: Final = (0xF4, 0xF5, 0xF6)  # false, true, null
_ARGUMENT_BITS: Final = 0x1F
_IN_HEAD: Final = 24
"""Lesser arguments are a part of the head itself."""
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
"""Bytes of the argument after a head with these low bits; lower ones are the argument itself."""
_REFUSED: Final = 9
_LEAST: Final = {0: 0, 1: 24, 2: 2**8, 4: 2**16, 8: 2**32, _REFUSED: 2**72}
"""The least argument of that many bytes: a lesser one has a shorter form, or none at all."""


def _whole_size_of(head: int) -> int:
    """Return the size of an item where its head alone tells; 0 where more has to be read."""
    low = head & _ARGUMENT_BITS
    if head in _SIMPLE_VALUES or head == _ARRAY:
        return 1
    if head > _ARRAY or low >= _IN_HEAD:
        return 0
    return 1 if head < _BYTES else 1 + low


def _width_of(head: int) -> int:
    """Return the bytes of the argument after a head, or `_REFUSED`."""
    low = head & _ARGUMENT_BITS
    if head in _SIMPLE_VALUES:
        return 0
    if head >= _MAP or low > max(_WIDTHS):
        return _REFUSED
    return _WIDTHS.get(low, 0)


_WHOLE_SIZES: Final = bytes(map(_whole_size_of, range(256)))
_ARGUMENT_WIDTHS: Final = bytes(map(_width_of, range(256)))


def _head_of(major: int, argument: int) -> bytes:
    """Return the shortest head with an argument."""
    if argument < _IN_HEAD:
        return bytes((major | argument,))
    if argument < 1 << 8:
        return bytes((major | 24, argument))
    if argument < 1 << 16:
        return _with_2_bytes(major | 25, argument)
    if argument < 1 << 32:
        return _with_4_bytes(major | 26, argument)
    if argument <= UINT64_MAX:
        return _with_8_bytes(major | 27, argument)
    raise InvariantViolation(f"{argument} has no canonical encoding")


_with_2_bytes: Final = Struct(">BH").pack
_with_4_bytes: Final = Struct(">BI").pack
_with_8_bytes: Final = Struct(">BQ").pack
_SHORT: Final = 256
_SHORT_UNSIGNED: Final = tuple(_head_of(_UNSIGNED, argument) for argument in range(_SHORT))
_SHORT_BYTES: Final = tuple(_head_of(_BYTES, argument) for argument in range(_SHORT))
_SHORT_ARRAYS: Final = tuple(_head_of(_ARRAY, argument) for argument in range(_SHORT))
"""The heads that nearly all items have, by the argument."""
_SIGNED_SHORT: Final = bytes((_ARRAY | 2, _BYTES | 24))
_SIGNED_LONG: Final = bytes((_ARRAY | 2, _BYTES | 25))
"""How an array of two byte strings begins, by the bytes that the size of the first one takes."""


class Encoded:
    """An item that is encoded already, and is spliced as it is wherever it stands in a value.

    For what is immutable and a part of much: it is encoded once, by whoever holds it.
    """

    __slots__ = ("data",)

    def __init__(self, value: object) -> None:
        """Encode `value`, as `encode` does."""
        self.data = encode(value)


def encode(value: object) -> bytes:
    """Return the one canonical encoding of `value`.

    That is int, bytes, str, list, tuple, bool, None or `Encoded`; raises `InvariantViolation` where
    it holds anything else.
    """
    return encode_sequence(value)


def encode_sequence(*values: object) -> bytes:
    """Return the encodings of `values` one after the other, as `encode` gives each.

    For who puts many items together from parts, of which most are the same.
    """
    pieces: list[bytes] = []
    _write(values, pieces.append)
    return b"".join(pieces)


def encode_uint(value: int) -> bytes:
    """Return what `encode` gives for an integer that is not negative.

    This and the next two are for who splices items of one kind, one for each transaction.
    """
    return _SHORT_UNSIGNED[value] if 0 <= value < _SHORT else _head_of(_UNSIGNED, value)


def encode_bytes(value: bytes) -> bytes:
    """Return what `encode` gives for a byte string."""
    size = len(value)
    return (_SHORT_BYTES[size] if size < _SHORT else _head_of(_BYTES, size)) + value


def encode_text(value: str) -> bytes:
    """Return what `encode` gives for text."""
    text = value.encode()
    return _head_of(_TEXT, len(text)) + text


def _write(items: Iterable[Any], write: Callable[[bytes], None]) -> None:
    """Write items one after the other; told apart by exact type, those there are most of first."""
    for item in items:
        kind = type(item)
        if kind is bytes:
            size = len(item)
            write(_SHORT_BYTES[size] if size < _SHORT else _head_of(_BYTES, size))
            write(item)
        elif kind is int:
            if 0 <= item < _SHORT:
                write(_SHORT_UNSIGNED[item])
            else:
                write(_head_of(_UNSIGNED, item) if item > 0 else _head_of(_NEGATIVE, -1 - item))
        elif kind is list or kind is tuple:
            size = len(item)
            write(_SHORT_ARRAYS[size] if size < _SHORT else _head_of(_ARRAY, size))
            _write(item, write)
        elif kind is Encoded:
            write(item.data)
        elif kind is str:
            text = item.encode()
            write(_head_of(_TEXT, len(text)))
            write(text)
        elif kind is bool:
            write(b"\xf5" if item else b"\xf4")
        elif item is None:
            write(b"\xf6")
        else:
            raise InvariantViolation(f"{kind.__name__} has no canonical encoding")


def decode(data: bytes, *, what: str, size_max: int) -> Any:  # noqa: ANN401 - the shape is checked by the caller
    """Decode exactly one canonical item of at most `size_max` bytes.

    `what` names the expected structure in errors. Raises `DecodeError` on anything else: too long,
    too deep, too many items, trailing bytes, or a form that is not the canonical one.
    """
    if len(data) > size_max:
        raise DecodeError(f"{what}: expected at most {size_max} bytes, got {len(data)}")
    _check_heads(data, what)
    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, UnicodeDecodeError, ValueError) as error:
        raise DecodeError(f"{what}: not well-formed CBOR: {error}") from error


def split_signed(data: bytes, signature_size: int) -> tuple[bytes, bytes] | None:
    """Return what the array of two byte strings holds, the second one a signature; else None.

    It takes the usual sizes alone, 24 to 65,535 bytes and a signature of 24 to 255, and gives what
    `decode` gives. Where it gives None `decode` tells more.
    """
    if data[:2] == _SIGNED_LONG:
        start, least = 4, 1 << 8
    elif data[:2] == _SIGNED_SHORT:
        start, least = 3, _IN_HEAD
    else:
        return None
    size = int.from_bytes(data[2:start])
    end = start + size
    if (
        size < least
        or data[end : end + 2] != _SHORT_BYTES[signature_size]
        or len(data) != end + 2 + signature_size
    ):
        return None
    return data[start:end], data[end + 2 :]


def _check_heads(data: bytes, what: str) -> None:
    """Walk the item heads, in O(items): raise `DecodeError` unless they make one canonical item."""
    position, end = 0, len(data)
    expected = 1  # items still to come in the array being read
    around: list[int] = []  # and in those around it
    for _ in range(CBOR_ITEMS_MAX):
        if position >= end:
            raise DecodeError(f"{what}: expected more bytes after {end}")
        head = data[position]
        size = _WHOLE_SIZES[head]
        if size:
            position += size
        else:
            width = _ARGUMENT_WIDTHS[head]
            start, position = position + 1, position + 1 + width
            argument = int.from_bytes(data[start:position]) if width else head & _ARGUMENT_BITS
            if argument < _LEAST[width]:
                fault = "" if width == _REFUSED else "not the canonical encoding: "
                raise DecodeError(f"{what}: {fault}item head 0x{head:02x} at byte {start - 1}")
            if head >= _ARRAY:
                if len(around) == CBOR_DEPTH_MAX:
                    raise DecodeError(f"{what}: nested deeper than {CBOR_DEPTH_MAX} arrays")
                around.append(expected)
                expected = argument
                continue
            if head >= _BYTES:
                position += argument
        expected -= 1
        while not expected and around:
            expected = around.pop() - 1
        if not expected:
            break
    else:
        raise DecodeError(f"{what}: expected at most {CBOR_ITEMS_MAX} items")
    if position != end:
        surplus = f"its end, {end - position} bytes follow the end"
        wanted = f"{position} bytes, got {end}" if position > end else surplus
        raise DecodeError(f"{what}: expected {wanted}")


# --- Field checks used by every `from_value`. Each error names the field and what was found. ---


def expect_array(value: object, length: int, what: str) -> Sequence[Any]:
    """Return `value` if it is an array of exactly `length` items."""
    if not isinstance(value, list) or len(value) != length:
        got = f"{len(value)} items" if isinstance(value, list) else type(value).__name__
        raise DecodeError(f"{what}: expected an array of {length} items, got {got}")
    return value


def expect_list(value: object, length_max: int, what: str) -> Sequence[Any]:
    """Return `value` if it is an array of at most `length_max` items."""
    if not isinstance(value, list) or len(value) > length_max:
        got = f"{len(value)} items" if isinstance(value, list) else type(value).__name__
        raise DecodeError(f"{what}: expected an array of at most {length_max} items, got {got}")
    return value


def expect_uint(value: object, what: str, maximum: int = UINT64_MAX) -> int:
    """Return `value` if it is an integer in [0, maximum]; a bool is not an integer here."""
    if type(value) is not int or not 0 <= value <= maximum:
        raise DecodeError(f"{what}: expected an integer in 0..{maximum}, got {value!r:.40}")
    return value


def expect_bool(value: object, what: str) -> bool:
    """Return `value` if it is a bool."""
    if type(value) is not bool:
        raise DecodeError(f"{what}: expected a bool, got {type(value).__name__}")
    return value


def expect_bytes(value: object, what: str, *, size: int) -> bytes:
    """Return `value` if it is a byte string of exactly `size` bytes."""
    if type(value) is not bytes or len(value) != size:
        got = f"{len(value)} bytes" if type(value) is bytes else type(value).__name__
        raise DecodeError(f"{what}: expected {size} bytes, got {got}")
    return value


def expect_blob(value: object, what: str, *, size_max: int) -> bytes:
    """Return `value` if it is a byte string of at most `size_max` bytes."""
    if type(value) is not bytes or len(value) > size_max:
        got = f"{len(value)} bytes" if type(value) is bytes else type(value).__name__
        raise DecodeError(f"{what}: expected at most {size_max} bytes, got {got}")
    return value


def expect_text(value: object, what: str, *, size_max: int, empty: bool = False) -> str:
    """Return `value` if it is text of at most `size_max` UTF-8 bytes, not blank, all visible."""
    if (
        type(value) is str
        and value.isascii()
        and value.isprintable()
        and 0 < len(value) <= size_max
    ):
        return value  # of ASCII, all versions of Python think alike
    if type(value) is not str or len(value.encode()) > size_max:
        raise DecodeError(f"{what}: expected text of at most {size_max} bytes, got {value!r:.40}")
    if not (value or empty) or _INVISIBLE.search(value):
        raise DecodeError(f"{what}: expected printable text, got {value!r:.40}")
    return value


def expect_version(value: object, what: str, version: int = 1) -> None:
    """Reject any structure version but `version`."""
    if type(value) is not int or value != version:
        raise DecodeError(f"{what}: expected version {version}, got {value!r:.40}")
