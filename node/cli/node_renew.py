"""`govchain node renew`: new TLS keys and certificates for nodes of a folder that go on running."""

from __future__ import annotations

import shutil
import time
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.screen import Answer, Screen
from node.cli.verb import DEFAULT_HOME, CommandError, Verb, verb

if TYPE_CHECKING:
    from node.operations.topology import NodeEntry


@click.command(
    "renew",
    cls=Verb,
    help=_(
        "Give nodes a new TLS key and a certificate of it, by the authority of their organisation. "
        "One that runs takes them up within seconds, without a restart. All nodes of the folder, "
        "unless named."
    ),
)
@click.argument("names", metavar="NAME", nargs=-1)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_HOME,
    show_default=True,
    help=_("Folder of the network."),
)
@verb("node renew")
def renew(screen: Screen, *, names: tuple[str, ...], home: Path) -> Answer:
    """Renew certificates of nodes."""
    from node.crypto.member_certificate import read_identity
    from node.operations.topology import Topology
    from node.service.home import TLS_FILE
    from node.timestamp.receipt import iso_time

    topology = Topology.load(home)
    entries = [_find(topology.nodes, name) for name in names] or [*topology.nodes]
    renewed = []
    for entry in entries:
        _renew(home, topology.suite, entry)
        shown = read_identity((home / entry.home / TLS_FILE).read_bytes())
        until = iso_time(shown.not_after_ms)
        screen.line(_("{node}: renewed, valid until {end}").format(node=entry.id, end=until))
        renewed.append({"node": entry.id, "until": until, "sha256": shown.fingerprint.hex()})
    return Answer({"renewed": renewed})


def _find(nodes: tuple[NodeEntry, ...], name: str) -> NodeEntry:
    for entry in nodes:
        if entry.id == name:
            return entry
    known = ", ".join(entry.id for entry in nodes)
    message = _("{name}: no node of this folder; there are: {known}")
    raise CommandError("GC-2303", message.format(name=name, known=known))


def _renew(home: Path, suite: str, entry: NodeEntry) -> None:
    """Make all of it beside what is in use, then put the key in place and the certificate last."""
    from node.crypto.keystore import KeyFileSecret
    from node.crypto.suite import suite_by_name
    from node.operations.equipment import Outfitter
    from node.operations.newcomer import ORGANISATIONS_FOLDER
    from node.operations.topology import SECRET_FILE
    from node.service.home import TLS_FILE, TLS_KEY_FILE

    now_ms = time.time_ns() // 1_000_000
    outfitter = Outfitter(suite_by_name(suite), KeyFileSecret.load(home / SECRET_FILE), now_ms)
    authority = outfitter.load_authority(home / ORGANISATIONS_FOLDER / entry.organisation)
    folder = home / entry.home
    made = folder / ".renewal"
    if made.exists():  # left by a call that was cut short: nothing depends on it
        shutil.rmtree(made)
    outfitter.renew_node(made, entry.id, authority, hosts=(entry.host,))
    for file in (TLS_KEY_FILE, TLS_FILE):
        (made / file).replace(folder / file)
    shutil.rmtree(made)
