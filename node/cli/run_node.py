"""`govchain node`: one validator. `run` keeps it in the foreground, as supervisors start it."""

from __future__ import annotations

import gc
import importlib
import sys
from gettext import gettext as _
from pathlib import Path

import click

from node.cli.choice import validator_home
from node.cli.node_change import join, leave, rotate
from node.cli.node_custody import custody, open_keys, pin_option
from node.cli.node_health import health
from node.cli.node_init import init
from node.cli.node_list import list_nodes
from node.cli.node_meet import meet
from node.cli.node_prune import prune
from node.cli.node_renew import renew
from node.cli.node_revoke import revoke
from node.cli.node_stamping import stamping
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb


@click.group("node", cls=VerbGroup, help=_("One validator."))
def node_group() -> None:
    """Hold the verbs."""


node_group.add_command(init)
node_group.add_command(health)
node_group.add_command(list_nodes)
node_group.add_command(meet)
node_group.add_command(join)
node_group.add_command(leave)
node_group.add_command(rotate)
node_group.add_command(stamping)
node_group.add_command(revoke)
node_group.add_command(prune)
node_group.add_command(custody)
node_group.add_command(renew)


@node_group.command("run", help=_("Run a validator until it is told to stop (SIGTERM, Ctrl-C)."))
@validator_home
@click.option(
    "--log",
    "log_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Write standard error to this file; at 16 MiB it is put aside, ending in .1."),
)
@pin_option
@verb("node run")
def run(screen: Screen, home: Path, log_path: Path | None, pin_fd: int | None) -> Answer:
    """Run a validator."""
    from node.cli.network import read_genesis
    from node.config import NodeConfig
    from node.operations.process import allow_open_files, claim
    from node.operations.supervisor import PROCESS_FILE
    from node.operations.topology import GENESIS_FILE

    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    claim(config.home / PROCESS_FILE)
    allow_open_files()
    secret = open_keys(config, pin_fd)
    screen.note(_("{validator} starts").format(validator=config.validator_id))
    gc.disable()  # what is imported stays: no look for garbage in it, a tenth of the start
    _load_structlog()
    from node.assembly import run_node

    gc.freeze()
    gc.enable()
    run_node(config.home, config, genesis, secret, log_path=log_path)
    return Answer({"validator": config.validator_id})


def _load_structlog() -> None:
    """Load it without rich, a fifteenth of the start: none of our logs draws a traceback by it."""
    if "rich" not in sys.modules:
        sys.modules["rich"] = None  # type: ignore[assignment]  # is not there, to who imports it
        try:
            importlib.import_module("structlog")
        finally:
            del sys.modules["rich"]
