"""`govchain trust`: the file an auditor pins, and needs nothing else for years."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.outputs import OutputFile, write_anew, write_over
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.membership import ValidatorSet
    from node.cli.network import Network
    from node.timestamp.history import Handover
    from node.timestamp.trust import TrustAnchor


@click.group("trust", cls=VerbGroup, help=_("What an auditor pins."))
def trust() -> None:
    """Hold the verbs."""


@trust.command(
    "export",
    help=_(
        "Write the trust file: the genesis, what led from validator set to validator set, and the "
        "newest certified header. Give it to auditors by a way they trust: their verdicts rest on "
        "it. It never goes back behind what the one beside the profile pins."
    ),
)
@click.option(
    "--out",
    type=OutputFile(),
    help=_("File to write, instead of the one beside the profile.") + "  [trust.json]",
)
@network_options
@verb("trust export")
def export(screen: Screen, *, out: Path | None, network: NetworkChoice) -> Answer:
    """Write the trust file."""
    from node.timestamp.history import is_barrier

    found = network.open()
    path = out or found.trust_path
    if out is None:
        anchor = export_trust(found, path)
    else:
        anchor = follow_chain(found)
        write_anew(out, _encode(anchor))
    height = 0 if anchor.pinned is None else anchor.pinned.header.height
    said = _("{path} pins chain {chain} at block {height}, epoch {epoch}")
    chain_id = anchor.chain_id.hex()
    screen.line(said.format(path=path, chain=chain_id, height=height, epoch=anchor.epoch))
    ends_epoch = anchor.pinned is not None and is_barrier(anchor.pinned)
    if ends_epoch:
        warned = _(
            "{path}: block {height} ends epoch {epoch}: the keys that it retires still count by "
            "this file; export again once the next epoch has a block"
        )
        screen.note(warned.format(path=path, height=height, epoch=anchor.epoch))
    facts = {
        "chain_id": chain_id,
        "height": height,
        "epoch": anchor.epoch,
        "ends_epoch": ends_epoch,
    }
    return Answer({"trust": str(path), **facts})


@trust.command(
    "show",
    help=_(
        "Follow a trust file from its genesis, from validator set to validator set, up to what it "
        "pins, and say who decided when. Nothing is connected to. With --since it must go on from "
        "an earlier trust file that you have."
    ),
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--since",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Trust file that you trust already."),
)
@verb("trust show")
def show(screen: Screen, *, file: Path, since: Path | None) -> Answer:
    """Walk through a trust file."""
    from node.cli.trust_file import load_anchor
    from node.errors import ProofError
    from node.timestamp.history import expect_equal

    anchor = load_anchor(file)
    if since is not None:
        known = load_anchor(since)
        try:
            expect_equal("trust-chain-id", known.chain_id.hex(), anchor.chain_id.hex())
            known.join(anchor)
        except ProofError as error:
            raise CommandError("GC-2308", f"{file}: {error}") from error
    epochs = [_describe_epoch(anchor, epoch) for epoch in range(anchor.epoch + 1)]
    pinned = None if anchor.pinned is None else anchor.pinned.header.height
    screen.line(_("chain {chain}").format(chain=anchor.chain_id.hex()))
    titles = (
        _("epoch"),
        _("from block"),
        _("validators"),
        _("joined"),
        _("left"),
        _("ended by"),
    )
    screen.table(
        titles,
        [
            (
                each["epoch"],
                each["first_height"],
                len(each["validators"]),
                ", ".join(each["joined"]) or "-",
                ", ".join(each["left"]) or "-",
                _told_handover(each["handover"]),
            )
            for each in epochs
        ],
    )
    screen.line(_told_end(anchor), style="green")
    if since is not None:
        screen.line(_("it goes on from {path}").format(path=since), style="green")
    return Answer({"chain_id": anchor.chain_id.hex(), "epochs": epochs, "height": pinned})


def export_trust(network: Network, path: Path) -> TrustAnchor:
    """Write the trust file of a network, everything in it verified, and return what it pins."""
    anchor = follow_chain(network)
    write_over(path, _encode(anchor))
    return anchor


def _encode(anchor: TrustAnchor) -> bytes:
    """Return the trust file of an anchor; raises `CommandError` for one that nobody could read."""
    from node.limits import TRUST_FILE_BYTES_MAX

    data = anchor.file.encode()
    if len(data) > TRUST_FILE_BYTES_MAX:
        cause = _("a trust file has at most {most} bytes, this one would have {size}")
        fix = _("keep the one that there is, and export by a version that reads longer ones")
        raise CommandError("GC-2308", cause.format(most=TRUST_FILE_BYTES_MAX, size=len(data)), fix)
    return data


def follow_chain(network: Network) -> TrustAnchor:
    """Go on from what is pinned by now to the newest header that a validator shows."""
    from node.cli.network import decode_certified
    from node.errors import ProofError

    known = network.pinned
    encoded = network.ask(lambda client: client.certified_header())
    if not encoded.certificate:  # nothing but the genesis so far
        return known
    newest = decode_certified(encoded, network.suite)
    if known.pinned is not None and newest.header.height <= known.pinned.header.height:
        return known
    epoch = newest.header.epoch
    handovers = network.follow(epoch).handovers[known.epoch : epoch]
    try:
        return known.extend(handovers, newest)
    except ProofError as error:
        raise CommandError("GC-2305", str(error)) from error


def _describe_epoch(anchor: TrustAnchor, epoch: int) -> dict[str, Any]:
    members = _names(anchor.validator_sets[epoch])
    before = _names(anchor.validator_sets[epoch - 1]) if epoch else members
    ended = anchor.handovers[epoch] if epoch < anchor.epoch else None
    began = anchor.handovers[epoch - 1].block.header.height + 1 if epoch else 1
    return {
        "epoch": epoch,
        "first_height": began,
        "validators": members,
        "joined": [name for name in members if name not in before],
        "left": [name for name in before if name not in members],
        "handover": None if ended is None else _describe_handover(ended, members),
    }


def _describe_handover(handover: Handover, members: list[str]) -> dict[str, Any]:
    header, certificate = handover.block.header, handover.block.certificate
    return {
        "height": header.height,
        "time_ms": header.time_ms,
        "signers": [members[vote.validator] for vote in certificate.votes],
    }


def _names(validators: ValidatorSet) -> list[str]:
    return [each.validator_id for each in validators.validators]


def _told_handover(handover: dict[str, Any] | None) -> str:
    if handover is None:
        return "-"
    said = _("block {height}, signed by {signers}")
    return said.format(height=handover["height"], signers=", ".join(handover["signers"]))


def _told_end(anchor: TrustAnchor) -> str:
    """Say how far the file leads, every certificate on the way having been checked."""
    if anchor.pinned is None:
        return _("it holds: it pins the genesis alone")
    said = _("it holds: followed from the genesis over {count} handovers to block {height}")
    return said.format(count=len(anchor.handovers), height=anchor.pinned.header.height)
