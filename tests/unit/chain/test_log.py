"""The log's frontier and tiles: shapes, costs, refusals. Laws are in tests/property/chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from node.chain.encoding import encode
from node.chain.log import (
    EMPTY_FRONTIER,
    TILE_BYTES,
    HashedTiles,
    LogFrontier,
    LogTree,
    TileId,
    consistency_path_from_tiles,
    edge_tiles,
    frontier_of_edge,
    read_edge,
    tiles_changed,
)
from node.chain.merkle import (
    TreeHead,
    inclusion_path,
    leaf_hash,
    merkle_root,
    verify_consistency,
    verify_inclusion,
)
from node.crypto.hashing import Hasher, HashFunction
from node.errors import DecodeError, ProofError, StorageError

sha256 = HashFunction(hashlib.sha256)


class CountingHash:
    """SHA-256 that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, data: bytes = b"", /) -> Hasher:
        self.calls += 1
        return hashlib.sha256(data)


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(index.to_bytes(4, "big"), sha256) for index in range(count)]


def stored(leaves: list[bytes], batch: int) -> tuple[LogFrontier, dict[TileId, bytes]]:
    """Return the frontier and the tiles of a log grown by `batch` leaves at a time."""
    frontier, tiles = EMPTY_FRONTIER, dict[TileId, bytes]()
    for start in range(0, len(leaves), batch):
        frontier, growth = frontier.append(leaves[start : start + batch], sha256)
        tiles |= tiles_changed(growth, tiles.__getitem__)
    return frontier, tiles


# --- Shapes ---


def test_the_empty_log() -> None:
    assert EMPTY_FRONTIER.root(sha256) == sha256(b"")
    frontier, growth = EMPTY_FRONTIER.append([], sha256)
    assert frontier == EMPTY_FRONTIER
    assert tiles_changed(growth, dict[TileId, bytes]().__getitem__) == {}


def test_tiles_have_the_widths_that_c2sp_gives_as_examples() -> None:
    """C2SP tlog-tiles, "Partial Tiles": a tree of 70,000 leaves, and one of 256."""
    _, tiles = stored(some_leaves(70_000), 70_000)
    widths = {tile: len(content) // 32 for tile, content in tiles.items()}
    assert widths == {
        **{TileId(0, index): 256 for index in range(273)},
        TileId(0, 273): 112,
        TileId(1, 0): 256,
        TileId(1, 1): 17,
        TileId(2, 0): 1,
    }
    _, tiles = stored(some_leaves(256), 256)
    assert {tile: len(content) // 32 for tile, content in tiles.items()} == {
        TileId(0, 0): 256,
        TileId(1, 0): 1,
    }


def test_a_tile_holds_leaf_hashes_then_roots_of_full_tiles() -> None:
    leaves = some_leaves(600)
    _, tiles = stored(leaves, 7)
    assert tiles[TileId(0, 1)] == b"".join(leaves[256:512])
    assert len(tiles[TileId(0, 1)]) == TILE_BYTES
    assert tiles[TileId(1, 0)] == merkle_root(leaves[:256], sha256) + merkle_root(
        leaves[256:512], sha256
    )


def test_only_the_rightmost_tile_of_a_level_is_read_and_only_if_it_is_partial() -> None:
    leaves = some_leaves(256 * 256 + 300)
    reads: list[TileId] = []
    for old_size, expected in (
        (0, []),
        (256, [TileId(1, 0)]),
        (257, [TileId(0, 1), TileId(1, 0)]),
        (256 * 256, []),  # level 2 holds one hash, and is given none
    ):
        frontier, tiles = stored(leaves[:old_size], old_size or 1)
        _, growth = frontier.append(leaves[old_size:], sha256)
        reads.clear()

        def read(tile: TileId, tiles: dict[TileId, bytes] = tiles) -> bytes:
            reads.append(tile)
            return tiles[tile]

        tiles_changed(growth, read)
        assert reads == expected


def test_an_append_may_be_repeated_over_tiles_already_written() -> None:
    leaves = some_leaves(700)
    frontier, tiles = stored(leaves[:300], 300)
    _, growth = frontier.append(leaves[300:], sha256)
    first = tiles_changed(growth, tiles.__getitem__)
    tiles |= first
    assert tiles_changed(growth, tiles.__getitem__) == first


# --- Costs ---


@pytest.mark.parametrize("batch", [1, 10, 256, 1000])
def test_appending_costs_two_hashes_per_leaf_the_leaf_hash_included(batch: int) -> None:
    counting, leaf_count = CountingHash(), 10_000
    hashing = HashFunction(counting)
    leaves = [leaf_hash(index.to_bytes(4, "big"), hashing) for index in range(leaf_count)]
    frontier = EMPTY_FRONTIER
    for start in range(0, leaf_count, batch):
        frontier, growth = frontier.append(leaves[start : start + batch], hashing)
        assert tiles_changed(growth, lambda _: bytes(TILE_BYTES))  # hashes nothing
    assert counting.calls == 2 * leaf_count - len(frontier.peaks)

    counting.calls = 0
    frontier.root(hashing)
    assert counting.calls == len(frontier.peaks) - 1


def test_paths_of_neighbours_share_their_hashing() -> None:
    leaves, size = some_leaves(3000), 2900
    _, tiles = stored(leaves, 1000)
    one = CountingHash()
    LogTree(size, tiles.__getitem__, HashFunction(one)).inclusion_path(1000)
    assert one.calls <= 3 * 255  # the leaf's tile, and the two partial ones at the right edge
    many = CountingHash()
    tree = LogTree(size, tiles.__getitem__, HashFunction(many))
    paths = [tree.inclusion_path(index) for index in range(1024, 1280)]
    assert many.calls <= 3 * 255 + 256
    assert paths == [inclusion_path(leaves[:size], index, sha256) for index in range(1024, 1280)]


def test_a_tree_remembers_a_bounded_number_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.chain.log.TILES_REMEMBERED", 3)
    leaves = some_leaves(1100)
    _, tiles = stored(leaves, 1000)
    read: list[TileId] = []

    def read_tile(tile: TileId) -> bytes:
        read.append(tile)
        return tiles[tile]

    tree = LogTree(1100, read_tile, sha256)
    for _ in range(2):
        for index in range(0, 1100, 50):
            assert tree.inclusion_path(index) == inclusion_path(leaves, index, sha256)
    assert len(read) > 2 * len({*read})  # it had forgotten some
    assert len(read) < 22 * 2  # and not all


def test_trees_of_one_log_hash_each_tile_once_for_them_all() -> None:
    leaves = some_leaves(3000)
    _, tiles = stored(leaves, 1000)
    counting = CountingHash()
    shared = HashedTiles(tiles.__getitem__, HashFunction(counting))
    sizes = range(1030, 3000, 10)
    for size in sizes:
        tree = LogTree(size, tiles.__getitem__, HashFunction(counting), shared)
        assert tree.inclusion_path(1000) == inclusion_path(leaves[:size], 1000, sha256)
    right_edge = 12  # nodes that lack leaves, of each tree
    assert counting.calls <= len(tiles) * 255 + len(sizes) * right_edge


def test_a_tile_that_grew_is_read_again_for_the_larger_trees_alone() -> None:
    leaves = some_leaves(500)
    tiles: dict[TileId, bytes] = {}
    read: list[TileId] = []

    def read_tile(tile: TileId) -> bytes:
        read.append(tile)
        return tiles[tile]

    shared = HashedTiles(read_tile, sha256)
    for held in (300, 400, 500):
        tiles.update(stored(leaves[:held], held)[1])
        for size in (300, held):
            path = LogTree(size, read_tile, sha256, shared).inclusion_path(290)
            assert path == inclusion_path(leaves[:size], 290, sha256)
    assert read.count(TileId(0, 1)) == 3


# --- Any size up to the current one ---


def test_every_leaf_and_size_of_a_log_of_several_tiles() -> None:
    leaves = some_leaves(550)
    _, tiles = stored(leaves, 90)
    for size in (1, 2, 255, 256, 257, 511, 512, 513, 550):
        head = TreeHead(size, merkle_root(leaves[:size], sha256))
        tree = LogTree(size, tiles.__getitem__, sha256)
        paths = [tree.inclusion_path(index) for index in range(size)]
        for index, path in enumerate(paths):
            verify_inclusion(leaves[index], index, path, head, sha256)
        for old_size in (1, 3, 200, 256, 300, 512):
            if old_size <= size:
                old = TreeHead(old_size, merkle_root(leaves[:old_size], sha256))
                path = consistency_path_from_tiles(old_size, size, tiles.__getitem__, sha256)
                verify_consistency(old, head, path, sha256)


# --- Refusals ---


def test_paths_beyond_the_log_are_refused() -> None:
    _, tiles = stored(some_leaves(10), 10)
    for index, size in ((10, 10), (-1, 10), (0, 0)):
        with pytest.raises(ProofError, match="proof-index"):
            LogTree(size, tiles.__getitem__, sha256).inclusion_path(index)
    for old_size in (0, 11):
        with pytest.raises(ProofError, match="proof-sizes"):
            consistency_path_from_tiles(old_size, 10, tiles.__getitem__, sha256)


@pytest.mark.parametrize(
    "operation",
    [
        lambda read: LogTree(9, read, sha256).inclusion_path(3),
        lambda read: consistency_path_from_tiles(7, 9, read, sha256),
        lambda read: tiles_changed(stored(some_leaves(9), 9)[0].append([b"x"], sha256)[1], read),
    ],
    ids=["inclusion", "consistency", "append"],
)
def test_a_tile_that_is_too_short_stops_the_reader(
    operation: Callable[[Callable[[TileId], bytes]], object],
) -> None:
    with pytest.raises(
        StorageError, match="tile 0 of level 0: expected at least 288 bytes, got 31"
    ):
        operation(lambda _: b"x" * 31)


def test_a_frontier_round_trips() -> None:
    for size in (0, 1, 6, 255, 256, 1000):
        frontier, _ = stored(some_leaves(size), 100)
        assert len(frontier.peaks) == size.bit_count()
        assert LogFrontier.decode(frontier.encode()) == frontier
    largest = LogFrontier(2**64 - 1, (b"p" * 32,) * 64)
    assert LogFrontier.decode(largest.encode()) == largest


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3, [b"p" * 32]], "expected 2 peaks for size 3, got 1"),
        ([0, [b"p" * 32]], "expected 0 peaks"),
        ([1, [b"p" * 31]], "log frontier peak: expected 32 bytes"),
        ([-1, []], "log frontier size"),
        ([1, [b"p" * 32], 0], "array of 2 items"),
        ([2**64 - 1, [b"p" * 32] * 65], "expected at most"),
        (0, "array of 2 items"),
    ],
)
def test_a_malformed_frontier_is_refused(value: object, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        LogFrontier.decode(encode(value))


# --- The edge: what a log goes on from without its past ---


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_793])
def test_the_edge_gives_the_frontier_and_is_all_that_appending_and_later_paths_read(
    size: int,
) -> None:
    leaves = some_leaves(size + 300)
    frontier, _ = EMPTY_FRONTIER.append(leaves[:size], sha256)
    _, whole = stored(leaves[:size], max(size, 1))
    edge = read_edge(size, whole.__getitem__)
    assert frontier_of_edge(size, edge, sha256) == frontier
    tiles = {tile: held for tile, held in zip(edge_tiles(size), edge, strict=True) if held}
    grown, growth = frontier.append(leaves[size:], sha256)
    tiles |= tiles_changed(growth, tiles.__getitem__)
    root = TreeHead(len(leaves), grown.root(sha256))
    for index in range(size, len(leaves), 37):
        path = LogTree(len(leaves), tiles.__getitem__, sha256).inclusion_path(index)
        verify_inclusion(leaves[index], index, path, root, sha256)


def test_what_is_not_the_edge_gives_another_root_or_is_refused() -> None:
    frontier, tiles = stored(some_leaves(700), 700)
    edge = read_edge(700, tiles.__getitem__)
    for level, content in enumerate(edge):
        for at in range(0, len(content), 31):
            flipped = bytearray(content)
            flipped[at] ^= 1
            other = (*edge[:level], bytes(flipped), *edge[level + 1 :])
            assert frontier_of_edge(700, other, sha256).root(sha256) != frontier.root(sha256)
        short = (*edge[:level], content[:-1], *edge[level + 1 :])
        with pytest.raises(ProofError, match="log-edge"):
            frontier_of_edge(700, short, sha256)
    for wrong in (edge[:-1], (*edge, b""), ()):
        with pytest.raises(ProofError, match="log-edge"):
            frontier_of_edge(700, wrong, sha256)
