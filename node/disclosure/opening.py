"""The opening of a record's commitment: every field with its salt. Secret; kept in the vault.

Whoever holds it can show any field, and prove it; whoever does not learns nothing from the
commitment. A field is erased by forgetting its salt and value and keeping its commitment alone: the
others can be proved as before, and that one neither proved nor guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_bytes, expect_list
from node.crypto.suite import Suite
from node.disclosure.fields import (
    FIELDS_MAX,
    SALT_BYTES,
    FieldLeaf,
    FieldPath,
    FieldsStatement,
    FieldValue,
    Salt,
    commit_field,
    expect_format,
    path_text,
    read_path,
    read_suite,
    read_value,
)
from node.errors import ClientError, DecodeError

OPENING_FORMAT: Final = "govchain-opening-1"
OPENING_PREFIX: Final = encode([OPENING_FORMAT, *[None] * 2])[: 2 + len(OPENING_FORMAT)]
"""What the file of an opening begins with."""
OPENING_BYTES_MAX: Final = 16_777_216


@dataclass(frozen=True, slots=True)
class OpenField:
    """A field that can be shown."""

    path: FieldPath
    value: FieldValue = field(repr=False)
    salt: Salt = field(repr=False)


@dataclass(frozen=True, slots=True)
class Opening:
    """A record's fields in the order of its tree; of what was erased, the commitment alone."""

    suite: Suite
    entries: tuple[OpenField | FieldLeaf, ...]

    @classmethod
    def begin(
        cls, fields: Mapping[FieldPath, FieldValue], suite: Suite, draw: Callable[[int], bytes]
    ) -> Self:
        """Return the opening of a new record; `draw` gives as many random bytes as it is asked."""
        salts = {path: Salt(draw(SALT_BYTES)) for path in fields}
        opened = (OpenField(path, value, salts[path]) for path, value in fields.items())
        return cls(suite, tuple(opened))

    @property
    def fields(self) -> tuple[OpenField, ...]:
        """The fields that can be shown."""
        return tuple(each for each in self.entries if isinstance(each, OpenField))

    @property
    def leaves(self) -> list[FieldLeaf]:
        """The commitments, in the order of the tree."""
        return [_leaf_of(entry, self.suite) for entry in self.entries]

    @property
    def statement(self) -> FieldsStatement:
        """What is notarized: the same before and after fields were erased."""
        return FieldsStatement.of(self.leaves, self.suite)

    def index_of(self, path: FieldPath) -> int:
        """Return where a field stands in the tree; raises `ClientError` where it is not open."""
        for index, entry in enumerate(self.entries):
            if isinstance(entry, OpenField) and entry.path == path:
                return index
        raise ClientError(
            f"field {path_text(path)!r}: no such field can be shown: there is none, or it was "
            "erased",
            code="GC-2611",
        )

    def erased(self, paths: Collection[FieldPath]) -> Self:
        """Return what is left when fields are forgotten; raises `ClientError` for one of none."""
        gone = frozenset(map(self.index_of, paths))
        entries = (
            _leaf_of(entry, self.suite) if index in gone else entry
            for index, entry in enumerate(self.entries)
        )
        return replace(self, entries=tuple(entries))

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `fields-opening`."""
        rows = [_entry_value(entry) for entry in self.entries]
        return encode([OPENING_FORMAT, self.suite.suite_id, rows])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read an opening; raises `DecodeError`."""
        what = "opening"
        items = decode(data, what=what, size_max=OPENING_BYTES_MAX)
        marked, suite_id, rows = expect_array(items, 3, what)
        expect_format(marked, OPENING_FORMAT, what)
        entries = tuple(_read_entry(row) for row in expect_list(rows, FIELDS_MAX, "opening fields"))
        opened = [entry for entry in entries if isinstance(entry, OpenField)]
        if not entries:
            raise DecodeError("opening: expected a field at least")
        if len({entry.path for entry in opened}) != len(opened):
            raise DecodeError("opening: a field is there twice")
        if len({entry.salt.value for entry in opened}) != len(opened):
            raise DecodeError("opening: two fields have one salt")
        return cls(read_suite(suite_id), entries)


def _leaf_of(entry: OpenField | FieldLeaf, suite: Suite) -> FieldLeaf:
    if isinstance(entry, FieldLeaf):
        return entry
    return commit_field(entry.salt, entry.path, entry.value, suite)


def _entry_value(entry: OpenField | FieldLeaf) -> Any:  # noqa: ANN401 - an item of CBOR
    if isinstance(entry, FieldLeaf):
        return entry.code
    return [list(entry.path), entry.value, entry.salt.value]


def _read_entry(row: object) -> OpenField | FieldLeaf:
    if type(row) is bytes:
        return FieldLeaf.read(row)
    path, value, salt = expect_array(row, 3, "opening field")
    found = Salt(expect_bytes(salt, "salt", size=SALT_BYTES))
    return OpenField(read_path(path), read_value(value), found)
