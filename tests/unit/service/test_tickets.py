"""Who waits for which transactions: one future per batch, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.service.tickets import TicketOffice

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
