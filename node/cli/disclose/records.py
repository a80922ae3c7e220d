"""Files that hold a record or how to show one, read: JSON, CSV, a masking policy."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from gettext import gettext as _
from pathlib import Path
from typing import Final, NoReturn

from node.cli.inputs import open_file
from node.cli.verb import CommandError
from node.disclosure.fields import FieldPath, FieldValue, flatten, parse_path
from node.errors import DecodeError

RECORD_BYTES_MAX: Final = 8_388_608
_CSV: Final = ".csv"


def read_record(path: Path) -> dict[FieldPath, FieldValue]:
    """Return the fields of a record: of JSON, or of a table (CSV), by row and column.

    Raises `CommandError` for what cannot be read as one, naming the place.
    """
    text = _read_text(path, RECORD_BYTES_MAX)
    try:
        return flatten(_table(text) if path.suffix.lower() == _CSV else _json(text))
    except (DecodeError, csv.Error, RecursionError, ValueError) as error:
        _refuse(path, error)


def read_paths(texts: Sequence[str]) -> list[FieldPath]:
    """Return the fields that options name; wrong usage for what names none."""
    import click

    try:
        return [parse_path(text) for text in texts]
    except (DecodeError, UnicodeEncodeError) as error:
        raise click.UsageError(str(error)) from error


def _json(text: str) -> object:
    return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DecodeError("record: a name occurs twice in one object")
    return found


def _no_number(text: str) -> NoReturn:
    raise DecodeError(f"record: {text} is no number of JSON")


def _table(text: str) -> object:
    """Return a table as the list of its rows: each field is committed to by itself."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip() for name in next(reader, [])]
    if not names or len({*names}) != len(names) or not all(names):
        raise DecodeError("record: expected a first row that names every column, each once")
    rows = []
    for number, row in enumerate(reader, 1):
        if not row:
            continue
        if len(row) != len(names):
            raise DecodeError(f"record: row {number}: expected {len(names)} cells, got {len(row)}")
        rows.append(dict(zip(names, row, strict=True)))
    return rows


def _read_bytes(path: Path, size_max: int) -> bytes:
    try:
        with open_file(path) as file:
            data = file.read(size_max + 1)
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
    if len(data) > size_max:
        message = _("{path}: longer than {size} bytes").format(path=path, size=size_max)
        raise CommandError("GC-2301", message)
    return data


def _read_text(path: Path, size_max: int) -> str:
    try:
        return _read_bytes(path, size_max).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = _("{path}: not UTF-8 text").format(path=path)
        raise CommandError("GC-2301", message) from error


def _refuse(path: Path, error: Exception) -> NoReturn:
    fix = _("correct the record: JSON with named fields, or CSV with a row of names")
    raise CommandError("GC-2301", f"{path}: {error}", fix) from error
