"""`govchain withdraw`: end what is in force under a reference."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from node.cli.choice import NetworkChoice, network_options, read_reference_name
from node.cli.notarize import recording_options
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb


@click.command(
    "withdraw",
    cls=Verb,
    help=_(
        "End what is in force under a reference, and keep the receipt of that. The reasons are not "
        "written on the chain: name the document that gives them with --decision, and its digest "
        "is recorded. Without one it is that of the document withdrawn."
    ),
)
@click.argument("reference")
@click.option(
    "--decision", metavar="FILE|-", help=_("Document that gives the reasons, by its file.")
)
@recording_options
@network_options
@verb("withdraw")
def withdraw(
    screen: Screen,
    *,
    reference: str,
    decision: str | None,
    out: Path,
    type_code: str,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Record a withdrawal."""
    from node.chain.record import RecordAction
    from node.cli.moving import document_at, find_in_force, move, same_document

    found = network.open()
    name = read_reference_name(found.identity, type_code, reference)
    status = find_in_force(screen, found, name, patience_s)
    return move(
        screen,
        found,
        name,
        same_document(name, status) if decision is None else document_at(decision),
        action=RecordAction.WITHDRAW,
        out=out,
        said=_("WITHDRAWN  {reference} at {time} (block {height})  {receipt}"),
    )
