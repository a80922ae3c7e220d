"""Salted commitments to the fields of a record: the one way here to commit to a field.

The number of an identity card has some 2^40 values worth trying: its bare hash is the number, for
whoever tries. So a field is committed to by HMAC under a salt of its own, 16 random bytes, and
nothing in this room takes the hash of a value. `FieldLeaf` is made by `commit_field` alone, which
takes a `Salt`, and trees are built of `FieldLeaf`s alone: an unsalted hash is refused by type.
Shapes are in proto/DISCLOSURE.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from node.chain.encoding import (
    UINT64_MAX,
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
)
from node.chain.merkle import DIGEST_BYTES, leaf_hash, merkle_root
from node.crypto import domains
from node.crypto.suite import Suite, suite_by_id
from node.errors import CryptoError, DecodeError, InvariantViolation, invariant

SALT_BYTES: Final = 16
FIELDS_MAX: Final = 16_384
PATH_PARTS_MAX: Final = 6
PATH_PART_BYTES_MAX: Final = 128
VALUE_BYTES_MAX: Final = 65_536
_INT_LEAST: Final = -(2**63)

STATEMENT_FORMAT: Final = "govchain-fields-1"
STATEMENT_PREFIX: Final = encode([STATEMENT_FORMAT, *[None] * 3])[: 2 + len(STATEMENT_FORMAT)]
"""What the file of a commitment begins with."""
STATEMENT_BYTES_MAX: Final = 128

FieldPath = tuple[str, ...]
"""Names from the outermost object in; of a list, the index in decimal."""
FieldValue = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Salt:
    """16 bytes from a source of randomness, for one field of one record. Secret."""

    value: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if type(self.value) is not bytes or len(self.value) != SALT_BYTES:
            raise DecodeError(f"salt: expected {SALT_BYTES} bytes")


_MADE_HERE: Final = object()


@dataclass(frozen=True, slots=True)
class FieldLeaf:
    """A commitment to one field: says nothing of it to who has not its salt."""

    code: bytes
    """32 bytes."""
    _made: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        invariant(self._made is _MADE_HERE, "a commitment to a field is made by commit_field")

    @classmethod
    def read(cls, value: object) -> Self:
        """Read one that somebody else made; raises `DecodeError`."""
        return cls(expect_bytes(value, "field commitment", size=DIGEST_BYTES), _MADE_HERE)


def commit_field(salt: Salt, path: FieldPath, value: FieldValue, suite: Suite) -> FieldLeaf:
    """Return the commitment: HMAC under the salt, by the suite's hash, of path and value."""
    invariant(isinstance(salt, Salt), "a field is committed to under a salt alone")
    message = domains.tagged(domains.FIELD, encode([list(path), value]))
    return FieldLeaf(suite.keyed_hash.authenticate(salt.value, message), _MADE_HERE)


def leaf_hashes_of(leaves: Sequence[FieldLeaf], suite: Suite) -> list[bytes]:
    """Return the leaf hashes (RFC 9162 section 2.1.1) of the tree over commitments."""
    return [leaf_hash_of(leaf, suite) for leaf in leaves]


def leaf_hash_of(leaf: FieldLeaf, suite: Suite) -> bytes:
    """Return the leaf hash of one commitment."""
    invariant(isinstance(leaf, FieldLeaf), "a tree of fields is over their commitments alone")
    return leaf_hash(leaf.code, suite.hash)


@dataclass(frozen=True, slots=True)
class FieldsStatement:
    """What is notarized of a record: how many fields it has, and the root over them. Public."""

    suite: Suite
    count: int
    root: bytes
    """Of the RFC 9162 tree over the commitments, 32 bytes."""

    @classmethod
    def of(cls, leaves: Sequence[FieldLeaf], suite: Suite) -> Self:
        """Return the statement over these commitments, 1..`FIELDS_MAX` of them."""
        return cls(suite, len(leaves), merkle_root(leaf_hashes_of(leaves, suite), suite.hash))

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `fields-statement`: what is recorded."""
        return encode([STATEMENT_FORMAT, self.suite.suite_id, self.count, self.root])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a statement; raises `DecodeError`."""
        what = "commitment to fields"
        items = decode(data, what=what, size_max=STATEMENT_BYTES_MAX)
        marked, suite_id, count, root = expect_array(items, 4, what)
        expect_format(marked, STATEMENT_FORMAT, what)
        number = expect_uint(count, f"{what}: how many", FIELDS_MAX)
        if not number:
            raise DecodeError(f"{what}: expected 1..{FIELDS_MAX} fields, got none")
        root = expect_bytes(root, f"{what}: root", size=DIGEST_BYTES)
        return cls(read_suite(suite_id), number, root)


def read_suite(value: object) -> Suite:
    """Return the suite of a number that stands in a file; raises `DecodeError`."""
    try:
        return suite_by_id(expect_uint(value, "suite", 255))
    except CryptoError as error:
        raise DecodeError(str(error)) from error


def expect_format(value: object, wanted: str, what: str) -> None:
    """Refuse a file that does not say it is of the format wanted; raises `DecodeError`."""
    if type(value) is not str or value != wanted:
        raise DecodeError(f"{what}: expected the format {wanted!r}, got {value!r:.40}")


# --- Paths and values ---


def read_path(value: object) -> FieldPath:
    """Read the CBOR array `field-path`; raises `DecodeError`."""
    parts = expect_list(value, PATH_PARTS_MAX, "field path")
    if not parts:
        raise DecodeError("field path: expected a name at least")
    size = PATH_PART_BYTES_MAX
    return tuple(expect_text(part, "field name", size_max=size) for part in parts)


def read_value(value: object) -> FieldValue:
    """Read a field's value; raises `DecodeError` for what is no text, integer, bool or null."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int and _INT_LEAST <= value <= UINT64_MAX:
        return value
    if type(value) is str and len(value.encode(errors="replace")) <= VALUE_BYTES_MAX:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DecodeError(f"field value: no text that can be written: {error}") from error
        return value
    raise DecodeError(
        f"field value: expected text of at most {VALUE_BYTES_MAX} bytes, an integer of 64 bits, a "
        f"bool or null, got {type(value).__name__}"
    )


def parse_path(text: str) -> FieldPath:
    """Read a path as people write it, `address/city` (RFC 6901 escapes); raises `DecodeError`."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")]
    return read_path(parts)


def path_text(path: FieldPath) -> str:
    """Return a path as people write it."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def flatten(content: object) -> dict[FieldPath, FieldValue]:
    """Return the fields of what JSON holds: objects in objects, lists by index, values last.

    Raises `DecodeError` for what has no one meaning (a fraction), is nested too deep or has too
    many fields; an empty object or list is a field of no value, so that it cannot be left out.
    """
    fields: dict[FieldPath, FieldValue] = {}
    for path, value in _walk(content, ()):
        if len(fields) == FIELDS_MAX:
            raise DecodeError(f"record: expected at most {FIELDS_MAX} fields")
        fields[path] = value
    return fields


def _walk(content: object, path: FieldPath) -> Iterator[tuple[FieldPath, FieldValue]]:
    if len(path) > PATH_PARTS_MAX:
        raise DecodeError(f"record: {path_text(path)}: nested deeper than {PATH_PARTS_MAX}")
    inner: Mapping[Any, object]
    if isinstance(content, dict):
        inner = content
    elif isinstance(content, list):
        inner = {str(index): item for index, item in enumerate(content)}
    elif not path:
        raise DecodeError("record: expected an object or a list of JSON, with named fields")
    elif isinstance(content, float):
        raise DecodeError(
            f"record: {path_text(path)}: a fraction has many forms: write it as text, in quotes"
        )
    else:
        try:
            yield read_path(list(path)), read_value(content)
        except DecodeError as error:
            raise DecodeError(f"record: {path_text(path)}: {error}") from error
        return
    if not inner:
        if not path:
            raise DecodeError("record: it has no fields")
        yield read_path(list(path)), None
    for name, item in inner.items():
        if not isinstance(name, str):
            raise InvariantViolation("JSON names are text")
        yield from _walk(item, (*path, name))
