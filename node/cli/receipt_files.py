"""Receipts as files: what they are called, and that writing one never loses another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count
from pathlib import Path, PurePath
from typing import Final

from node.cli.inputs import Document
from node.cli.verb import CommandError
from node.errors import DecodeError
from node.service.topology import write_file
from node.timestamp.receipt import RECEIPT_SUFFIX, Receipt

_NAME_BYTES_MAX: Final = 255  # of Linux file systems
_ROOM_BYTES: Final = len(f".999{RECEIPT_SUFFIX}")
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


def save_receipt(path: Path, encoded: bytes) -> None:
    """Write a receipt durably, at once; raises `CommandError`.

    A file already there is replaced only by a receipt of the same document on the same chain, as
    the chain keeps the earlier one too. Any other is kept beside it under a numbered name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and _subject(path.read_bytes()) != _subject(encoded):
            stem = path.name.removesuffix(RECEIPT_SUFFIX)
            kept = (path.with_name(f"{stem}.{number}{RECEIPT_SUFFIX}") for number in count(1))
            path.rename(next(name for name in kept if not name.exists()))
        write_file(path, encoded)
    except OSError as error:
        raise CommandError("GC-2306", f"{path}: {error.strerror}") from error


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
    encoded = stem.encode(errors="surrogateescape")
    return encoded[: _NAME_BYTES_MAX - _ROOM_BYTES].decode(errors="ignore")


def _subject(encoded: bytes) -> tuple[bytes, bytes] | bytes:
    """Return chain and document of a receipt; the bytes themselves of anything else."""
    try:
        receipt = Receipt.decode(encoded)
    except DecodeError:
        return encoded
    return (receipt.chain_id, receipt.leaf.record.digest)
