"""Tables of documents: which are read, and what is said of those that are not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from node.cli.inputs import Document
from node.cli.receipt_files import name_receipts
from node.cli.tables import read_table
from node.cli.verb import CommandError
from node.crypto.suite import SHA_256, SM3

DIGEST = hashlib.sha256(b"content").hexdigest()


def read(folder: Path, content: str | bytes) -> list[Document]:
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, SHA_256)


def test_a_table_of_files_is_read_from_its_folder_on(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"content")
    found = read(tmp_path, "file,name,reference\na.pdf,,\nsub/b.pdf,B,No. 7\n\n/c,照 片,编号7\n")
    assert [each.path for each in found] == [
        tmp_path / "a.pdf",
        tmp_path / "sub/b.pdf",
        Path("/c"),
    ]
    assert [each.size_bytes for each in found] == [7, 0, 0]
    assert [each.reference for each in found] == [None, "No. 7", "编号7"]
    assert [each.label for each in found] == [str(tmp_path / "a.pdf"), "B", "照 片"]
    assert name_receipts(found) == ["a.pdf.receipt", "B.receipt", "照 片.receipt"]


def test_a_table_of_digests_needs_no_files(tmp_path: Path) -> None:
    found = read(tmp_path, f"\ufeffName, Digest\nx,{DIGEST}\n,sha-256:{DIGEST}\n")
    assert [each.digest for each in found] == [bytes.fromhex(DIGEST)] * 2
    assert [each.label for each in found] == ["x", DIGEST]
    assert name_receipts(found) == ["x.receipt", f"{DIGEST}.receipt"]


def test_names_stay_in_the_folder_of_the_receipts(tmp_path: Path) -> None:
    table = f"digest,name\n{DIGEST},../../etc/passwd\n{DIGEST},/etc/passwd\n{DIGEST},a/b\n"
    names = name_receipts(read(tmp_path, table))
    assert len(set(names)) == 3
    assert all("/" not in name and name.endswith(".receipt") for name in names)


def test_rows_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    names = name_receipts(read(tmp_path, f"digest,name\n{DIGEST},a\n{DIGEST},a\n"))
    assert names == ["a.receipt", "a-2.receipt"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "expected columns"),
        ("name\nx\n", "expected columns"),
        ("file,digest\na,b\n", "expected columns"),
        ("file,file\na,b\n", "expected columns"),
        ("file,type\na,b\n", "expected columns"),
        ("file,name\na\n", "row 1: expected 2 cells, got 1"),
        ("file\na,b\n", "row 1: expected 1 cells, got 2"),
        ('file,name\n"a,b\n', "line 2: "),
        ("digest\nabcd\n", "line 2: digest: expected 64 hex digits"),
        (f"digest\n{DIGEST}00\n", "line 2: digest: expected 64"),
        (f"digest\n\n{DIGEST[:-2]}zz\n", "line 3: digest: expected HEX"),
        (f"digest\nsm3:{DIGEST}\n", "line 2: expected a digest of sha-256"),
        ("digest,name\n,x\n", "line 2: digest"),
        ("file,name\n,x\n", "line 2: expected a file"),
        ("file\na\0b\n", "line 2: "),
        (f"digest,name\n{DIGEST},..\n", "line 2: no receipt can be called .."),
        (f"digest,name\n{DIGEST},a\x1bb\n", "line 2: name: expected printable"),
        (
            f"digest,reference\n{DIGEST},{'x' * 129}\n",
            "line 2: reference: expected text of at most",
        ),
        ("file,name\na,照\n".encode("gb18030"), "not UTF-8"),
    ],
)
def test_what_is_wrong_is_told_by_its_line(tmp_path: Path, content: str | bytes, why: str) -> None:
    with pytest.raises(CommandError) as told:
        read(tmp_path, content)
    assert told.value.code == "GC-2301"
    assert "table.csv" in str(told.value)
    assert why in str(told.value)
    assert told.value.fix


def test_a_table_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.cli.tables.TABLE_ROWS_MAX", 2)
    assert len(read(tmp_path, "file\na\nb\n")) == 2
    with pytest.raises(CommandError, match="more than 2 rows"):
        read(tmp_path, "file\na\nb\nc\n")
    monkeypatch.setattr("node.cli.tables.TABLE_BYTES_MAX", 8)
    with pytest.raises(CommandError, match="longer than 8 bytes"):
        read(tmp_path, "file\na\nb\n")


def test_a_digest_of_another_algorithm_is_read_where_that_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"digest\nsm3:{DIGEST}\n")
    assert read_table(path, SM3)[0].digest == bytes.fromhex(DIGEST)
