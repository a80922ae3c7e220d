"""Canonical bytes of everything hashed or signed: a bounded, strict subset of CBOR.

The subset (RFC 8949 section 4.2.1, narrowed): unsigned and negative integers below 2**64, byte
strings, UTF-8 text, definite-length arrays, true, false, null. No maps, tags, floats or indefinite
lengths. One value has exactly one encoding, and every other byte string is rejected.

The library decoder accepts more than that, so `decode` first scans the item heads (which bounds
depth and item count before anything is allocated), then decodes, re-encodes and compares.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import cbor2

from node.errors import DecodeError
from node.limits import CBOR_DEPTH_MAX, CBOR_ITEMS_MAX

UINT64_MAX: Final = 2**64 - 1
# Controls, separators but the space, and marks that hide or reorder what a person reads. A list of
# our own, because the tables behind `str.isprintable` differ between versions of Python, and
# validators must agree on what decodes.
_INVISIBLE: Final = re.compile(
    "[\\u0000-\\u001f\\u007f-\\u00a0\\u00ad\\u1680\\u2000-\\u200f\\u2028-\\u202f\\u205f-\\u206f"
    "\\u3000\\ufeff\\ufff9-\\ufffb]"
)
_BYTES: Final = 2  # major types (RFC 8949 section 3.1)
_TEXT: Final = 3
_ARRAY: Final = 4
_ONE_BYTE_ARGUMENT: Final = 24
_EIGHT_BYTE_ARGUMENT: Final = 27
_SIMPLE_VALUES: Final = (0xF4, 0xF5, 0xF6)  # false, true, null
_REFUSED: Final = -256


def _argument_of(head: int) -> int:
    """Return an item's argument where its head says it; minus the bytes that do; or `_REFUSED`."""
    major, info = head >> 5, head & 0x1F
    if head in _SIMPLE_VALUES:
        return 0
    if major > _ARRAY or info > _EIGHT_BYTE_ARGUMENT:
        return _REFUSED
    return info if info < _ONE_BYTE_ARGUMENT else -(1 << (info - _ONE_BYTE_ARGUMENT))


_ARGUMENTS: Final = tuple(_argument_of(head) for head in range(256))


def encode(value: object) -> bytes:
    """Return the one canonical encoding of `value` (int, bytes, str, list, tuple, bool, None)."""
    return cbor2.dumps(value)


def decode(data: bytes, *, what: str, size_max: int) -> Any:  # noqa: ANN401 - the shape is checked by the caller
    """Decode exactly one canonical item of at most `size_max` bytes.

    `what` names the expected structure in errors. Raises `DecodeError` on anything else: too long,
    too deep, too many items, trailing bytes, or a form that is not the canonical one.
    """
    if len(data) > size_max:
        raise DecodeError(f"{what}: expected at most {size_max} bytes, got {len(data)}")
    _scan_heads(data, what)
    try:
        value = cbor2.loads(data)
    except (cbor2.CBORDecodeError, UnicodeDecodeError, ValueError) as error:
        raise DecodeError(f"{what}: not well-formed CBOR: {error}") from error
    if cbor2.dumps(value) != data:
        raise DecodeError(f"{what}: not the canonical encoding of its value")
    return value


def _scan_heads(data: bytes, what: str) -> None:
    """Walk the item heads: reject foreign types, and bound depth and item count, in O(items)."""
    position, end = 0, len(data)
    expected = 1  # items still to come in the array being read
    around: list[int] = []  # and in those around it
    for _ in range(CBOR_ITEMS_MAX):
        if position >= end:
            raise DecodeError(f"{what}: expected more bytes after {end}")
        head = data[position]
        position += 1
        argument = _ARGUMENTS[head]
        if argument < 0:
            if argument == _REFUSED:
                raise DecodeError(
                    f"{what}: item head 0x{head:02x} at byte {position - 1} is not allowed"
                )
            start, position = position, position - argument
            argument = int.from_bytes(data[start:position], "big")
        major = head >> 5
        if major in (_BYTES, _TEXT):
            position += argument
        elif major == _ARRAY and argument:
            if argument > end - position:
                raise DecodeError(f"{what}: array of {argument} items cannot fit in the input")
            if len(around) == CBOR_DEPTH_MAX:
                raise DecodeError(f"{what}: nested deeper than {CBOR_DEPTH_MAX} arrays")
            around.append(expected)
            expected = argument
            continue
        expected -= 1
        while not expected and around:
            expected = around.pop() - 1
        if not expected:
            if position != end:
                raise DecodeError(f"{what}: expected {position} bytes, got {end}")
            return
    raise DecodeError(f"{what}: expected at most {CBOR_ITEMS_MAX} items")


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
    if type(value) is not str or len(value.encode()) > size_max:
        raise DecodeError(f"{what}: expected text of at most {size_max} bytes, got {value!r:.40}")
    if not (value or empty) or _INVISIBLE.search(value):
        raise DecodeError(f"{what}: expected printable text, got {value!r:.40}")
    return value


def expect_version(value: object, what: str, version: int = 1) -> None:
    """Reject any structure version but `version`."""
    if type(value) is not int or value != version:
        raise DecodeError(f"{what}: expected version {version}, got {value!r:.40}")
