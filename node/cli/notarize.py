"""`govchain notarize`: record the digests of documents, and keep a receipt of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.receipt import RECEIPTS_FOLDER
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, verb
from node.limits import RECORD_REFERENCE_BYTES_MAX, RECORD_TYPE_BYTES_MAX, TX_RECORDS_MAX

if TYPE_CHECKING:
    from node.cli.inputs import Document
    from node.cli.network import Network
    from node.cli.submission import Outlook, Recorded

TYPE_DEFAULT: Final = "document"


@click.command(
    "notarize",
    help=_(
        "Record the digests of files, of all files in folders, or of standard input (-), and keep "
        "one receipt of each. The content never leaves this machine."
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=RECEIPTS_FOLDER,
    show_default=True,
    help=_("Folder of the receipts."),
)
@click.option("--type", "type_code", default=TYPE_DEFAULT, show_default=True, help=_("Type code."))
@click.option("--ref", "reference", help=_("Reference of the record; for a single document."))
@click.option(
    "--supersede",
    "change",
    flag_value="SUPERSEDE",
    default=None,
    help=_("Replace what is in force under --ref."),
)
@click.option(
    "--withdraw", "change", flag_value="WITHDRAW", help=_("End what is in force under --ref.")
)
@click.option(
    "--batch",
    "batch_size",
    type=click.IntRange(1, TX_RECORDS_MAX),
    default=1_000,
    show_default=True,
    help=_("Documents in one transaction."),
)
@network_options
@verb("notarize")
def notarize(
    screen: Screen,
    *,
    paths: tuple[str, ...],
    out: Path,
    type_code: str,
    reference: str | None,
    change: str | None,
    batch_size: int,
    network: NetworkChoice,
) -> Answer:
    """Record documents and keep their receipts."""
    from node.chain.record import RecordAction
    from node.cli.inputs import find_documents
    from node.cli.submission import Outlook

    _check_text("--type", type_code, RECORD_TYPE_BYTES_MAX)
    if reference is not None:
        _check_text("--ref", reference, RECORD_REFERENCE_BYTES_MAX)
    elif change is not None:
        raise click.UsageError(_("--supersede and --withdraw need the reference: --ref"))
    found = network.open()
    documents = find_documents(paths, apart_from=(out, found.profile.home))
    if reference is not None and len(documents) != 1:
        raise click.UsageError(_("--ref names one record: give a single document with it"))
    action = RecordAction[change or "RECORD"]
    outlook = Outlook(type_code, reference, batch_size, action)
    items = record_documents(screen, found, documents, outlook, out)
    for item in items:
        _tell(screen, item)
    return summarize(items)


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one document."""

    document: Document
    recorded: Recorded | None = None
    """None for what could not be read, or stands for another document."""
    path: Path | None = None
    """Where its receipt belongs."""
    fault: Fault | None = None

    @property
    def receipt(self) -> Path | None:
        """Return the file of its receipt, if one was written."""
        return None if self.fault else self.path

    def to_json(self) -> dict[str, Any]:
        """Return its row of the JSON object."""
        from node.cli.submission import DIGEST
        from node.cli.wording import describe_attestation

        document, recorded = self.document, self.recorded
        row: dict[str, Any] = {"path": document.label, "status": "recorded"}
        if document.digest is not None:
            row["digest"] = f"{DIGEST.name}:{document.digest.hex()}"
        if recorded is not None:
            row |= {"transaction": recorded.tx_id.hex(), "operation": recorded.operation_index}
            if recorded.attestation is not None:
                row |= describe_attestation(recorded.attestation)
        if self.receipt is not None:
            row["receipt"] = str(self.receipt)
        if document.same_as is not None:
            row |= {"status": "same_file", "same_as": document.same_as}
        if self.fault is not None:
            row |= {"status": "failed", "error": self.fault.to_json()}
        return row


def record_documents(
    screen: Screen, network: Network, documents: Sequence[Document], outlook: Outlook, out: Path
) -> list[Item]:
    """Hash and record documents, write their receipts; return what became of each, in order.

    Raises `CommandError`, before anything is recorded, where receipts cannot be kept.
    """
    from node.cli.inputs import hash_document
    from node.cli.receipt_files import find_obstacle, name_receipts, save_receipts
    from node.cli.submission import DIGEST, record_digests

    readable = [document for document in documents if document.is_wanted]
    size_bytes = sum(document.size_bytes for document in readable)
    with screen.progress(_("hashing"), size_bytes) as advance:
        for document in readable:
            hash_document(document, DIGEST, advance)
    hashed = [each for each in readable if each.digest is not None]
    digests = [each.digest for each in hashed if each.digest is not None]
    if not digests:
        return [Item(document, fault=document.fault) for document in documents]
    if obstacle := find_obstacle(out):
        raise CommandError(obstacle.code, obstacle.message, obstacle.fix)
    with screen.progress(_("recording"), len(digests)) as advance:
        try:
            recorded = record_digests(network, digests, outlook, advance)
        except KeyboardInterrupt as error:
            message = _("stopped before it was done: some documents may be recorded by now")
            fix = _("see which, before you run it again: govchain receipt fetch FILE")
            raise CommandError("GC-2313", message, fix) from error
    named = dict(zip(name_receipts(hashed), recorded, strict=True))
    sound = {name: each.receipt for name, each in named.items() if each.fault is None}
    faults = {
        name: _still_to_fetch(fault, named[name])
        for name, fault in save_receipts(out, sound).items()
    }
    items = {
        id(document): Item(document, each, out / name, each.fault or faults.get(name))
        for document, (name, each) in zip(hashed, named.items(), strict=True)
    }
    return [items.get(id(each), Item(each, fault=each.fault)) for each in documents]


def _still_to_fetch(fault: Fault, recorded: Recorded) -> Fault:
    """Return the fault of a receipt that was not written: its record stands all the same."""
    fix = _("mend that; it is recorded: govchain receipt fetch tx:{operation}")
    operation = f"{recorded.tx_id.hex()}:{recorded.operation_index}"
    return Fault(fault.code, fault.message, fix.format(operation=operation))


def summarize(items: Sequence[Item]) -> Answer:
    """Return the answer for all documents: done, or how the failed ones failed."""
    faults = [item.fault for item in items if item.fault is not None]
    done = sum(item.receipt is not None for item in items)
    rows = [item.to_json() for item in items]
    facts = {"items": rows, "recorded": done, "failed": len(faults)}
    if not items:
        message = _("the folders hold no files")
        return Answer(facts, Fault("GC-2304", message, _("name at least one file")))
    if not faults:
        return Answer(facts)
    if not done and len({fault.exit_code for fault in faults}) == 1:
        return Answer(facts, faults[0])
    message = _("{failed} of {count} documents failed").format(failed=len(faults), count=len(items))
    return Answer(facts, Fault("GC-2302", message, _("see the documents listed as failed")))


def tell_trouble(screen: Screen, item: Item) -> None:
    """Say what is to be said of a document that has no receipt of its own."""
    document, fault = item.document, item.fault
    if document.same_as is not None:
        said = _("SAME FILE  {file} is {other}")
        screen.line(said.format(file=document.label, other=document.same_as))
    if fault is not None:
        said = _("FAILED  {file}: {code} {cause}")
        text = said.format(file=document.label, code=fault.code, cause=fault.message)
        screen.line(text, style="red")
        if item.recorded is not None:  # it may be on the chain: say how to get its receipt
            label = _("fix")
            screen.line(f"  {label}: {fault.fix}")


def _tell(screen: Screen, item: Item) -> None:
    from node.chain.record import RecordAction
    from node.cli.wording import existence

    attestation = None if item.recorded is None else item.recorded.attestation
    if item.receipt is not None and attestation is not None:
        said = _("RECORDED  {file} {existence}  {receipt}")
        if attestation.record.action is RecordAction.WITHDRAW:
            said = _("WITHDRAWN  {file} {existence}  {receipt}")
        known = existence(attestation)
        text = said.format(file=item.document.label, existence=known, receipt=item.receipt)
        screen.line(text, style="green")
    tell_trouble(screen, item)


def _check_text(option: str, text: str, size_max: int) -> None:
    """Check a text that goes into a record, by the rule of the chain."""
    from node.chain.encoding import expect_text
    from node.errors import DecodeError

    try:
        expect_text(text, option, size_max=size_max)
    except (DecodeError, UnicodeEncodeError) as error:
        message = _("expected 1 to {size} bytes of printable text, got {text!r:.40}")
        raise click.BadParameter(
            message.format(size=size_max, text=text), param_hint=option
        ) from error
