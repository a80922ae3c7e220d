"""Archives: consecutive blocks in one file, with what a verifier starts from. Bytes alone.

A file begins with `MAGIC`. Frames follow, each a length in 4 bytes, big endian, and so many bytes:
the head, blocks, and the end with a hash of all before it. The hash tells a damaged copy; whom to
believe is for `node.service.archived`. proto/ARCHIVE.md describes it for others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Final, Self

from node.chain.block import CERTIFIED_HEADER_BYTES_MAX, DIGEST_BYTES, CertifiedHeader
from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_uint,
)
from node.chain.log import LogFrontier
from node.crypto.suite import Suite
from node.errors import DecodeError
from node.storage.packing import pack, unpack
from node.storage.stored_block import VALUE_BYTES_MAX, StoredBlock
from node.timestamp.history import HANDOVER_BYTES_MAX, HISTORY_HANDOVERS_MAX, Handover

MAGIC: Final = b"govchain-archive-1\n"
FRAME_BYTES_AIM: Final = 1_048_576
"""A frame of blocks ends before the block that would exceed this."""
FRAME_BLOCKS_MAX: Final = 4_096

_LENGTH_BYTES: Final = 4
_HEAD_BYTES_MAX: Final = 67_108_864
_BLOCKS_BYTES_MAX: Final = FRAME_BYTES_AIM + 2 * VALUE_BYTES_MAX + CERTIFIED_HEADER_BYTES_MAX
_END_BYTES_MAX: Final = 64

BlockValues = tuple[bytes, bytes]
"""Header value and body value of a block, see node.storage.stored_block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveHead:
    """What an archive says of itself. Untrusted until it is checked."""

    chain_id: bytes
    first: int
    last: int
    before: CertifiedHeader | None
    """The block below the first; None where that is genesis."""
    frontier: LogFrontier
    """The log after that block."""
    handovers: tuple[Handover, ...]
    """What led from each validator set to the next, from genesis to the epoch of the last block."""

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `archive-head`."""
        return encode(
            [
                self.chain_id,
                self.first,
                self.last,
                None if self.before is None else self.before.to_value(),
                self.frontier.to_value(),
                [handover.encode() for handover in self.handovers],
            ]
        )

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> Self:
        """Read a head; raises `DecodeError`."""
        chain_id, first, last, before, frontier, handovers = expect_array(
            decode(data, what="archive head", size_max=_HEAD_BYTES_MAX), 6, "archive head"
        )
        head = cls(
            chain_id=expect_bytes(chain_id, "archive chain id", size=DIGEST_BYTES),
            first=expect_uint(first, "archive first height"),
            last=expect_uint(last, "archive last height"),
            before=None
            if before is None
            else CertifiedHeader.from_value(before, suite.signature_size),
            frontier=LogFrontier.from_value(frontier),
            handovers=tuple(
                Handover.decode(
                    expect_blob(item, "archive handover", size_max=HANDOVER_BYTES_MAX), suite
                )
                for item in expect_list(handovers, HISTORY_HANDOVERS_MAX, "archive handovers")
            ),
        )
        if not 0 < head.first <= head.last or (head.first == 1) is not (head.before is None):
            raise DecodeError(f"archive: no blocks from {first} to {last}, or not what lies below")
        return head


def write_archive(
    file: IO[bytes], head: ArchiveHead, blocks: Iterable[BlockValues], suite: Suite
) -> None:
    """Write an archive of these blocks, which are those that the head says; raises `OSError`."""
    digest = suite.new_hash(b"")

    def put(content: bytes) -> None:
        digest.update(content)
        file.write(content)

    put(MAGIC)
    put(_framed(head.encode()))
    gathered: list[list[bytes]] = []
    size = 0
    for header, body in blocks:
        size += len(header) + len(body)
        if gathered and (size > FRAME_BYTES_AIM or len(gathered) == FRAME_BLOCKS_MAX):
            put(_framed(pack(encode(gathered))))
            gathered, size = [], len(header) + len(body)
        gathered.append([header, body])
    put(_framed(pack(encode(gathered))))
    file.write(_framed(encode([head.last - head.first + 1, digest.digest()])))


class ArchiveReader:
    """An archive being read from its beginning to its end, a frame at a time."""

    def __init__(self, file: IO[bytes], suite: Suite) -> None:
        """Read the head; raises `DecodeError`."""
        self._file, self._suite = file, suite
        self._digest = suite.new_hash(b"")
        if self._read(len(MAGIC)) != MAGIC:
            raise DecodeError("archive: it does not begin as one")
        self.head = ArchiveHead.decode(self._frame(_HEAD_BYTES_MAX), suite)

    def blocks(self) -> Iterator[StoredBlock]:
        """Yield every block, unchecked, and then check the end; raises `DecodeError`."""
        count = self.head.last - self.head.first + 1
        seen = 0
        while seen < count:
            packed = self._frame(_BLOCKS_BYTES_MAX)
            content = unpack(packed, _BLOCKS_BYTES_MAX)
            what = "archive blocks"
            listed = expect_list(
                decode(content, what=what, size_max=_BLOCKS_BYTES_MAX), FRAME_BLOCKS_MAX, what
            )
            seen += len(listed)
            if not listed or seen > count:
                raise DecodeError(f"archive: expected {count} blocks, got {seen} or more")
            for item in listed:
                header, body = expect_array(item, 2, "archive block")
                yield StoredBlock(
                    expect_blob(header, "archive header", size_max=CERTIFIED_HEADER_BYTES_MAX),
                    expect_blob(body, "archive body", size_max=VALUE_BYTES_MAX),
                    self._suite,
                )
        expected = [count, self._digest.digest()]
        if decode(self._frame(_END_BYTES_MAX), what="archive end", size_max=_END_BYTES_MAX) != (
            expected
        ):
            raise DecodeError("archive: its bytes do not give the hash at its end: a damaged copy")
        if self._file.read(1):
            raise DecodeError("archive: it goes on after its end")

    def _frame(self, size_max: int) -> bytes:
        size = int.from_bytes(self._read(_LENGTH_BYTES), "big")
        if size > size_max:
            raise DecodeError(f"archive: expected a frame of at most {size_max} bytes, got {size}")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        content = self._file.read(size)
        if len(content) != size:
            raise DecodeError("archive: it ends too early: a copy that was cut")
        self._digest.update(content)
        return content


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content
