"""The guard of the cosigner: sizes never go down, also where the disk fails half-way."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.chain.merkle import TreeHead
from node.errors import StorageError
from node.storage.cosigned_file import CosignedFile
from node.storage.filesystem import SystemFiles

ORIGIN = "govchain/00"
SMALL, SMALL_OTHER, LARGE = (
    TreeHead(5, bytes(32)),
    TreeHead(5, bytes(31) + b"\x01"),
    TreeHead(9, bytes(32)),
)


class FailingFiles(SystemFiles):
    """A disk on which no file gets its place."""

    def rename(self, source: Path, target: Path) -> None:  # noqa: ARG002 - those of the port
        raise OSError(5, "Input/output error")


def test_sizes_grow_and_one_size_has_one_root(tmp_path: Path) -> None:
    path = tmp_path / "cosigned"
    guard = CosignedFile(path, ORIGIN)
    assert guard.last is None
    assert guard.permit(SMALL)
    assert guard.permit(SMALL)
    assert not guard.permit(SMALL_OTHER)
    assert guard.permit(LARGE)
    assert not guard.permit(SMALL)
    again = CosignedFile(path, ORIGIN)
    assert again.last == LARGE
    assert not again.permit(SMALL)
    assert again.permit(LARGE)
    assert [each.name for each in tmp_path.iterdir()] == ["cosigned"]


def test_what_did_not_reach_the_disk_is_not_permitted(tmp_path: Path) -> None:
    path = tmp_path / "cosigned"
    assert CosignedFile(path, ORIGIN).permit(SMALL)
    guard = CosignedFile(path, ORIGIN, FailingFiles())
    with pytest.raises(StorageError, match="Input/output error"):
        guard.permit(LARGE)
    assert guard.last == SMALL
    fresh = CosignedFile(path, ORIGIN)  # a draft was left behind
    assert fresh.last == SMALL
    assert fresh.permit(LARGE)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\n", b"govchain/00\n5\n", b"govchain/00\n05\n" + b"A" * 43 + b"=\n"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cosigned"
    path.write_bytes(content)
    with pytest.raises(StorageError):
        CosignedFile(path, ORIGIN)


def test_the_file_of_another_log_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cosigned"
    assert CosignedFile(path, ORIGIN).permit(SMALL)
    with pytest.raises(StorageError, match="another log"):
        CosignedFile(path, "govchain/01")
