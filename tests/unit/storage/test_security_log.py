"""The security log: every change is seen, a crash is survived, a flood is counted."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from node.errors import ConfigError, ProofError
from node.storage import security_log
from node.storage.security_log import (
    FIRST,
    Head,
    SecurityLog,
    check_log,
    line_digest,
    read_log,
)


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        self.ms += 1
        return self.ms


def written(folder: Path, count: int = 5, clock: Clock | None = None) -> Head:
    log = SecurityLog(folder, "gateway", clock or Clock())
    for number in range(count):
        log.write("records.create", "allowed", f"app-{number}", status=201)
    log.close()
    return log.head


def only_file(folder: Path) -> Path:
    (path,) = folder.glob("*.jsonl")
    return path


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    head = written(tmp_path)
    entries = list(read_log(tmp_path))
    assert check_log(tmp_path) == head == Head(6, entries[-1].digest)
    assert [entry.fields["what"] for entry in entries] == ["log.begun", *["records.create"] * 5]
    assert entries[3].fields == {
        "number": 3,
        "time_ms": 1_000_004,
        "source": "gateway",
        "what": "records.create",
        "outcome": "allowed",
        "who": "app-2",
        "status": 201,
    }
    assert only_file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_every_changed_byte_is_seen(tmp_path: Path) -> None:
    head = written(tmp_path, 2)
    path = only_file(tmp_path)
    data = path.read_bytes()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(ProofError):
            check_log(tmp_path)
    path.write_bytes(data)
    assert check_log(tmp_path) == head


@pytest.mark.parametrize("line", range(5))
def test_lines_removed_doubled_or_exchanged_are_seen(tmp_path: Path, line: int) -> None:
    written(tmp_path)
    path = only_file(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    exchanged = [*lines]
    exchanged[line], exchanged[line + 1] = lines[line + 1], lines[line]
    for broken in (lines[:line] + lines[line + 1 :], lines[: line + 1] + lines[line:], exchanged):
        path.write_bytes(b"".join(broken))
        with pytest.raises(ProofError) as error:
            check_log(tmp_path)
        assert error.value.rule in {"log-hash", "log-number"}


def test_a_line_made_up_with_a_right_hash_needs_the_right_number(tmp_path: Path) -> None:
    head = written(tmp_path)
    body = msgspec.json.encode({"number": 9, "what": "made up"})
    digest = line_digest(head.digest, body)
    with only_file(tmp_path).open("ab") as file:
        file.write(body[:-1] + b',"hash":"' + digest.hex().encode() + b'"}\n')
    with pytest.raises(ProofError, match="says 9"):
        check_log(tmp_path)


def test_a_line_made_up_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    head = written(tmp_path)
    body = b'{"number":' + b"[" * 5_000 + b"}"
    digest = line_digest(head.digest, body)
    with only_file(tmp_path).open("ab") as file:
        file.write(body[:-1] + b',"hash":"' + digest.hex().encode() + b'"}\n')
    with pytest.raises(ProofError, match="recursion"):
        check_log(tmp_path)


def test_what_a_crash_left_half_written_is_cut_and_told(tmp_path: Path) -> None:
    head = written(tmp_path)
    with only_file(tmp_path).open("ab") as file:
        file.write(b'{"number":6,"what":"half')
    log = SecurityLog(tmp_path, "gateway", Clock())
    assert log.head.size == head.size + 1
    log.close()
    last = list(read_log(tmp_path))[-1]
    assert (last.fields["what"], last.fields["bytes_cut"]) == ("log.recovered", 24)


def test_a_log_whose_lines_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    written(tmp_path)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"app-1", b"app-9"))
    with pytest.raises(ConfigError, match="line 2") as error:
        SecurityLog(tmp_path, "gateway", Clock())
    assert error.value.code == "GC-2708"


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    log = SecurityLog(tmp_path, "gateway", Clock())
    with pytest.raises(ConfigError, match="another process writes"):
        SecurityLog(tmp_path, "gateway", Clock())
    log.close()
    SecurityLog(tmp_path, "gateway", Clock()).close()


def test_a_flood_of_refusals_is_counted_and_not_written(tmp_path: Path) -> None:
    log = SecurityLog(tmp_path, "gateway", lambda: 5_000)
    for _ in range(1_000):
        log.write("door", "refused", code="GC-2701")
    assert log.head.size == 1 + 50
    log.write("door", "allowed")
    log.close()
    last = list(read_log(tmp_path))[-1]
    assert last.fields["refusals_not_written"] == 950


def test_files_are_bounded_and_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security_log, "FILE_BYTES_MAX", 1_000)
    head = written(tmp_path, 20)
    files = sorted(tmp_path.glob("*.jsonl"))
    assert len(files) > 2
    assert all(path.stat().st_size <= 1_000 for path in files)
    assert check_log(tmp_path) == head
    written(tmp_path, 1)  # it goes on
    assert check_log(tmp_path).size == head.size + 1
    files[1].unlink()
    with pytest.raises(ProofError):
        check_log(tmp_path)


def test_texts_are_bounded_and_syncs_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    log = SecurityLog(tmp_path, "gateway", Clock())
    log.sync()
    monkeypatch.setattr(os, "fsync", syncs.append)
    for _ in range(100):
        log.write("x", "allowed", "w" * 10_000, detail="d" * 10_000)
    log.sync()
    log.sync()
    assert len(syncs) == 1  # for a hundred entries
    log.close()
    assert all(len(entry.fields["who"]) <= 512 for entry in read_log(tmp_path))


def test_an_empty_log_has_no_lines(tmp_path: Path) -> None:
    assert check_log(tmp_path) == Head(0, FIRST)
