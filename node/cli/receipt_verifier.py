"""`govchain receipt verifier`: the page that verifies receipts in any browser, as a file."""

from __future__ import annotations

import hashlib
from gettext import gettext as _
from pathlib import Path

import click

from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb


@click.command(
    "verifier",
    cls=Verb,
    help=_(
        "Write the page that verifies receipts in a browser, from disk and without a network: one "
        "HTML file, the same bytes on any machine. proto/verify/html.md says how to use it, and "
        "how to know that a copy is genuine."
    ),
)
@click.option(
    "--out",
    type=OutputFile(may_repeat=True),
    help=_("File to write. Default: govchain-verify.html, here."),
)
@verb("receipt verifier")
def verifier(screen: Screen, *, out: Path | None) -> Answer:
    """Write the page."""
    from node.web.verifier.bundle import FILE_NAME, bundle

    target, page = Path(FILE_NAME) if out is None else out, bundle()
    write_anew(target, page)
    digest = hashlib.sha256(page).hexdigest()
    screen.line(_("written to {path} ({size} bytes)").format(path=target, size=len(page)))
    screen.line(_("SHA-256 of the page: {digest}").format(digest=digest))
    return Answer({"path": str(target), "size_bytes": len(page), "sha256": digest})
