"""`govchain notarize`: record the digests of documents, and keep a receipt of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final

import click

from node.cli.choice import NetworkChoice, choose_digest, digest_option, network_options
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
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option(
    "--csv",
    "table",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_(
        "Table of what to record: columns file or digest (hex), and name and reference if wanted."
    ),
)
@click.option("--ref", "reference", help=_("Reference of the record; for a single document."))
@click.option("--supersede", is_flag=True, hidden=True)
@click.option("--withdraw", is_flag=True, hidden=True)
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1, TX_RECORDS_MAX),
    default=TX_RECORDS_MAX,
    show_default=True,
    help=_("Documents in one transaction, at most; with references, up to 1,000."),
)
@click.option(
    "--resume",
    is_flag=True,
    help=_(
        "Go on where a run with the same --out was stopped: nothing that has its receipt there, or "
        "was sent, is recorded again."
    ),
)
@digest_option
@recording_options
@network_options
@verb("notarize")
def notarize(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    paths: tuple[str, ...],
    table: Path | None,
    resume: bool,
    digest_name: str | None,
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
    from node.cli.kept import KeptReceipts
    from node.cli.recording import (
        expect_folder,
        is_under_way,
        record_documents,
        summarize,
        tell_recorded,
    )
    from node.cli.tables import read_table
    from node.client.recording import Outlook
    from node.operations.topology import lock_folder

    if supersede or withdraw:  # they stood here once
        verbs = "govchain supersede REFERENCE FILE, govchain withdraw REFERENCE"
        raise click.UsageError(_("these are verbs of their own: {verbs}").format(verbs=verbs))
    check_text("--type", type_code, RECORD_TYPE_BYTES_MAX)
    if reference is not None:
        check_text("--ref", reference, RECORD_REFERENCE_BYTES_MAX)
    if not paths and table is None:
        raise click.UsageError(_("name what to record: PATH..., or a table: --csv TABLE"))
    found = network.open()
    algorithm = choose_digest(digest_name, found.suite)
    documents = find_documents(paths, apart_from=(out, found.profile.home)) if paths else []
    if table is not None:
        documents += read_table(table, algorithm)
    if reference is not None:
        if len(documents) != 1:
            raise click.UsageError(_("--ref names one record: give a single document with it"))
        documents[0].reference = reference
    outlook = Outlook(type_code, batch_size=batch_size, digest=algorithm)
    with ExitStack() as stack:
        earlier = None
        if resume:
            expect_folder(out)
            stack.enter_context(lock_folder(out, wait=False))
            earlier = KeptReceipts.read(out, found)
        elif is_under_way(out):
            screen.note(
                _("what an earlier run had sent is under way by {out}: see --resume").format(
                    out=out
                )
            )
        items = record_documents(
            screen, found, documents, outlook, out, patience_s=patience_s, earlier=earlier
        )
    for item in items:
        tell_recorded(screen, item)
    return summarize(items)


def check_text(option: str, text: str, size_max: int) -> None:
    """Check a text that goes into a record, by the rule of the chain; no person is named there."""
    from node.chain.encoding import expect_text
    from node.cli.verb import CommandError
    from node.disclosure.personal import holds_identity_card
    from node.errors import DecodeError

    if holds_identity_card(text):
        message = _("{option} holds the number of an identity card, which would stay for ever")
        raise CommandError("GC-2612", message.format(option=option))

    try:
        expect_text(text, option, size_max=size_max)
    except (DecodeError, UnicodeEncodeError) as error:
        message = _("expected 1 to {size} bytes of printable text, got {text!r:.40}")
        raise click.BadParameter(
            message.format(size=size_max, text=text), param_hint=option
        ) from error
