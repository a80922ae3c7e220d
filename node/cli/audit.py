"""`govchain audit`: what an auditor checks of a chain: a whole ledger, or that it only grew."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.audit_run import report, run
from node.cli.choice import HEIGHT_MAX, NetworkChoice, network_options, validator_home
from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import VerbGroup, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.rpc.client import LedgerClient
    from node.timestamp.trust import TrustAnchor

_TIP: Final = "tip"


@click.group(
    "audit",
    cls=VerbGroup,
    invoke_without_command=True,
    help=_("Check a chain, a ledger, or growth."),
)
@click.option("--home", hidden=True)
@click.pass_context
def audit(context: click.Context, *, home: str | None) -> None:
    """Hold the verbs; say what became of the one that stood here."""
    if home is not None:
        message = _("govchain audit --home is govchain audit ledger --home by now")
        raise click.UsageError(message)
    if context.invoked_subcommand is None:
        raise click.exceptions.NoArgsIsHelpError(context)


audit.add_command(run)
audit.add_command(report)


@audit.command(
    "ledger",
    help=_(
        "Execute the whole ledger of a stopped validator again, from genesis: every client "
        "signature, certificate and root is checked, and the database compared with what that "
        "gives. It needs as much room again as the ledger, for as long as it runs."
    ),
)
@validator_home
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Where there is room for a second ledger; the validator's folder, if not named."),
)
@verb("audit ledger")
def ledger(screen: Screen, *, home: Path, scratch: Path | None) -> Answer:
    """Audit a ledger."""
    from concurrent.futures import ThreadPoolExecutor
    from dataclasses import asdict

    from node.assembly import open_ledger_at_rest, open_scratch
    from node.cli.network import read_genesis
    from node.config import NodeConfig
    from node.errors import ProofError
    from node.operations.topology import GENESIS_FILE
    from node.service.audit.replay import audit as audit_ledger

    config = NodeConfig.load(home)
    genesis = read_genesis(config.home / GENESIS_FILE)
    facts = {"validator": config.validator_id}
    with (
        open_ledger_at_rest(config, genesis) as (database, held),
        open_scratch(scratch or config.home) as empty,
        ThreadPoolExecutor(config.verify_threads) as workers,
        screen.progress(_("auditing"), held.tip_height) as advance,
    ):
        try:
            found = audit_ledger(genesis, database, empty, workers, advance)
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


@audit.command(
    "proof",
    help=_(
        "Prove that the chain only grew from one block to a later one: nothing recorded by the "
        "first was removed, changed or moved. The proof is verified before it is written, and by "
        "anybody offline: govchain verify. Blocks are named by height; the first may be a trust "
        "file, for the block that it pins; the second may be tip, for the newest."
    ),
)
@click.option(
    "--between",
    "heights",
    nargs=2,
    required=True,
    metavar="HEIGHT|TRUST HEIGHT|tip",
    help=_("The two blocks."),
)
@click.option(
    "--out",
    "path",
    type=OutputFile(),
    required=True,
    help=_("File to write."),
)
@network_options
@verb("audit proof")
def proof(
    screen: Screen, *, heights: tuple[str, str], path: Path, network: NetworkChoice
) -> Answer:
    """Fetch, verify and keep a proof of consistency."""
    from node.cli.verify_proof import describe_consistency, tell_consistency
    from node.timestamp.consistency import verify_consistency_proof

    found = network.open()
    old, anchor = _read_old(heights[0], found)
    new = None if heights[1] == _TIP else _read_height(heights[1])

    async def question(client: LedgerClient) -> bytes:
        return await client.consistency_proof(old, new)

    encoded = found.ask(question)
    verdict = verify_consistency_proof(encoded, anchor)
    facts = describe_consistency(verdict, found.suite)
    attested = verdict.attestation
    if attested is None or (attested.old.height, new or attested.new.height) != (
        old,
        attested.new.height,
    ):
        tell_consistency(screen, str(path), verdict)
        cause = verdict.steps[-1].detail
        return Answer(facts, Fault("GC-2305", cause, _("look into the validator that gave it")))
    write_anew(path, encoded)  # first: nothing is told of a proof that nobody has
    tell_consistency(screen, str(path), verdict)
    screen.line(_("written to {path}").format(path=path))
    return Answer({"proof": str(path), **facts})


def _read_old(text: str, network: Network) -> tuple[int, TrustAnchor]:
    """Return the height of the earlier block, and what the proof has to be rooted in.

    A number, or a trust file: then that file roots the proof, from the very block that it pins.
    """
    if text.isascii() and text.isdigit():
        return _read_height(text), network.pinned
    from node.cli.trust_file import load_anchor

    anchor = load_anchor(Path(text))
    if anchor.pinned is None:
        message = _("{path} pins no block, only the genesis: name a height")
        raise click.UsageError(message.format(path=text))
    return anchor.pinned.header.height, anchor


def _read_height(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) <= HEIGHT_MAX:
        return int(text)
    raise click.UsageError(_("{text}: expected the height of a block").format(text=text))
