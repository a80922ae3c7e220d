"""Copies and what is stated of them: made, kept, and matched with a file that was found."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from gettext import gettext as _
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from node.cli.inputs import open_file
from node.cli.notarize import check_text
from node.cli.outputs import expect_nothing, name_after
from node.cli.verb import CommandError
from node.crypto.suite import Suite
from node.disclosure.watermark import (
    KEY_BYTES,
    RECIPIENT_BYTES_MAX,
    STATEMENT_BYTES_MAX,
    WATERMARK_PREFIX,
    Watermark,
)
from node.errors import DecodeError

SUFFIX: Final = ".watermark"
ORIGINAL_BYTES_MAX: Final = 268_435_456
STATEMENTS_MAX: Final = 10_000
_PDF: Final = b"%PDF-"
_NEEDED: Final = ("typst", "pypdf", "PIL", "numpy")


@dataclass(frozen=True, slots=True)
class FoundMark:
    """A statement whose mark a file bears."""

    path: Path
    mark: Watermark
    score: float | None
    """Of an image: standard deviations above chance; None where the code was read."""


def read_original(path: Path) -> bytes:
    """Return what is to be marked, or was; raises `CommandError`."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        message = _("missing here: {names}").format(names=", ".join(missing))
        raise CommandError(
            "GC-2615",
            message,
            _("install them, in govchain's folder: .venv/bin/pip install -e '.[watermark]'"),
        )
    data = _read(path, ORIGINAL_BYTES_MAX)
    if len(data) > ORIGINAL_BYTES_MAX:
        message = _("{path}: longer than {size} bytes")
        raise CommandError("GC-2615", message.format(path=path, size=ORIGINAL_BYTES_MAX))
    return data


def statement_place(folder: Path, copy: Path) -> Path:
    """Return where the statement of a copy belongs; raises `CommandError` where another is."""
    path = folder / name_after(copy.name, SUFFIX)
    expect_nothing(path, "--copy")
    return path


def make_statement(data: bytes, recipient: str, time_ms: int, suite: Suite) -> Watermark:
    """Return the statement of a copy of `data`; raises `CommandError` for no such recipient."""
    check_text("--to", recipient, RECIPIENT_BYTES_MAX)
    return Watermark(
        suite=suite,
        digest=hashlib.sha256(data).digest(),
        recipient=recipient,
        time_ms=time_ms,
        key=secrets.token_bytes(KEY_BYTES),
    )


def marked_copy(data: bytes, mark: Watermark) -> bytes:
    """Return the copy; raises `ClientError` for what cannot be marked."""
    if data.startswith(_PDF):
        from node.cli.watermark.pdf import mark_pdf

        return mark_pdf(data, mark)
    from node.cli.watermark.image import mark_image, size_of
    from node.cli.watermark.overlay import overlay

    return mark_image(data, mark.code, overlay(mark, *size_of(data), "png"))


def read_statements(places: Sequence[Path]) -> list[tuple[Path, Watermark]]:
    """Return the statements in files and folders; in folders what is none is passed over.

    Raises `CommandError` for a file named that is none, or for too many.
    """
    found = []
    for place in places:
        paths = sorted(place.glob(f"*{SUFFIX}")) if place.is_dir() else [place]
        for path in paths:
            data = _read(path, STATEMENT_BYTES_MAX)
            try:
                found.append((path, Watermark.decode(data)))
            except DecodeError as error:
                if not place.is_dir() or data.startswith(WATERMARK_PREFIX):
                    raise CommandError("GC-1001", f"{path}: {error}") from error
            if len(found) > STATEMENTS_MAX:
                message = _("more than {count} statements").format(count=STATEMENTS_MAX)
                raise CommandError("GC-2616", message, _("name fewer at once"))
    return found


def find_marks(data: bytes, statements: Sequence[tuple[Path, Watermark]]) -> list[FoundMark]:
    """Return the statements whose marks a file bears, the surest first; raises `ClientError`."""
    if data.startswith(_PDF):
        from node.cli.watermark.pdf import codes_in_pdf

        codes = codes_in_pdf(data)
        return [FoundMark(path, mark, None) for path, mark in statements if mark.code_text in codes]
    from node.cli.watermark.image import SCORE_LEAST, score_image

    scores = score_image(data, [mark.code for _path, mark in statements])
    found = [
        FoundMark(path, mark, round(score, 1))
        for (path, mark), score in zip(statements, scores, strict=True)
        if score >= SCORE_LEAST
    ]
    return sorted(found, key=lambda each: -(each.score or 0.0))


def _read(path: Path, size_max: int) -> bytes:
    try:
        with open_file(path) as file:
            return file.read(size_max + 1)
    except OSError as error:
        raise CommandError("GC-2301", f"{path}: {error.strerror}") from error
