"""Who waits for which transactions: one future per batch, whatever its size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from node.chain.admission import Admission, FinalResult


class Ticket:
    """A submitted batch: the verdict on each transaction, then its final result."""

    __slots__ = ("_done", "_office", "admissions", "outstanding", "results", "tx_ids")

    def __init__(
        self, office: TicketOffice, tx_ids: Sequence[bytes | None], admissions: list[Admission]
    ) -> None:
        """`tx_ids` is None where the transaction was not even well formed."""
        self._office, self.tx_ids, self.admissions = office, tx_ids, admissions
        self.results: list[FinalResult | None] = [None] * len(admissions)
        self.outstanding = 0
        self._done = asyncio.get_running_loop().create_future()

    async def wait_final(self) -> None:
        """Return when every admitted transaction has its result."""
        if self.outstanding:
            await asyncio.shield(self._done)

    def when_final(self, callback: Callable[[], None]) -> None:
        """Have `callback` called once, when the last admitted transaction gets its result.

        It is not called where none waits now, nor after `close`.
        """
        if self.outstanding:
            self._done.add_done_callback(lambda done: None if done.cancelled() else callback())

    def settle(self, index: int, result: FinalResult) -> None:
        """Note the result of one transaction."""
        if self.results[index] is None:
            self.results[index] = result
            self._count_down()

    def revise(self, index: int, admission: Admission) -> None:
        """Replace the verdict on one transaction by the pool's answer."""
        self.admissions[index] = admission
        if not admission.code.is_admitted and self.results[index] is None:
            self._office.forget_one(self, index)
            self._count_down()

    def _count_down(self) -> None:
        self.outstanding -= 1
        if not self.outstanding and not self._done.done():
            self._done.set_result(None)

    def close(self) -> None:
        """Stop waiting."""
        self._office.forget(self)
        if not self._done.done():
            self._done.cancel()


class TicketOffice:
    """Finds the tickets that wait for a transaction when it becomes final."""

    def __init__(self) -> None:
        """Start with nobody waiting."""
        self._waiting: dict[bytes, dict[tuple[Ticket, int], None]] = {}
        """In order. One id may be waited for as often as clients care to name it: who goes is found
        at once, not searched for among all others."""

    def open(self, tx_ids: Sequence[bytes | None], admissions: list[Admission]) -> Ticket:
        """Begin to wait for the admitted transactions of a batch that are not final yet."""
        ticket = Ticket(self, tx_ids, admissions)
        for index, (tx_id, admission) in enumerate(zip(tx_ids, admissions, strict=True)):
            if tx_id is None or not admission.code.is_admitted:
                continue
            ticket.outstanding += 1
            self._waiting.setdefault(tx_id, {})[ticket, index] = None
        return ticket

    def settle(self, tx_id: bytes, result: FinalResult) -> None:
        """Tell whoever waits for a transaction what became of it."""
        for ticket, index in self._waiting.pop(tx_id, ()):
            ticket.settle(index, result)

    def forget(self, ticket: Ticket) -> None:
        """Drop what a ticket still waits for."""
        for index, result in enumerate(ticket.results):
            if result is None:
                self.forget_one(ticket, index)

    def forget_one(self, ticket: Ticket, index: int) -> None:
        """Drop one transaction a ticket waits for."""
        tx_id = ticket.tx_ids[index]
        waiting = None if tx_id is None else self._waiting.get(tx_id)
        if tx_id is None or waiting is None:
            return
        waiting.pop((ticket, index), None)
        if not waiting:
            del self._waiting[tx_id]

    def __len__(self) -> int:
        return len(self._waiting)
