"""Receipts as files: what they are called, and that writing one never loses another.

An evidence record covers the very bytes of a receipt, wherever it lies itself: so no receipt is
ever overwritten, not even by a better one of the same record.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from gettext import gettext as _
from itertools import chain, count, takewhile
from pathlib import Path, PurePath
from typing import Final

from node.cli.inputs import Document, is_file
from node.cli.outputs import NAME_BYTES_MAX, shorten
from node.cli.screen import Fault
from node.crypto.suite import document_digest_by_id
from node.errors import DecodeError
from node.operations.topology import sync_folder, write_file
from node.timestamp.receipt import RECEIPT_SUFFIX, Receipt
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, verify_receipt

_ROOM_BYTES: Final = len(f".99999{RECEIPT_SUFFIX}")
_WRITERS: Final = 16
_STANDARD_INPUT_NAME: Final = "stdin"
_PARTS: Final = ("token", "cose", "checkpoint", "compact")
"""What a receipt may have or lack."""


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


def find_receipts(folder: Path, document: Path) -> Iterator[Path]:
    """Yield the files in a folder that may hold a document's receipt, the likeliest first."""
    parts = parts_of(document.absolute())
    for stem in map(_shorten, _longer(parts)):
        yield from _while_there(folder, (stem,))
        yield from _while_there(folder, (f"{stem}.{number}" for number in count(1)))
    yield from _while_there(folder, map(_shorten, _numbered(parts)))


def _while_there(folder: Path, stems: Iterable[str]) -> Iterator[Path]:
    return takewhile(is_file, (folder / f"{stem}{RECEIPT_SUFFIX}" for stem in stems))


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
    folder: Path, receipts: Mapping[str, bytes], anchor: TrustAnchor, *, spare: Collection[str] = ()
) -> dict[str, Path | Fault]:
    """Write receipts by name, durably, each at once; return where each is, or why it is not.

    Nothing is overwritten. What is there already stays and serves if it verifies by `anchor`, which
    leads to the epoch of the receipts or to a later one, as the receipt of the same record and has
    all parts that the new one has. Where anything else bears the name, the receipt gets a numbered
    one, none of those in `spare`. Files are synced from several threads, because a disk syncs many
    as fast as one.
    """
    with ThreadPoolExecutor(_WRITERS) as writers:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            taken = {*receipts, *spare}
            paths = []
            for name, encoded in receipts.items():
                paths.append(folder / _free_name(folder, name, encoded, anchor, taken))
                taken.add(paths[-1].name)
            places = [*writers.map(_write, paths, receipts.values())]
            sync_folder(folder)
        except OSError as error:
            return dict.fromkeys(receipts, _unwritable(folder, error))
    return dict(zip(receipts, places, strict=True))


def _free_name(
    folder: Path, name: str, encoded: bytes, anchor: TrustAnchor, taken: Collection[str]
) -> str:
    """Return a receipt's name, or the first numbered one, that is free or serves already."""
    stem = name.removesuffix(RECEIPT_SUFFIX)
    numbered = (f"{stem}.{number}{RECEIPT_SUFFIX}" for number in count(1))
    names = chain((name,), (each for each in numbered if each not in taken))
    return next(
        each
        for each in names
        if not os.path.lexists(folder / each) or _serves(folder / each, encoded, anchor)
    )


def _serves(path: Path, encoded: bytes, anchor: TrustAnchor) -> bool:
    """Tell whether a file is as good as a receipt that is to be written."""
    try:
        kept = path.read_bytes()
        if kept == encoded:
            return True
        old, new = Receipt.decode(kept), Receipt.decode(encoded)
    except (OSError, DecodeError):  # a folder, not for us to read, or no receipt
        return False
    if (old.chain_id, old.leaf) != (new.chain_id, new.leaf) or any(
        getattr(old, part) is None and getattr(new, part) is not None for part in _PARTS
    ):
        return False
    record = old.leaf.record
    digest = NamedDigest(document_digest_by_id(record.digest_algorithm), record.digest)
    verdict = verify_receipt(kept, anchor.up_to(old.block.header.epoch), digest)
    return verdict.attestation is not None and verdict.unchecked is None


def _write(path: Path, encoded: bytes) -> Path | Fault:
    if os.path.lexists(path):  # it serves already
        return path
    try:
        write_file(path, encoded, sync_name=False)
    except OSError as error:
        return _unwritable(path, error)
    return path


def _unwritable(path: Path, error: OSError) -> Fault:
    fix = _("check the rights and the space where it is to be")
    return Fault("GC-2306", f"{path}: {error.strerror}", fix)


def _candidates(document: Document) -> Iterator[str]:
    named = document.called or document.path
    parts = (_STANDARD_INPUT_NAME,) if named is None else parts_of(named)
    for stem in chain(_longer(parts), _numbered(parts)):
        yield _shorten(stem) + RECEIPT_SUFFIX


def _longer(parts: Sequence[str]) -> Iterator[str]:
    return ("-".join(parts[-length:]) for length in range(1, len(parts) + 1))


def _numbered(parts: Sequence[str]) -> Iterator[str]:
    return (f"{parts[-1]}-{number}" for number in count(2))


def parts_of(path: Path | str) -> tuple[str, ...]:
    """Return what a receipt is named after: the parts of a path that are names."""
    pure = PurePath(path)
    return tuple(part for part in pure.parts if part not in (pure.anchor, ".."))


def _shorten(stem: str) -> str:
    return shorten(stem, NAME_BYTES_MAX - _ROOM_BYTES)
