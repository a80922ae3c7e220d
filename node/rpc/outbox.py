"""What waits to be sent to one peer: a queue by priority, bounded in bytes. A pure object."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Final

from node.errors import invariant
from node.limits import PEER_MESSAGE_BYTES_MAX

FRAME_MESSAGES_MAX: Final = 1_024
FRAME_BYTES_AIM: Final = 524_288
"""A frame ends before the message that would exceed this; only a message of its own may exceed it.

It is how long an urgent message waits behind one of no hurry: 40 ms at 100 Mbit/s.
"""


class Priority(IntEnum):
    """How urgent a message is; the lower number goes first."""

    VIEW_CHANGE = 0
    VOTE = 1
    PROPOSAL = 2
    SYNC = 3
    GOSSIP = 4


class Outbox:
    """Messages in order of priority, then of arrival, of at most `bytes_max` bytes together."""

    __slots__ = ("_bytes_max", "_queues", "bytes", "bytes_dropped", "messages_dropped")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._queues: tuple[deque[bytes], ...] = tuple(deque() for _ in Priority)
        self.bytes = 0
        self.messages_dropped = 0
        self.bytes_dropped = 0

    def put(self, priority: int, message: bytes) -> None:
        """Add a message. Where room is lacking, the least urgent and of those the oldest go.

        A message is never dropped for one less urgent: then it is the new one that goes.
        """
        invariant(
            len(message) <= PEER_MESSAGE_BYTES_MAX,
            f"peer message: expected at most {PEER_MESSAGE_BYTES_MAX} bytes, got {len(message)}",
        )
        if self.bytes + len(message) > self._bytes_max:
            self._drop_down_to(self._bytes_max - len(message), priority)
            if self.bytes + len(message) > self._bytes_max:
                self.messages_dropped += 1
                self.bytes_dropped += len(message)
                return
        self._queues[priority].append(message)
        self.bytes += len(message)

    def take_frame(self) -> list[bytes]:
        """Remove and return what goes out next, as one frame; empty if nothing waits."""
        frame: list[bytes] = []
        frame_bytes = 0
        for queue in self._queues:
            while queue:
                size = len(queue[0])
                if frame and (
                    frame_bytes + size > FRAME_BYTES_AIM or len(frame) == FRAME_MESSAGES_MAX
                ):
                    self.bytes -= frame_bytes
                    return frame
                frame.append(queue.popleft())
                frame_bytes += size
        self.bytes -= frame_bytes
        return frame

    def resize(self, bytes_max: int) -> None:
        """Change the bound, dropping what exceeds it."""
        self._bytes_max = bytes_max
        self._drop_down_to(bytes_max, min(Priority))

    def _drop_down_to(self, bytes_max: int, most_urgent: int) -> None:
        """Drop messages no more urgent than `most_urgent`, least urgent and oldest first."""
        for queue in reversed(self._queues[most_urgent:]):
            while queue and self.bytes > bytes_max:
                size = len(queue.popleft())
                self.bytes -= size
                self.bytes_dropped += size
                self.messages_dropped += 1
