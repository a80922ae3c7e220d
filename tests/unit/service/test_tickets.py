"""Who waits for which transactions: one future per batch, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.service.tickets import Ticket, TicketOffice

ONE, TWO = b"1" * 32, b"2" * 32
REFUSED = Admission(AdmissionCode.BAD_SIGNATURE, "does not verify")


def result(height: int) -> FinalResult:
    return FinalResult(ResultCode.OK, height, 1_000, 0, 7)


async def test_a_ticket_is_final_when_its_last_admitted_transaction_is() -> None:
    office = TicketOffice()
    ticket = office.open([ONE, None, TWO], [ACCEPTED, REFUSED, ACCEPTED])
    waiting = asyncio.create_task(ticket.wait_final())
    office.settle(TWO, result(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    office.settle(ONE, result(2))
    await waiting
    assert ticket.results == [result(2), None, result(1)]
    assert len(office) == 0


async def test_two_tickets_may_wait_for_one_transaction() -> None:
    office = TicketOffice()
    first, second = office.open([ONE], [ACCEPTED]), office.open([ONE], [ACCEPTED])
    office.settle(ONE, result(3))
    await asyncio.gather(first.wait_final(), second.wait_final())
    assert first.results == second.results == [result(3)]


async def test_nothing_admitted_is_nothing_to_wait_for() -> None:
    office = TicketOffice()
    await office.open([ONE, None], [REFUSED, REFUSED]).wait_final()
    assert len(office) == 0


async def test_a_verdict_revised_to_a_refusal_is_not_waited_for() -> None:
    office = TicketOffice()
    ticket = office.open([ONE, TWO], [ACCEPTED, ACCEPTED])
    ticket.revise(0, Admission(AdmissionCode.POOL_FULL, "the pool is full", 50))
    assert len(office) == 1
    office.settle(TWO, result(1))
    await ticket.wait_final()
    assert ticket.admissions[0].code is AdmissionCode.POOL_FULL
    assert ticket.results == [None, result(1)]


async def test_a_closed_ticket_leaves_others_waiting() -> None:
    office = TicketOffice()
    closed, kept = office.open([ONE, TWO], [ACCEPTED] * 2), office.open([ONE], [ACCEPTED])
    closed.close()
    assert len(office) == 1
    office.settle(ONE, result(1))
    await kept.wait_final()
    assert closed.results == [None, None]


async def test_cancelling_a_wait_changes_nothing_for_the_ticket() -> None:
    office = TicketOffice()
    ticket = office.open([ONE], [ACCEPTED])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await ticket.wait_final()
    office.settle(ONE, result(1))
    await ticket.wait_final()


async def test_the_callback_comes_once_with_the_last_result_and_not_after_closing() -> None:
    office = TicketOffice()
    calls: list[str] = []
    final, closed = office.open([ONE], [ACCEPTED]), office.open([TWO], [ACCEPTED])
    refused = office.open([None], [REFUSED])
    final.when_final(lambda: calls.append("final"))
    closed.when_final(lambda: calls.append("closed"))
    refused.when_final(lambda: calls.append("refused"))
    office.settle(ONE, result(1))
    closed.close()
    await asyncio.sleep(0)
    assert calls == ["final"]


async def test_who_goes_is_not_searched_for_among_all_who_wait_for_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client may name one transaction in every place of every batch that it has under way."""
    compared = 0

    def compare(self: Ticket, other: object) -> bool:
        nonlocal compared
        compared += 1
        return self is other

    monkeypatch.setattr(Ticket, "__hash__", object.__hash__)
    monkeypatch.setattr(Ticket, "__eq__", compare)
    office = TicketOffice()
    tickets = [office.open([ONE] * 100, [ACCEPTED] * 100) for _ in range(20)]
    for ticket in tickets[:-1]:
        ticket.close()
    office.settle(ONE, result(1))
    await tickets[-1].wait_final()
    assert tickets[-1].results == [result(1)] * 100
    assert len(office) == 0
    assert compared < 100  # of 2,000 that wait; searched for, each of 1,900 is met by hundreds
