"""Passphrases and PINs: asked of people, or read from open files, never taken as arguments."""

from __future__ import annotations

import os
import sys
from gettext import gettext as _
from typing import TYPE_CHECKING, Final

import click

from node.cli.verb import CommandError

if TYPE_CHECKING:
    from node.crypto.keystore import KeySecret, TwoPeopleSecret

PASSPHRASE_VARIABLE: Final = "GOVCHAIN_PASSPHRASE"  # noqa: S105 - the name of a variable
TWO_VARIABLE: Final = "GOVCHAIN_PASSPHRASE_FDS"
"""Names two open files, with a passphrase each: `3,4`. What it holds is no secret."""
_LINE_BYTES_MAX: Final = 256


def ask_passphrase(*, is_new: bool = False) -> KeySecret:
    """Return what a passphrase opens: from the environment, or a person, who types a new one twice.

    Raises `CommandError` (GC-2311) where there is neither.
    """
    from node.crypto.keystore import PassphraseSecret
    from node.operations.process import hide_from_environ

    if passphrase := os.environ.get(PASSPHRASE_VARIABLE):
        hide_from_environ(PASSPHRASE_VARIABLE)
        return PassphraseSecret(passphrase)
    if not sys.stdin.isatty():
        raise CommandError("GC-2311", _("no key_file, no {name}").format(name=PASSPHRASE_VARIABLE))
    return PassphraseSecret(_ask(_("Passphrase"), is_new=is_new))


def ask_two_people(*, is_new: bool = False) -> TwoPeopleSecret:
    """Return what the passphrases of two people open: from open files, or typed by both.

    Raises `CommandError` (GC-2311) where there is neither.
    """
    from node.crypto.keystore import TwoPeopleSecret

    if descriptors := os.environ.get(TWO_VARIABLE):
        first, second = (read_line(each, TWO_VARIABLE) for each in _two_of(descriptors))
        return TwoPeopleSecret(first, second)
    if not sys.stdin.isatty():
        message = _("this key takes two people: nobody to ask, no {name}")
        fix = _(
            "have both type their passphrases, or name two open files that hold them: {name}=3,4"
        )
        cause, fix = (each.format(name=TWO_VARIABLE) for each in (message, fix))
        raise CommandError("GC-2311", cause, fix)
    first = _ask(_("Passphrase of the first person"), is_new=is_new)
    return TwoPeopleSecret(first, _ask(_("Passphrase of the second person"), is_new=is_new))


def read_line(descriptor: int, option: str) -> str:
    """Return the one line in an open file, which is closed then; raises `CommandError`."""
    try:
        with os.fdopen(descriptor, "rb") as file:
            line = file.readline(_LINE_BYTES_MAX + 1)
    except OSError as error:
        message = _("{option} {number}: {why}")
        cause = message.format(option=option, number=descriptor, why=error.strerror)
        raise CommandError("GC-2311", cause) from error
    text = line.removesuffix(b"\n").removesuffix(b"\r")
    if not text or len(text) > _LINE_BYTES_MAX:
        message = _("{option} {number}: expected one line of 1 to {most} bytes")
        cause = message.format(option=option, number=descriptor, most=_LINE_BYTES_MAX)
        raise CommandError("GC-2311", cause)
    return text.decode(errors="surrogateescape")


def _two_of(text: str) -> tuple[int, int]:
    """Return the numbers of two open files."""
    found = [int(each) for each in text.split(",") if each.isascii() and each.isdigit()]
    if len(found) != len(text.split(",")) or len(frozenset(found)) != 2:  # noqa: PLR2004 - of two people
        message = _("{name}: expected the numbers of two open files, as in 3,4")
        raise CommandError("GC-2311", message.format(name=TWO_VARIABLE))
    return found[0], found[1]


def _ask(question: str, *, is_new: bool) -> str:
    return str(click.prompt(question, hide_input=True, confirmation_prompt=is_new, err=True))
