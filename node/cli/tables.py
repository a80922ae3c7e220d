"""Tables of documents (CSV): which files, or which digests, and what is to be known of each.

The first row names the columns: `file` or `digest`, and if wanted `name`, what the receipt is named
after, and `reference`, that of the record. Files are looked for from the folder of the table on.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from contextlib import suppress
from gettext import gettext as _
from pathlib import Path
from typing import Final, NoReturn

from node.chain.encoding import expect_text
from node.cli.inputs import Document, display
from node.cli.receipt_files import parts_of
from node.cli.verb import CommandError
from node.crypto.suite import DocumentDigest
from node.disclosure.personal import holds_identity_card
from node.errors import ClientError, DecodeError
from node.limits import RECORD_REFERENCE_BYTES_MAX
from node.timestamp.verify import NamedDigest

TABLE_BYTES_MAX: Final = 268_435_456
TABLE_ROWS_MAX: Final = 1_000_000
_NAME_BYTES_MAX: Final = 4_096
_FILE: Final = "file"
_DIGEST: Final = "digest"
_NAME: Final = "name"
_REFERENCE: Final = "reference"
_COLUMNS: Final = (_FILE, _DIGEST, _NAME, _REFERENCE)

_Row = Mapping[str, str]


def read_table(path: Path, algorithm: DocumentDigest) -> list[Document]:
    """Return the documents of a table, in its order; digests must be of `algorithm`.

    Raises `CommandError` naming the line, unless all of it can be read: files are not opened.
    """
    documents: list[Document] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.stat().st_size > TABLE_BYTES_MAX:
                message = _("{path}: longer than {size} bytes")
                _refuse(message.format(path=path, size=TABLE_BYTES_MAX))
            reader = csv.reader(file, strict=True)
            for row in _rows(path, reader):
                if len(documents) == TABLE_ROWS_MAX:
                    message = _("{path}: more than {count} rows")
                    _refuse(message.format(path=path, count=TABLE_ROWS_MAX))
                documents.append(_read_row(path, reader.line_num, row, algorithm))
    except OSError as error:
        raise CommandError("GC-2301", f"{display(path)}: {error.strerror}") from error
    except UnicodeDecodeError:
        message = _("{path}: not UTF-8 text").format(path=path)
        _refuse(message, _("save it as CSV in UTF-8"))
    except csv.Error as error:
        _refuse(_said(path, reader.line_num, str(error)))
    return documents


def _rows(path: Path, reader: Iterator[list[str]]) -> Iterator[_Row]:
    columns = next(reader, [])
    named = [column.strip().lower() for column in columns]
    wanted = (named.count(_FILE) + named.count(_DIGEST)) == 1
    if not wanted or len({*named}) != len(named) or not {*named} <= {*_COLUMNS}:
        message = _("{path}: expected columns file or digest, name, reference; got {columns}")
        _refuse(message.format(path=path, columns=", ".join(columns)[:200]))
    for number, row in enumerate(reader, start=1):
        if not any(row):
            continue
        if len(row) != len(named):
            message = _("{path}: row {number}: expected {expected} cells, got {got}")
            told = message.format(path=path, number=number, expected=len(named), got=len(row))
            _refuse(told)
        yield dict(zip(named, row, strict=True))


def _read_row(path: Path, line: int, row: _Row, algorithm: DocumentDigest) -> Document:
    name, reference = row.get(_NAME) or None, row.get(_REFERENCE) or None
    try:
        if name is not None:
            expect_text(name, _NAME, size_max=_NAME_BYTES_MAX)
        if reference is not None:
            expect_text(reference, _REFERENCE, size_max=RECORD_REFERENCE_BYTES_MAX)
            if holds_identity_card(reference):
                message = _("the reference holds the number of an identity card")
                raise CommandError("GC-2612", _said(path, line, message))
        digest = NamedDigest.parse(row[_DIGEST].strip(), algorithm) if _DIGEST in row else None
    except (ClientError, DecodeError, UnicodeEncodeError) as error:
        _refuse(_said(path, line, str(error)))
    if digest is not None and digest.algorithm != algorithm:
        message = _("expected a digest of {algorithm}").format(algorithm=algorithm.name)
        _refuse(_said(path, line, message))
    file = row.get(_FILE, "")
    if digest is None and ("\0" in file or not file):
        _refuse(_said(path, line, _("expected a file")))
    if name is not None and not parts_of(name):
        _refuse(_said(path, line, _("no receipt can be called {name}").format(name=name)))
    if digest is not None:
        label = name or digest.value.hex()
        return Document(
            label,
            None,
            digest=digest.value,
            algorithm=algorithm,
            reference=reference,
            called=label,
        )
    found = path.parent / file
    size_bytes = 0
    with suppress(OSError):  # hashing tells
        size_bytes = found.stat().st_size
    return Document(name or display(found), found, size_bytes, reference=reference, called=name)


def _said(path: Path, line: int, cause: str) -> str:
    return _("{path}, line {line}: {cause}").format(path=path, line=line, cause=cause)


def _refuse(message: str, fix: str = "") -> NoReturn:
    raise CommandError("GC-2301", message, fix or _("correct the table"))
