"""A disclosure: some fields of a record, proved to be the ones committed to, and nothing of others.

It holds the statement that was notarized, the fields shown, each with its salt and its path in the
tree, and the receipt of the statement. `check_fields` takes it as far as the statement; that this
was recorded, and when, is for `node.timestamp.verify` to say of the receipt (proto/DISCLOSURE.md).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_uint,
)
from node.chain.merkle import (
    DIGEST_BYTES,
    TreeHead,
    digest_at,
    inclusion_path_of,
    tree_rows,
    verify_inclusion,
)
from node.disclosure.fields import (
    FIELDS_MAX,
    SALT_BYTES,
    STATEMENT_BYTES_MAX,
    FieldPath,
    FieldsStatement,
    FieldValue,
    Salt,
    commit_field,
    expect_format,
    leaf_hash_of,
    leaf_hashes_of,
    path_text,
    read_path,
    read_value,
)
from node.disclosure.opening import OpenField, Opening
from node.errors import DecodeError, ProofError, invariant
from node.limits import RECEIPT_FILE_BYTES_MAX

DISCLOSURE_FORMAT: Final = "govchain-disclosure-1"
DISCLOSURE_PREFIX: Final = encode([DISCLOSURE_FORMAT, *[None] * 3])[: 2 + len(DISCLOSURE_FORMAT)]
"""What the file of a disclosure begins with."""
DISCLOSURE_BYTES_MAX: Final = 16_777_216
_PATH_HASHES_MAX: Final = (FIELDS_MAX - 1).bit_length()


@dataclass(frozen=True, slots=True)
class ShownField:
    """A field that is shown, its place in the tree, and the path from there to the root."""

    index: int
    field: OpenField
    path_up: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Fields shown of one record, as received. Proves nothing until it is verified."""

    statement: bytes
    """Canonical bytes of the `fields-statement`, as they were notarized."""
    shown: tuple[ShownField, ...]
    """In the order of the tree, one at least."""
    receipt: bytes
    """Of the statement, in any format that carries one."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `disclosure`."""
        rows = [_row_of(each) for each in self.shown]
        return encode([DISCLOSURE_FORMAT, self.statement, rows, self.receipt])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read a disclosure; raises `DecodeError` on all but the canonical bytes of one."""
        what = "disclosure"
        items = decode(data, what=what, size_max=DISCLOSURE_BYTES_MAX)
        marked, statement, rows, receipt = expect_array(items, 4, what)
        expect_format(marked, DISCLOSURE_FORMAT, what)
        size = STATEMENT_BYTES_MAX
        found = cls(
            expect_blob(statement, "disclosure statement", size_max=size),
            tuple(map(_read_row, expect_list(rows, FIELDS_MAX, "disclosed fields"))),
            expect_blob(receipt, "disclosure receipt", size_max=RECEIPT_FILE_BYTES_MAX),
        )
        if not found.shown:
            raise DecodeError("disclosure: expected a field at least")
        places = [each.index for each in found.shown]
        if places != sorted(frozenset(places)):
            raise DecodeError("disclosure: expected fields in the order of the tree, each once")
        paths = [each.field.path for each in found.shown]
        if len(frozenset(paths)) != len(paths):
            raise DecodeError("disclosure: a field is there twice")
        return found


@dataclass(frozen=True, slots=True)
class ProvenFields:
    """Fields that a statement commits to. Made by `check_fields` alone."""

    statement: FieldsStatement
    encoded: bytes
    """The statement's bytes: what the receipt has to be of."""
    fields: tuple[tuple[FieldPath, FieldValue], ...]


def disclose(opening: Opening, paths: Collection[FieldPath], receipt: bytes) -> Disclosure:
    """Show these fields of a record; raises `ClientError` for one that cannot be shown."""
    invariant(paths, "a disclosure shows a field at least")
    hashes = leaf_hashes_of(opening.leaves, opening.suite)
    rows = tree_rows(b"".join(hashes), opening.suite.hash)
    shown = []
    for index in sorted(frozenset(map(opening.index_of, paths))):
        entry = opening.entries[index]
        invariant(isinstance(entry, OpenField), "what is shown is open")
        if isinstance(entry, OpenField):
            path_up = inclusion_path_of(lambda up, at: digest_at(rows[up], at), index, len(hashes))
            shown.append(ShownField(index, entry, tuple(path_up)))
    return Disclosure(opening.statement.encode(), tuple(shown), receipt)


def check_fields(disclosure: Disclosure) -> ProvenFields:
    """Check every field against the statement; raises `DecodeError`, or `ProofError` naming it.

    For each: its commitment under its salt stands at its index in the tree of the statement.
    """
    statement = FieldsStatement.decode(disclosure.statement)
    head = TreeHead(statement.count, statement.root)
    return ProvenFields(
        statement, disclosure.statement, tuple(_check_each(disclosure, statement, head))
    )


def _check_each(
    disclosure: Disclosure, statement: FieldsStatement, head: TreeHead
) -> Iterator[tuple[FieldPath, FieldValue]]:
    suite = statement.suite
    for each in disclosure.shown:
        entry = each.field
        leaf = leaf_hash_of(commit_field(entry.salt, entry.path, entry.value, suite), suite)
        try:
            verify_inclusion(leaf, each.index, each.path_up, head, suite.hash)
        except ProofError as error:
            raise ProofError(
                "field-not-committed",
                f"field {path_text(entry.path)!r} is not what was committed to: {error}",
            ) from error
        yield entry.path, entry.value


def _row_of(shown: ShownField) -> list[Any]:
    entry = shown.field
    return [shown.index, list(entry.path), entry.value, entry.salt.value, list(shown.path_up)]


def _read_row(row: object) -> ShownField:
    index, path, value, salt, path_up = expect_array(row, 5, "disclosed field")
    found = Salt(expect_bytes(salt, "salt", size=SALT_BYTES))
    hashes = expect_list(path_up, _PATH_HASHES_MAX, "disclosed field's way to the root")
    return ShownField(
        expect_uint(index, "disclosed field's index", FIELDS_MAX - 1),
        OpenField(read_path(path), read_value(value), found),
        tuple(expect_bytes(each, "digest", size=DIGEST_BYTES) for each in hashes),
    )
