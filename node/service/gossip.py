"""Passing transactions on to the other validators, and repeating them when nothing moves."""

from __future__ import annotations

from collections.abc import Iterable

from node.consensus import events as ev
from node.service.mempool import Mempool
from node.service.output import Outlet
from node.service.wire import Transactions

MESSAGE_BYTES_MAX = 524_288
REPEATED_TXS_MAX = 200
REPEATED_RECORDS_MAX = 20_000
PAUSES_MAX = 8
"""Each repetition waits twice as long as the one before, up to so many times the first pause.

Until then only whoever was handed a transaction repeats it: what all repeat to all, and nobody has
time to read, would else be what keeps a large network from moving.
"""


class Gossip:
    """Encoded transactions that the others may not know."""

    def __init__(self, mempool: Mempool, outlet: Outlet, *, repeat_after_ms: int) -> None:
        """`repeat_after_ms`: how long without a commit until what waits is repeated."""
        self._mempool, self._outlet = mempool, outlet
        self.repeat_after_ms = repeat_after_ms
        self._batch: list[bytes] = []
        self._repeated_at_ms, self._pause_ms = -1, 0

    @property
    def is_waiting(self) -> bool:
        """Whether `flush` has something to send."""
        return bool(self._batch)

    def add(self, encoded: bytes) -> None:
        """Have a transaction sent with the next `flush`."""
        self._batch.append(encoded)

    def flush(self) -> None:
        """Send what was added since the last call, in few messages."""
        batch: list[bytes] = []
        size = 0
        for encoded in self._batch:
            if batch and size + len(encoded) > MESSAGE_BYTES_MAX:
                self._outlet.send(None, Transactions(tuple(batch)))
                batch, size = [], 0
            batch.append(encoded)
            size += len(encoded)
        if batch:
            self._outlet.send(None, Transactions(tuple(batch)))
        self._batch.clear()

    def repeat(
        self, now: ev.Now, *, committed_at_ms: int, time_ms: int, undecided: Iterable[bytes]
    ) -> None:
        """While nothing is final for long, repeat to all what waits, the oldest first.

        First what clients handed in here; then, as others may have died, whatever waits, with
        `undecided`, the transactions of undecided blocks: after a crash of all, this validator may
        be the only one that still knows of them, and nobody else would see that there is work.
        `committed_at_ms` is monotonic; `time_ms` is what admission reckons with.
        """
        if now.monotonic_ms < self._due_ms(committed_at_ms):
            return
        is_first = committed_at_ms > self._repeated_at_ms
        most_ms = PAUSES_MAX * self.repeat_after_ms
        self._pause_ms = self.repeat_after_ms if is_first else min(2 * self._pause_ms, most_ms)
        self._repeated_at_ms = now.monotonic_ms
        is_own = self._pause_ms < most_ms
        if not is_own:
            self._batch += undecided
        self._send_first(time_ms, is_own=is_own)

    def due_ms(self, committed_at_ms: int) -> list[int]:
        """Return the monotonic times (ms) by which `repeat` has something to send."""
        return [self._due_ms(committed_at_ms)] if self._mempool.is_waiting else []

    def _due_ms(self, committed_at_ms: int) -> int:
        if committed_at_ms > self._repeated_at_ms:
            return committed_at_ms + self.repeat_after_ms
        return self._repeated_at_ms + self._pause_ms

    def repeat_first(self, time_ms: int) -> None:
        """Repeat to all what is first in turn; `time_ms` is what admission reckons with."""
        self._send_first(time_ms, is_own=False)

    def _send_first(self, time_ms: int, *, is_own: bool) -> None:
        waiting = self._mempool.take(
            time_ms=time_ms,
            txs_max=REPEATED_TXS_MAX,
            bytes_max=MESSAGE_BYTES_MAX,
            records_max=REPEATED_RECORDS_MAX,
            is_own=is_own,
        )
        self._mempool.note_repeated(waiting)
        self._batch += [verified.transaction.encoded for verified in waiting]
        self.flush()
