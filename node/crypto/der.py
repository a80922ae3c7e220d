"""DER (X.690) as far as it is needed here: pieces spliced together, and a strict reader.

Writing is concatenation: what does not change is encoded once and spliced around what does. Reading
refuses everything that is not the one DER form of what is asked for: indefinite or padded lengths,
padded integers, trailing bytes, tags of several bytes. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from node.errors import DecodeError

BOOLEAN: Final = 0x01
INTEGER: Final = 0x02
BIT_STRING: Final = 0x03
OCTET_STRING: Final = 0x04
NULL: Final = 0x05
OBJECT_IDENTIFIER: Final = 0x06
UTF8_STRING: Final = 0x0C
UTC_TIME: Final = 0x17
GENERALIZED_TIME: Final = 0x18
SEQUENCE: Final = 0x30
SET: Final = 0x31

_CONTEXT: Final = 0x80
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80
_LENGTH_BYTES_MAX: Final = 4
_TRUE: Final = b"\xff"
_OID_BYTES_MAX: Final = 64
_INTEGER_BYTES_MAX: Final = 512
"""Python refuses to write out integers of more than 4,300 digits, and a reason has to be told."""
_SECOND_ARCS: Final = 40


def context(number: int, *, constructed: bool) -> int:
    """Return the tag [number]: constructed if explicit, or implicit over a sequence or a set."""
    return _CONTEXT | (_CONSTRUCTED if constructed else 0) | number


# --- Writing ---


def encode(tag: int, content: bytes) -> bytes:
    """Return one element."""
    size = len(content)
    if size < _LONG_LENGTH:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_LENGTH | len(length))) + length + content


def encode_sequence(*items: bytes) -> bytes:
    """Return a SEQUENCE of encoded elements."""
    return encode(SEQUENCE, b"".join(items))


def encode_set(*items: bytes) -> bytes:
    """Return a SET OF of encoded elements, in the ascending order that DER prescribes."""
    return encode(SET, b"".join(sorted(items)))


def encode_integer(value: int) -> bytes:
    """Return an INTEGER of any size and sign."""
    magnitude = value if value >= 0 else ~value
    return encode(INTEGER, value.to_bytes(magnitude.bit_length() // 8 + 1, "big", signed=True))


def encode_oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER given as numbers between dots."""
    first, second, *rest = map(int, dotted.split("."))
    arcs = (first * _SECOND_ARCS + second, *rest)
    return encode(OBJECT_IDENTIFIER, b"".join(map(_encode_arc, arcs)))


def encode_named_bit(number: int) -> bytes:
    """Return a BIT STRING of named bits in which this one alone is set."""
    unused = 7 - number % 8
    return encode(BIT_STRING, bytes((unused, *bytes(number // 8), 1 << unused)))


TRUE: Final = encode(BOOLEAN, _TRUE)


def _encode_arc(arc: int) -> bytes:
    groups = [arc & 0x7F]
    while arc := arc >> 7:
        groups.append(arc & 0x7F | 0x80)
    return bytes(reversed(groups))


# --- Reading: every function raises `DecodeError`, naming what it read ---


@dataclass(frozen=True, slots=True)
class Element:
    """One element as it was read: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    encoded: bytes


class Reader:
    """Reads elements that lie one after the other. `what` names them in errors."""

    __slots__ = ("_at", "_data", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._at = 0
        self.what = what

    @property
    def is_empty(self) -> bool:
        """Tell whether all has been read."""
        return self._at == len(self._data)

    def read(self, tag: int | None = None) -> Element:
        """Return the next element, which must be of this tag if one is given."""
        data, start = self._data, self._at
        if len(data) < start + 2:
            raise DecodeError(f"{self.what}: expected more elements, got the end")
        found, size, content_at = data[start], data[start + 1], start + 2
        if found & _LONG_TAG == _LONG_TAG:
            raise DecodeError(f"{self.what}: expected a tag of one byte, got 0x{found:02x}")
        if tag is not None and found != tag:
            raise DecodeError(f"{self.what}: expected tag 0x{tag:02x}, got 0x{found:02x}")
        if size >= _LONG_LENGTH:
            count = size - _LONG_LENGTH
            size = int.from_bytes(data[content_at : content_at + count], "big")
            content_at += count
            least = max(_LONG_LENGTH, 1 << 8 * (count - 1)) if count else 0
            if not 0 < count <= _LENGTH_BYTES_MAX or size < least:
                raise DecodeError(f"{self.what}: expected a length in its shortest form")
        end = content_at + size
        if end > len(data):
            raise DecodeError(f"{self.what}: expected {size} bytes, got {len(data) - content_at}")
        self._at = end
        return Element(found, data[content_at:end], data[start:end])

    def read_if(self, tag: int) -> Element | None:
        """Return the next element if it is of this tag."""
        is_next = self._at < len(self._data) and self._data[self._at] == tag
        return self.read(tag) if is_next else None

    def enter(self, tag: int, what: str) -> Reader:
        """Return a reader of what the next element, of this tag, contains."""
        return Reader(self.read(tag).content, what)

    def enter_if(self, tag: int, what: str) -> Reader | None:
        """Return a reader of what the next element contains if it is of this tag."""
        element = self.read_if(tag)
        return None if element is None else Reader(element.content, what)

    def read_integer(self) -> int:
        """Return the next element, an INTEGER of a size that can be told in decimal digits."""
        content = self.read_integer_bytes()
        if len(content) > _INTEGER_BYTES_MAX:
            got = f"{len(content)} bytes"
            raise DecodeError(
                f"{self.what}: expected at most {_INTEGER_BYTES_MAX} bytes, got {got}"
            )
        return int.from_bytes(content, "big", signed=True)

    def read_integer_bytes(self) -> bytes:
        """Return the content of the next element, an INTEGER in its shortest form."""
        return check_integer(self.read(INTEGER).content, self.what)

    def read_oid(self) -> str:
        """Return the next element, an OBJECT IDENTIFIER, as numbers between dots."""
        return _decode_oid(self.read(OBJECT_IDENTIFIER).content, self.what)

    def read_true(self) -> bool:
        """Tell whether TRUE comes next. FALSE is refused: being the default it is left out."""
        element = self.read_if(BOOLEAN)
        if element is not None and element.content != _TRUE:
            raise DecodeError(f"{self.what}: expected TRUE or nothing")
        return element is not None

    def finish(self) -> None:
        """Refuse anything that is left."""
        if not self.is_empty:
            left = len(self._data) - self._at
            raise DecodeError(f"{self.what}: expected no more elements, got {left} bytes")


def read_only(data: bytes, tag: int, what: str) -> Reader:
    """Return a reader of what the one element that fills `data` contains."""
    outer = Reader(data, what)
    inner = outer.enter(tag, what)
    outer.finish()
    return inner


def check_integer(content: bytes, what: str) -> bytes:
    """Return the content of an INTEGER if it is in its shortest form."""
    padded = len(content) > 1 and content[0] in (0x00, 0xFF) and content[0] >> 7 == content[1] >> 7
    if not content or padded:
        raise DecodeError(f"{what}: expected an integer in its shortest form")
    return content


def _decode_oid(content: bytes, what: str) -> str:
    ends_inside = not content or content[-1] & 0x80
    if ends_inside or len(content) > _OID_BYTES_MAX:
        raise DecodeError(f"{what}: expected an object identifier")
    arcs: list[int] = []
    arc, is_first = 0, True
    for byte in content:
        if is_first and byte == _CONTEXT:
            raise DecodeError(f"{what}: expected an object identifier in its shortest form")
        arc = arc << 7 | byte & 0x7F
        is_first = not byte & 0x80
        if is_first:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // _SECOND_ARCS, 2)
    return ".".join(map(str, (first, arcs[0] - first * _SECOND_ARCS, *arcs[1:])))
