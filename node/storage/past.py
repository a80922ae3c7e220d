"""What of the past a ledger still lacks that began with a snapshot. A value alone; no IO.

Such a ledger holds the state after one block, its *head*, and the blocks that execution above it
needs. The blocks below these are written from genesis upwards as they come, with their entries in
the log's tiles; then the tiles of the blocks up to the head, which have been here all along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from node.chain.encoding import decode, encode, expect_array, expect_uint
from node.chain.log import LogFrontier
from node.errors import ClientError

_BYTES_MAX: Final = 4_096


class NotHeldYet(ClientError):  # noqa: N818 - a state, as the exit codes name it
    """What is asked for lies in the past that this node is still fetching."""

    code = "GC-2208"


class Pruned(ClientError):  # noqa: N818 - a state, as the exit codes name it
    """What is asked for needs transactions that this node has pruned."""

    code = "GC-2210"

    def __init__(self, below: int) -> None:
        super().__init__(
            f"this validator keeps of the transactions below block {below} what receipts need, not "
            "the transactions as they were signed",
            fix="ask another validator, or look into an archive of these blocks",
        )


@dataclass(frozen=True, slots=True)
class MissingPast:
    """The gap between the blocks below it and those that came with the snapshot."""

    next_height: int
    """The block whose leaves the log's tiles lack first."""
    held_from: int
    """From here on blocks are held, whatever the tiles lack."""
    head: int
    """The block whose state the snapshot was."""
    head_log_size: int
    frontier: LogFrontier
    """The log before the next block."""

    @property
    def heights(self) -> range:
        """The blocks that are not held."""
        return range(self.next_height, self.held_from)

    def encode(self) -> bytes:
        """Return the stored form."""
        numbers = [self.next_height, self.held_from, self.head, self.head_log_size]
        return encode([*numbers, self.frontier.to_value()])

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the stored form; raises `DecodeError`."""
        following, held_from, head, head_log_size, frontier = expect_array(
            decode(data, what="missing past", size_max=_BYTES_MAX), 5, "missing past"
        )
        return cls(
            expect_uint(following, "missing past next height"),
            expect_uint(held_from, "missing past held from"),
            expect_uint(head, "missing past head"),
            expect_uint(head_log_size, "missing past log size"),
            LogFrontier.from_value(frontier),
        )

    def refusal(self) -> NotHeldYet:
        """Return the error for a question whose answer may lie in what is missing."""
        heights = self.heights
        what = f"blocks {heights.start} to {heights.stop - 1} are" if heights else "its log is"
        return NotHeldYet(
            f"this validator began with a snapshot; {what} being fetched from the others",
            fix="ask another validator, or again later: govchain doctor tells how far it is",
        )
