"""The write-ahead log on a disk that fails: every operation, both ways, torn at every byte.

The property, after any failure followed by a restart of the process or a power loss: the log opens,
replays every record covered by a completed sync, in order, invents none, and takes new records.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import StorageError
from node.storage.wal import Record, Replay, WriteAheadLog
from tests.crash.disk import Fault, ModelDisk

DIRECTORY = Path("/wal")
IDENTITY = bytes(range(32))
NEW = Record(9, b"after the crash")

Records = tuple[Record, ...]


@dataclass(frozen=True)
class Late:
    """Records that another thread appends while the next sync waits for the disk."""

    records: list[Record]


Step = str | list[Record] | Late  # records to append, "begin" (a rotation) or "sync"

# The content a restart may find: at least the first records, at most the second, in order.
Allowed = list[tuple[Records, Records]]


def record(number: int) -> Record:
    return Record(number % 256, b"%d" % number * 3)


SCRIPT: list[Step] = [
    [record(1)],
    "sync",
    [record(2), record(3)],
    [record(4)],
    "sync",
    [record(5)],
    "begin",
    "sync",
    [record(6), Record(0, b"")],
    Late([record(8)]),
    "sync",
    "begin",
    [record(9)],
    Late([record(10), record(11)]),
    "sync",
    [record(7)],
]


def fresh_disk() -> ModelDisk:
    disk = ModelDisk()
    WriteAheadLog.create(DIRECTORY, IDENTITY, filesystem=disk)
    return disk


def open_log(disk: ModelDisk) -> tuple[WriteAheadLog, Replay]:
    return WriteAheadLog.open(DIRECTORY, IDENTITY, filesystem=disk)


def rotate(log: WriteAheadLog, snapshot: Sequence[Record]) -> int:
    log.begin_rotation(snapshot)
    return log.sync()


def snapshot_of(written: Records) -> Records:
    """Return the live state a rotation keeps: here, the newest record, marked."""
    return tuple(Record(200, b"live " + kept.payload) for kept in written[-1:])


def play(disk: ModelDisk, steps: Sequence[Step], held: Records = ()) -> Allowed:
    """Run `steps` on a log that durably holds `held`, until the disk fails.

    Returns what may be found afterwards.
    """
    durable = written = held
    rotated: Records | None = None  # what the log becomes, once a rotation was begun
    late: Records = ()
    try:
        log, replay = open_log(disk)
        assert replay.records == held
        for step in steps:
            if isinstance(step, Late):
                late = tuple(step.records)
                disk.meanwhile = partial(log.append, late)
            elif step == "begin" and rotated is None:
                rotated = snapshot_of(written)
                log.begin_rotation(rotated)
            elif step == "sync":
                target = written if rotated is None else rotated
                has_synced = rotated is not None or durable != written
                if has_synced:
                    written += late
                try:
                    log.sync()
                except StorageError:
                    allowed = [(durable, written)]
                    return allowed if rotated is None else [*allowed, (target, target + late)]
                durable = target
                if rotated is not None:
                    written, rotated = target + late, None
                late = () if has_synced else late
            elif isinstance(step, list):
                written += tuple(step)
                rotated = None if rotated is None else rotated + tuple(step)
                log.append(step)
    except StorageError:
        pass
    finally:
        disk.meanwhile = None
    return [(durable, written)]


def check(disk: ModelDisk, allowed: Allowed) -> Records:
    """Hold the log on `disk` against the property; return what it durably holds afterwards."""
    log, replay = open_log(disk)
    found = replay.records
    assert any(
        found[: len(least)] == least == most[: len(least)] and found == most[: len(found)]
        for least, most in allowed
    ), (found, allowed)
    assert log.append([NEW]) == log.sync() == log.durable_lsn
    again, replay = open_log(disk.after_power_loss(changes_kept=0, bytes_kept=0))
    assert replay.records == (*found, NEW)
    assert again.last_lsn == log.last_lsn
    return replay.records


def restarts(disk: ModelDisk) -> Iterator[ModelDisk]:
    """Yield every disk that a power loss may leave."""
    for changes_kept in range(disk.unsynced_changes + 1):
        for bytes_kept in range(disk.unsynced_bytes + 1):
            yield disk.after_power_loss(changes_kept=changes_kept, bytes_kept=bytes_kept)


def operations_of(steps: Sequence[Step]) -> int:
    disk = fresh_disk()
    disk.fail(None)
    play(disk, steps)
    return disk.operations


OPERATIONS = operations_of(SCRIPT)


def failed_run(fault: Fault) -> tuple[ModelDisk, Allowed]:
    disk = fresh_disk()
    disk.fail(fault)
    allowed = play(disk, SCRIPT)
    disk.fail(None)
    return disk, allowed


LAST = (record(10), record(11), record(7))


def test_the_script_reaches_every_kind_of_operation() -> None:
    disk = fresh_disk()
    assert play(disk, SCRIPT) == [
        (
            (Record(200, b"live " + record(8).payload), record(9)),
            (Record(200, b"live " + record(8).payload), record(9), *LAST),
        )
    ]
    assert OPERATIONS > 25


@pytest.mark.parametrize("applied", [False, True], ids=["not persisted", "persisted"])
@pytest.mark.parametrize("operation", range(OPERATIONS + 1))
def test_any_operation_fails_and_the_power_goes(operation: int, *, applied: bool) -> None:
    disk, allowed = failed_run(Fault(operation, applied))
    for restarted in restarts(disk):
        check(restarted, allowed)


@pytest.mark.parametrize("applied", [False, True], ids=["not persisted", "persisted"])
@pytest.mark.parametrize("operation", range(OPERATIONS + 1))
def test_any_operation_fails_and_the_process_restarts(operation: int, *, applied: bool) -> None:
    disk, allowed = failed_run(Fault(operation, applied))
    check(disk, allowed)


@pytest.mark.parametrize("operation", range(OPERATIONS))
def test_any_write_is_torn_at_any_byte_and_the_process_restarts(operation: int) -> None:
    for bytes_written in range(200):
        disk, allowed = failed_run(Fault(operation, applied=False, bytes_written=bytes_written))
        check(disk, allowed)


@pytest.mark.parametrize("applied", [False, True], ids=["not persisted", "persisted"])
@pytest.mark.parametrize("operation", range(OPERATIONS + 1))
def test_recovery_itself_fails_at_any_operation(operation: int, *, applied: bool) -> None:
    disk, allowed = failed_run(Fault(operation, applied))
    changes, tail = disk.unsynced_changes, disk.unsynced_bytes
    for changes_kept, bytes_kept in {(0, 0), (changes, tail // 2), (changes, tail)}:
        for fault in (Fault(number, how) for number in range(8) for how in (False, True)):
            recovering = disk.after_power_loss(changes_kept=changes_kept, bytes_kept=bytes_kept)
            recovering.fail(fault)
            with suppress(StorageError):
                open_log(recovering)
            recovering.fail(None)
            check(recovering.after_power_loss(changes_kept=0, bytes_kept=0), allowed)
            check(recovering, allowed)


def test_no_recovery_takes_more_operations_than_the_test_above_fails() -> None:
    disk = fresh_disk()
    rotated_half = disk.after_power_loss(changes_kept=0, bytes_kept=0)
    rotated_half.create(DIRECTORY / "0000000000000002.wal.tmp")
    rotated_half.fail(None)
    open_log(rotated_half)
    assert rotated_half.operations < 8


@pytest.mark.parametrize("applied", [False, True], ids=["not persisted", "persisted"])
@pytest.mark.parametrize("operation", range(6))
def test_creation_fails_at_any_operation_and_is_repeated(operation: int, *, applied: bool) -> None:
    disk = ModelDisk()
    disk.fail(Fault(operation, applied))
    with suppress(StorageError):
        WriteAheadLog.create(DIRECTORY, IDENTITY, filesystem=disk)
    disk.fail(None)
    for restarted in restarts(disk):
        try:
            names = restarted.names(DIRECTORY)
        except FileNotFoundError:
            names = []
        if "0000000000000001.wal" not in names:
            with pytest.raises(StorageError, match="found none"):
                open_log(restarted)
            WriteAheadLog.create(DIRECTORY, IDENTITY, filesystem=restarted)
        log, replay = open_log(restarted)
        assert replay.records == ()
        assert log.append([NEW]) == log.sync() == 1


def test_after_a_failed_sync_the_log_takes_no_more_calls() -> None:
    disk = fresh_disk()
    log, _ = open_log(disk)
    log.append([record(1)])
    disk.fail(Fault(0, applied=False))
    with pytest.raises(StorageError, match="disk refused"):
        log.sync()
    for call in (log.sync, lambda: log.append([record(2)]), lambda: rotate(log, [])):
        with pytest.raises(StorageError, match="no more calls"):
            call()
    assert log.durable_lsn == 0
    log.close()


def test_a_sync_that_failed_unnoticed_does_not_betray_the_next_process() -> None:
    """The page cache shows what the disk lacks; what `open` hands out must be durable anyway."""
    disk = fresh_disk()
    log, _ = open_log(disk)
    log.append([record(1)])
    disk.fail(Fault(0, applied=False))
    with pytest.raises(StorageError):
        log.sync()
    disk.fail(None)
    _, replay = open_log(disk)
    assert replay.records == (record(1),)
    _, replay = open_log(disk.after_power_loss(changes_kept=0, bytes_kept=0))
    assert replay.records == (record(1),)


def test_a_superseded_segment_that_comes_back_does_not_count() -> None:
    """The other order of a rotation cut short: the new segment is there and so is the old one."""
    disk = fresh_disk()
    log, _ = open_log(disk)
    log.append([record(1)])
    log.sync()
    # create, write, sync, write of what came late, rename, sync of the directory | remove
    disk.fail(Fault(6, applied=False))
    with pytest.raises(StorageError):
        rotate(log, [record(2)])
    disk.fail(None)
    assert sorted(disk.names(DIRECTORY)) == ["0000000000000002.wal", "0000000000000003.wal"]
    check(disk, [((record(2),), (record(2),))])


records = st.builds(Record, st.integers(0, 255), st.binary(max_size=6))
appended = st.lists(records, max_size=3)
steps = st.lists(
    appended | st.builds(Late, appended) | st.sampled_from(["begin", "sync"]), max_size=12
)


@settings(max_examples=300)
@given(
    lives=st.lists(
        st.tuples(steps, st.integers(0, 60), st.booleans(), st.integers(0, 80)), max_size=4
    ),
    power_losses=st.lists(
        st.none() | st.tuples(st.integers(0, 6), st.integers(0, 80)), min_size=4, max_size=4
    ),
)
def test_any_life_ends_in_any_crash_and_the_next_life_goes_on(
    lives: list[tuple[list[Step], int, bool, int]],
    power_losses: list[tuple[int, int] | None],
) -> None:
    disk = fresh_disk()
    held: Records = ()
    for (script, operation, applied, torn), power_loss in zip(lives, power_losses, strict=False):
        disk.fail(Fault(operation, applied, torn))
        allowed = play(disk, script, held)
        disk.fail(None)
        if power_loss is not None:
            changes_kept, bytes_kept = power_loss
            disk = disk.after_power_loss(changes_kept=changes_kept, bytes_kept=bytes_kept)
        held = check(disk, allowed)
