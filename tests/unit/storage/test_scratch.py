"""Scratch folders: gone with who made them, and swept up where that one was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.errors import StorageError
from node.storage.scratch import DATA_NAME, SCRATCH_PREFIX, scratch_folder

HOLDER = """
import sys
import tempfile
from pathlib import Path
from node.storage.scratch import DATA_NAME, scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / DATA_NAME).mkdir()
    (folder / DATA_NAME / "CURRENT").write_text("x")
    print(folder.name, flush=True)
    sys.stdin.read()
"""


@contextmanager
def living(parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield another process that holds a folder in `parent`, and the folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, parent],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process, parent / process.stdout.readline().strip()


def left_in(parent: Path) -> list[str]:
    return sorted(each.name for each in parent.iterdir())


def test_a_folder_is_gone_at_the_end_and_after_a_failure(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / DATA_NAME).mkdir()
        assert left_in(tmp_path) == [folder.name]
    assert left_in(tmp_path) == []
    with pytest.raises(ZeroDivisionError), scratch_folder(tmp_path):
        _ = 1 // 0
    assert left_in(tmp_path) == []


def test_what_a_killed_process_left_is_removed_by_the_next_and_the_livings_is_not(
    tmp_path: Path,
) -> None:
    with living(tmp_path) as (lives, held):
        with living(tmp_path) as (dies, abandoned):
            assert held.exists()
            dies.kill()
        assert (abandoned / DATA_NAME / "CURRENT").exists()
        with scratch_folder(tmp_path) as folder:
            assert left_in(tmp_path) == sorted([held.name, folder.name])
        assert (held / DATA_NAME / "CURRENT").exists()
        lives.communicate("")
    assert left_in(tmp_path) == []


def test_one_killed_before_it_held_its_folder_is_swept_up_too(tmp_path: Path) -> None:
    (tmp_path / f"{SCRATCH_PREFIX}abcd_123").mkdir(mode=0o700)
    with scratch_folder(tmp_path):
        pass
    assert left_in(tmp_path) == []


def test_nothing_is_removed_that_is_not_such_a_folder(tmp_path: Path) -> None:
    parent, target = tmp_path / "parent", tmp_path / "target"
    for folder in (
        target / DATA_NAME,
        parent / f"{SCRATCH_PREFIX}of-mine" / DATA_NAME,  # no name that mkdtemp makes
        parent / f"{SCRATCH_PREFIX}with_not" / "notes",
        parent / "scratch-abcdefgh",
        parent / f"{SCRATCH_PREFIX}readable",
    ):
        folder.mkdir(parents=True)
    (parent / f"{SCRATCH_PREFIX}with_not").chmod(0o700)
    (parent / f"{SCRATCH_PREFIX}readable").chmod(0o755)
    target.chmod(0o700)
    (parent / f"{SCRATCH_PREFIX}linked__").symlink_to(target)
    (parent / f"{SCRATCH_PREFIX}thefile_").write_text("")
    before = left_in(parent)
    with scratch_folder(parent):
        pass
    assert left_in(parent) == before
    assert (target / DATA_NAME).exists()


def test_a_folder_swept_up_before_it_was_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process starts between the making of a folder and the lock on it."""
    made, make = [], tempfile.mkdtemp

    def make_and_lose(prefix: str, dir: Path) -> str:  # noqa: A002 - as mkdtemp has it
        made.append(make(prefix=prefix, dir=dir))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_lose)
    with scratch_folder(tmp_path) as folder:
        assert [str(folder)] == made[1:]
    assert left_in(tmp_path) == []


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="nowhere") as caught,
        scratch_folder(tmp_path / "nowhere"),
    ):
        pass
    assert caught.value.fix
