"""`govchain node prune`: room made on the disk of a stopped validator, proofs kept."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from node.cli.choice import validator_home
from node.cli.screen import Answer, Screen
from node.cli.verb import Verb, verb


@click.command(
    "prune",
    cls=Verb,
    help=_(
        "Make room on the disk of a stopped validator. Of old transactions what receipts need is "
        "kept; signatures and nonces go, for good. Receipts, headers, certificates and all proofs "
        "are served as before; whoever asks for a pruned transaction is sent to another validator, "
        "and this ledger can no longer be audited alone. What another validator may need to catch "
        "up is never pruned."
    ),
)
@validator_home
@click.option(
    "--below",
    type=click.IntRange(2),
    help=_("Prune only blocks below this height; all that may be pruned, if not named."),
)
@click.option("--yes", is_flag=True, help=_("Do it without being asked."))
@verb("node prune")
def prune(screen: Screen, *, home: Path, below: int | None, yes: bool) -> Answer:
    """Prune the ledger of a validator."""
    from node.assembly import open_ledger_at_rest
    from node.cli.network import read_genesis
    from node.config import NodeConfig
    from node.operations.topology import GENESIS_FILE
    from node.service.pruning import prunable_below
    from node.service.pruning import prune as prune_blocks

    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    with open_ledger_at_rest(config, genesis) as (database, ledger):
        most = prunable_below(ledger, config.snapshot_gap_blocks)
        if below is not None and below > most:
            message = _("--below {below}: at most {most}, as others may need the rest to catch up")
            raise click.UsageError(message.format(below=below, most=most))
        first, end = max(ledger.pruned_below, 1), most if below is None else below
        count = max(end - first, 0)
        before = _bytes_in(config.data)
        if count:
            question = _("Prune the blocks from {first} to {last} for good?")
            if not yes:
                nobody = _("nobody can be asked: prune with --yes")
                screen.confirm(question.format(first=first, last=end - 1), nobody)
            with screen.progress(_("pruning"), count) as advance:
                prune_blocks(database, ledger, end, advance)
        pruned_below = ledger.pruned_below
    after = _bytes_in(config.data)
    said = _("{count} blocks pruned; the ledger takes {after} bytes, it took {before}")
    screen.line(said.format(count=count, after=f"{after:,}", before=f"{before:,}"))
    return Answer(
        {
            "validator": config.validator_id,
            "blocks": count,
            "pruned_below": pruned_below,
            "bytes_before": before,
            "bytes_after": after,
        }
    )


def _bytes_in(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
