"""`govchain supersede`: replace what is in force under a reference."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from node.cli.choice import NetworkChoice, network_options, read_reference_name
from node.cli.notarize import recording_options
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb


@click.command(
    "supersede",
    cls=Verb,
    help=_(
        "Record a document in place of what is in force under a reference, and keep its receipt. "
        "The earlier record stays on the chain: govchain history."
    ),
)
@click.argument("reference")
@click.argument("document", metavar="FILE|-")
@recording_options
@network_options
@verb("supersede")
def supersede(
    screen: Screen,
    *,
    reference: str,
    document: str,
    out: Path,
    type_code: str,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Record a newer document."""
    from node.chain.record import RecordAction
    from node.cli.moving import document_at, find_in_force, move

    found = network.open()
    name = read_reference_name(found.identity, type_code, reference)
    find_in_force(screen, found, name, patience_s)
    return move(
        screen,
        found,
        name,
        document_at(document),
        action=RecordAction.SUPERSEDE,
        out=out,
        said=_(
            "SUPERSEDED  {reference}: in force is {file} from {time} on (block {height})  {receipt}"
        ),
    )
