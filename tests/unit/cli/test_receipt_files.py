"""Receipts as files: names that tell documents apart, writes that lose nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.cli.inputs import Document
from node.cli.receipt_files import name_receipts, save_receipt
from node.cli.verb import CommandError

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
RECEIPT = (VECTORS / "document.txt.receipt").read_bytes()


def names(*paths: str) -> list[str]:
    return name_receipts([Document(path, None if path == "-" else Path(path)) for path in paths])


def test_a_receipt_is_called_after_its_document() -> None:
    assert names("a.txt", "docs/证照.pdf", "-") == [
        "a.txt.receipt",
        "证照.pdf.receipt",
        "stdin.receipt",
    ]


def test_documents_of_one_name_are_told_apart_by_their_folders() -> None:
    assert names("README.md", "node/README.md", "/x/node/README.md", "../README.md") == [
        "README.md.receipt",
        "node-README.md.receipt",
        "x-node-README.md.receipt",
        "README.md-2.receipt",
    ]


def test_names_too_long_for_a_file_system_are_cut_between_characters(tmp_path: Path) -> None:
    long = "照" * 85  # 255 bytes
    first, second = names(long, f"a/{long}")
    assert len(first.encode()) <= 255
    assert first != second
    for name in (first, second):
        save_receipt(tmp_path / name, RECEIPT)
    assert first.startswith("照照")


def test_a_receipt_of_the_same_document_and_chain_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "document.txt.receipt"
    save_receipt(path, RECEIPT)
    save_receipt(path, RECEIPT)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_any_other_file_of_that_name_is_kept_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "document.txt.receipt"
    path.write_bytes(b"a letter")
    save_receipt(path, RECEIPT)
    assert path.read_bytes() == RECEIPT
    path.write_bytes(b"another letter")
    save_receipt(path, RECEIPT)
    kept = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    assert kept == {
        "document.txt.receipt": RECEIPT,
        "document.txt.1.receipt": b"a letter",
        "document.txt.2.receipt": b"another letter",
    }


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="file") as raised:
        save_receipt(tmp_path / "file" / "x.receipt", RECEIPT)
    assert raised.value.code == "GC-2306"
