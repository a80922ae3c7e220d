"""`govchain notarize`: record the digests of documents, and keep a receipt of each."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.receipt import RECEIPTS_FOLDER
from node.cli.screen import Answer, Screen
from node.cli.verb import verb
from node.limits import RECORD_REFERENCE_BYTES_MAX, RECORD_TYPE_BYTES_MAX, TX_RECORDS_MAX

if TYPE_CHECKING:
    from node.cli.recording import Item

TYPE_DEFAULT: Final = "document"
WAIT_DEFAULT_S: Final = 10
_WAIT_MAX_S: Final = 600


@click.command(
    "notarize",
    help=_(
        "Record the digests of files, of all files in folders, or of standard input (-), and keep "
        "one receipt of each. The content never leaves this machine."
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=RECEIPTS_FOLDER,
    show_default=True,
    help=_("Folder of the receipts."),
)
@click.option("--type", "type_code", default=TYPE_DEFAULT, show_default=True, help=_("Type code."))
@click.option("--ref", "reference", help=_("Reference of the record; for a single document."))
@click.option(
    "--supersede",
    "change",
    flag_value="SUPERSEDE",
    default=None,
    help=_("Replace what is in force under --ref."),
)
@click.option(
    "--withdraw", "change", flag_value="WITHDRAW", help=_("End what is in force under --ref.")
)
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1, TX_RECORDS_MAX),
    default=1_000,
    show_default=True,
    help=_("Documents in one transaction."),
)
@click.option(
    "--wait",
    "patience_s",
    type=click.IntRange(0, _WAIT_MAX_S),
    default=WAIT_DEFAULT_S,
    show_default=True,
    metavar="SECONDS",
    help=_("Wait that long, at most, for a network that is just starting."),
)
@network_options
@verb("notarize")
def notarize(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    paths: tuple[str, ...],
    out: Path,
    type_code: str,
    reference: str | None,
    change: str | None,
    batch_size: int,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Record documents and keep their receipts."""
    from node.chain.record import RecordAction
    from node.cli.inputs import find_documents
    from node.cli.recording import record_documents, summarize
    from node.cli.submission import Outlook

    _check_text("--type", type_code, RECORD_TYPE_BYTES_MAX)
    if reference is not None:
        _check_text("--ref", reference, RECORD_REFERENCE_BYTES_MAX)
    elif change is not None:
        raise click.UsageError(_("--supersede and --withdraw need the reference: --ref"))
    found = network.open()
    documents = find_documents(paths, apart_from=(out, found.profile.home))
    if reference is not None and len(documents) != 1:
        raise click.UsageError(_("--ref names one record: give a single document with it"))
    action = RecordAction[change or "RECORD"]
    outlook = Outlook(type_code, reference, batch_size, action)
    items = record_documents(screen, found, documents, outlook, out, patience_s=patience_s)
    for item in items:
        _tell(screen, item)
    return summarize(items)


def _tell(screen: Screen, item: Item) -> None:
    from node.chain.record import RecordAction
    from node.cli.recording import tell_trouble
    from node.cli.wording import existence

    attestation = None if item.recorded is None else item.recorded.attestation
    if item.receipt is not None and attestation is not None:
        said = _("RECORDED  {file} {existence}  {receipt}")
        if attestation.record.action is RecordAction.WITHDRAW:
            said = _("WITHDRAWN  {file} {existence}  {receipt}")
        known = existence(attestation)
        text = said.format(file=item.document.label, existence=known, receipt=item.receipt)
        screen.line(text, style="green")
    tell_trouble(screen, item)


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
