"""A folder watched: what has settled in it is recorded, once, until told to stop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from threading import Event
from typing import Final

from node.cli.exit_codes import ExitCode
from node.cli.inputs import Document, find_documents
from node.cli.kept import KeptReceipts
from node.cli.network import Network
from node.cli.recording import Item, is_under_way, record_documents, tell_recorded
from node.cli.remedies import remedy_of
from node.cli.screen import Fault, Screen
from node.cli.verb import CommandError
from node.client.recording import Outlook
from node.errors import NodeError
from node.limits import TX_RECORDS_MAX

FILES_MAX: Final = 100_000
"""A folder of more is not watched: each look visits them all."""

_TRANSIENT: Final = (ExitCode.UNAVAILABLE, ExitCode.NOT_FINAL, ExitCode.REFUSED)
"""How what may be over by the next look would end another verb."""

_PAUSE_AFTER_FAILURE: Final = 5
"""How many pauses long the one is after a look at which something failed: it is tried again."""

_Traits = tuple[int, int, int]
"""Of a file: its number, its size, when it was changed."""


class Settling:
    """Which files stood still between two looks, and have not been dealt with since."""

    def __init__(self) -> None:
        """Begin before the first look."""
        self._seen: dict[Path, _Traits] = {}
        self._done: dict[Path, _Traits] = {}

    def look(self, documents: Iterable[Document]) -> list[Document]:
        """Return those of all the files there that are as they were at the last look."""
        seen: dict[Path, _Traits] = {}
        settled = []
        for document in documents:
            if document.path is None or not document.is_wanted:
                continue
            try:
                status = document.path.stat()
            except OSError:  # it went while we looked
                continue
            traits = seen[document.path] = (status.st_ino, status.st_size, status.st_mtime_ns)
            is_done = self._done.get(document.path) == traits
            if not is_done and self._seen.get(document.path) == traits:
                settled.append(document)
        self._done = {path: traits for path, traits in self._done.items() if path in seen}
        self._seen = seen
        return settled

    def finish(self, path: Path) -> None:
        """Note that a file is dealt with as it was at the last look."""
        self._done[path] = self._seen[path]


@dataclass(slots=True)
class Tally:
    """What came of watching so far."""

    looks: int = 0
    recorded: int = 0
    recorded_before: int = 0
    failed: int = 0
    """Attempts, not files: what failed is tried again."""


class Watch:
    """One folder, watched."""

    def __init__(
        self, screen: Screen, network: Network, folder: Path, out: Path, outlook: Outlook
    ) -> None:
        """Receipts are in `out`; what these say was recorded is not recorded again."""
        self._screen, self._network, self._folder = screen, network, folder
        self._out, self._outlook = out, outlook
        self._earlier = KeptReceipts.read(out, network)
        self._settling = Settling()
        self._told: dict[str, str] = {}
        """What was last said to be wrong, by the label of the file; nothing is said twice."""
        self.tally = Tally()

    def run(self, stopping: Event, pause_s: float) -> None:
        """Look, and look again after each pause, until told to stop."""
        while not stopping.is_set():
            failed = self.tally.failed
            self.look()
            is_well = self.tally.failed == failed
            stopping.wait(pause_s if is_well else _PAUSE_AFTER_FAILURE * pause_s)

    def look(self) -> None:
        """Look once, and record what has settled. Raises `CommandError` for too many files."""
        self.tally.looks += 1
        apart = (self._out, self._network.profile.home)
        documents = find_documents([str(self._folder)], apart_from=apart)
        if len(documents) > FILES_MAX:
            message = _("{folder}: more than {count} files").format(
                folder=self._folder, count=FILES_MAX
            )
            fix = _("move what is recorded elsewhere, or watch a part of it")
            raise CommandError("GC-2301", message, fix)
        settled = self._settling.look(documents)[:TX_RECORDS_MAX]
        self._tell(Item(each, fault=each.fault) for each in documents if each.fault is not None)
        if settled or is_under_way(self._out):
            self._record(settled)

    def _record(self, settled: Sequence[Document]) -> None:
        try:
            items = record_documents(
                self._screen,
                self._network,
                settled,
                self._outlook,
                self._out,
                earlier=self._earlier,
            )
        except NodeError as error:
            if remedy_of(error.code).exit_code not in _TRANSIENT:
                raise
            fault = error.fault if isinstance(error, CommandError) else Fault.of(error)
            self.tally.failed += 1
            self._say_once("", fault.sentence)
            return
        self._told.pop("", None)
        for item in items:
            if item.fault is None and item.document.path is not None:
                self._settling.finish(item.document.path)
        self.tally.recorded_before += sum(item.is_earlier for item in items)
        self.tally.recorded += sum(
            item.receipt is not None and not item.is_earlier for item in items
        )
        self._tell(item for item in items if not item.is_earlier)

    def _tell(self, items: Iterable[Item]) -> None:
        for item in items:
            label, fault = item.document.label, item.fault
            if fault is None:
                self._told.pop(label, None)
                tell_recorded(self._screen, item)
                continue
            self.tally.failed += 1
            if self._told.get(label) != fault.sentence:
                self._told[label] = fault.sentence
                tell_recorded(self._screen, item)

    def _say_once(self, label: str, sentence: str) -> None:
        if self._told.get(label) != sentence:
            self._told[label] = sentence
            self._screen.note(sentence)
