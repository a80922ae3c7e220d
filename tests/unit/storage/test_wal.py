"""The write-ahead log on the operating system's files; tests/crash puts it on a failing disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.errors import InvariantViolation, StorageError
from node.storage import wal
from node.storage.filesystem import SystemFile, SystemFiles
from node.storage.segment import HEADER_BYTES
from node.storage.wal import Record, WalCorruption, WriteAheadLog

IDENTITY = bytes(range(32))
A, B, C = Record(1, b"a"), Record(2, b"b"), Record(3, b"c")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    WriteAheadLog.create(tmp_path / "wal", IDENTITY)
    return tmp_path / "wal"


def segment_of(directory: Path) -> Path:
    (path,) = directory.iterdir()
    return path


def rotate(log: WriteAheadLog, snapshot: Sequence[Record]) -> int:
    log.begin_rotation(snapshot)
    return log.sync()


def test_a_new_log_is_empty_and_owned_by_its_user_alone(directory: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o700
    assert segment_of(directory).stat().st_mode & 0o777 == 0o600
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == ()
    assert replay.dropped_bytes == 0
    assert (log.last_lsn, log.durable_lsn, log.fsync_count) == (0, 0, 0)
    log.close()


def test_records_come_back_in_order_and_numbers_go_on(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    assert log.append([A, B]) == 2
    assert (log.last_lsn, log.durable_lsn) == (2, 0)
    assert log.sync() == log.durable_lsn == 2
    assert log.append([C]) == 3
    log.close()
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (A, B, C)
    assert (log.last_lsn, log.durable_lsn) == (3, 3)
    assert log.append([A]) == 4
    log.close()


def test_one_sync_covers_all_that_was_appended_and_an_idle_one_costs_nothing(
    directory: Path,
) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    for _ in range(5):
        log.append([A, B])
    assert log.sync() == 10
    assert log.sync() == 10
    assert log.fsync_count == 1
    assert log.append([]) == 10
    assert log.sync() == 10
    assert log.fsync_count == 1
    log.close()


def test_rotation_replaces_the_log_by_its_snapshot(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.append([A, B])
    before = segment_of(directory)
    assert rotate(log, [C]) == log.durable_lsn == log.last_lsn == 3
    assert log.fsync_count == 2
    assert segment_of(directory) != before
    assert log.append([A]) == 4
    log.close()
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (C, A)
    assert log.last_lsn == 4
    log.close()


def test_rotation_falls_due_by_size_and_not_for_the_snapshot_alone(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal, "SEGMENT_BYTES_TARGET", 1_000)
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    due = [log.rotation_due]
    log.append([Record(1, bytes(1_000))])
    due.append(log.rotation_due)
    rotate(log, [Record(1, bytes(5_000))])
    due.append(log.rotation_due)
    log.append([Record(1, bytes(4_000))])
    due.append(log.rotation_due)
    log.append([Record(1, bytes(2_000))])
    due.append(log.rotation_due)
    assert due == [False, True, False, False, True]
    log.close()


def test_a_torn_tail_is_dropped_and_counted(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.append([A, B])
    log.close()
    with segment_of(directory).open("ab") as file:
        file.write(wal.encode_record(*C)[:-1])
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (A, B)
    assert replay.dropped_bytes == len(wal.encode_record(*C)) - 1
    log.append([C])
    log.close()
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (A, B, C)
    assert replay.dropped_bytes == 0
    log.close()


def test_a_damaged_log_is_refused_and_left_as_it_is(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.append([A, B, C])
    log.close()
    path = segment_of(directory)
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES] ^= 1
    path.write_bytes(content)
    for _ in range(2):
        with pytest.raises(WalCorruption):
            WriteAheadLog.open(directory, IDENTITY)
        assert segment_of(directory).read_bytes() == content


def test_what_a_start_replayed_is_never_taken_for_a_torn_tail(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.append([A])
    log.close()
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.close()
    path = segment_of(directory)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WalCorruption, match="record 1 was durable"):
        WriteAheadLog.open(directory, IDENTITY)


def test_a_snapshot_is_never_taken_for_a_torn_tail(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.append([A])
    rotate(log, [B, C])
    log.close()
    path = segment_of(directory)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WalCorruption, match="record 3 was durable"):
        WriteAheadLog.open(directory, IDENTITY)


def test_what_was_synced_with_a_snapshot_is_never_taken_for_a_torn_tail(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.begin_rotation([A])
    log.append([B])
    log.sync()
    log.close()
    path = segment_of(directory)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WalCorruption, match="record 2 was durable"):
        WriteAheadLog.open(directory, IDENTITY)


def test_a_missing_log_is_refused_whether_its_directory_is_there_or_not(directory: Path) -> None:
    segment_of(directory).unlink()
    (directory / "0000000000000001.wal.tmp").write_bytes(b"never finished")
    for path in (directory, directory / "absent"):
        with pytest.raises(StorageError, match="may already have voted") as caught:
            WriteAheadLog.open(path, IDENTITY)
        assert caught.value.code == "GC-3005"
        assert "new key" in caught.value.fix
    WriteAheadLog.create(directory, IDENTITY)
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == ()
    assert len(list(directory.iterdir())) == 1
    log.close()


def test_an_existing_log_is_never_created_again(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.append([A])
    log.close()
    with pytest.raises(StorageError, match="expected no log") as caught:
        WriteAheadLog.create(directory, IDENTITY)
    assert caught.value.code == "GC-3008"
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (A,)
    log.close()


def test_a_log_of_another_validator_is_refused_and_left_as_it_is(directory: Path) -> None:
    before = segment_of(directory).read_bytes()
    with pytest.raises(StorageError, match="belongs to validator 0001") as caught:
        WriteAheadLog.open(directory, bytes(32))
    assert caught.value.code == "GC-3007"
    assert segment_of(directory).read_bytes() == before


def test_a_segment_under_another_number_is_refused(directory: Path) -> None:
    path = segment_of(directory)
    path.rename(directory / "0000000000000009.wal")
    with pytest.raises(WalCorruption, match="expected segment 9, got 1"):
        WriteAheadLog.open(directory, IDENTITY)


def test_foreign_files_in_the_directory_are_left_alone(directory: Path) -> None:
    (directory / "notes.txt").write_text("kept")
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.close()
    assert (directory / "notes.txt").read_text() == "kept"


def test_a_directory_without_a_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file") as caught:
        WriteAheadLog.create(tmp_path / "absent" / "wal", IDENTITY)
    assert caught.value.code == "GC-3001"


def test_a_closed_log_takes_no_more_calls_and_closes_twice(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.close()
    log.close()
    for call in (log.sync, lambda: log.append([A]), lambda: log.begin_rotation([A])):
        with pytest.raises(StorageError, match="closed"):
            call()


class FullDisk(SystemFiles):
    def create(self, path: Path) -> SystemFile:
        super().create(path).close()
        return SystemFile(os.open("/dev/full", os.O_WRONLY))


def test_a_full_disk_is_named(directory: Path) -> None:
    with pytest.raises(StorageError, match="disk is full") as caught:
        WriteAheadLog.open(directory, IDENTITY, filesystem=FullDisk())
    assert caught.value.code == "GC-3004"
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.close()


class GatedFile(SystemFile):
    """A file whose sync waits for the test."""

    syncing = threading.Event()
    proceed = threading.Event()

    def sync(self) -> None:
        self.syncing.set()
        assert self.proceed.wait(timeout=10)
        super().sync()


class GatedFiles(SystemFiles):
    def create(self, path: Path) -> GatedFile:
        return GatedFile(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def test_appending_goes_on_while_a_sync_runs_and_waits_for_the_next(directory: Path) -> None:
    GatedFile.proceed.set()
    log, _ = WriteAheadLog.open(directory, IDENTITY, filesystem=GatedFiles())
    log.append([A])
    GatedFile.proceed.clear()
    GatedFile.syncing.clear()
    worker = threading.Thread(target=log.sync)
    worker.start()
    assert GatedFile.syncing.wait(timeout=10)
    assert log.append([B]) == 2
    assert log.durable_lsn == 0
    GatedFile.proceed.set()
    worker.join(timeout=10)
    assert log.durable_lsn == 1
    assert log.sync() == 2
    log.close()


def test_appending_goes_on_during_a_rotation_and_none_of_it_is_lost(directory: Path) -> None:
    GatedFile.proceed.set()
    log, _ = WriteAheadLog.open(directory, IDENTITY, filesystem=GatedFiles())
    log.append([A])
    log.begin_rotation([C])
    log.append([B])
    GatedFile.proceed.clear()
    GatedFile.syncing.clear()
    worker = threading.Thread(target=log.sync)
    worker.start()
    assert GatedFile.syncing.wait(timeout=10)
    assert log.append([A]) == 4
    GatedFile.proceed.set()
    worker.join(timeout=10)
    assert log.durable_lsn == 3  # what came during the sync waits for the next
    log.close()
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (C, B, A)
    assert log.last_lsn == 4
    log.close()


def test_a_second_rotation_begins_when_the_first_is_complete(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)
    log.begin_rotation([A])
    with pytest.raises(InvariantViolation):
        log.begin_rotation([B])
    log.close()


def test_many_threads_append_and_sync_and_every_record_is_there_once(directory: Path) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY)

    def work(thread: int) -> None:
        for number in range(50):
            lsn = log.append([Record(thread, b"%d" % number)])
            assert log.sync() >= lsn

    workers = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert log.durable_lsn == 200
    assert log.fsync_count <= 200
    log.close()
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    for thread in range(4):
        own = [record.payload for record in replay.records if record.kind == thread]
        assert own == [b"%d" % number for number in range(50)]
    log.close()


class Interrupting(SystemFile):
    """A file whose write is interrupted by the user half-way."""

    armed = False

    def write(self, data: bytes) -> None:
        if self.armed:
            super().write(data[: len(data) // 2])
            raise KeyboardInterrupt
        super().write(data)


class InterruptingFiles(SystemFiles):
    def create(self, path: Path) -> Interrupting:
        return Interrupting(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))


def test_an_interrupted_append_stops_the_log_and_leaves_a_torn_tail(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, _ = WriteAheadLog.open(directory, IDENTITY, filesystem=InterruptingFiles())
    log.append([A])
    monkeypatch.setattr(Interrupting, "armed", True)
    with pytest.raises(KeyboardInterrupt):
        log.append([B])
    with pytest.raises(StorageError, match="no more calls"):
        log.append([C])
    log.close()
    log, replay = WriteAheadLog.open(directory, IDENTITY)
    assert replay.records == (A,)
    log.close()
