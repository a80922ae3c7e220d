"""The single-instance lock, against this process and others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.lock import LOCK_NAME, InstanceLock

HOLDER = """
import sys
from pathlib import Path
from node.storage.lock import InstanceLock
with InstanceLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_is_exclusive_and_names_its_holder(tmp_path: Path) -> None:
    with (
        InstanceLock(tmp_path),
        pytest.raises(StorageError, match=f"in use by process {os.getpid()}$") as caught,
        InstanceLock(tmp_path),
    ):
        pass
    assert caught.value.code == "GC-3002"
    assert caught.value.fix


def test_a_released_lock_can_be_taken_again_and_names_the_new_holder(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("99999999999\n")
    for _ in range(2):
        with InstanceLock(tmp_path):
            assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=f"process {holder.pid}$"), InstanceLock(tmp_path):
            pass
        holder.kill()
    with InstanceLock(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"


def test_an_error_inside_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inside"), InstanceLock(tmp_path):
        raise ValueError("inside")
    with InstanceLock(tmp_path):
        pass


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be locked"), InstanceLock(tmp_path / "absent"):
        pass
