"""Files that verbs write: what they are called, and that what is there already is kept.

Of receipts in a folder `receipt_files.py` takes care: each gets a name of its own.
"""

from __future__ import annotations

import hashlib
import os
from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.verb import CommandError

NAME_BYTES_MAX: Final = 255
"""Of the name of a file, by Linux file systems."""
_MARK_DIGITS: Final = 16


class OutputFile(click.Path):
    """The type of every option that names a file to write.

    `verb` refuses what is there already before anything is done; where the same input makes the
    same bytes again (`may_repeat`), `write_anew` does once they are known.
    """

    def __init__(self, *, may_repeat: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=False)
        self.may_repeat = may_repeat


def refuse_taken(context: click.Context) -> None:
    """Raise `CommandError` where a file to write, named by an option, is there already."""
    for option in context.command.params:
        kind, named = option.type, context.params.get(option.name or "")
        if isinstance(kind, OutputFile) and not kind.may_repeat and named is not None:
            expect_nothing(named, option.opts[0])


def expect_nothing(target: Path, option: str = "--out") -> None:
    """Raise `CommandError` where something is there already; `option` names another file."""
    if os.path.lexists(target):
        message = _("{path}: something else is there already").format(path=target)
        fix = _("name another one: {option}").format(option=option)
        raise CommandError("GC-2306", message, fix)


def write_anew(target: Path, data: bytes, option: str = "--out") -> None:
    """Write a file; raises `CommandError` where something else is there already."""
    from node.cli.inputs import open_file

    try:
        with open_file(target) as file:
            is_same = file.read(len(data) + 1) == data
    except OSError:  # nothing is there, or something that is no file or not for us to read
        is_same = False
    if not is_same:
        expect_nothing(target, option)
        write_over(target, data)


def write_over(target: Path, data: bytes) -> None:
    """Write a file that is the caller's own, its folder too; raises `CommandError`."""
    from node.operations.topology import write_file

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, data)
    except OSError as error:
        raise CommandError("GC-2306", f"{target}: {error.strerror}") from error


def name_after(name: str, suffix: str) -> str:
    """Return what a file made of another is called: its name and a suffix, cut to what fits."""
    return shorten(name, NAME_BYTES_MAX - len(os.fsencode(suffix))) + suffix


def shorten(stem: str, room_bytes: int) -> str:
    """Return a stem that fits: cut between characters, and told from others cut by a digest."""
    encoded = os.fsencode(stem)
    if len(encoded) <= room_bytes:
        return stem
    mark = "-" + hashlib.sha256(encoded).hexdigest()[:_MARK_DIGITS]
    return encoded[: room_bytes - len(mark)].decode(errors="ignore") + mark
