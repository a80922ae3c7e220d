"""Documents recorded: hashed, submitted, their receipts kept as they come; what became of each.

A receipt is written as soon as its transaction is final, so that whatever ends a run early, an
interrupt, a full disk, a network gone, leaves every receipt there could be, and an answer that says
which documents are missing, which of these may be on the chain, and how to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final, Self

from node.chain.record import Record
from node.chain.transaction import Transaction
from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document, hash_document
from node.cli.kept import KeptReceipt, KeptReceipts
from node.cli.network import Network
from node.cli.readiness import await_service
from node.cli.receipt_files import find_obstacle, name_receipts, save_receipts
from node.cli.screen import Answer, Fault, Screen
from node.cli.sentences.telling import tell_refusal
from node.cli.submission import fault_of, record_digests, send_again
from node.cli.under_way import (
    UNDER_WAY_SUFFIX,
    UnderWay,
    find_under_way,
    forget_under_way,
    keep_under_way,
)
from node.cli.verb import CommandError
from node.cli.wording import describe_attestation, existence
from node.client.recording import Learn, Outlook, Recorded, Sending
from node.crypto.suite import DocumentDigest
from node.errors import DecodeError
from node.timestamp.trust import TrustAnchor

_INTERRUPTED: Final = "GC-2313"


@dataclass(frozen=True, slots=True)
class Item:
    """What became of one document."""

    document: Document
    recorded: Recorded | None = None
    """None for what could not be read, or stands for another document."""
    path: Path | None = None
    """Where its receipt belongs."""
    kept: Path | None = None
    """What bore the name of its receipt already, if it does not serve as that."""
    fault: Fault | None = None
    is_earlier: bool = False
    """Whether it was recorded before, with this very receipt."""

    @classmethod
    def of_kept(cls, document: Document, kept: KeptReceipt) -> Self:
        """Return what became of a document that was recorded before."""
        attested = kept.attestation
        recorded = Recorded(attested.tx_id, attested.operation_index, attestation=attested)
        return cls(document, recorded, kept.path, is_earlier=True)

    @property
    def receipt(self) -> Path | None:
        """Return the file of its receipt, if one was written."""
        return None if self.fault else self.path

    def to_json(self) -> dict[str, Any]:
        """Return its row of the JSON object."""
        document, recorded = self.document, self.recorded
        status = "recorded_before" if self.is_earlier else "recorded"
        row: dict[str, Any] = {"path": document.label, "status": status}
        if document.digest is not None and document.algorithm is not None:
            row["digest"] = f"{document.algorithm.name}:{document.digest.hex()}"
        if recorded is not None:
            row |= {"transaction": recorded.tx_id.hex(), "operation": recorded.operation_index}
            if recorded.attestation is not None:
                row |= describe_attestation(recorded.attestation)
        if self.receipt is not None:
            row["receipt"] = str(self.receipt)
        if self.kept is not None:
            row["kept"] = str(self.kept)
        if document.same_as is not None:
            row |= {"status": "same_file", "same_as": document.same_as}
        if self.fault is not None:
            row |= {"status": "failed", "error": self.fault.to_json()}
        return row


def record_documents(
    screen: Screen,
    network: Network,
    documents: Sequence[Document],
    outlook: Outlook,
    out: Path,
    *,
    patience_s: float = 0,
    earlier: KeptReceipts | None = None,
) -> list[Item]:
    """Hash and record documents, write their receipts; return what became of each, in order.

    What has its digest already is not read. A network that does not serve yet is waited for,
    `patience_s` at most. With `earlier`, what earlier runs left in the folder `out` is gone on
    with: what is under way is waited for, and what has its receipt is not recorded again.
    Who opens the key is asked first. Raises, before anything is sent, `CommandError` where receipts
    cannot be kept, no validator serves or what is under way is not final yet, and `ClientError`
    where nobody answers. Once something was sent, an interrupt is no error: the items tell what it
    left.
    """
    network.unlock()
    algorithm = outlook.digest or network.suite.document_digest
    outlook = replace(outlook, digest=algorithm)
    readable = [document for document in documents if document.is_wanted]
    unhashed = [document for document in readable if document.digest is None]
    size_bytes = sum(document.size_bytes for document in unhashed)
    with screen.progress(_("hashing"), size_bytes) as advance:
        for document in unhashed:
            hash_document(document, algorithm, advance)
    hashed = [each for each in readable if each.digest is not None]
    items: dict[int, Item] = {}
    if earlier is not None:
        finish_under_way(screen, network, out, earlier, patience_s=patience_s)
        for document in hashed:
            kept = earlier.find(_record_of(document, outlook, algorithm))
            if kept is not None:
                items[id(document)] = Item.of_kept(document, kept)
        hashed = [each for each in hashed if id(each) not in items]
    if hashed:
        expect_folder(out)
        await_service(screen, network, patience_s)
        names = name_receipts(hashed)
        if any(document.reference is not None for document in hashed):
            outlook = replace(outlook, references=[each.reference for each in hashed])
        digests = [each.digest for each in hashed if each.digest is not None]
        run = _Run(names, out, earlier)
        run.record(screen, network, partial(record_digests, network, digests, outlook))
        items |= {id(document): run.item(at, document) for at, document in enumerate(hashed)}
    return [items.get(id(each)) or Item(each, fault=each.fault) for each in documents]


def finish_under_way(
    screen: Screen, network: Network, out: Path, earlier: KeptReceipts, *, patience_s: float = 0
) -> None:
    """Have what is under way by the folder `out` become final, and write its receipts there.

    Raises `CommandError` where that does not succeed: recorded again, it might be there twice.
    """
    left = _read_under_way(network, out)
    if not left:
        return
    await_service(screen, network, patience_s)
    names = [name for sent in left for name in sent.names]
    run = _Run(names, out, earlier)
    transactions = [sent.transaction for sent in left]
    run.record(screen, network, partial(send_again, network, transactions))
    fault = run.trouble
    if fault is not None:
        raise CommandError(fault.code, fault.message, fault.fix)
    said = _("{count} records of an earlier run have their receipts now")
    screen.note(said.format(count=run.kept_count))


def is_under_way(out: Path) -> bool:
    """Tell whether an earlier run left anything under way by a folder."""
    return any(out.glob(f"*{UNDER_WAY_SUFFIX}"))


def expect_folder(out: Path) -> None:
    """Make the folder of the receipts; raises `CommandError` where it cannot be written to."""
    if obstacle := find_obstacle(out):
        raise CommandError(obstacle.code, obstacle.message, obstacle.fix)


def _read_under_way(network: Network, out: Path) -> list[UnderWay]:
    """Return what is under way by a folder; raises `CommandError` for what is not ours."""
    found = []
    fix = _("move it away; what it was for may be recorded: see with govchain record list")
    try:
        for path, sent in find_under_way(out, network.suite):
            if isinstance(sent, DecodeError):
                raise CommandError("GC-1001", f"{path}: {sent}", fix)
            if sent.transaction.body.chain_id != network.profile.chain_id:
                raise CommandError("GC-1001", _("{path}: of another chain").format(path=path), fix)
            found.append(sent)
    except OSError as error:
        raise CommandError("GC-2301", f"{error.filename}: {error.strerror}") from error
    return found


def _record_of(document: Document, outlook: Outlook, algorithm: DocumentDigest) -> Record:
    return Record(
        digest_algorithm=algorithm.digest_id,
        digest=document.digest or b"",
        type_code=outlook.type_code,
        reference=document.reference,
        action=outlook.action,
    )


class _Run:
    """What is known, while records are made, of each of them, in the order they are sent in."""

    def __init__(self, names: Sequence[str], out: Path, earlier: KeptReceipts | None) -> None:
        """Their receipts are to bear these names in the folder `out`."""
        self._names, self._out, self._earlier = names, out, earlier
        self._known: list[Recorded | None] = [None] * len(names)
        self._places: dict[str, Path | Fault] = {}
        """Where the receipts are by now, or why they are not, by the names they were to have."""
        self._open: dict[bytes, int] = {}
        """How many records of a transaction under way are not dealt with yet."""
        self._end = Fault(_INTERRUPTED, _("stopped before it was done"), _("run it again"))
        """Why it ended before all was known, if it did."""

    def record(
        self,
        screen: Screen,
        network: Network,
        send: Callable[[Learn, Sending], Fault | None],
    ) -> None:
        """Record all, as far as it goes."""
        with screen.progress(_("recording"), len(self._names)) as advance:

            def learn(first: int, part: Sequence[Recorded]) -> None:
                self._known[first : first + len(part)] = part
                if part[0].is_settled:
                    advance(self._keep(first, part, network.needed))

            try:
                self._end = send(learn, self._set_out) or self._end
            except KeyboardInterrupt:
                screen.note(self._end.message)
            except CommandError as error:
                self._end = error.fault

    def item(self, at: int, document: Document) -> Item:
        """Return what became of one document."""
        recorded, name = self._known[at], self._names[at]
        path = self._out / name
        if recorded is None:
            cause = f"{self._end.summary}: {tell_refusal(self._end.message)}"
            said = _("not sent: {cause}").format(cause=cause)
            return Item(document, fault=Fault(self._end.code, said, _("notarize it again")))
        known = fault_of(recorded) or self._places.get(name)
        if known is None:
            fix = _("it may be recorded: see with govchain receipt fetch tx:{operation}")
            fix = fix.format(operation=recorded.name)
            known = Fault(self._end.code, self._end.message, fix)
        if isinstance(known, Fault):
            return Item(document, recorded, path, fault=known)
        return Item(document, recorded, known, kept=None if known == path else path)

    @property
    def kept_count(self) -> int:
        """Return how many receipts are there by now."""
        return sum(isinstance(place, Path) for place in self._places.values())

    @property
    def trouble(self) -> Fault | None:
        """Return why something is still under way, or None."""
        if not self._open and None not in self._known:
            return None
        for name, recorded in zip(self._names, self._known, strict=True):
            known = None if recorded is None else fault_of(recorded) or self._places.get(name)
            if isinstance(known, Fault) and not (recorded and recorded.is_void):
                return known
        return self._end

    def _set_out(self, first: int, transaction: Transaction) -> None:
        """Note, durably, that a transaction is about to be sent."""
        count = transaction.body.payload.count
        names = tuple(self._names[first : first + count])
        keep_under_way(self._out, UnderWay(transaction, names))
        self._open[transaction.tx_id] = count

    def _keep(self, first: int, part: Sequence[Recorded], anchor: TrustAnchor) -> int:
        """Write the receipts among what is known now; return how many there were."""
        named = dict(zip(self._names[first : first + len(part)], part, strict=True))
        sound = {name: each for name, each in named.items() if each.attestation}
        there = {} if self._earlier is None else self._earlier.by_operation
        new = {}
        for name, each in sound.items():
            operation = each.tx_id, each.operation_index
            if operation in there:
                self._places[name] = there[operation]
            else:
                new[name] = each.receipt
        for name, place in save_receipts(self._out, new, anchor, spare=self._names).items():
            self._places[name] = place
            if isinstance(place, Fault):
                fix = _("mend that; it is recorded: govchain receipt fetch tx:{operation}")
                fix = fix.format(operation=named[name].name)
                self._places[name] = Fault(place.code, place.message, fix)
            elif self._earlier is not None:
                self._earlier.add(place, new[name])
        self._arrive(
            part[0].tx_id,
            [
                name
                for name, each in named.items()
                if each.is_void or isinstance(self._places.get(name), Path)
            ],
        )
        return len(sound)

    def _arrive(self, tx_id: bytes, dealt_with: Sequence[str]) -> None:
        """Note that records of a transaction have all they need; it is under way until all do."""
        self._open[tx_id] -= len(dealt_with)
        if self._open[tx_id]:
            return
        del self._open[tx_id]
        with suppress(OSError):  # then it is sent again some time, and found to be final
            forget_under_way(self._out, tx_id)


def summarize(items: Sequence[Item]) -> Answer:
    """Return the answer for all documents: done, or how the failed ones failed."""
    faults = [item.fault for item in items if item.fault is not None]
    done = sum(item.receipt is not None for item in items)
    rows = [item.to_json() for item in items]
    facts: dict[str, Any] = {"items": rows, "recorded": done, "failed": len(faults)}
    facts["recorded_before"] = sum(item.is_earlier for item in items)
    if not items:
        message = _("the folders hold no files")
        return Answer(facts, Fault("GC-2304", message, _("name at least one file")))
    if not faults:
        return Answer(facts)
    if len(faults) == len(items) == 1:
        return Answer(facts, faults[0])
    fix = _("see the documents listed, each with what to do")
    if any(fault.code == _INTERRUPTED for fault in faults):
        message = _("stopped when {done} of {count} documents had their receipts")
        fix = _("go on with it: govchain notarize --resume, with the same --out")
        return Answer(facts, Fault(_INTERRUPTED, message.format(done=done, count=len(items)), fix))
    if not done and len({fault.exit_code for fault in faults}) == 1:
        return Answer(facts, Fault(faults[0].code, faults[0].message, fix))
    message = _("{failed} of {count} documents failed").format(failed=len(faults), count=len(items))
    return Answer(facts, Fault("GC-2302", message, fix))


def tell_recorded(screen: Screen, item: Item) -> None:
    """Say what became of a document that was to be recorded."""
    attestation = None if item.recorded is None else item.recorded.attestation
    if item.receipt is not None and attestation is not None:
        said = _("RECORDED  {file} {existence}  {receipt}")
        if item.is_earlier:
            said = _("RECORDED BEFORE  {file} {existence}  {receipt}")
        known = existence(attestation)
        text = said.format(file=item.document.label, existence=known, receipt=item.receipt)
        screen.line(text, style="green")
    tell_trouble(screen, item)


def tell_trouble(screen: Screen, item: Item) -> None:
    """Say what is to be said of a document beyond that it is recorded."""
    document, fault = item.document, item.fault
    if item.kept is not None:
        said = _("KEPT  {kept} was there before; the receipt of {file} is {receipt}")
        screen.line(said.format(kept=item.kept, file=document.label, receipt=item.receipt))
    if document.same_as is not None:
        said = _("SAME FILE  {file} is {other}")
        screen.line(said.format(file=document.label, other=document.same_as))
    if fault is not None:
        pending = fault.exit_code is ExitCode.NOT_FINAL
        said = _("NOT FINAL YET  {file}: {fault}") if pending else _("FAILED  {file}: {fault}")
        style = "yellow" if pending else "red"
        screen.line(said.format(file=document.label, fault=fault.sentence), style=style)
        if item.recorded is not None:  # it may be on the chain: say how to get its receipt
            label = _("fix")
            screen.line(f"  {label}: {fault.fix}")
