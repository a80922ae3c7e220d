"""`govchain node`: one validator. `run` keeps it in the foreground, as supervisors start it."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from node.cli.node_health import health
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, verb


@click.group("node", help=_("One validator."))
def node_group() -> None:
    """Hold the verbs."""


node_group.add_command(health)


@node_group.command("run", help=_("Run a validator until it is told to stop (SIGTERM, Ctrl-C)."))
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=_("Folder of the validator."),
)
@verb("node run")
def run(screen: Screen, home: Path) -> Answer:
    """Run a validator."""
    from node.assembly import run_node
    from node.cli.network import open_secret, read_genesis
    from node.config import NodeConfig
    from node.operations.process import claim
    from node.operations.supervisor import PROCESS_FILE
    from node.operations.topology import GENESIS_FILE

    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    secret = open_secret(config.key_file)
    claim(config.home / PROCESS_FILE)
    screen.note(_("{validator} starts").format(validator=config.validator_id))
    if run_node(config.home, config, genesis, secret):
        raise CommandError("GC-2314", _("{validator} ended").format(validator=config.validator_id))
    return Answer({"validator": config.validator_id})
