"""Documents recorded: hashed, submitted, their receipts kept as they come; what became of each.

A receipt is written as soon as its transaction is final, so that whatever ends a run early, an
interrupt, a full disk, a network gone, leaves every receipt there could be, and an answer that says
which documents are missing, which of these may be on the chain, and how to go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import Any, Final

from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document, hash_document
from node.cli.network import Network
from node.cli.readiness import await_service
from node.cli.receipt_files import find_obstacle, name_receipts, save_receipts
from node.cli.remedies import remedy_of
from node.cli.screen import Answer, Fault, Screen
from node.cli.submission import DIGEST, Outlook, Recorded, record_digests
from node.cli.verb import CommandError
from node.cli.wording import describe_attestation, existence
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

    @property
    def receipt(self) -> Path | None:
        """Return the file of its receipt, if one was written."""
        return None if self.fault else self.path

    def to_json(self) -> dict[str, Any]:
        """Return its row of the JSON object."""
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
) -> list[Item]:
    """Hash and record documents, write their receipts; return what became of each, in order.

    What has its digest already is not read. A network that does not serve yet is waited for,
    `patience_s` at most. Raises, before anything is sent, `CommandError` where receipts cannot be
    kept or no validator serves, and `ClientError` where nobody answers.
    Once something was sent, an interrupt is no error: the items tell what it left.
    """
    readable = [document for document in documents if document.is_wanted]
    unhashed = [document for document in readable if document.digest is None]
    size_bytes = sum(document.size_bytes for document in unhashed)
    with screen.progress(_("hashing"), size_bytes) as advance:
        for document in unhashed:
            hash_document(document, DIGEST, advance)
    hashed = [each for each in readable if each.digest is not None]
    if hashed:
        if obstacle := find_obstacle(out):
            raise CommandError(obstacle.code, obstacle.message, obstacle.fix)
        await_service(screen, network, patience_s)
    run = _Run(hashed, out)
    if hashed:
        run.record(screen, network, outlook)
    recorded = {id(document): run.item(place) for place, document in enumerate(hashed)}
    return [recorded.get(id(each)) or Item(each, fault=each.fault) for each in documents]


class _Run:
    """What is known, while documents are recorded, of each of them."""

    def __init__(self, documents: Sequence[Document], out: Path) -> None:
        self._documents, self._out = documents, out
        self._names = name_receipts(documents)
        self._known: list[Recorded | None] = [None] * len(documents)
        self._places: dict[str, Path | Fault] = {}
        """Where the receipts are by now, or why they are not, by the names they were to have."""
        self._end = Fault(_INTERRUPTED, _("stopped before it was done"), _("run it again"))
        """Why it ended before all was known, if it did."""

    def record(self, screen: Screen, network: Network, outlook: Outlook) -> None:
        """Record all, as far as it goes."""
        digests = [each.digest for each in self._documents if each.digest is not None]
        with screen.progress(_("recording"), len(digests)) as advance:

            def learn(first: int, part: Sequence[Recorded]) -> None:
                self._known[first : first + len(part)] = part
                if part[0].is_settled:
                    advance(self._keep(first, part, network.anchor))

            try:
                self._end = record_digests(network, digests, outlook, learn) or self._end
            except KeyboardInterrupt:
                screen.note(self._end.message)

    def item(self, place: int) -> Item:
        """Return what became of one document."""
        document, recorded, name = self._documents[place], self._known[place], self._names[place]
        path = self._out / name
        if recorded is None:
            cause = remedy_of(self._end.code).summary
            said = _("not sent: {cause}").format(cause=cause)
            return Item(document, fault=Fault(self._end.code, said, _("notarize it again")))
        known = recorded.fault or self._places.get(name)
        if known is None:
            fix = _("it may be recorded: see with govchain receipt fetch tx:{operation}")
            fix = fix.format(operation=recorded.name)
            known = Fault(self._end.code, self._end.message, fix)
        if isinstance(known, Fault):
            return Item(document, recorded, path, fault=known)
        return Item(document, recorded, known, kept=None if known == path else path)

    def _keep(self, first: int, part: Sequence[Recorded], anchor: TrustAnchor) -> int:
        """Write the receipts among what is known now; return how many there were."""
        named = dict(zip(self._names[first : first + len(part)], part, strict=True))
        sound = {name: each.receipt for name, each in named.items() if each.attestation}
        places = save_receipts(self._out, sound, anchor, spare=self._names)
        for name, place in places.items():
            self._places[name] = place
            if isinstance(place, Fault):
                fix = _("mend that; it is recorded: govchain receipt fetch tx:{operation}")
                fix = fix.format(operation=named[name].name)
                self._places[name] = Fault(place.code, place.message, fix)
        return len(sound)


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
    if len(faults) == len(items) == 1:
        return Answer(facts, faults[0])
    fix = _("see the documents listed, each with what to do")
    if any(fault.code == _INTERRUPTED for fault in faults):
        message = _("stopped when {done} of {count} documents had their receipts")
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
