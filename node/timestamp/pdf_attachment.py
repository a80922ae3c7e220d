"""The one file attached to a PDF certificate (ISO 32000-1), and that there is no other.

Nobody must be shown one attachment by a reader of PDF while another one is verified. So the file is
read from its first byte to its last, object after object as they stand there, in every revision of
it, and refused where that is not plain. A certificate is; so is one signed or annotated since.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias, Union

from node.errors import DecodeError
from node.limits import RECEIPT_FILE_BYTES_MAX

OUTLINE_BYTES_MAX: Final = 1 << 18
"""Of everything but the contents of streams: eighteen times that of a certificate."""
STREAMS_MAX: Final = 4_096
UNPACKED_BYTES_MAX: Final = 1 << 22
"""Of all object streams together."""
DEPTH_MAX: Final = 32

_END: Final = rb"(?![^\0\t\n\f\r ()<>\[\]{}/%])"
"""Behind a name, a number or a keyword."""
_SPACES: Final = rb"[\0\t\n\f\r ]"
_GAP: Final = re.compile(rb"(?:[\0\t\n\f\r ]++|%%EOF|%[^\r\n]*+)*+")
"""Spaces and comments; behind the mark at a revision's end the next one may begin at once."""
_NUMBER: Final = re.compile(rb"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)" + _END)
_INTEGER: Final = re.compile(rb"[0-9]{1,10}" + _END)
_REFERENCE: Final = re.compile(
    rb"([0-9]{1,10})%b{1,8}([0-9]{1,5})%b{1,8}R%b" % (_SPACES, _SPACES, _END)
)
_OBJECT: Final = re.compile(
    rb"([0-9]{1,10})%b{1,8}([0-9]{1,5})%b{1,8}obj%b" % (_SPACES, _SPACES, _END)
)
_NUMBER_OBJECT: Final = re.compile(
    rb"(?<![0-9])%b%b*+([0-9]{1,10})%b++endobj%b" % (_OBJECT.pattern, _SPACES, _SPACES, _END)
)
"""An object that is a whole number, as the length of a stream may be."""
_ENTRIES: Final = re.compile(rb"[0-9nf\0\t\n\f\r ]*+")
_NAME: Final = re.compile(rb"/([^\0\t\n\f\r ()<>\[\]{}/%]*+)")
_ESCAPE: Final = re.compile(r"#([0-9A-Fa-f]{2})")
_HEX_STRING: Final = re.compile(rb"<[0-9A-Fa-f\0\t\n\f\r ]*+>")
_TEXT: Final = re.compile(rb"[^()\\]*+(?:\\.[^()\\]*+)*+([()])", re.DOTALL)
_CONSTANT: Final = re.compile(rb"(?:true|false|null)" + _END)
_STREAM: Final = re.compile(rb"stream\r?\n")
_STREAM_END: Final = re.compile(rb"(?:\r\n|[\r\n])?endstream" + _END)
_WORD_OBJECT: Final = re.compile(rb"(?<=[0-9\0\t\n\f\r ])obj" + _END)
_HIDDEN: Final = re.compile(
    rb"endstream|(?:[\r\n][\0\t\f ]*+|(?<=%b)[0-9]++[\0\t\f ]*+)obj%b" % (_SPACES, _END)
)
"""What a reader that mends a broken file could take for an object within a stream."""
_ATTACHING: Final = re.compile(
    b"/(?:%b)%b"
    % (
        b"|".join(
            b"".join(b"(?:%c|(?i:#%02x))" % (letter, letter) for letter in word)
            for word in (b"EF", b"RF", b"EmbeddedFile", b"EmbeddedFiles")
        ),
        _END,
    )
)
"""The names without which nothing is attached, however they are written."""
_FILE_KEYS: Final = frozenset({"F", "UF", "DOS", "Mac", "Unix"})
_OUTSIDE_KEYS: Final = frozenset({"F", "FFilter", "FDecodeParms", "DecodeParms", "DP"})

Value: TypeAlias = Union["dict[str, Value]", "list[Value]", "Reference", str, int, None]
"""Names are `str`; of what matters to nobody here, strings say, there is None."""


@dataclass(frozen=True, slots=True)
class Reference:
    """To an object: its number and generation."""

    number: int
    generation: int


@dataclass(frozen=True, slots=True)
class _Stored:
    """An object as it stands in the file."""

    reference: Reference
    value: Value
    stream: bytes | None


def attached_file(data: bytes) -> bytes:
    """Return the one file attached to a PDF; raises `DecodeError`."""
    if len(data) > RECEIPT_FILE_BYTES_MAX:
        raise _refused(f"expected at most {RECEIPT_FILE_BYTES_MAX} bytes, got {len(data)}")
    reading = _Reading(data)
    reading.read()
    specifications = [
        each["EF"] for stored in reading.stored for each in _maps(stored.value) if "EF" in each
    ]
    typed = sum(_is_typed(each, "EmbeddedFile") for each in reading.stored)
    count = max(len(specifications), typed)
    reading.expect_nothing_packed()
    if count != 1:
        raise _refused(f"expected one attached file, the proof, got {count}")
    if not specifications:
        raise _refused("the attached file is not listed")
    attached = _only(reading.stored, specifications[0])
    if typed and not _is_typed(attached, "EmbeddedFile"):
        raise _refused("expected one attached file, the proof, got 2")
    return _unpack(attached, RECEIPT_FILE_BYTES_MAX + 1)


def _only(stored: list[_Stored], listed: Value) -> _Stored:
    """Return the one object that a file specification lists; there is no other of its number."""
    if not isinstance(listed, dict) or not listed or listed.keys() - _FILE_KEYS:
        raise _refused("the attached file is not listed as a certificate has it")
    targets = list(listed.values())
    target = targets[0]
    if not isinstance(target, Reference) or any(each != target for each in targets):
        raise _refused("expected one attached file, got several in one place")
    found = [each for each in stored if each.reference.number == target.number]
    if len(found) != 1 or found[0].reference != target or found[0].stream is None:
        raise _refused("the attached file is not there once")
    return found[0]


def _is_typed(stored: _Stored, name: str) -> bool:
    return isinstance(stored.value, dict) and stored.value.get("Type") == name


def _unpack(stored: _Stored, size_max: int) -> bytes:
    """Return the first bytes that a stream holds."""
    if not isinstance(stored.value, dict) or stored.stream is None:
        raise _refused("the attached file has no stream")
    packing = stored.value.get("Filter", "")
    if stored.value.keys() & _OUTSIDE_KEYS or packing not in ("", "FlateDecode", ["FlateDecode"]):
        raise _refused("a stream is packed otherwise than a certificate has it")
    if packing == "":
        return stored.stream[:size_max]
    inflating = zlib.decompressobj()
    try:
        found = inflating.decompress(stored.stream, size_max)
    except zlib.error as error:
        raise _refused(f"a stream does not inflate: {error}") from error
    if len(found) < size_max and not inflating.eof:
        raise _refused("a stream does not inflate: it is cut short")
    return found


def _maps(value: Value) -> Iterator[dict[str, Value]]:
    """Yield every dictionary in a value."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from _maps(each)


def _refused(why: str) -> DecodeError:
    return DecodeError(f"PDF: {why}")


@dataclass(slots=True)
class _Reading:
    """A file being read, from the first byte on."""

    data: bytes
    at: int = 0
    stored: list[_Stored] = field(default_factory=list)
    _streamed: int = 0
    """Bytes in streams, so far."""
    _streams: int = 0
    _named: int = 0
    """How often the word `obj` stands outside streams."""
    _outside: int = 0
    """Where the newest stream ended."""
    _numbers: dict[Reference, int] | None = None
    """What looks like an object that is a number, anywhere; looked for once it is asked for."""
    _lengths: dict[Reference, int] = field(default_factory=dict)
    """Of streams whose length is such an object, which may stand behind them."""

    def read(self) -> None:
        """Read all of it."""
        while True:
            self._skip()
            if self.at == len(self.data):
                break
            if (found := _OBJECT.match(self.data, self.at)) is not None:
                self.at = found.end()
                self._read_object(Reference(int(found[1]), int(found[2])))
            elif self._take(b"xref"):
                self._expect(_ENTRIES)
            elif self._take(b"trailer"):
                self._keep(Reference(0, 0), self._value(0), None)
            elif self._take(b"startxref"):
                self._skip()
                self._expect(_INTEGER)
            else:
                raise self._unreadable()
        self._leave_outline()
        if self._named != sum(each.reference.number != 0 for each in self.stored):
            raise _refused("it holds objects where none can be")
        for reference, size in self._lengths.items():
            same = [each for each in self.stored if each.reference.number == reference.number]
            if same != [_Stored(reference, size, None)]:
                raise _refused("a stream does not say how long it is")

    def expect_nothing_packed(self) -> None:
        """Expect of streams that hold objects, packed, that no file is attached there."""
        left = UNPACKED_BYTES_MAX
        for each in self.stored:
            if each.stream is None or not isinstance(each.value, dict):
                continue
            if not (each.value.keys() & {"N", "First"} or each.value.get("Type") == "ObjStm"):
                continue
            found = _unpack(each, left + 1)
            left -= len(found)
            if left < 0:
                raise _refused(f"expected at most {UNPACKED_BYTES_MAX} bytes of packed objects")
            if _ATTACHING.search(found):
                raise _refused("a file is attached within packed objects")

    def _read_object(self, reference: Reference) -> None:
        value = self._value(0)
        self._skip()
        stream = None
        if (begun := _STREAM.match(self.data, self.at)) is not None:
            stream = self._read_stream(value, begun.end())
            self._skip()
        if not self._take(b"endobj"):
            raise self._unreadable()
        self._keep(reference, value, stream)

    def _read_stream(self, value: Value, start: int) -> bytes:
        size = value.get("Length") if isinstance(value, dict) else None
        if isinstance(size, Reference):
            size = self._length_of(size)
        if not isinstance(size, int) or not 0 <= size <= len(self.data) - start:
            raise _refused("a stream does not say how long it is")
        self._streams += 1
        if self._streams > STREAMS_MAX:
            raise _refused(f"expected at most {STREAMS_MAX} streams")
        self.at = start
        self._leave_outline()
        stream = self.data[start : start + size]
        if _HIDDEN.search(stream):
            raise _refused("a stream holds what could be read as objects")
        self._streamed += size
        self.at = self._outside = start + size
        self._expect(_STREAM_END)
        return stream

    def _length_of(self, reference: Reference) -> int | None:
        """Return the number that an object ahead or behind seems to be: `read` makes sure of it."""
        if self._numbers is None:
            found = _NUMBER_OBJECT.finditer(self.data)
            self._numbers = {Reference(int(each[1]), int(each[2])): int(each[3]) for each in found}
        size = self._numbers.get(reference)
        if size is not None:
            self._lengths[reference] = size
        return size

    def _leave_outline(self) -> None:
        """Note what stood between the newest stream and here."""
        self._named += len(_WORD_OBJECT.findall(self.data, self._outside, self.at))

    def _keep(self, reference: Reference, value: Value, stream: bytes | None) -> None:
        if any("Encrypt" in each for each in _maps(value)):
            raise _refused("it is encrypted")
        if any("RF" in each for each in _maps(value)):
            raise _refused("it holds related files")
        self.stored.append(_Stored(reference, value, stream))

    def _value(self, depth: int) -> Value:
        """Read a value."""
        self._skip()
        if depth > DEPTH_MAX:
            raise _refused("it is nested too deep")
        data, at = self.data, self.at
        if data.startswith(b"<<", at):
            return self._map(depth)
        if data.startswith(b"[", at):
            return self._list(depth)
        if data.startswith(b"/", at):
            return self._name()
        if data.startswith(b"(", at):
            self._skip_text()
            return None
        if (found := _REFERENCE.match(data, at)) is not None:
            self.at = found.end()
            return Reference(int(found[1]), int(found[2]))
        if (found := _INTEGER.match(data, at)) is not None:
            self.at = found.end()
            return int(found[0])
        for pattern in (_NUMBER, _HEX_STRING, _CONSTANT):
            if (found := pattern.match(data, at)) is not None:
                self.at = found.end()
                return None
        raise self._unreadable()

    def _map(self, depth: int) -> dict[str, Value]:
        self.at += 2
        found: dict[str, Value] = {}
        while True:
            self._skip()
            if self.data.startswith(b">>", self.at):
                self.at += 2
                return found
            name = self._name()
            if name in found:
                raise _refused(f"{name:.40} is there twice")
            found[name] = self._value(depth + 1)

    def _list(self, depth: int) -> list[Value]:
        self.at += 1
        found: list[Value] = []
        while True:
            self._skip()
            if self.data.startswith(b"]", self.at):
                self.at += 1
                return found
            found.append(self._value(depth + 1))

    def _name(self) -> str:
        name = self._expect(_NAME)[1].decode("latin-1")
        return _ESCAPE.sub(lambda each: chr(int(each[1], 16)), name)

    def _skip_text(self) -> None:
        self.at += 1
        depth = 1
        while depth:
            depth += 1 if self._expect(_TEXT)[1] == b"(" else -1

    def _skip(self) -> None:
        self._expect(_GAP)

    def _take(self, word: bytes) -> bool:
        if not self.data.startswith(word, self.at):
            return False
        self.at += len(word)
        return True

    def _expect(self, pattern: re.Pattern[bytes]) -> re.Match[bytes]:
        found = pattern.match(self.data, self.at)
        if found is None:
            raise self._unreadable()
        self.at = found.end()
        if self.at - self._streamed > OUTLINE_BYTES_MAX:
            raise _refused(f"expected at most {OUTLINE_BYTES_MAX} bytes besides streams")
        return found

    def _unreadable(self) -> DecodeError:
        return _refused(f"it cannot be read from byte {self.at} on")
