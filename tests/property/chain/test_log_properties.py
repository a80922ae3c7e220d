"""A log grown in any batches and read from its tiles is the Merkle tree over all its leaves."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from node.chain.log import (
    EMPTY_FRONTIER,
    LogFrontier,
    LogTree,
    TileId,
    consistency_path_from_tiles,
    tiles_changed,
)
from node.chain.merkle import consistency_path, inclusion_path, merkle_root
from node.crypto.hashing import Hasher, HashFunction

sha256 = HashFunction(hashlib.sha256)


LEAVES = [sha256(index.to_bytes(4, "big")) for index in range(3000)]

# Mostly small batches, some that fill several tiles, some empty.
batches = st.lists(
    st.one_of(st.integers(0, 5), st.integers(0, 300), st.integers(500, 700)), min_size=1, max_size=8
).filter(lambda sizes: 0 < sum(sizes) <= len(LEAVES))


def grow(sizes: list[int]) -> tuple[LogFrontier, dict[TileId, bytes]]:
    """Append batches of these sizes; check every root on the way, and that full tiles stay."""
    frontier, tiles = EMPTY_FRONTIER, dict[TileId, bytes]()
    for size in sizes:
        frontier, growth = frontier.append(LEAVES[frontier.size : frontier.size + size], sha256)
        assert frontier.root(sha256) == merkle_root(LEAVES[: frontier.size], sha256)
        changed = tiles_changed(growth, tiles.__getitem__)
        for tile, content in changed.items():
            before = tiles.get(tile, b"")
            assert content.startswith(before)
            assert len(before) < len(content) <= 8192
        tiles |= changed
    return frontier, tiles


@given(batches)
def test_batching_changes_neither_frontier_nor_tiles(sizes: list[int]) -> None:
    assert grow(sizes) == grow([sum(sizes)])


@given(batches, st.data())
def test_paths_from_tiles_are_the_paths_of_the_whole_tree(
    sizes: list[int], data: st.DataObject
) -> None:
    frontier, tiles = grow(sizes)
    size = data.draw(st.integers(1, frontier.size), "size")
    index = data.draw(st.integers(0, size - 1), "index")
    old_size = data.draw(st.integers(1, size), "old size")
    read = tiles.__getitem__
    expected = inclusion_path(LEAVES[:size], index, sha256)
    assert LogTree(size, read, sha256).inclusion_path(index) == expected
    assert consistency_path_from_tiles(old_size, size, read, sha256) == consistency_path(
        LEAVES[:size], old_size, sha256
    )


@given(st.integers(1, 600), st.lists(st.integers(0, 599), max_size=20))
def test_paths_taken_together_are_the_paths_taken_alone(size: int, indexes: list[int]) -> None:
    _, tiles = grow([700])
    wanted = [index for index in indexes if index < size]
    tree = LogTree(size, tiles.__getitem__, sha256)
    together = [tree.inclusion_path(at) for at in wanted]
    alone = [LogTree(size, tiles.__getitem__, sha256).inclusion_path(at) for at in wanted]
    assert together == alone


@given(st.integers(0, 2000), st.integers(0, 1000))
def test_an_append_hashes_each_completed_inner_node_once(size: int, count: int) -> None:
    calls = 0

    def counting(data: bytes = b"", /) -> Hasher:
        nonlocal calls
        calls += 1
        return hashlib.sha256(data)

    frontier, _ = EMPTY_FRONTIER.append(LEAVES[:size], sha256)
    frontier.append(LEAVES[size : size + count], HashFunction(counting))

    def inner_nodes(leaves: int) -> int:
        return leaves - leaves.bit_count()

    assert calls == inner_nodes(size + count) - inner_nodes(size)


def test_three_levels_of_tiles() -> None:
    """Past 65,536 leaves the paths cross a third level; sizes around its edges."""
    leaves = [sha256(index.to_bytes(4, "big")) for index in range(66_100)]
    frontier, growth = EMPTY_FRONTIER.append(leaves[:65_000], sha256)
    tiles = tiles_changed(growth, dict[TileId, bytes]().__getitem__)
    frontier, growth = frontier.append(leaves[65_000:], sha256)
    tiles |= tiles_changed(growth, tiles.__getitem__)
    assert frontier.root(sha256) == merkle_root(leaves, sha256)
    assert {tile.level for tile in tiles} == {0, 1, 2}
    for size, index in ((65_535, 3), (65_536, 65_535), (65_537, 65_536), (66_100, 70)):
        expected = inclusion_path(leaves[:size], index, sha256)
        assert LogTree(size, tiles.__getitem__, sha256).inclusion_path(index) == expected
    for old_size in (1, 65_536, 65_537, 66_099):
        assert consistency_path_from_tiles(
            old_size, 66_100, tiles.__getitem__, sha256
        ) == consistency_path(leaves, old_size, sha256)
