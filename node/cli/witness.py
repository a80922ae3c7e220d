"""`govchain witness`: watch a chain's log from outside, cosign it, and prove it where it forks."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.errors import NodeError
    from node.operations.log_reader import LogReader
    from node.operations.witness import LogWitness, Sight

_FILE: Final = click.Path(path_type=Path, dir_okay=False)
_FOLDER: Final = click.Path(path_type=Path, file_okay=False)


@click.group("witness", cls=VerbGroup, help=_("Watch a chain's log from outside and cosign it."))
def witness() -> None:
    """Hold the verbs."""


@witness.command(
    "init",
    help=_("Make a witness in the folder HOME: its key, and its name. It knows no log yet."),
)
@click.argument("home", type=_FOLDER)
@click.option("--name", required=True, help=_("Its name, such as witness.example/w1."))
@click.option(
    "--listen",
    metavar="HOST:PORT",
    help=_("Where logs may bring checkpoints over HTTP (c2sp.org/tlog-witness), in clear text."),
)
@verb("witness init")
def init(screen: Screen, *, home: Path, name: str, listen: str | None) -> Answer:
    """Make a witness."""
    from node.config import Address
    from node.operations.witness_home import make_witness

    key = make_witness(home, name, None if listen is None else Address.parse(listen))
    screen.line(_("key of the witness, for policies: {key}").format(key=key))
    text = _("name the logs it follows: {command}")
    screen.line(text.format(command=f"govchain witness follow {home} TRUST URL"))
    return Answer({"home": str(home), "name": name, "vkey": str(key)})


@witness.command(
    "follow",
    help=_("Have the witness in HOME follow the log of the chain that a trust file pins."),
)
@click.argument("home", type=_FOLDER)
@click.argument("trust_path", metavar="TRUST", type=_FILE)
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@verb("witness follow")
def follow(screen: Screen, *, home: Path, trust_path: Path, urls: tuple[str, ...]) -> Answer:
    """Follow a log."""
    from node.cli.kinds import TRUST, read_kind
    from node.operations.witness_home import follow_log

    chain_id = follow_log(home, read_kind(trust_path, TRUST, code="GC-2308"), urls)
    screen.line(_("follows the log of chain {chain}").format(chain=chain_id))
    return Answer({"chain_id": chain_id, "urls": list(urls)})


@witness.command(
    "run",
    help=_(
        "Follow the logs and cosign what goes on from what was cosigned before, until told to stop "
        "(SIGTERM, Ctrl-C). A fork is proved in a file, and said with every look."
    ),
)
@click.argument("home", type=_FOLDER)
@click.option("--once", is_flag=True, help=_("Look once and end: 1 where a log is forked."))
@verb("witness run")
def run(screen: Screen, *, home: Path, once: bool) -> Answer:
    """Run a witness."""
    from node.errors import NodeError
    from node.operations.witness_home import Witness, read_settings

    running = Witness(home, read_settings(home))
    looks: list[dict[str, object]] = []

    def tell(reader: LogReader, log: LogWitness, sight: Sight | NodeError) -> None:
        look = _describe(reader, log, sight)
        if once:
            looks.append(look)
        if isinstance(sight, NodeError):
            screen.note(_("{url}: {reason}").format(url=reader.url, reason=sight))
        else:
            screen.line(_told(reader, sight), style="bold red" if sight.proof else "")

    def started(port: int | None) -> None:
        if port is not None:
            screen.note(_("listens on port {port}").format(port=port))

    if not once:
        running.run(tell, started)
        return Answer({"name": running.settings.name})
    forked = running.look_around(tell)
    fault = Fault("GC-2360", _("a log is forked"), _("show the proof to whoever runs the chain"))
    return Answer({"name": running.settings.name, "looks": looks}, fault=fault if forked else None)


@witness.command(
    "verify",
    help=_("Verify a proof of a fork offline, and name the validators who cosigned both sides."),
)
@click.argument("file", type=_FILE)
@click.option(
    "--trust", "trust_path", type=_FILE, required=True, help=_("Trust file of the chain.")
)
@verb("witness verify")
def verify(screen: Screen, *, file: Path, trust_path: Path) -> Answer:
    """Verify a proof of a fork."""
    from node.cli.kinds import FORK, read_kind
    from node.cli.trust_file import load_anchor
    from node.errors import DecodeError, ProofError
    from node.timestamp.log.checkpoint import cosigner_name, origin_of
    from node.timestamp.log.fork import ForkProof, cosigners

    anchor = load_anchor(trust_path)
    origin = origin_of(anchor.chain_id)
    data = read_kind(file, FORK)
    try:
        proof = ForkProof.decode(data)
        smaller, larger = proof.check()
        names = proof.guilty(cosigners(anchor.chain_id, anchor.validator_sets))
    except (DecodeError, ProofError) as error:
        raise CommandError("GC-2362", f"{file}: {error}") from error
    if smaller.origin != origin:
        text = _("{file}: is of another log: {origin}")
        raise CommandError("GC-2362", text.format(file=file, origin=smaller.origin))
    members = [each for held in anchor.validator_sets for each in held.validators]
    guilty = {
        each.validator_id: each.organisation
        for each in members
        if cosigner_name(origin, each.validator_id) in names
    }
    sizes = {"small": smaller.head.size, "large": larger.head.size}
    text = _(
        "the log was forked: the checkpoints of {small} and {large} leaves contradict each other"
    )
    screen.line(text.format(**sizes))
    for validator_id, organisation in guilty.items():
        text = _("{validator} of {organisation} cosigned both")
        screen.line(text.format(validator=validator_id, organisation=organisation))
    if not guilty:
        screen.line(_("no validator that the trust file knows cosigned both"))
    return Answer({"chain_id": anchor.chain_id.hex(), "sizes": sizes, "guilty": guilty})


def _describe(reader: LogReader, log: LogWitness, sight: Sight | NodeError) -> dict[str, object]:
    from node.errors import NodeError

    found: dict[str, object] = {"url": reader.url, "chain_id": log.chain_id.hex()}
    if isinstance(sight, NodeError):
        return {**found, "seen": "unreadable", "reason": str(sight)}
    proof = None if sight.proof is None else str(sight.proof)
    return {**found, "seen": sight.seen.value, "size": sight.size, "proof": proof}


def _told(reader: LogReader, sight: Sight) -> str:
    from node.operations.witness import Seen

    said = {
        Seen.COSIGNED: _("{url}: {size} leaves, cosigned"),
        Seen.SAME: _("{url}: {size} leaves, as before"),
        Seen.OLDER: _("{url}: {size} leaves, behind what was cosigned"),
        Seen.FORK: _("{url}: {size} leaves of a FORKED log; the proof is {proof}"),
    }[sight.seen]
    return said.format(url=reader.url, size=sight.size, proof=sight.proof)
