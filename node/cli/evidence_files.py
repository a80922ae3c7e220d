"""The files that evidence records are about, and where each record lies.

The record of `NAME` covers `NAME` and its receipt, where there is one, and lies in `NAME.ers`. The
receipt is found by the names that `govchain notarize` gives, and by the digest it records: several
documents may bear one name. Receipts and records lie beside their documents, or all in folders that
are named.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.inputs import find_documents, hash_one
from node.cli.kinds import EVIDENCE, read_claim
from node.cli.outputs import name_after
from node.cli.receipt_files import find_receipts
from node.cli.screen import Fault
from node.cli.subjects import read_file
from node.cli.verb import CommandError
from node.crypto.suite import DocumentDigest, document_digest_by_id
from node.errors import CryptoError, DecodeError, ProofError
from node.timestamp.evidence.hash_tree import DataGroup
from node.timestamp.evidence.record import EVIDENCE_SUFFIX
from node.timestamp.opening import open_receipt
from node.timestamp.receipt import RECEIPT_SUFFIX
from node.timestamp.refreshed import REFRESHED_SUFFIX
from node.timestamp.steps import NotRootedError

_BESIDE: Final = (RECEIPT_SUFFIX, REFRESHED_SUFFIX, EVIDENCE_SUFFIX)
"""What is no document, when a folder is named."""


class HashedFile:
    """A file as evidence takes it: its digest by any algorithm, read once for each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._digests: dict[str, bytes] = {}

    def __call__(self, algorithm: DocumentDigest) -> bytes:
        """Return the digest; raises `CommandError` where the file cannot be read."""
        if algorithm.name not in self._digests:
            self._digests[algorithm.name] = hash_one(str(self._path), algorithm)
        return self._digests[algorithm.name]


@dataclass(frozen=True)
class Subject:
    """A document, where to look for its receipt, and where its record lies or is to lie."""

    document: Path
    receipts: Path
    """The folder of its receipt."""
    record: Path

    @cached_property
    def group(self) -> DataGroup:
        """The files that the record covers together."""
        others = [HashedFile(path) for path in self.files[1:]]
        return [self._hashed, *others]

    @cached_property
    def receipt(self) -> Path | None:
        """Its receipt; else the first that bears its name, though of something else; else None."""
        found = [*find_receipts(self.receipts, self.document)]
        return next(filter(self._is_recorded_in, found), found[0] if found else None)

    @property
    def has_foreign_receipt(self) -> bool:
        """Tell whether what bears the name of its receipt is none of it."""
        return self.receipt is not None and not self._is_recorded_in(self.receipt)

    @cached_property
    def _hashed(self) -> HashedFile:
        return HashedFile(self.document)

    def _is_recorded_in(self, receipt: Path) -> bool:
        try:
            record = open_receipt(read_file(receipt)).receipt.leaf.record
            return self._hashed(document_digest_by_id(record.digest_algorithm)) == record.digest
        except (CommandError, CryptoError, DecodeError, NotRootedError, ProofError):
            return False

    @property
    def files(self) -> list[Path]:
        """Return their paths, the document first."""
        return [self.document, *([] if self.receipt is None else [self.receipt])]

    @property
    def has_record(self) -> bool:
        """Tell whether there is something where its record lies."""
        return os.path.lexists(self.record)

    def read_record(self) -> bytes:
        """Return the record's bytes; raises `CommandError`."""
        return read_claim(self.record, EVIDENCE)


@dataclass(frozen=True, slots=True)
class Folders:
    """Where receipts and records lie; beside their documents where None."""

    receipts: Path | None = None
    records: Path | None = None

    def subject(self, document: Path) -> Subject:
        """Return what belongs to a document."""
        record = (self.records or document.parent) / name_after(document.name, EVIDENCE_SUFFIX)
        return Subject(document, self.receipts or document.parent, record)


def find_subjects(arguments: Sequence[str], folders: Folders) -> tuple[list[Subject], list[Fault]]:
    """Return the documents that arguments name, folders searched, and why some are none.

    A record stands for its document. Raises wrong usage where two documents would share a record.
    """
    named = [*map(_document_of, arguments)]
    subjects: dict[Path, Subject] = {}
    faults: list[Fault] = []
    for found in find_documents(named):
        if found.fault is not None:
            faults.append(found.fault)
        if not found.is_wanted or found.path is None:
            continue
        if found.label not in named and found.path.name.endswith(_BESIDE):
            continue
        subject = folders.subject(found.path)
        if subject.record in subjects:
            message = _("{one} and {other} would have one record: {record}")
            other = subjects[subject.record].document
            told = message.format(one=subject.document, other=other, record=subject.record)
            raise click.UsageError(told)
        subjects[subject.record] = subject
    return list(subjects.values()), faults


def _document_of(argument: str) -> str:
    """Return the document that a record stands for; what is no record stands for itself."""
    record = Path(argument)
    stem = record.name.removesuffix(EVIDENCE_SUFFIX)
    if stem in ("", record.name):
        return argument
    document = argument.removesuffix(EVIDENCE_SUFFIX)
    if not os.path.lexists(document):  # it may be cut
        with suppress(OSError):
            for name in sorted(os.listdir(record.parent)):  # noqa: PTH208 - names may be any bytes
                if name_after(name, EVIDENCE_SUFFIX) == record.name:
                    return str(record.with_name(name))
    return document


def hash_subjects(
    subjects: Sequence[Subject], algorithm: DocumentDigest
) -> tuple[list[Subject], list[Fault]]:
    """Return those whose files can be read, hashed by now, and why others cannot.

    A receipt of something else is refused, too.
    """
    readable: list[Subject] = []
    faults: list[Fault] = []
    for subject in subjects:
        try:
            for file in subject.group:
                file(algorithm)
        except CommandError as error:
            faults.append(error.fault)
            continue
        if subject.has_foreign_receipt:
            said = _("{receipt}: is no receipt of {document}")
            told = said.format(receipt=subject.receipt, document=subject.document)
            faults.append(Fault("GC-2301", told, _("name the folder of its own: --receipts")))
        else:
            readable.append(subject)
    return readable, faults


def require_subjects(subjects: Sequence[Subject], faults: Sequence[Fault], lack: str) -> None:
    """Raise `CommandError` with the first fault, or with `lack`, where there is no subject."""
    if not subjects:
        first = faults[0] if faults else Fault("GC-2301", lack, "")
        raise CommandError(first.code, first.message, first.fix)
