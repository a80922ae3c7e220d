"""Documents found and hashed: every name accounted for, in an order that depends on names only."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from node.cli.inputs import Document, display, find_documents, hash_document, hash_one
from node.cli.verb import CommandError
from node.crypto.suite import SHA_256, SM3


def labels(documents: list[Document]) -> list[str]:
    return [document.label for document in documents]


def ignore(_amount: int) -> None:
    """Take no notice of progress."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.txt", "a/2.txt", "a/10.txt", "a/deep/er/文件.pdf", "c/empty"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if name.endswith("empty") else name, encoding="utf-8")
    return tmp_path


def test_folders_are_searched_in_the_order_of_names(tree: Path) -> None:
    found = find_documents([str(tree)])
    assert labels(found) == [
        f"{tree}/{name}"
        for name in ("a/10.txt", "a/2.txt", "a/deep/er/文件.pdf", "b.txt", "c/empty")
    ]
    assert all(document.is_wanted for document in found)


def test_arguments_keep_their_own_order(tree: Path) -> None:
    found = find_documents([f"{tree}/c", f"{tree}/b.txt", "-", f"{tree}/a/deep"])
    assert labels(found) == [f"{tree}/c/empty", f"{tree}/b.txt", "-", f"{tree}/a/deep/er/文件.pdf"]
    assert found[2].path is None


def test_a_file_by_several_names_counts_once_and_the_file_itself_stands_for_it(tree: Path) -> None:
    (tree / "a" / "1-link").symlink_to("../b.txt")
    (tree / "z-link").symlink_to("b.txt")
    found = find_documents([str(tree), f"{tree}/b.txt"])
    same = {document.label: document.same_as for document in found if document.same_as}
    assert same == {f"{tree}/a/1-link": f"{tree}/b.txt", f"{tree}/z-link": f"{tree}/b.txt"} | {
        f"{tree}/b.txt": f"{tree}/b.txt"
    }
    assert labels([each for each in found if each.is_wanted]).count(f"{tree}/b.txt") == 1


def test_a_link_to_a_file_outside_is_followed(tree: Path) -> None:
    (tree / "c" / "link").symlink_to(tree / "b.txt")
    document = find_documents([f"{tree}/c"])[-1]
    hash_document(document, SHA_256, ignore)
    assert document.digest == hashlib.sha256(b"b.txt").digest()


def test_a_folder_that_leads_back_to_itself_is_told_and_nothing_is_lost(tree: Path) -> None:
    (tree / "a" / "loop").symlink_to("..")
    found = find_documents([str(tree)])
    (loop,) = (each for each in found if each.fault)
    assert loop.label == f"{tree}/a/loop"
    assert loop.fault is not None
    assert "leads back" in loop.fault.message
    assert len([each for each in found if each.is_wanted]) == 5


def test_a_folder_reached_twice_is_searched_once(tree: Path) -> None:
    (tree / "d").symlink_to("a")
    assert len(find_documents([str(tree)])) == 5


def test_what_cannot_be_read_is_told_with_its_name(tree: Path) -> None:
    (tree / "a" / "dangling").symlink_to("nowhere")
    (tree / "a" / "circle").symlink_to("circle")
    os.mkfifo(tree / "a" / "pipe")
    found = find_documents([f"{tree}/a", f"{tree}/missing"])
    faults = {each.label: each.fault.message for each in found if each.fault}
    assert faults == {
        f"{tree}/a/dangling": f"{tree}/a/dangling: No such file or directory",
        f"{tree}/a/circle": f"{tree}/a/circle: Too many levels of symbolic links",
        f"{tree}/a/pipe": f"{tree}/a/pipe: not a file",
        f"{tree}/missing": f"{tree}/missing: No such file or directory",
    }


def test_folders_of_this_program_are_passed_over(tree: Path) -> None:
    found = find_documents([str(tree)], apart_from=(tree / "a", tree / "missing"))
    assert labels(found) == [f"{tree}/b.txt", f"{tree}/c/empty"]


def test_folders_may_nest_deeper_than_calls_may(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _level in range(1_200):
        os.mkdir("d", dir_fd=here)
        here, above = os.open("d", os.O_RDONLY, dir_fd=here), here
        os.close(above)
    os.close(here)
    try:
        assert find_documents([str(tmp_path)]) == []
    finally:
        subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # pytest's own way is recursive


def test_names_of_any_bytes_can_be_shown(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    Path(os.fsdecode(name)).write_bytes(b"x")
    (document,) = find_documents([str(tmp_path)])
    assert document.label.endswith("/caf\\xe9.txt")
    assert display(os.fsdecode(name)) == document.label
    hash_document(document, SHA_256, ignore)
    assert document.digest == hashlib.sha256(b"x").digest()


def test_a_large_file_is_hashed_in_pieces_and_its_progress_told(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(200_000_000)
        file.write(b"end")
    pieces: list[int] = []
    (document,) = find_documents([str(path)])
    hash_document(document, SHA_256, pieces.append)
    assert sum(pieces) == document.size_bytes == 200_000_000
    assert max(pieces) == 1 << 20
    with path.open("rb") as file:
        assert document.digest == hashlib.file_digest(file, "sha256").digest()


def test_an_empty_file_has_the_digest_of_nothing(tree: Path) -> None:
    assert hash_one(f"{tree}/c/empty", SHA_256) == hashlib.sha256().digest()
    assert hash_one(f"{tree}/c/empty", SM3) == SM3.new_hash().digest()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"x" * 10)

    def grow(_amount: int) -> None:
        if path.stat().st_size == 10:
            with path.open("ab") as file:
                file.write(b"more")

    (document,) = find_documents([str(path)])
    hash_document(document, SHA_256, grow)
    assert document.digest is None
    assert document.fault is not None
    assert "changed while it was read" in document.fault.message


def test_an_error_while_reading_is_the_documents_fault() -> None:
    document = Document("memory", Path("/proc/self/mem"))  # opens, and cannot be read
    hash_document(document, SHA_256, ignore)
    assert document.fault is not None
    assert document.fault.code == "GC-2301"
    with pytest.raises(CommandError, match="/proc/self/mem") as raised:
        hash_one("/proc/self/mem", SHA_256)
    assert raised.value.code == "GC-2301"


def test_standard_input_that_is_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    (document,) = find_documents(["-"])
    hash_document(document, SHA_256, ignore)
    assert document.fault is not None
    assert document.fault.message == "-: Bad file descriptor"
    with pytest.raises(CommandError, match="Bad file descriptor"):
        hash_one("-", SHA_256)


@pytest.mark.parametrize(
    "content", ["11010519491231002X", " 11010519491231002x\r\n", "13800138000", "4111111111111111"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_content_that_is_the_number_of_a_person_has_no_digest(
    tmp_path: Path, content: str, encoding: str
) -> None:
    path = tmp_path / "number.txt"
    path.write_bytes(content.encode(encoding))
    document = Document("number.txt", path)
    hash_document(document, SHA_256, ignore)
    assert document.digest is None
    assert document.fault is not None
    assert document.fault.code == "GC-2612"


@pytest.mark.parametrize(
    "content", ["110105194912310021", "91350100M000100Y43", "no. 13800138000", "x" * 64 + "1" * 11]
)
def test_what_is_more_than_such_a_number_or_none_is_hashed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.txt"
    path.write_text(content)
    document = Document("other.txt", path)
    hash_document(document, SHA_256, ignore)
    assert document.digest == hashlib.sha256(content.encode()).digest()
