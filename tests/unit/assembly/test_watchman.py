"""Who was refused at a node: noted in order, on a thread, and counted where that comes too fast."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from node.assembly import watchman as watchman_module
from node.assembly.watchman import Watchman
from node.storage.security_log import SecurityLog, read_log


async def test_refusals_are_noted_and_the_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    for number in range(2):
        watchman = Watchman(tmp_path, "validator-1")
        watchman.note_refusal(f"ipv4:127.0.0.1:{number}", "access", "GC-2201")
        watchman.note_refusal("agency-1", "admission", "BAD_SIGNATURE")
        await watchman.close()
    told = [(entry.fields["what"], entry.fields["who"]) for entry in read_log(tmp_path)]
    assert told == [
        ("log.begun", ""),
        ("node.started", ""),
        ("access", "ipv4:127.0.0.1:0"),
        ("admission", "agency-1"),
        ("node.stopped", ""),
        ("node.started", ""),
        ("access", "ipv4:127.0.0.1:1"),
        ("admission", "agency-1"),
        ("node.stopped", ""),
    ]
    assert {entry.fields["source"] for entry in read_log(tmp_path)} == {"validator-1"}


async def test_what_waits_for_the_disk_is_bounded_and_what_does_not_fit_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchman_module, "WAITING_MAX", 3)
    watchman = Watchman(tmp_path, "validator-1")
    for _ in range(10):
        watchman.note_refusal("x", "access", "GC-2201")  # nothing is written before this turn ends
    await watchman.sync()
    watchman.note_refusal("x", "access", "GC-2201")
    await watchman.close()
    entries = [e.fields for e in read_log(tmp_path) if e.fields["what"] == "access"]
    assert [entry.get("dropped", 0) for entry in entries] == [0, 0, 0, 7]


async def test_a_disk_that_refuses_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_log: SecurityLog) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(watchman_module, "SYNC_S", 0)
    watchman = Watchman(tmp_path, "validator-1")
    monkeypatch.setattr(SecurityLog, "sync", refuse)
    with pytest.raises(OSError, match="No space"):
        await watchman.run()
    monkeypatch.undo()
    with suppress(OSError):
        await watchman.close()
