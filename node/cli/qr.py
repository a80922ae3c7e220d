"""QR codes of compact receipts: the text is the format, a picture is one way to carry it."""

from __future__ import annotations

import io
from gettext import gettext as _
from typing import Final

import click

PICTURE_SUFFIX: Final = ".svg"
"""Of what is drawn unless a file is named: the same bytes on any machine, sharp at any size."""
_SUFFIXES: Final = (".svg", ".png", ".txt")
_QUIET_MODULES: Final = 4  # ISO/IEC 18004: the margin a reader needs
_MODULE_MM: Final = 0.5
_MODULE_PIXELS: Final = 6


def draw(text: bytes, suffix: str) -> bytes:
    """Return the picture of a text, or the text itself and a line feed, by the file's suffix.

    The code is of the lowest version that holds the text, with as much error correction as fits.
    Raises wrong usage for another suffix.
    """
    import segno

    if suffix == ".txt":
        return text + b"\n"
    code = segno.make_qr(text.decode("ascii"), error="l", mode="alphanumeric", boost_error=True)
    picture = io.BytesIO()
    if suffix == ".svg":
        code.save(picture, "svg", scale=_MODULE_MM, unit="mm", border=_QUIET_MODULES, light="#fff")
    elif suffix == ".png":
        code.save(picture, "png", scale=_MODULE_PIXELS, border=_QUIET_MODULES)
    else:
        message = _("{suffix}: expected one of {known}")
        known = ", ".join(_SUFFIXES)
        told = message.format(suffix=suffix or "-", known=known)
        raise click.BadParameter(told, param_hint="--out")
    return picture.getvalue()
