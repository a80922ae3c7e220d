"""How large a proposal may be. Pure; it learns from what earlier ones took.

A block's T is stamped before it is executed and logged, and the others refuse a T that reaches them
late. So a proposal should leave within a quarter of MSGDELAY, whatever this machine can do just
now; and where views fail over it, the others' machines may be the slow ones.

A machine that has no time is late with few records as with many, and each block costs it more than
its records do. So what execution took of the processor itself tells how far lateness alone may let
a batch fall: a proposal whose own work is a small part of its time is not late by being large.
"""

from __future__ import annotations

from typing import Final

RECORDS_AT_FIRST: Final = 1_000
RECORDS_LEAST: Final = 250
"""Below this, what takes long here is not the batch: the disk, or a machine that has no time."""
WORK_SHARE: Final = 4
"""Nor where executing it takes less than one part in so many of the time that a proposal has."""
RECORDS_LEAST_FAILED: Final = 10
"""Where views fail, others may have no time for more: there the batch may fall this far."""

_GROWTH_PERCENT: Final = 125
_NS_PER_MS: Final = 1_000_000


class BatchLimit:
    """The records that the next proposal may hold."""

    def __init__(self, *, records_max: int, delay_max_ms: int) -> None:
        """`delay_max_ms` is what may pass between stamping a proposal and sending it."""
        self._records_max, self._delay_max_ms = records_max, delay_max_ms
        self._least = min(RECORDS_LEAST, records_max)
        self.records = min(RECORDS_AT_FIRST, records_max)

    def note_work(self, records: int, spent_ns: int) -> None:
        """Note what CPU time executing a proposal of so many records took; 0 if nobody measures."""
        if spent_ns > 0:
            harmless = records * self._delay_max_ms * _NS_PER_MS // (WORK_SHARE * spent_ns)
            self._least = min(max(harmless, RECORDS_LEAST), self._records_max)

    def learn(self, records: int, delay_ms: int) -> None:
        """Note that a proposal of so many records left so long after it was stamped.

        One that was late halves the limit; one that was in time raises it, if it was full.
        """
        if delay_ms > self._delay_max_ms:
            self.records = max(min(records, self.records) // 2, min(self.records, self._least))
        elif records * _GROWTH_PERCENT >= self.records * 100:
            self.records = min(self.records * _GROWTH_PERCENT // 100, self._records_max)

    def note_failed_view(self) -> None:
        """Note that a view ended as it should not: what is proposed next is half as large.

        How late its proposal comes to others no proposer learns; that its view fails, all do.
        """
        self.records = max(self.records // 2, min(self.records, RECORDS_LEAST_FAILED))
