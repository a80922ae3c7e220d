"""The real node program, `python -m tests.crash.victim node run ...`, with a trap in it.

The trap wraps the classes through which the node persists, and kills the process at one point, told
through the named pipe `trap` in the node's home: before it starts or while it runs. The run that
tells it holds the pipe open; where nobody does any more, that run is gone, and so is this process.
Nothing in `node/` knows of it. It also keeps what peers were heard to sign, for who judges
afterwards.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partialmethod
from pathlib import Path
from typing import Final, NoReturn
from unittest.mock import patch

from node.chain.genesis import Genesis
from node.cli.main import main as govchain
from node.config import NodeConfig
from node.consensus.events import Now
from node.service.engine import Engine
from node.service.runner import Runner
from node.service.wire import MessageKind
from node.storage import draft_folder, wal
from node.storage.filesystem import AppendFile, SystemFiles, sync_path
from node.storage.kv import KeyValueStore, WriteBatch
from node.storage.segment import HEAD_BYTES
from tests.crash.cells import (
    RECORD_POINTS,
    ROTATION,
    START_UP,
    SWITCH,
    Cell,
    Point,
    batch_kinds_of,
    frames,
    record_kinds_of,
)
from tests.unit.storage.engines import DISK_ENGINES

PIPE: Final = "trap"
DISARM: Final = "-"
DEATH: Final = "death"
"""Written at the moment of the kill: which cell it was."""
HEARD: Final = "heard"
"""What peers signed and this validator received: messages, each after its length in 4 bytes."""
SEGMENT_BYTES: Final = 262_144
"""Size at which the log is replaced: small, so that it happens in a run of minutes."""

_SIGNED: Final = frozenset(
    {
        MessageKind.NEW_VIEW,
        MessageKind.VIEW_CHANGE,
        MessageKind.VOTE,
        MessageKind.DECIDED,
        MessageKind.PROPOSAL,
    }
)


class Trap:
    """Kills this process at the cell it was told."""

    def __init__(self, home: Path) -> None:
        config = NodeConfig.load(home)
        genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
        index = genesis.validators.index_of(config.validator_id)
        assert index is not None
        self.home, self.suite, self.index = home, genesis.suite, index
        self.ledger_name = config.data.name
        self.draft_name, self.ready_name = f"{self.ledger_name}.draft", f"{self.ledger_name}.ready"
        self.switch = frozenset({SWITCH})
        self.named: Point | None = None
        """Which name a draft was given last."""
        self.is_starting = True
        self._cell: Cell | None = None
        self._left = 0
        """How often the cell is still passed by, the last of which is death."""
        self._heard = os.open(home / HEARD, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._pipe = os.open(home / PIPE, os.O_RDONLY | os.O_NONBLOCK)  # else it waits for a writer
        os.set_blocking(self._pipe, True)
        if select.select([self._pipe], [], [], 0)[0]:
            self._listen()

    def watch(self) -> None:
        """Be told of other cells from now on."""
        threading.Thread(target=self._watch, name="trap", daemon=True).start()

    def _watch(self) -> None:
        while True:
            self._listen()

    def _listen(self) -> None:
        told = os.read(self._pipe, 200)
        if not told:  # the end of the pipe: nobody can tell us anything, or end us, any more
            os.kill(os.getpid(), signal.SIGKILL)
        line = told.decode().splitlines()[-1]
        if line == DISARM:
            self._cell = None
            return
        point, kind, left = line.split()
        self._left = int(left)
        self._cell = Cell(Point(point), kind)

    # --- what the wrapped classes ask ---

    @property
    def segment_kind(self) -> str:
        """What a new segment of the log is made for now."""
        return START_UP if self.is_starting else ROTATION

    def expects(self, *points: Point) -> bool:
        """Whether death waits at one of these points: else what is written is not looked at."""
        return self._cell is not None and self._cell.point in points

    def expects_kind(self, kind: str) -> bool:
        """Whether death waits for this kind, wherever."""
        return self._cell is not None and self._cell.kind == kind

    def is_due(self, point: Point, kinds: frozenset[str]) -> bool:
        """Whether this process dies here."""
        if self._cell is None or self._cell.point is not point or self._cell.kind not in kinds:
            return False
        self._left -= 1
        return self._left <= 0

    def reach(self, point: Point, kinds: frozenset[str]) -> None:
        """Die here, if it is time."""
        if self.is_due(point, kinds):
            self.die()

    def die(self) -> NoReturn:
        """Leave a note, and go at once."""
        self.note_death()
        os.kill(os.getpid(), signal.SIGKILL)
        while True:
            signal.pause()

    def note_death(self) -> None:
        """Leave a note of where this process ends."""
        (self.home / DEATH).write_text(f"{self._cell}\n")

    def kind(self) -> str:
        """Return the kind that death waits for."""
        return "" if self._cell is None else self._cell.kind

    def hear(self, messages: Sequence[bytes]) -> None:
        """Keep what a peer signed; an envelope is an array of two, kind first."""
        signed = [message for message in messages if message[1] in _SIGNED]
        if signed:
            framed = [len(message).to_bytes(4, "big") + message for message in signed]
            os.write(self._heard, b"".join(framed))


class WatchedFiles(SystemFiles):
    """The file system, with the trap at every step of the log."""

    def __init__(self, trap: Trap) -> None:
        self._trap = trap
        self._unnamed: dict[Path, WatchedFile] = {}

    def create(self, path: Path) -> WatchedFile:  # type: ignore[override] # wraps what it returns
        self._reach(Point.BEFORE_SEGMENT)
        file = WatchedFile(super().create(path), path, self._trap)
        self._unnamed[path] = file
        return file

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        self._unnamed.pop(source).take_name(target)
        self._reach(Point.SEGMENT_NAMED)

    def remove(self, path: Path) -> None:
        super().remove(path)
        if path.suffix == ".wal":
            self._reach(Point.OLD_REMOVED)

    def sync_directory(self, directory: Path) -> None:
        super().sync_directory(directory)
        self._reach(Point.NAME_SYNCED)

    def _reach(self, point: Point) -> None:
        self._trap.reach(point, frozenset({self._trap.segment_kind}))


class WatchedFile:
    """A segment of the log."""

    def __init__(self, file: AppendFile, path: Path, trap: Trap) -> None:
        self._file, self._path, self._trap = file, path, trap
        self._has_name = False
        self._size_bytes = self._synced_bytes = 0
        self._unsynced: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        """Nothing is written between the loss of power and death."""

    def take_name(self, path: Path) -> None:
        """Note that what is written from now on is appended to the log."""
        self._path, self._has_name = path, True

    def write(self, data: bytes) -> None:
        with self._lock:
            if self._has_name:
                self._append(data)
            else:
                self._write(data)
                self._trap.reach(Point.SEGMENT_WRITTEN, frozenset({self._trap.segment_kind}))

    def _append(self, data: bytes) -> None:
        trap = self._trap
        kinds = self._kinds(data)
        trap.reach(Point.BEFORE_WRITE, kinds)
        if trap.is_due(Point.TORN_WRITE, kinds):
            self._write(data[: self._middle_of(data, trap.kind())])
            trap.die()
        if trap.is_due(Point.NO_SPACE, kinds):
            trap.note_death()
            self._write(data[: self._middle_of(data, trap.kind())])
            raise OSError(errno.ENOSPC, "No space left on device")
        self._write(data)
        self._unsynced |= kinds
        trap.reach(Point.AFTER_WRITE, kinds)

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._size_bytes += len(data)

    def _kinds(self, data: bytes) -> frozenset[str]:
        if not self._trap.expects(*RECORD_POINTS):
            return frozenset()
        return frozenset().union(*(found for found, _, _ in self._records(data)))

    def _middle_of(self, data: bytes, kind: str) -> int:
        return next(
            (start + end) // 2 for kinds, start, end in self._records(data) if kind in kinds
        )

    def _records(self, data: bytes) -> list[tuple[frozenset[str], int, int]]:
        trap = self._trap
        return [
            (
                record_kinds_of(kind, data[start + HEAD_BYTES : end], trap.index, trap.suite),
                start,
                end,
            )
            for kind, start, end in frames(data)
        ]

    def sync(self) -> None:
        with self._lock:
            covered, self._unsynced = self._unsynced, frozenset()
            size_bytes = self._size_bytes
            if self._trap.is_due(Point.POWER_LOSS, covered):
                os.truncate(self._path, self._synced_bytes)
                self._trap.die()
        self._file.sync()
        self._synced_bytes = size_bytes
        if self._has_name:
            self._trap.reach(Point.AFTER_SYNC, covered)
        else:
            self._trap.reach(Point.SEGMENT_SYNCED, frozenset({self._trap.segment_kind}))

    def close(self) -> None:
        self._file.close()


def write_watched(
    store: KeyValueStore,
    batch: WriteBatch,
    *,
    sync: bool,
    trap: Trap,
    log_pattern: str,
    write: Callable[..., None],
) -> None:
    """Write a batch to the ledger, with the trap before, in and after it."""
    path: Path = vars(store)["_path"]
    kinds = batch_kinds_of(
        batch,
        trap.suite,
        is_starting=trap.is_starting,
        is_draft=path.name == trap.draft_name,
    )
    trap.reach(Point.BEFORE_BATCH, kinds)
    sizes = {log: log.stat().st_size for log in path.glob(log_pattern)}
    write(store, batch, sync=sync)
    if trap.is_due(Point.TORN_BATCH, kinds):
        newest = max(path.glob(log_pattern))
        before = sizes.get(newest, 0)
        os.truncate(newest, (before + newest.stat().st_size) // 2)
        trap.die()
    trap.reach(Point.AFTER_BATCH, kinds)


def rename_watched(
    source: Path, target: Path, *, trap: Trap, rename: Callable[[Path, Path], Path]
) -> Path:
    """Give a file or folder its new name, with the trap around the two names of a draft."""
    named = {trap.draft_name: Point.READY_NAMED, trap.ready_name: Point.LEDGER_NAMED}
    if source.name == trap.draft_name:
        trap.reach(Point.DRAFT_WHOLE, trap.switch)
    renamed = rename(source, target)
    if source.name in named:
        trap.named = named[source.name]
        trap.reach(trap.named, trap.switch)
    return renamed


def watch_switch(trap: Trap) -> None:
    """Wrap the steps from a draft to the ledger: nothing else here renames or removes a folder."""
    remove: Callable[[Path], None] = vars(draft_folder)["_remove"]

    def remove_watched(folder: Path) -> None:
        is_ledger = folder.name == trap.ledger_name
        if is_ledger and trap.is_due(Point.LEDGER_TORN, trap.switch):
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            for file in files[: len(files) // 2]:
                file.unlink()
            trap.die()
        remove(folder)
        if is_ledger:
            trap.reach(Point.LEDGER_GONE, trap.switch)

    def sync_watched(folder: Path) -> None:
        sync_path(folder)
        is_ready = trap.named is Point.READY_NAMED
        trap.reach(Point.READY_SYNCED if is_ready else Point.LEDGER_SYNCED, trap.switch)

    watched = partialmethod(rename_watched, trap=trap, rename=Path.rename)
    patch.object(Path, "rename", watched).start()
    patch.object(draft_folder, "_remove", remove_watched).start()
    patch.object(draft_folder, "sync_path", sync_watched).start()


def set_trap(trap: Trap) -> None:
    """Wrap what persists."""
    received, start = Runner.received, Engine.start
    target_due: Callable[[wal.WriteAheadLog], bool] = vars(wal.WriteAheadLog)["rotation_due"].fget

    def hear(runner: Runner, peer: int, messages: Sequence[bytes]) -> None:
        trap.hear(messages)
        received(runner, peer, messages)

    def begin(engine: Engine, now: Now) -> None:
        trap.is_starting = False
        start(engine, now)

    def due(log: wal.WriteAheadLog) -> bool:
        return trap.expects_kind(ROTATION) or target_due(log)

    for disk in DISK_ENGINES:
        watched = partialmethod(
            write_watched, trap=trap, log_pattern=disk.log_pattern, write=disk.store.write
        )
        patch.object(disk.store, "write", watched).start()
    watch_switch(trap)
    patch.object(Runner, "received", hear).start()
    patch.object(Engine, "start", begin).start()
    patch.object(wal.WriteAheadLog, "rotation_due", property(due)).start()
    patch.object(wal, "SystemFiles", lambda: WatchedFiles(trap)).start()
    patch.object(wal, "SEGMENT_BYTES_TARGET", SEGMENT_BYTES).start()


def main() -> int:
    """Run the node of `--home` with its trap."""
    trap = Trap(Path(sys.argv[sys.argv.index("--home") + 1]))
    set_trap(trap)
    trap.watch()
    return govchain()


if __name__ == "__main__":
    sys.exit(main())
