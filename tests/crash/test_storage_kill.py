"""Real processes writing to the log and to each engine, killed in full flight."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.storage.wal import WriteAheadLog
from tests.unit.storage.engines import DISK_ENGINES, DiskEngine

IDENTITY = bytes(range(32))

LOG_WRITER = """
import sys
from pathlib import Path
from node.storage.wal import WriteAheadLog
log, _ = WriteAheadLog.open(Path(sys.argv[1]), bytes(range(32)))
number = log.last_lsn
while True:
    for _ in range(7):
        number += 1
        log.append([(number % 256, b"%d:" % number + bytes(number % 5_000))])
    if number % 3 == 0:
        log.begin_rotation([(0, b"%d" % number)])
        number += 1
    print(log.sync(), flush=True)
"""

STORE_WRITER = """
import sys
from pathlib import Path
from node.storage.kv import WriteBatch
from node.storage.disk_engine import EngineOptions
from tests.unit.storage.engines import DISK_ENGINES
(engine,) = (each for each in DISK_ENGINES if each.name == sys.argv[2])
options = EngineOptions(write_buffer_bytes=65_536)
store = engine.open(Path(sys.argv[1]), create=True, options=options)
number = int(store.get(b"left") or b"0")
while True:
    number += 1
    batch = WriteBatch()
    batch.put(b"left", b"%d" % number)
    batch.put(b"%012d" % number, bytes(3_000))
    batch.put(b"right", b"%d" % number)
    store.write(batch, sync=number % 10 == 0)
    print(number, flush=True)
"""


def last_number_before_the_kill(program: str, directory: Path, lines: int, *more: str) -> int:
    """Run `program` until it has reported `lines` times, kill it, return its last whole report."""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(directory), *more], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        reports = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        reports += process.stdout.readlines()
    assert all(report.endswith("\n") for report in reports[:lines])
    return int([report for report in reports if report.endswith("\n")][-1])


@pytest.mark.parametrize("lines", [1, 20, 60])
def test_a_killed_writer_of_the_log_loses_nothing_it_had_synced(tmp_path: Path, lines: int) -> None:
    directory = tmp_path / "wal"
    WriteAheadLog.create(directory, IDENTITY)
    for _ in range(2):
        reported = last_number_before_the_kill(LOG_WRITER, directory, lines)
        log, replay = WriteAheadLog.open(directory, IDENTITY)
        assert log.last_lsn >= reported
        first = log.last_lsn - len(replay.records) + 1
        for lsn, record in enumerate(replay.records, start=first):
            snapshot = (0, b"%d" % (lsn - 1))
            appended = (lsn % 256, b"%d:" % lsn + bytes(lsn % 5_000))
            assert record in {snapshot, appended}
        log.close()


@pytest.mark.parametrize("lines", [1, 100])
@pytest.mark.parametrize("engine", DISK_ENGINES, ids=lambda engine: engine.name)
def test_a_killed_writer_of_the_store_leaves_whole_batches_and_all_it_had_written(
    tmp_path: Path, engine: DiskEngine, lines: int
) -> None:
    for _ in range(2):
        reported = last_number_before_the_kill(STORE_WRITER, tmp_path / "db", lines, engine.name)
        store = engine.open(tmp_path / "db", create=False)
        left = int(store.get(b"left") or b"0")
        assert left >= reported
        assert store.get(b"right") == b"%d" % left
        numbers = [int(key) for key, _ in store.scan(b"0")]
        assert numbers == list(range(1, left + 1))
        store.close()
