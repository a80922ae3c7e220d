"""`govchain audit`: make a validator's ledger again from genesis, every signature checked."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path

import click

from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import verb


@click.command(
    "audit",
    help=_(
        "Execute the whole ledger of a stopped validator again, from genesis: every client "
        "signature, certificate and root is checked, and the database compared with what that "
        "gives. It needs as much room again as the ledger, for as long as it runs."
    ),
)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help=_("Folder of the validator."),
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Where there is room for a second ledger; the validator's folder, if not named."),
)
@verb("audit")
def audit(screen: Screen, *, home: Path, scratch: Path | None) -> Answer:
    """Audit a ledger."""
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import asdict

    from node.assembly import open_ledger_at_rest, open_scratch
    from node.cli.network import read_genesis
    from node.config import NodeConfig
    from node.errors import ProofError
    from node.operations.topology import GENESIS_FILE
    from node.service.audit import audit

    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    facts = {"validator": config.validator_id}
    with (
        open_ledger_at_rest(config, genesis) as (database, ledger),
        open_scratch(scratch or config.home) as empty,
        ThreadPoolExecutor(config.verify_threads) as workers,
        screen.progress(_("auditing"), ledger.tip_height) as advance,
    ):
        try:
            found = audit(genesis, database, empty, workers, advance)
        except ProofError as error:
            fix = _(
                "keep the folder for examination; the node gets its ledger anew from the others"
            )
            return Answer({**facts, "rule": error.rule}, Fault("GC-2316", str(error), fix))
    facts |= asdict(found) | {"header_digest": found.header_digest.hex()}
    rows = (
        (_("blocks, each certified"), found.blocks),
        (_("signatures of validators"), found.votes),
        (_("transactions, each signed"), found.transactions),
        (_("of these without effect"), found.failed),
        (_("records"), found.records),
        (_("newest header"), found.header_digest.hex()),
    )
    for name, value in rows:
        screen.line(f"{name}: {value}")
    screen.line(_("the ledger is what its blocks make of genesis"), style="green")
    return Answer(facts)
