"""`govchain trust`: the file an auditor pins, and needs nothing else for years."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.timestamp.trust import TrustFile

TRUST_FILE: Final = "trust.json"


@click.group("trust", help=_("What an auditor pins."))
def trust() -> None:
    """Hold the verbs."""


@trust.command(
    "export",
    help=_(
        "Write the trust file: the genesis and the newest certified header. Give it to auditors "
        "by a way they trust: their verdicts rest on it."
    ),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("File to write, instead of the one beside the profile.") + f"  [{TRUST_FILE}]",
)
@network_options
@verb("trust export")
def export(screen: Screen, *, out: Path | None, network: NetworkChoice) -> Answer:
    """Write the trust file."""
    found = network.open()
    path = out or found.profile.home / TRUST_FILE
    file = export_trust(found, path)
    height = 0 if file.pinned is None else file.pinned.header.height
    said = _("{path} pins chain {chain} at block {height}")
    screen.line(said.format(path=path, chain=file.chain_id.hex(), height=height))
    return Answer({"trust": str(path), "chain_id": file.chain_id.hex(), "height": height})


def export_trust(network: Network, path: Path) -> TrustFile:
    """Write the trust file of a network, everything in it verified, and return it."""
    from node.operations.topology import write_file

    file = _build(network)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, file.encode())
    except OSError as error:
        raise CommandError("GC-2306", f"{path}: {error.strerror}") from error
    return file


def _build(network: Network) -> TrustFile:
    from node.chain.block import CERTIFIED_HEADER_BYTES_MAX, CertifiedHeader, Header
    from node.chain.certificate import QuorumCertificate
    from node.chain.encoding import decode
    from node.cli.network import decode_answer
    from node.errors import ProofError
    from node.timestamp.trust import TrustFile

    chain_id, genesis = network.profile.chain_id, network.genesis
    newest = network.ask(lambda client: client.certified_header())
    if not newest.certificate:  # nothing but the genesis so far
        return TrustFile(chain_id=chain_id, genesis=genesis)

    def read_certificate(data: bytes) -> QuorumCertificate:
        value = decode(data, what="certificate", size_max=CERTIFIED_HEADER_BYTES_MAX)
        return QuorumCertificate.from_value(value, network.suite.signature_size)

    pinned = CertifiedHeader(
        decode_answer(Header.decode, newest.header),
        decode_answer(read_certificate, newest.certificate),
    )
    file = TrustFile(chain_id=chain_id, genesis=genesis, pinned=pinned)
    try:
        file.establish()
    except ProofError as error:
        raise CommandError("GC-2305", str(error)) from error
    return file
