"""Which typst sets the page. Its version is part of the bytes, so another one will not do."""

from __future__ import annotations

from gettext import gettext as _
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from node.cli.verb import CommandError

PDF_SUFFIX: Final = ".pdf"
TYPST_VERSION: Final = "0.15.2"


def has_typst() -> bool:
    """Tell whether the very version that sets the page is installed, and can be loaded."""
    return _installed() == TYPST_VERSION


def require_typst() -> None:
    """Raise `CommandError` unless the very version that sets the page is installed."""
    found = _installed()
    if found != TYPST_VERSION:
        message = _("PDF certificates need typst {version}; installed is: {found}").format(
            version=TYPST_VERSION, found=found or "-"
        )
        raise CommandError("GC-2341", message)


def _installed() -> str | None:
    try:
        found = version("typst")
        import_module("typst")  # its library may be of another system, or damaged
    except (PackageNotFoundError, ImportError):
        return None
    return found
