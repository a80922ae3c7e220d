"""`govchain node meet`: a client's profile learns of a validator that joined from elsewhere.

Validators find each other by the state of the chain. Clients know who is in their profile.
"""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, Verb, verb


@click.command(
    "meet",
    cls=Verb,
    help=_(
        "Add a validator to a client's profile (--profile), by the introduction of its node: where "
        "it listens, and the one authority that certifies it. It must be a validator by now."
    ),
)
@click.argument("introduction", type=click.Path(path_type=Path, dir_okay=False))
@network_options
@verb("node meet")
def meet(screen: Screen, *, introduction: Path, network: NetworkChoice) -> Answer:
    """Add a validator to a profile."""
    from node.cli.proposal import read_introduction
    from node.operations.introduction import add_to_profile

    if network.profile is None:
        raise click.UsageError(_("name the profile that is to change: --profile"))
    found = network.open()
    introduced = read_introduction(introduction, found.genesis)
    validator, validators = introduced.newcomer.joining.validator, found.validators
    if validator not in validators.validators:
        message = _("{node} is no validator of epoch {epoch}, or has other keys there")
        raise CommandError(
            "GC-2324",
            message.format(node=validator.validator_id, epoch=validators.epoch),
            _("wait until it has joined: govchain node list"),
        )
    add_to_profile(network.profile, introduced)
    said = _("clients by {profile} ask {node}, too: {address}")
    address = str(introduced.client_address)
    node = validator.validator_id
    screen.line(said.format(profile=network.profile, node=node, address=address))
    return Answer({"profile": str(network.profile), "node": node, "clients_at": address})
