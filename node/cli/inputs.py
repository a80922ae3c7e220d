"""The documents a person names: found in folders, told apart, hashed. No chain is known here."""

from __future__ import annotations

import codecs
import errno
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import BinaryIO, Final

from node.cli.remedies import N_, remedy_of
from node.cli.screen import Fault
from node.cli.verb import CommandError
from node.crypto.suite import DocumentDigest
from node.disclosure.personal import (
    SECRET_KINDS,
    SECRET_NUMBER_BYTES_MAX,
    PersonalKind,
    kind_of_number,
)

STANDARD_INPUT: Final = "-"

_CHUNK_BYTES: Final = 1_048_576
_KIND_NAMES: Final = {
    PersonalKind.IDENTITY_CARD: N_("the number of an identity card"),
    PersonalKind.CREDIT_CODE: N_("a unified social credit code"),
    PersonalKind.BANK_CARD: N_("the number of a bank card"),
    PersonalKind.MOBILE: N_("a mobile number"),
}

_FileKey = tuple[int, int]
"""Device and number of a file or folder: what it is, by whichever name."""


@dataclass(slots=True)
class Document:
    """One name among the documents, and what is known of it by now."""

    label: str
    """How people and JSON name it."""
    path: Path | None
    """None for standard input."""
    size_bytes: int = 0
    digest: bytes | None = None
    algorithm: DocumentDigest | None = None
    """Of the digest, once there is one."""
    same_as: str | None = None
    """Label of another name of this very file, which stands for it."""
    fault: Fault | None = None
    reference: str | None = None
    """Of its record; None: it is to have none."""
    called: str | None = None
    """What its receipt is named after; None: after its path."""

    @property
    def is_wanted(self) -> bool:
        """Tell whether it is to be hashed and recorded."""
        return self.fault is None and self.same_as is None


def find_documents(
    arguments: Sequence[str], *, apart_from: Collection[Path] = ()
) -> list[Document]:
    """Return what the arguments name, folders searched, in an order that depends on names only.

    Links are followed. A file or folder reached by several names counts once; a folder that leads
    back into itself, and whatever cannot be read or is no file, is returned with its fault. Folders
    in `apart_from` are passed over.
    """
    return _Search(apart_from).run(arguments)


def hash_document(
    document: Document, algorithm: DocumentDigest, advance: Callable[[int], None]
) -> None:
    """Set the digest of a document, or its fault. `advance` is told the bytes read.

    A content that is the number of a person and nothing else is at fault: its digest gives it away.
    """
    start = bytearray()
    try:
        if document.path is None:
            digest = _hash_stream(_standard_input(), algorithm, advance, start)
            before = after = None
        else:
            with open_file(document.path) as file:
                before = os.fstat(file.fileno())
                digest = _hash_stream(file, algorithm, advance, start)
                after = os.fstat(file.fileno())
    except OSError as error:
        document.fault = _unreadable(document.label, error)
        return
    if (
        before is not None
        and after is not None
        and (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    ):
        message = _("{file}: changed while it was read").format(file=document.label)
        document.fault = Fault("GC-2301", message, _("wait until nobody writes to it"))
        return
    if (kind := _number_of(start)) is not None:
        document.fault = guessable(document.label, kind)
        return
    document.digest, document.algorithm = digest, algorithm


def guessable(label: str, kind: PersonalKind) -> Fault:
    """Return why nothing is recorded of a number that names a person, by its bare digest."""
    message = _("{what} is {kind} and nothing else: whoever tries all there are finds it")
    told = message.format(what=label, kind=_(_KIND_NAMES[kind]))
    return Fault("GC-2612", told, remedy_of("GC-2612").fix)


def _number_of(start: bytes | bytearray) -> PersonalKind | None:
    """Return what a short content is that is a number of a person alone; None for any other."""
    if len(start) > SECRET_NUMBER_BYTES_MAX:
        return None
    encoding = "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    kind = kind_of_number(start.decode(encoding, errors="replace"))
    return kind if kind in SECRET_KINDS else None


def hash_one(argument: str, algorithm: DocumentDigest) -> bytes:
    """Return the digest of one file, or of standard input; raises `CommandError`."""
    try:
        if argument == STANDARD_INPUT:
            return _hash_stream(_standard_input(), algorithm, lambda _amount: None)
        with open_file(Path(argument)) as file:
            return _hash_stream(file, algorithm, lambda _amount: None)
    except OSError as error:
        fault = _unreadable(display(argument), error)
        raise CommandError(fault.code, fault.message, fault.fix) from error


def read_stream(name: str, bytes_max: int) -> bytes:
    """Return the beginning of a file, or of standard input; raises `CommandError` naming it."""
    try:
        if name == STANDARD_INPUT:
            return _standard_input().read(bytes_max)
        with open_file(Path(name)) as file:
            return file.read(bytes_max)
    except OSError as error:
        fault = _unreadable(display(name), error)
        raise CommandError(fault.code, fault.message, fault.fix) from error


def open_file(path: Path) -> BinaryIO:
    """Open a file to read it; raises `OSError` at once for a pipe, a device or a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # waits for nobody to write to a pipe
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        is_folder = kind == stat.S_IFDIR
        raise OSError(errno.EINVAL, os.strerror(errno.EISDIR) if is_folder else _("not a file"))
    return os.fdopen(descriptor, "rb")


def is_file(path: str | Path) -> bool:
    """Tell whether it is a file; of a name that none can have, no."""
    return os.path.isfile(path)  # noqa: PTH113 - what pathlib says of such a name is an error


def display(path: str | Path) -> str:
    """Return a path as text that can be printed, whatever bytes it is made of."""
    return os.fsencode(path).decode(errors="backslashreplace")


class _Search:
    """One search through the arguments. A stack, not recursion: folders nest deeper than calls."""

    def __init__(self, apart_from: Collection[Path]) -> None:
        self._documents: list[Document] = []
        self._files: dict[_FileKey, Document] = {}
        self._folders = {key for folder in apart_from if (key := _key_of(folder)) is not None}

    def run(self, arguments: Sequence[str]) -> list[Document]:
        waiting = [(argument, frozenset[_FileKey]()) for argument in reversed(arguments)]
        while waiting:
            name, above = waiting.pop()
            waiting.extend(reversed([*self._visit(name, above)]))
        return self._documents

    def _visit(
        self, name: str, above: frozenset[_FileKey]
    ) -> Iterator[tuple[str, frozenset[_FileKey]]]:
        """Take one name in; yield what is to be visited next. `above` are the folders it is in."""
        if name == STANDARD_INPUT:
            self._add(Document(STANDARD_INPUT, None), (-1, -1), is_link=False)
            return
        try:
            status = os.stat(name)  # noqa: PTH116 - names may be any bytes
            key = (status.st_dev, status.st_ino)
            if stat.S_ISDIR(status.st_mode):
                yield from self._enter(name, key, above)
            elif stat.S_ISREG(status.st_mode):
                document = Document(display(name), Path(name), status.st_size)
                self._add(document, key, is_link=os.path.islink(name))  # noqa: PTH114 - as above
            else:
                message = _("{file}: not a file").format(file=display(name))
                self._refuse(name, message, _("name files and folders"))
        except OSError as error:
            fault = _unreadable(display(name), error)
            self._refuse(name, fault.message, fault.fix)

    def _enter(
        self, name: str, key: _FileKey, above: frozenset[_FileKey]
    ) -> Iterator[tuple[str, frozenset[_FileKey]]]:
        if key in above:
            message = _("{file}: leads back to a folder it is in").format(file=display(name))
            self._refuse(name, message, _("remove the link, or name folders without it"))
        elif key not in self._folders:
            self._folders.add(key)
            for child in sorted(os.listdir(name)):  # noqa: PTH208 - names may be any bytes
                yield os.path.join(name, child), above | {key}  # noqa: PTH118 - as above

    def _add(self, document: Document, key: _FileKey, *, is_link: bool) -> None:
        self._documents.append(document)
        first = self._files.setdefault(key, document)
        if first is document:
            return
        if is_link or first.path is None or not first.path.is_symlink():
            document.same_as = first.label
        else:  # the file itself stands for the link that was met before it
            self._files[key] = document
            first.same_as = document.label

    def _refuse(self, name: str, message: str, fix: str) -> None:
        fault = Fault("GC-2301", message, fix)
        self._documents.append(Document(display(name), Path(name), fault=fault))


def _key_of(path: Path) -> _FileKey | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:  # the program that started us closed it
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return sys.stdin.buffer


def _hash_stream(
    stream: BinaryIO,
    algorithm: DocumentDigest,
    advance: Callable[[int], None],
    start: bytearray | None = None,
) -> bytes:
    """Return the digest; what the stream begins with is appended to `start`."""
    hasher = algorithm.new_hash()
    while chunk := stream.read(_CHUNK_BYTES):
        if start is not None and len(start) <= SECRET_NUMBER_BYTES_MAX:
            start += chunk[: SECRET_NUMBER_BYTES_MAX + 1]
        hasher.update(chunk)
        advance(len(chunk))
    return hasher.digest()


def _unreadable(label: str, error: OSError) -> Fault:
    return Fault("GC-2301", f"{label}: {error.strerror}", _("check the path and its rights"))
