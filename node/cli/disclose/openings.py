"""Openings of records: made and kept, read from a file or from the vault, changed there."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from gettext import gettext as _
from pathlib import Path
from typing import Final

from node.cli.inputs import open_file
from node.cli.kinds import OPENING, expect_kind
from node.cli.network import Network
from node.cli.screen import Screen
from node.cli.vault.chain import Known, VaultDesk, read_document_id
from node.cli.verb import CommandError
from node.crypto.suite import Suite
from node.disclosure.fields import FieldPath, FieldValue
from node.disclosure.opening import OPENING_BYTES_MAX, Opening
from node.disclosure.proof import Disclosure
from node.errors import DecodeError
from node.operations.topology import write_file

_PRIVATE: Final = 0o600


def begin_opening(
    screen: Screen, path: Path, fields: Mapping[FieldPath, FieldValue], suite: Suite
) -> Opening:
    """Return the opening of a record, kept at `path` before anything rests on it.

    One of these very fields that an earlier run left is gone on with: its salts are in force.
    Raises `CommandError` where something else is there.
    """
    if os.path.lexists(path):
        opening = read_opening(path)
        if {each.path: each.value for each in opening.fields} != dict(fields):
            message = _("{path}: the opening of another record is there already")
            fix = _("name another folder: --out")
            raise CommandError("GC-2306", message.format(path=path), fix)
        screen.note(_("going on with the salts that an earlier run drew"))
        return opening
    opening = Opening.begin(fields, suite, secrets.token_bytes)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, opening.encode(), mode=_PRIVATE)
    except OSError as error:
        raise CommandError("GC-2306", f"{path}: {error.strerror}") from error
    return opening


def read_opening(path: Path) -> Opening:
    """Read an opening from a file; raises `CommandError`."""
    try:
        with open_file(path) as file:
            data = file.read(OPENING_BYTES_MAX + 1)
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
    expect_kind(path, data, OPENING)
    try:
        return Opening.decode(data)
    except DecodeError as error:
        raise CommandError("GC-1001", f"{path}: {error}") from error


def find_opening(screen: Screen, source: str, network: Network | None) -> Opening:
    """Return the opening that is named: a file, or a document of the vault by its id."""
    if os.path.lexists(source) or network is None:
        return read_opening(Path(source))
    with fetched_opening(screen, VaultDesk(network), read_document_id(source)) as found:
        return found[1]


@contextmanager
def fetched_opening(
    screen: Screen, desk: VaultDesk, document_id: bytes
) -> Iterator[tuple[Known, Opening, Path]]:
    """Fetch an opening from the vault into a private folder, gone afterwards."""
    from node.cli.vault.moving import get_file

    with tempfile.TemporaryDirectory(prefix="govchain-opening-") as folder:
        path = Path(folder) / "opening"
        known, _target = get_file(screen, desk, document_id, path)
        yield known, read_opening(path), path


def put_opening(screen: Screen, desk: VaultDesk, path: Path, recipients: tuple[str, ...]) -> Known:
    """Have the vault keep an opening for who asks and for `recipients`, and remove the file."""
    from node.cli.vault.moving import put_file

    known = put_file(screen, desk, path, recipients)
    path.unlink()
    return known


def put_disclosure(screen: Screen, desk: VaultDesk, disclosure: Disclosure) -> Known:
    """Have the vault keep a disclosure, for who asks alone as yet."""
    from node.cli.vault.moving import put_file

    with tempfile.TemporaryDirectory(prefix="govchain-disclosure-") as folder:
        path = Path(folder) / "fields.disclosure"
        write_file(path, disclosure.encode(), mode=_PRIVATE)
        return put_file(screen, desk, path, ())


def erase_fields(
    screen: Screen, desk: VaultDesk, document_id: bytes, paths: list[FieldPath]
) -> tuple[Known, Opening]:
    """Replace an opening in the vault by one that forgot these fields; every node destroys the old.

    The new one is sealed under another key, and the old version's chunks and wrapped keys go.
    """
    from node.cli.vault.moving import rotate_document

    with fetched_opening(screen, desk, document_id) as (known, opening, path):
        left = opening.erased(paths)
        write_file(path, left.encode(), mode=_PRIVATE)
        height = rotate_document(screen, desk, known, path, ())
    return desk.find(document_id, height), left
