"""`govchain notarize`: record the digests of documents, and keep a receipt of each."""

from __future__ import annotations

from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.receipt import RECEIPTS_FOLDER
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb
from node.limits import RECORD_REFERENCE_BYTES_MAX, RECORD_TYPE_BYTES_MAX, TX_RECORDS_MAX

TYPE_DEFAULT: Final = "document"
WAIT_DEFAULT_S: Final = 10
_WAIT_MAX_S: Final = 600


def recording_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of every verb that records: `--out`, `--type` and `--wait`."""
    options = (
        click.option(
            "--out",
            type=click.Path(path_type=Path, file_okay=False),
            default=RECEIPTS_FOLDER,
            show_default=True,
            help=_("Folder of the receipts."),
        ),
        click.option(
            "--type", "type_code", default=TYPE_DEFAULT, show_default=True, help=_("Type code.")
        ),
        click.option(
            "--wait",
            "patience_s",
            type=click.IntRange(0, _WAIT_MAX_S),
            default=WAIT_DEFAULT_S,
            show_default=True,
            metavar="SECONDS",
            help=_("Wait that long, at most, for a network that is just starting."),
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command(
    "notarize",
    cls=Verb,
    help=_(
        "Record the digests of files, of all files in folders, or of standard input (-), and keep "
        "one receipt of each. The content never leaves this machine."
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--ref", "reference", help=_("Reference of the record; for a single document."))
@click.option("--supersede", is_flag=True, hidden=True)
@click.option("--withdraw", is_flag=True, hidden=True)
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1, TX_RECORDS_MAX),
    default=1_000,
    show_default=True,
    help=_("Documents in one transaction."),
)
@recording_options
@network_options
@verb("notarize")
def notarize(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    paths: tuple[str, ...],
    out: Path,
    type_code: str,
    reference: str | None,
    supersede: bool,
    withdraw: bool,
    batch_size: int,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Record documents and keep their receipts."""
    from node.cli.inputs import find_documents
    from node.cli.recording import record_documents, summarize, tell_recorded
    from node.cli.submission import Outlook

    if supersede or withdraw:  # they stood here once
        verbs = "govchain supersede REFERENCE FILE, govchain withdraw REFERENCE"
        raise click.UsageError(_("these are verbs of their own: {verbs}").format(verbs=verbs))
    _check_text("--type", type_code, RECORD_TYPE_BYTES_MAX)
    if reference is not None:
        _check_text("--ref", reference, RECORD_REFERENCE_BYTES_MAX)
    found = network.open()
    documents = find_documents(paths, apart_from=(out, found.profile.home))
    if reference is not None and len(documents) != 1:
        raise click.UsageError(_("--ref names one record: give a single document with it"))
    outlook = Outlook(type_code, reference, batch_size)
    items = record_documents(screen, found, documents, outlook, out, patience_s=patience_s)
    for item in items:
        tell_recorded(screen, item)
    return summarize(items)


def _check_text(option: str, text: str, size_max: int) -> None:
    """Check a text that goes into a record, by the rule of the chain."""
    from node.chain.encoding import expect_text
    from node.errors import DecodeError

    try:
        expect_text(text, option, size_max=size_max)
    except (DecodeError, UnicodeEncodeError) as error:
        message = _("expected 1 to {size} bytes of printable text, got {text!r:.40}")
        raise click.BadParameter(
            message.format(size=size_max, text=text), param_hint=option
        ) from error
