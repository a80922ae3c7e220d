"""Receipts as files: what they are called, and that writing one never loses another."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from gettext import gettext as _
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Final

from node.cli.inputs import Document
from node.cli.screen import Fault
from node.errors import DecodeError
from node.operations.topology import sync_folder, write_file
from node.timestamp.receipt import RECEIPT_SUFFIX, Receipt

_NAME_BYTES_MAX: Final = 255  # of Linux file systems
_ROOM_BYTES: Final = len(f".99999{RECEIPT_SUFFIX}")
_WRITERS: Final = 16
_STANDARD_INPUT_NAME: Final = "stdin"


def name_receipts(documents: Sequence[Document]) -> list[str]:
    """Return a name for each document's receipt: the document's own plus an ending.

    Where several documents bear one name, the later ones are called after their folders too.
    """
    taken: set[str] = set()
    names = []
    for document in documents:
        name = next(name for name in _candidates(document) if name not in taken)
        taken.add(name)
        names.append(name)
    return names


def find_obstacle(folder: Path) -> Fault | None:
    """Make the folder and write to it once; return why receipts cannot be kept there, if so."""
    probe = f"probe-{os.getpid()}{RECEIPT_SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / probe, b"", sync_name=False)
        (folder / probe).unlink()
    except OSError as error:
        return _unwritable(folder, error)
    return None


def save_receipts(
    folder: Path, receipts: Mapping[str, bytes], *, spare: Collection[str] = ()
) -> dict[str, Path | Fault]:
    """Write receipts by name, durably, each at once; return where each is, or why it is not.

    Only the receipt of the same record is overwritten: chain, transaction and operation. A later
    record of a document proves less than the earlier, that of a withdrawal something else. Where
    anything else bears the name, the receipt gets a numbered one, none of those in `spare`. Files
    are synced from several threads, because a disk syncs many as fast as one.
    """
    with ThreadPoolExecutor(_WRITERS) as writers:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = {*receipts, *spare}
            paths = []
            for name, encoded in receipts.items():
                paths.append(folder / _free_name(folder, name, encoded, taken))
                taken.add(paths[-1].name)
            places = [*writers.map(_write, paths, receipts.values())]
            sync_folder(folder)
        except OSError as error:
            return dict.fromkeys(receipts, _unwritable(folder, error))
    return dict(zip(receipts, places, strict=True))


def _free_name(folder: Path, name: str, encoded: bytes, taken: Collection[str]) -> str:
    """Return a receipt's name, or the first numbered one that nothing else bears."""
    stem, record = name.removesuffix(RECEIPT_SUFFIX), _record_of(encoded)
    numbered = (f"{stem}.{number}{RECEIPT_SUFFIX}" for number in count(1))
    names = chain((name,), (each for each in numbered if each not in taken))
    return next(
        each
        for each in names
        if not os.path.lexists(folder / each) or _record_of_file(folder / each) == record
    )


def _write(path: Path, encoded: bytes) -> Path | Fault:
    try:
        write_file(path, encoded, sync_name=False)
    except OSError as error:
        return _unwritable(path, error)
    return path


def _unwritable(path: Path, error: OSError) -> Fault:
    fix = _("check the rights and the space where it is to be")
    return Fault("GC-2306", f"{path}: {error.strerror}", fix)


def _candidates(document: Document) -> Iterator[str]:
    parts = (_STANDARD_INPUT_NAME,) if document.path is None else _parts(document.path)
    longer = ("-".join(parts[-length:]) for length in range(1, len(parts) + 1))
    numbered = (f"{parts[-1]}-{number}" for number in count(2))
    for stem in chain(longer, numbered):
        yield _shorten(stem) + RECEIPT_SUFFIX


def _parts(path: Path) -> tuple[str, ...]:
    pure = PurePath(path)
    return tuple(part for part in pure.parts if part not in (pure.anchor, ".."))


def _shorten(stem: str) -> str:
    encoded = os.fsencode(stem)
    room_bytes = _NAME_BYTES_MAX - _ROOM_BYTES
    return stem if len(encoded) <= room_bytes else encoded[:room_bytes].decode(errors="ignore")


def _record_of_file(path: Path) -> tuple[bytes, bytes, int] | bytes | None:
    try:
        return _record_of(path.read_bytes())
    except OSError:  # a folder, or not for us to read: not to be overwritten
        return None


def _record_of(encoded: bytes) -> tuple[bytes, bytes, int] | bytes:
    """Return chain, transaction and operation of a receipt; the bytes of anything else."""
    try:
        receipt = Receipt.decode(encoded)
    except DecodeError:
        return encoded
    return (receipt.chain_id, receipt.leaf.tx_id, receipt.leaf.operation_index)
