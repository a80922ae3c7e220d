"""`govchain testnet export`: a network's files for other ways of running it than this command."""

from __future__ import annotations

import os
import time
from gettext import gettext as _
from pathlib import Path
from typing import Final

import click

from node.cli.choice import choose_suite
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb
from node.limits import VALIDATORS_MAX

_PORT_MAX: Final = 65_535


@click.group("export", cls=VerbGroup, help=_("Write a network for other ways of running it."))
def export() -> None:
    """Hold the verbs."""


@export.command("compose", help=_("Make a network that Docker Compose runs, one container each."))
@click.option(
    "-n",
    "--nodes",
    type=click.IntRange(1, VALIDATORS_MAX),
    default=4,
    show_default=True,
    help=_("Validators."),
)
@click.option("--suite", default="international", show_default=True, help=_("Algorithms."))
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("docker"),
    show_default=True,
    help=_("Folder for the Compose file and the homes beside it."),
)
@click.option(
    "--first-port",
    type=click.IntRange(1, _PORT_MAX),
    help=_("Port of the first validator on this machine, the others following.") + "  [free]",
)
@click.option("--force", is_flag=True, help=_("Replace the Compose file and its variables."))
@verb("testnet export compose")
def compose(
    screen: Screen, nodes: int, suite: str, out: Path, first_port: int | None, *, force: bool
) -> Answer:
    """Make a network that Docker Compose runs."""
    from node.operations.compose import (
        COMPOSE_FILE,
        NETWORK_FOLDER,
        PUBLISHED_HOST,
        ContainerUser,
        export_compose,
        plan_ports,
    )
    from node.operations.provision import NetworkPlan, shared_machine_parameters
    from node.operations.topology import find_free_ports

    if first_port is None:
        published = find_free_ports(PUBLISHED_HOST, 2 * nodes)
    elif first_port + 2 * nodes - 1 > _PORT_MAX:
        raise click.BadParameter(_("too high for so many validators"), param_hint="--first-port")
    else:
        published = tuple(range(first_port, first_port + 2 * nodes))
    plan = NetworkPlan(
        name=out.resolve().name,
        suite=choose_suite(suite),
        created_ms=time.time_ns() // 1_000_000,
        node_count=nodes,
        ports=plan_ports(published[:nodes], published[nodes:]),
        host=PUBLISHED_HOST,
        parameters=shared_machine_parameters(nodes, os.cpu_count() or 1),
    )
    topology = export_compose(out, plan, ContainerUser.choose(), force=force)
    screen.table(
        (_("validator"), _("clients at"), _("HTTP at")),
        [(node.id, f"{node.host}:{node.client_port}", node.http_port) for node in topology.nodes],
    )
    file, home = out / COMPOSE_FILE, out / NETWORK_FOLDER
    screen.line(_("start it: docker-compose -f {file} up -d").format(file=file))
    screen.line(_("then, say: govchain notarize --home {home} FILE").format(home=home))
    facts = {
        "compose_file": str(file),
        "home": str(home),
        "chain_id": topology.chain_id,
        "suite": topology.suite,
        "quorum": topology.quorum,
        "nodes": [
            {"id": node.id, "host": node.host, "client_port": node.client_port}
            for node in topology.nodes
        ],
    }
    return Answer(facts)
