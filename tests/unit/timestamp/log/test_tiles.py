"""Paths of tiles, by the examples of c2sp.org/tlog-tiles, and bundles of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import DecodeError, InvariantViolation
from node.timestamp.log.tiles import TileFile, encode_bundle, file_of
from tests.unit.timestamp.log.bundles import read_bundle


def test_the_index_of_the_page_has_the_path_of_the_page() -> None:
    assert TileFile(0, 1234067).path == "0/x001/x234/067"
    assert TileFile.parse("0/x001/x234/067") == TileFile(0, 1234067)


def test_a_tree_of_the_size_of_the_page_has_the_tiles_of_the_page() -> None:
    size = 70_000
    assert file_of(0, 272, size) == TileFile(0, 272, 256)
    assert file_of(0, 273, size).path == "0/273.p/112"
    assert file_of(1, 0, size).path == "1/000"
    assert file_of(1, 1, size).path == "1/001.p/17"
    assert file_of(2, 0, size).path == "2/000.p/1"
    assert file_of(None, 273, size).path == "entries/273.p/112"
    assert file_of(0, 0, 256).path == "0/000"
    assert file_of(1, 0, 256).path == "1/000.p/1"
    for level, index in ((0, 274), (1, 2), (2, 1), (3, 0)):
        with pytest.raises(InvariantViolation):
            file_of(level, index, size)


@given(st.none() | st.integers(0, 63), st.integers(0, 2**56 - 1), st.integers(1, 256))
def test_what_is_named_is_read(level: int | None, index: int, width: int) -> None:
    file = TileFile(level, index, width)
    assert TileFile.parse(file.path) == file


@given(st.integers(1, 2**40), st.integers(0, 4))
def test_a_log_holds_the_files_of_its_size_and_none_wider(size: int, level: int) -> None:
    held = size >> 8 * level
    if held:
        file = file_of(level, (held - 1) // 256, size)
        assert file.is_within(size)
        assert not TileFile(level, file.index, file.width + 1).is_within(size)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "0",
        "0/0",
        "00/000",
        "64/000",
        "0/000.p/256",
        "0/000.p/0",
        "0/000.p/01",
        "0/x000/000",
        "0/x001/x234",
        "0/001/067",
        "0/x1/067",
        "0/000/",
        "/0/000",
        "entries/000.p/",
        "0/\u0660\u0660\u0660",
        "0/000\n",
        f"0/{TileFile(0, 2**56).path[2:]}",
    ],
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(DecodeError):
        TileFile.parse(path)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_bundle_gives_back_its_entries(entries: list[bytes]) -> None:
    assert read_bundle(encode_bundle(entries)) == entries


def test_an_entry_too_long_for_a_bundle_is_ours_to_answer_for() -> None:
    with pytest.raises(InvariantViolation):
        encode_bundle([bytes(65_536)])
