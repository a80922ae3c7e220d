"""The chain-wide append-only log: its frontier, and its tiles as values; storing them is not here.

The log is one RFC 9162 tree (`node.chain.merkle`) that is never held whole.

The *frontier* is what is needed to append and to know the root: the roots of the perfect subtrees
that make up the tree, one per set bit of its size. Each block extends its parent's frontier.

*Tiles* are how hashes are stored, so that a path for any leaf, at any past size, is read from a few
of them. They are those of C2SP tlog-tiles: a tile of level L holds up to 256 neighbouring hashes of
height 8 * L; level 0 holds leaf hashes, each further level the roots of full tiles of the level
below. Tiles only ever grow, and a full one (8,192 bytes) never changes, so a stored tile serves
every size up to the current one. The heights in between are hashed again when read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_bytes,
    expect_list,
    expect_uint,
)
from node.chain.merkle import (
    DIGEST_BYTES,
    consistency_path_of,
    digest_at,
    hash_pairs,
    inclusion_path_of,
    node_hash,
    prefix_path_of,
    row_root,
    tree_rows,
)
from node.crypto.hashing import HashFunction
from node.errors import DecodeError, ProofError, StorageError

TILE_HEIGHT: Final = 8
TILE_HASHES: Final = 1 << TILE_HEIGHT
TILE_BYTES: Final = TILE_HASHES * DIGEST_BYTES

TILES_REMEMBERED: Final = 64
"""By a tree, and by those that share them, with all that is hashed over them: 16 KiB each."""

_PEAKS_MAX: Final = 64
_FRONTIER_BYTES_MAX: Final = 16 + _PEAKS_MAX * (DIGEST_BYTES + 2)


@dataclass(frozen=True, slots=True, order=True)
class TileId:
    """Names the `index`-th tile of `level`."""

    level: int
    index: int


ReadTile = Callable[[TileId], bytes]
"""Gives the stored content of a tile, of the current size of the log or a later one."""


@dataclass(frozen=True, slots=True)
class TileGrowth:
    """The hashes that one append adds to the tiles of a log of `old_size` leaves.

    `rows[level]` holds what is added at that level, joined in order; `rows[0]` are the leaf hashes.
    """

    old_size: int
    rows: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LogFrontier:
    """The right edge of a log of `size` leaves: all that appending and its root depend on.

    `peaks` are the roots of its perfect subtrees, leftmost and largest first.
    """

    size: int
    peaks: tuple[bytes, ...]

    def append(
        self, leaf_hashes: Sequence[bytes], hash_function: HashFunction
    ) -> tuple[LogFrontier, TileGrowth]:
        """Return the frontier with `leaf_hashes` added, and what that adds to the tiles.

        Each inner node is hashed once, when it is complete: less than one hash per leaf over time.
        """
        old_peaks, new_peaks = list(self.peaks), list[bytes]()
        tile_rows: list[bytes] = []
        height, row = 0, b"".join(leaf_hashes)  # the nodes completed by this append at this height
        while self.size >> height or row:
            if row and height % TILE_HEIGHT == 0:
                tile_rows.append(row)
            if self.size >> height & 1:
                row = old_peaks.pop() + row
            if len(row) // DIGEST_BYTES % 2:
                new_peaks.append(row[-DIGEST_BYTES:])
            height, row = height + 1, hash_pairs(row, hash_function)
        frontier = LogFrontier(self.size + len(leaf_hashes), tuple(reversed(new_peaks)))
        return frontier, TileGrowth(self.size, tuple(tile_rows))

    def root(self, hash_function: HashFunction) -> bytes:
        """Return the root of the log, with one hash less than there are peaks."""
        if not self.peaks:
            return hash_function(b"")
        root = self.peaks[-1]
        for peak in self.peaks[-2::-1]:
            root = node_hash(peak, root, hash_function)
        return root

    def to_value(self) -> list[object]:
        """Return the array [size, [peak, ...]]."""
        return [self.size, list(self.peaks)]

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Build from what `to_value` gives, or raise `DecodeError`. The peaks are not verified."""
        size, peaks = expect_array(value, 2, "log frontier")
        frontier = cls(
            expect_uint(size, "log frontier size"),
            tuple(
                expect_bytes(peak, "log frontier peak", size=DIGEST_BYTES)
                for peak in expect_list(peaks, _PEAKS_MAX, "log frontier peaks")
            ),
        )
        if len(frontier.peaks) != frontier.size.bit_count():
            raise DecodeError(
                f"log frontier: expected {frontier.size.bit_count()} peaks for size"
                f" {frontier.size}, got {len(frontier.peaks)}"
            )
        return frontier

    def encode(self) -> bytes:
        """Return the canonical encoding of `to_value`."""
        return encode(self.to_value())

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gives, or raise `DecodeError`."""
        return cls.from_value(decode(data, what="log frontier", size_max=_FRONTIER_BYTES_MAX))


EMPTY_FRONTIER: Final = LogFrontier(0, ())


def tiles_changed(growth: TileGrowth, read_tile: ReadTile) -> dict[TileId, bytes]:
    """Return the new content of every tile that `growth` changes, partial rightmost ones included.

    Reads at most one tile per level, and hashes nothing. The tiles may have been written already:
    the result is the same. Raises `StorageError` if a tile that must be there is too short.
    """
    changed = {}
    for level, row in enumerate(growth.rows):
        first, kept = _kept(growth.old_size, level)
        content = _read_prefix(read_tile, TileId(level, first), kept) if kept else b""
        content += row
        for start in range(0, len(content), TILE_BYTES):
            tile = TileId(level, first + start // TILE_BYTES)
            changed[tile] = content[start : start + TILE_BYTES]
    return changed


def edge_tiles(size: int) -> tuple[TileId, ...]:
    """Return the tile of each level that a log of `size` leaves is growing, lowest first.

    They are all of the past that appending reads, and that a path of a later leaf does.
    """
    return tuple(TileId(level, _kept(size, level)[0]) for level in range(_levels(size)))


def read_edge(size: int, read_tile: ReadTile) -> tuple[bytes, ...]:
    """Return what these tiles held at `size` leaves; raises `StorageError` for one too short."""
    return tuple(
        _read_prefix(read_tile, tile, kept) if (kept := _kept(size, tile.level)[1]) else b""
        for tile in edge_tiles(size)
    )


def frontier_of_edge(size: int, edge: Sequence[bytes], hash_function: HashFunction) -> LogFrontier:
    """Return the frontier of the log whose edge this is, which its root vouches for.

    Raises `ProofError` (`log-edge`) if that is not the edge of a log of `size` leaves.
    """
    if len(edge) != _levels(size):
        raise ProofError("log-edge", f"expected {_levels(size)} tiles, got {len(edge)}")
    peaks: list[bytes] = []
    for level in reversed(range(len(edge))):
        kept, content = _kept(size, level)[1], edge[level]
        if len(content) != kept * DIGEST_BYTES:
            raise ProofError("log-edge", f"level {level}: expected {kept} hashes")
        start = 0
        for width in (1 << bit for bit in reversed(range(TILE_HEIGHT)) if kept >> bit & 1):
            end = start + width * DIGEST_BYTES
            peaks.append(row_root(content[start:end], hash_function))
            start = end
    return LogFrontier(size, tuple(peaks))


def _levels(size: int) -> int:
    """Return how many levels of tiles a log of `size` leaves has."""
    return -(-size.bit_length() // TILE_HEIGHT)


def _kept(size: int, level: int) -> tuple[int, int]:
    """Return the tile of a level that grows next, and how many hashes it holds at `size` leaves."""
    return divmod(size >> level * TILE_HEIGHT, TILE_HASHES)


def consistency_path_from_tiles(
    old_size: int, size: int, read_tile: ReadTile, hash_function: HashFunction
) -> list[bytes]:
    """Return the proof that the log of `old_size` leaves is a prefix of that of `size` leaves.

    Raises `ProofError` unless 0 < old_size <= size, `StorageError` if a tile is too short.
    """
    tree = LogTree(size, read_tile, hash_function)
    return consistency_path_of(tree.node_at, old_size, size)


def prefix_path_from_tiles(
    old_size: int, size: int, read_tile: ReadTile, hash_function: HashFunction
) -> list[bytes]:
    """Return the path from which `prefix_roots` has the roots of both sizes.

    Raises `ProofError` unless 0 < old_size < size, `StorageError` if a tile is too short.
    """
    tree = LogTree(size, read_tile, hash_function)
    return prefix_path_of(tree.node_at, old_size, size)


class HashedTiles:
    """The tiles last read, with all that is hashed over them: the same for trees of any size."""

    def __init__(self, read_tile: ReadTile, hash_function: HashFunction) -> None:
        """Begin with nothing read."""
        self._read_tile, self._hash_function = read_tile, hash_function
        self._rows: dict[TileId, list[bytes]] = {}

    def rows(self, tile: TileId, count: int) -> list[bytes]:
        """Return the rows over a tile of at least `count` hashes.

        A tile may have grown since the tree that needs so many of it: its nodes are where they
        were. Raises `StorageError` if it is too short.
        """
        rows = self._rows.get(tile)
        if rows is None or len(rows[0]) < count * DIGEST_BYTES:
            content = self._read_tile(tile)
            held = max(min(len(content) // DIGEST_BYTES, TILE_HASHES), count)
            rows = tree_rows(_prefix(content, tile, held), self._hash_function)
            if len(self._rows) >= TILES_REMEMBERED:
                self._rows.clear()
            self._rows[tile] = rows
        return rows


class LogTree:
    """The tree over the first `size` leaves of a log, which never changes.

    The tiles last read and hashed are remembered: the paths of a whole block, in whatever portions
    they are asked for, cost little more than one. Trees of one log may share them.
    """

    def __init__(
        self,
        size: int,
        read_tile: ReadTile,
        hash_function: HashFunction,
        tiles: HashedTiles | None = None,
    ) -> None:
        """Begin with nothing read, or with `tiles`, which were read by the same `read_tile`."""
        self.size = size
        self._hash_function = hash_function
        self._tiles = tiles or HashedTiles(read_tile, hash_function)
        self._rows: dict[tuple[int, int], list[bytes]] = {}
        self._right_edge: dict[tuple[int, int], bytes] = {}

    def inclusion_path(self, index: int) -> list[bytes]:
        """Return the path from leaf `index` to the root.

        Raises `ProofError` unless index < size, `StorageError` if a tile is too short.
        """
        return inclusion_path_of(self.node_at, index, self.size)

    def node_at(self, height: int, index: int) -> bytes:
        """Return the hash of a node of this tree; at its right edge a node may lack leaves."""
        if (index + 1) << height <= self.size:
            level, height_in_tile = divmod(height, TILE_HEIGHT)
            tile, index_in_tile = divmod(index, TILE_HASHES >> height_in_tile)
            rows = self._rows.get((level, tile)) or self._read(level, tile)
            return digest_at(rows[height_in_tile], index_in_tile)
        node = self._right_edge.get((height, index))
        if node is None:
            node = self.node_at(height - 1, 2 * index)
            if (2 * index + 1) << (height - 1) < self.size:
                right = self.node_at(height - 1, 2 * index + 1)
                node = node_hash(node, right, self._hash_function)
            self._right_edge[height, index] = node
        return node

    def _read(self, level: int, tile: int) -> list[bytes]:
        """Return the rows over the hashes of a tile that belong to this tree."""
        width = (self.size >> level * TILE_HEIGHT) - tile * TILE_HASHES
        rows = self._tiles.rows(TileId(level, tile), min(width, TILE_HASHES))
        if len(self._rows) >= TILES_REMEMBERED:
            self._rows.clear()
        self._rows[level, tile] = rows
        return rows


def _read_prefix(read_tile: ReadTile, tile: TileId, count: int) -> bytes:
    """Return the first `count` hashes of a stored tile, joined."""
    return _prefix(read_tile(tile), tile, count)


def _prefix(content: bytes, tile: TileId, count: int) -> bytes:
    """Return the first `count` hashes in what is stored of a tile."""
    if len(content) < count * DIGEST_BYTES:
        raise StorageError(
            f"tile {tile.index} of level {tile.level}: expected at least {count * DIGEST_BYTES}"
            f" bytes, got {len(content)}"
        )
    return content[: count * DIGEST_BYTES]
