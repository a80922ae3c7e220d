"""`govchain testnet export`: a network's files for other ways of running it than this command."""

from __future__ import annotations

import os
import time
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import choose_suite
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb
from node.limits import VALIDATORS_MAX

if TYPE_CHECKING:
    from node.operations.compose import GatewayPlan

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
@click.option(
    "--gateway",
    metavar="HOST:PORT",
    help=_(
        "A gateway for applications, too, in a file of its own; it is published at this IP "
        "address and port of the machine, and nowhere else."
    ),
)
@click.option(
    "--gateway-name",
    "gateway_names",
    multiple=True,
    metavar="HOST:PORT",
    help=_("Under what name applications reach it, where that is another; may be repeated."),
)
@click.option("--force", is_flag=True, help=_("Replace the Compose file and its variables."))
@verb("testnet export compose")
def compose(
    screen: Screen,
    *,
    nodes: int,
    suite: str,
    out: Path,
    first_port: int | None,
    gateway: str | None,
    gateway_names: tuple[str, ...],
    force: bool,
) -> Answer:
    """Make a network that Docker Compose runs."""
    from node.operations.compose import (
        COMPOSE_FILE,
        GATEWAY_COMPOSE_FILE,
        GATEWAY_FOLDER,
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
    if gateway is None and gateway_names:
        raise click.UsageError(_("--gateway-name goes with --gateway"))
    made = None if gateway is None else _plan_gateway(gateway, gateway_names)
    topology = export_compose(out, plan, ContainerUser.choose(), gateway=made, force=force)
    screen.table(
        (_("validator"), _("clients at"), _("HTTP at")),
        [(node.id, f"{node.host}:{node.client_port}", node.http_port) for node in topology.nodes],
    )
    file, home = out / COMPOSE_FILE, out / NETWORK_FOLDER
    files = str(file) if made is None else f"{file} -f {out / GATEWAY_COMPOSE_FILE}"
    screen.line(_("start it: docker-compose -f {file} up -d").format(file=files))
    screen.line(_("then, say: govchain notarize --home {home} FILE").format(home=home))
    facts: dict[str, Any] = {
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
    if made is not None:
        authority = home / GATEWAY_FOLDER / "ca.pem"
        facts["gateway"] = {
            "compose_file": str(out / GATEWAY_COMPOSE_FILE),
            "home": str(home / GATEWAY_FOLDER),
            "published": str(made.published),
            "authority": str(authority),
        }
        screen.line(_("applications believe the authority in {path}").format(path=authority))
    return Answer(facts)


def _plan_gateway(published: str, names: tuple[str, ...]) -> GatewayPlan:
    """Return what runs beside the validators; raises `ConfigError` or wrong usage."""
    from ipaddress import ip_address

    from node.config import Address
    from node.gateway.container import make_container_gateway
    from node.operations.compose import GatewayPlan

    address = Address.parse(published)
    for each in names:
        Address.parse(each)
    try:
        ip_address(address.host)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--gateway") from error
    make = partial(make_container_gateway, published=address, names=names)
    return GatewayPlan(address, make)
