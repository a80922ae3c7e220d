"""`govchain receipt`: show what a receipt says, fetch, export or refresh one."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.choice import NetworkChoice, choose_digest, digest_option, network_options
from node.cli.receipt_export import export
from node.cli.receipt_refresh import refresh
from node.cli.receipt_verifier import verifier
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.timestamp.verify import NamedDigest

RECEIPTS_FOLDER: Final = "receipts"

_TX_PREFIX: Final = "tx:"


@click.group("receipt", cls=VerbGroup, help=_("Show, fetch, export or refresh receipts."))
def receipt() -> None:
    """Hold the verbs."""


receipt.add_command(export)
receipt.add_command(refresh)
receipt.add_command(verifier)


@receipt.command("show", help=_("Show what a receipt says. Whether it is true is for verify."))
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="RECEIPT")
@verb("receipt show")
def show(screen: Screen, *, path: Path) -> Answer:
    """Show what a receipt says."""
    from node.cli.kinds import RECEIPTS, read_kind
    from node.errors import DecodeError, ProofError
    from node.timestamp.opening import open_receipt
    from node.timestamp.receipt import view_receipt
    from node.timestamp.steps import NotRootedError

    try:
        opened = open_receipt(read_kind(path, *RECEIPTS))
        view = view_receipt(opened.receipt)
    except (DecodeError, ProofError, NotRootedError) as error:
        fix = _("name a file made by govchain notarize")
        raise CommandError("GC-1001", f"{path}: {error}", fix) from error
    record = view["record"]
    unvouched = _("{time} (not vouched for)").format(time=view["time"])
    lines = (
        (_("document"), f"{record['digest_algorithm']}:{record['digest']}"),
        (_("type"), record["type"]),
        (_("reference"), record["reference"] or "-"),
        (_("action"), record["action"]),
        (_("recorded by"), view["sender"]),
        (_("time"), view["time"] if not view["time_degraded"] else unvouched),
        (_("sealed"), view["seal_time"]),
        (_("block"), f"{view['height']} ({view['header']})"),
        (_("signatures"), len(view["votes"])),
        (_("transaction"), f"{view['transaction']}:{view['operation']}"),
        (_("place in the log"), f"{view['log_index']} / {view['log_size']}"),
        (_("chain"), f"{view['chain_id']} ({view['suite']})"),
    )
    joined = None if opened.joined is None else opened.joined.block.header.height
    more = () if joined is None else ((_("joined to block"), joined),)
    screen.table((_("field"), _("value")), (*lines, *more))
    screen.line(_("This is what the receipt says; govchain verify tells whether it is true."))
    return Answer({"receipt": view, "joined_height": joined})


@receipt.command(
    "fetch",
    help=_(
        "Fetch a receipt, verify it against the genesis and write it. Name it by its document (a "
        "file, - for standard input, or a digest: the earliest record) or by its transaction."
    ),
)
@click.argument("subject", metavar="FILE|DIGEST|-|tx:ID[:OPERATION]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=RECEIPTS_FOLDER,
    show_default=True,
    help=_("Folder of the receipts."),
)
@digest_option
@network_options
@verb("receipt fetch")
def fetch(
    screen: Screen, *, subject: str, out: Path, digest_name: str | None, network: NetworkChoice
) -> Answer:
    """Fetch a receipt."""
    from node.cli.inputs import STANDARD_INPUT, Document
    from node.cli.receipt_files import name_receipts, save_receipts
    from node.cli.subjects import read_file
    from node.cli.verdict import tell_verdict
    from node.cli.wording import describe_verdict, unchecked_fault

    found = network.open()
    encoded, digest = (
        _ask_by_operation(found, subject)
        if subject.startswith(_TX_PREFIX)
        else _ask_by_document(found, subject, digest_name)
    )
    verdict = found.verify_receipt(encoded, digest)
    if verdict.attestation is None:  # the receipt of a withdrawal is a sound one, and has it
        failure = verdict.failure
        raise CommandError("GC-2305", "" if failure is None else failure.detail)
    unchecked = unchecked_fault(verdict)
    if unchecked is not None:
        return Answer(describe_verdict(verdict), unchecked)
    path = None if subject == STANDARD_INPUT else Path(subject)
    (name,) = name_receipts([Document(subject, path)])
    place = save_receipts(out, {name: encoded}, found.needed)[name]
    if isinstance(place, Fault):
        return Answer(fault=place)
    tell_verdict(screen, subject, verdict)
    is_kept = read_file(place) != encoded
    said = _("{path}: is there already") if is_kept else _("written to {path}")
    screen.line(said.format(path=place))
    return Answer({"receipt": str(place), "digest": str(digest), **describe_verdict(verdict)})


def _ask_by_document(
    network: Network, subject: str, digest_name: str | None
) -> tuple[bytes, NamedDigest]:
    from node.cli.subjects import read_document

    digest = read_document(subject, choose_digest(digest_name, network.suite))
    return network.ask(lambda client: client.receipt_of_digest(digest.value)), digest


def _ask_by_operation(network: Network, subject: str) -> tuple[bytes, NamedDigest]:
    """Return a receipt and the digest it names itself: the document is not at hand."""
    from node.cli.network import decode_answer
    from node.cli.subjects import read_tx_id
    from node.crypto.suite import document_digest_by_id
    from node.timestamp.receipt import Receipt
    from node.timestamp.verify import NamedDigest

    digits, colon, operation = subject.removeprefix(_TX_PREFIX).partition(":")
    tx_id = read_tx_id(digits)
    if colon and not (operation.isascii() and operation.isdigit()):
        raise click.UsageError(_("{text}: expected tx:ID or tx:ID:OPERATION").format(text=subject))
    index = int(operation or 0)
    encoded = network.ask(lambda client: client.receipt_of_operation(tx_id, index))
    record = decode_answer(Receipt.decode, encoded).leaf.record
    return encoded, NamedDigest(document_digest_by_id(record.digest_algorithm), record.digest)
