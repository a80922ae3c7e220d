"""Receipts as files: names that tell documents apart, writes that lose nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from node.cli.inputs import Document
from node.cli.receipt_files import find_obstacle, find_receipts, name_receipts, save_receipts
from node.cli.screen import Fault
from node.timestamp.receipt import Receipt
from node.timestamp.trust import load_trust

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
RECEIPT = (VECTORS / "document.txt.receipt").read_bytes()
ANCHOR = load_trust((VECTORS / "trust" / "genesis.json").read_bytes())

_EARLIER = Receipt.decode(RECEIPT)
LATER = replace(_EARLIER, leaf=msgspec.structs.replace(_EARLIER.leaf, tx_id=bytes(32))).encode()
"""Another record of the same document on the same chain."""
POORER = replace(_EARLIER, token=None, cose=None, checkpoint=None, compact=None).encode()
"""The same record, proven with fewer parts."""
_RICHER = replace(
    _EARLIER, compact=Receipt.decode((VECTORS / "compact.receipt").read_bytes()).compact
)
UNSOUND = replace(_RICHER, token=b"none").encode()
"""The same record with every part, two of which do not hold."""


def names(*paths: str) -> list[str]:
    return name_receipts([Document(path, None if path == "-" else Path(path)) for path in paths])


def save(folder: Path, receipts: Mapping[str, bytes]) -> list[str]:
    """Save receipts, which must succeed; return the names they got."""
    places = save_receipts(folder, receipts, ANCHOR)
    assert list(places) == list(receipts)
    return [place.name for place in places.values() if isinstance(place, Path)]


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
    assert first.startswith("照照")
    assert save(tmp_path, {first: RECEIPT, second: RECEIPT}) == [first, second]
    assert {each.name for each in tmp_path.iterdir()} == {first, second}
    assert names(f"{long}a") != names(f"{long}b")  # alike in all that is left of them


def test_a_numbered_receipt_of_a_long_name_is_found(tmp_path: Path) -> None:
    long = "x" * 250
    given = names(long, f"../{long}", f"../../{long}")
    save(tmp_path, dict.fromkeys(given, RECEIPT))
    found = [path.name for path in find_receipts(tmp_path, Path(f"/{long}"))]
    assert found == given


def test_a_name_of_any_bytes_is_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"a\xff\xfe.txt")
    assert names(name) == [f"{name}.receipt"]
    assert save(tmp_path, {f"{name}.receipt": RECEIPT}) == [f"{name}.receipt"]
    assert os.listdir(os.fsencode(tmp_path)) == [b"a\xff\xfe.txt.receipt"]  # noqa: PTH208 - bytes


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def test_the_very_receipt_is_written_once(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    for _time in range(2):
        assert save(folder, {"document.txt.receipt": RECEIPT}) == ["document.txt.receipt"]
    assert contents(folder) == {"document.txt.receipt": RECEIPT}


def test_a_richer_receipt_of_the_record_lies_beside_the_poorer(tmp_path: Path) -> None:
    assert save(tmp_path, {"a.receipt": POORER}) == ["a.receipt"]
    for _time in range(2):
        assert save(tmp_path, {"a.receipt": RECEIPT}) == ["a.1.receipt"]
    assert contents(tmp_path) == {"a.receipt": POORER, "a.1.receipt": RECEIPT}


def test_a_richer_receipt_of_the_record_serves_for_the_poorer(tmp_path: Path) -> None:
    assert save(tmp_path, {"a.receipt": RECEIPT}) == ["a.receipt"]
    assert save(tmp_path, {"a.receipt": POORER}) == ["a.receipt"]
    assert contents(tmp_path) == {"a.receipt": RECEIPT}


def test_a_receipt_that_does_not_verify_serves_for_none(tmp_path: Path) -> None:
    assert save(tmp_path, {"a.receipt": UNSOUND}) == ["a.receipt"]
    assert save(tmp_path, {"a.receipt": RECEIPT}) == ["a.1.receipt"]
    assert contents(tmp_path) == {"a.receipt": UNSOUND, "a.1.receipt": RECEIPT}


def test_a_later_record_of_a_document_leaves_the_receipt_of_the_earlier(tmp_path: Path) -> None:
    assert save(tmp_path, {"a.receipt": RECEIPT}) == ["a.receipt"]
    for _time in range(2):  # the same once more is found where it is
        assert save(tmp_path, {"a.receipt": LATER}) == ["a.1.receipt"]
    assert contents(tmp_path) == {"a.receipt": RECEIPT, "a.1.receipt": LATER}


def test_any_other_file_of_that_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.receipt").write_bytes(b"one")
    (tmp_path / "a.2.receipt").write_bytes(b"two")
    receipts = {"a.receipt": RECEIPT, "a.1.receipt": LATER}
    assert save(tmp_path, receipts) == ["a.3.receipt", "a.1.receipt"]
    assert contents(tmp_path) == {
        "a.receipt": b"one",
        "a.1.receipt": LATER,
        "a.2.receipt": b"two",
        "a.3.receipt": RECEIPT,
    }


def test_names_of_receipts_still_to_come_are_left_to_them(tmp_path: Path) -> None:
    (tmp_path / "a.receipt").write_bytes(b"one")
    places = save_receipts(tmp_path, {"a.receipt": RECEIPT}, ANCHOR, spare=("a.1.receipt",))
    assert places == {"a.receipt": tmp_path / "a.2.receipt"}


def test_a_folder_or_link_of_that_name_is_kept_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "a.receipt" / "inner").mkdir(parents=True)
    (tmp_path / "b.receipt").symlink_to(tmp_path / "nowhere")
    receipts = {"a.receipt": RECEIPT, "b.receipt": RECEIPT, "c.receipt": RECEIPT}
    saved = save(tmp_path, receipts)
    assert saved == ["a.1.receipt", "b.1.receipt", "c.receipt"]
    assert {(tmp_path / name).read_bytes() for name in saved} == {RECEIPT}
    assert (tmp_path / "a.receipt" / "inner").is_dir()
    assert (tmp_path / "b.receipt").readlink() == tmp_path / "nowhere"


def test_many_are_written_whole_with_nothing_beside_them(tmp_path: Path) -> None:
    receipts = {f"{number}.receipt": RECEIPT for number in range(300)}
    assert save(tmp_path, receipts) == list(receipts)
    assert contents(tmp_path) == receipts


def test_what_cannot_be_written_is_the_fault_of_that_receipt_alone(tmp_path: Path) -> None:
    good, bad = "good.receipt", "no/such/folder.receipt"
    places = save_receipts(tmp_path, {good: RECEIPT, bad: RECEIPT}, ANCHOR)
    assert places[good] == tmp_path / good
    fault = places[bad]
    assert isinstance(fault, Fault)
    assert fault.code == "GC-2306"
    assert contents(tmp_path) == {good: RECEIPT}


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    receipts = {"a.receipt": RECEIPT, "b.receipt": RECEIPT}
    faults = save_receipts(tmp_path / "file", receipts, ANCHOR)
    for fault in faults.values():
        assert isinstance(fault, Fault)
        assert fault.code == "GC-2306"
        assert str(tmp_path / "file") in fault.message


def test_a_folder_is_tried_before_anything_is_recorded(tmp_path: Path) -> None:
    good = tmp_path / "new" / "folder"
    assert find_obstacle(good) is None
    assert contents(good) == {}
    (tmp_path / "file").touch()
    fault = find_obstacle(tmp_path / "file" / "folder")
    assert fault is not None
    assert fault.code == "GC-2306"
