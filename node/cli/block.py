"""`govchain block`: what a block holds, and who certified it."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.block import CertifiedBlock, Header
    from node.cli.network import Network
    from node.rpc.client import LedgerClient

NEWEST: Final = "newest"


@click.group("block", cls=VerbGroup, help=_("Look a block up."))
def block() -> None:
    """Hold the verbs."""


@block.command("show", help=_("Show a block by its height, or the newest one."))
@click.argument("height", default=NEWEST, metavar="HEIGHT|newest")
@network_options
@verb("block show")
def show(screen: Screen, *, height: str, network: NetworkChoice) -> Answer:
    """Show a block."""
    if height != NEWEST and not (height.isascii() and height.isdigit()):
        raise click.UsageError(_("{text}: expected a height, or newest").format(text=height))
    found = network.open()
    encoded = found.ask(lambda client: _fetch(client, height))
    certified = None if encoded is None else _check(found, encoded)
    facts = _describe_genesis(found) if certified is None else _describe(found, certified)
    _show(screen, facts)
    return Answer({"block": facts})


def _check(network: Network, encoded: bytes) -> CertifiedBlock:
    """Return the block if the validators certified its header, and the header its transactions."""
    from node.client.blocks import check_block, decode_block

    block = decode_block(network, encoded)
    check_block(network, block, network.follow(block.header.epoch))
    return block


async def _fetch(client: LedgerClient, height: str) -> bytes | None:
    """Return an encoded block; None for block 0, which nobody certified: genesis gives it."""
    number = (await client.status()).height if height == NEWEST else int(height)
    return (await client.block(number)).block if number else None


def _describe_genesis(network: Network) -> dict[str, Any]:
    from node.execution.apply import Executor

    block = Executor(network.genesis).genesis_block()
    return {**_describe_header(network, block.header), "transactions": [], "records": 0}


def _describe(network: Network, certified: CertifiedBlock) -> dict[str, Any]:
    certificate, header = certified.certificate, certified.header
    validators = network.follow(header.epoch).validator_sets[header.epoch]
    members = validators.validators
    return {
        **_describe_header(network, header),
        "validators": validators.size,
        "ends_epoch": header.next_set_digest != validators.digest,
        "proposer": members[certified.header.proposer].validator_id,
        "seal_time_ms": certificate.seal_time_ms(),
        "signers": [members[vote.validator].validator_id for vote in certificate.votes],
        "transactions": [each.tx_id.hex() for each in certified.transactions],
        "records": sum(each.body.payload.count for each in certified.transactions),
    }


def _describe_header(network: Network, header: Header) -> dict[str, Any]:
    from node.timestamp.receipt import iso_time

    return {
        "height": header.height,
        "digest": header.digest(network.suite).hex(),
        "parent": header.parent.hex(),
        "time": iso_time(header.time_ms),
        "time_ms": header.time_ms,
        "time_degraded": header.time_degraded,
        "epoch": header.epoch,
        "view": header.view,
        "proposer": None,
        "seal_time_ms": None,
        "signers": [],
        "validators": network.genesis.validators.size,
        "ends_epoch": False,
        "log_size": header.log_size,
        "log_root": header.log_roots[0].hex(),
        "state_root": header.state_root.hex(),
        "results_root": header.results_root.hex(),
    }


def _show(screen: Screen, facts: dict[str, Any]) -> None:
    lines = (
        (_("block"), facts["height"]),
        (_("digest"), facts["digest"]),
        (_("follows"), facts["parent"]),
        (_("time"), facts["time"]),
        (_("proposed by"), facts["proposer"] or _("nobody: it is the genesis")),
        (_("epoch"), facts["epoch"]),
        (_("view"), facts["view"]),
        (_("signed by"), ", ".join(facts["signers"]) or "-"),
        (_("transactions"), len(facts["transactions"])),
        (_("records"), facts["records"]),
        (_("size of the log"), facts["log_size"]),
        (_("root of the log"), facts["log_root"]),
        (_("root of the state"), facts["state_root"]),
    )
    screen.table((_("field"), _("value")), lines)
