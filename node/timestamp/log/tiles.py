"""C2SP tlog-tiles: where the files of the public log are, and what bundles of entries look like.

Source: c2sp.org/tlog-tiles. Tiles hold hashes; node.chain.log has their contents and the proofs
made of them. Only names and the form of entry bundles live here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from node.chain.log import TILE_HASHES, TILE_HEIGHT
from node.errors import DecodeError, InvariantViolation

LEVEL_MAX: Final = 63
ENTRY_BYTES_MAX: Final = 65_535

_GROUP: Final = 1_000
_INDEX_BITS_MAX: Final = 64 - TILE_HEIGHT
_PATH: Final = re.compile(
    r"(?P<level>entries|0|[1-9][0-9]?)/"
    r"(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


@dataclass(frozen=True, slots=True)
class TileFile:
    """One file of the log: a tile of hashes, or, without a level, a bundle of entries."""

    level: int | None
    index: int
    width: int = TILE_HASHES
    """How many hashes or entries: 256 in a full one."""

    @property
    def path(self) -> str:
        """Return where it is, below `/tile/`."""
        groups = [self.index % _GROUP]
        rest = self.index // _GROUP
        while rest:
            groups.insert(0, rest % _GROUP)
            rest //= _GROUP
        names = [f"x{group:03}" for group in groups[:-1]] + [f"{groups[-1]:03}"]
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.width == TILE_HASHES else f".p/{self.width}"
        return f"{level}/{'/'.join(names)}{suffix}"

    @property
    def first(self) -> int:
        """Return how many hashes or entries of its level come before it."""
        return self.index * TILE_HASHES

    def is_within(self, size: int) -> bool:
        """Tell whether a log of `size` entries has all of it."""
        return self.first + self.width <= size >> TILE_HEIGHT * (self.level or 0)

    @classmethod
    def parse(cls, path: str) -> TileFile:
        """Read a path below `/tile/`; raises `DecodeError` on all but the one form of it."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise DecodeError(f"tile: expected LEVEL/INDEX[.p/WIDTH], got {path!r:.80}")
        level, width = found["level"], found["width"]
        index = 0
        for group in found["index"].replace("x", "").split("/"):
            index = index * _GROUP + int(group)
        file = cls(
            None if level == "entries" else int(level),
            index,
            TILE_HASHES if width is None else int(width),
        )
        # What was padded, a width of 256 and a number too great have another path, or none.
        if file.path != path or (file.level or 0) > LEVEL_MAX or index >> _INDEX_BITS_MAX:
            raise DecodeError(f"tile: expected the shortest path, got {path!r:.80}")
        return file


def file_of(level: int | None, index: int, size: int) -> TileFile:
    """Return the file at a place of a log of `size` entries: partial where that is what it has.

    Raises `InvariantViolation` where it has nothing there.
    """
    held = (size >> TILE_HEIGHT * (level or 0)) - index * TILE_HASHES
    if held <= 0:
        raise InvariantViolation(f"a log of {size} entries has no tile {index} of level {level}")
    return TileFile(level, index, min(held, TILE_HASHES))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return entries as a bundle: each after its length in two bytes, big endian."""
    for entry in entries:
        if len(entry) > ENTRY_BYTES_MAX:
            raise InvariantViolation(f"an entry of {len(entry)} bytes fits in no bundle")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
