"""The single-instance lock, against this process and others."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.lock import LOCK_NAME, InstanceLock, KeyLock

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


def test_a_key_is_claimed_once_wherever_its_home_was_copied_to() -> None:
    key = secrets.token_bytes(33)
    with KeyLock(key):
        with pytest.raises(StorageError, match="key is in use") as caught, KeyLock(key):
            pass
        assert caught.value.code == "GC-3002"
        with KeyLock(secrets.token_bytes(33)):
            pass
    with KeyLock(key):
        pass


def test_a_key_is_free_again_when_its_holder_is_killed() -> None:
    key = secrets.token_bytes(33)
    program = (
        "import sys; from node.storage.lock import KeyLock\n"
        "with KeyLock(bytes.fromhex(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, key.hex()], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match="key is in use"), KeyLock(key):
            pass
        holder.kill()
        holder.wait()
    with KeyLock(key):
        pass
