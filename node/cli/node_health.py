"""`govchain node health`: whether the validator of a home serves, as it says itself."""

from __future__ import annotations

import asyncio
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.choice import validator_home
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import Verb, verb

if TYPE_CHECKING:
    from node.config import NodeConfig
    from node.rpc.port import NodeStatus

_TIMEOUT_MS: Final = 3_000
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - who listens everywhere


@click.command("health", cls=Verb, help=_("Ask the running validator of a home whether it serves."))
@validator_home
@verb("node health")
def health(screen: Screen, home: Path) -> Answer:
    """Ask a validator whether it serves."""
    from node.config import NodeConfig
    from node.rpc.port import Health

    status = asyncio.run(_ask(NodeConfig.load(home)))
    facts = {
        "validator": status.validator_id,
        "health": status.health.name,
        "height": status.height,
        "view": status.view,
        "peers_connected": status.peers_connected,
    }
    said = f"{status.validator_id}: {status.health.name} {status.health_detail}".rstrip()
    if status.health is not Health.READY:
        return Answer(facts, Fault("GC-2315", said, _("wait, or see what its log says")))
    screen.line(said)
    return Answer(facts)


async def _ask(config: NodeConfig) -> NodeStatus:
    """Ask as the validator itself, by its own certificate."""
    from dataclasses import replace

    from node.cli.network import open_secret, read_genesis
    from node.client.chain import read_file
    from node.crypto.keystore import load_tls_key_pem
    from node.operations.topology import CA_BUNDLE_FILE, GENESIS_FILE
    from node.rpc.client import LedgerClient, LedgerEndpoint
    from node.rpc.identity import TlsIdentity
    from node.service.home import TLS_FILE, TLS_KEY_FILE

    listening = config.client_address
    address = replace(listening, host=_LOOPBACK.get(listening.host, listening.host))
    key = load_tls_key_pem(config.home / TLS_KEY_FILE, open_secret(config.key_file))
    async with LedgerClient(
        [LedgerEndpoint(config.validator_id, str(address))],
        tls=TlsIdentity(read_file(config.home / TLS_FILE), key),
        roots_pem=read_file(config.home / CA_BUNDLE_FILE),
        chain_id=read_genesis(config.home / GENESIS_FILE).chain_id,
    ) as client:
        return await client.status(_TIMEOUT_MS)
