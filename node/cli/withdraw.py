"""`govchain withdraw`: end what is in force under a reference."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.choice import NetworkChoice, network_options, read_reference_name
from node.cli.notarize import check_text, recording_options
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb

REASON_BYTES_MAX: Final = 1_024


@click.command(
    "withdraw",
    cls=Verb,
    help=_(
        "End what is in force under a reference, and keep the receipt of that. The reasons are not "
        "written on the chain, only the digest of what gives them: a document (--decision), or a "
        "file made of a text (--reason), which proves it to whoever is given that. Without either "
        "it is the digest of the document withdrawn."
    ),
)
@click.argument("reference")
@click.option(
    "--decision", metavar="FILE|-", help=_("Document that gives the reasons, by its file.")
)
@click.option(
    "--reason",
    metavar="TEXT",
    help=_("Reason in a few words: kept in a file beside the receipt, which proves it."),
)
@recording_options
@network_options
@verb("withdraw")
def withdraw(
    screen: Screen,
    *,
    reference: str,
    decision: str | None,
    reason: str | None,
    out: Path,
    type_code: str,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Record a withdrawal."""
    from node.chain.record import RecordAction
    from node.cli.moving import document_at, find_in_force, keep_reason, move, same_document

    if decision is not None and reason is not None:
        raise click.UsageError(_("give --decision or --reason, not both"))
    if reason is not None:
        check_text("--reason", reason, REASON_BYTES_MAX)
    found = network.open()
    name = read_reference_name(found.identity, type_code, reference)
    status = find_in_force(screen, found, name, patience_s)
    if decision is not None:
        document = document_at(decision)
    elif reason is not None:
        document = keep_reason(name, status, reason, out)
    else:
        document = same_document(name, status)
    return move(
        screen,
        found,
        name,
        document,
        action=RecordAction.WITHDRAW,
        out=out,
        said=_("WITHDRAWN  {reference} at {time} (block {height})  {receipt}"),
    )
