"""The desk for time stamps, on a chain of one validator: recorded, final, then answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import pytest

from node.chain.genesis import Parameters
from node.chain.record import RecordAction
from node.crypto.certificate import (
    Authority,
    Issuance,
    build_authority_certificate,
    build_timestamp_certificate,
)
from node.crypto.suite import INTERNATIONAL, SHA_256, SHA_512, DocumentDigest
from node.errors import CryptoError, InvariantViolation
from node.service.queries import Queries
from node.service.runner import Runner
from node.service.stamping import requests as time_stamping
from node.service.stamping.figures import OVER_QUOTA, reason_of
from node.service.stamping.quota import Quota
from node.service.stamping.requests import Answer, Client, StampDesk, Submitter
from node.service.stamping.stamper import Stamper
from node.service.tickets import Ticket
from node.storage.ledger import RecordQuery
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import POLICY, Coordinates, encode_granted, take_chain_proof
from node.timestamp.tokens.reading import ReadToken
from node.timestamp.tokens.request import Failure, Imprint, TimeStampRefused, TimeStampRequest
from tests.suites import SUITE
from tests.unit.execution.small_chain import CREATED_MS, YEAR_MS, payload, signer
from tests.unit.service.test_runner import ALONE, Alone, now, submit, transaction

SENDER = "agency-1"
CLIENT = Client("somebody")
ISSUANCE = Issuance(serial_number=1, not_before_ms=CREATED_MS, not_after_ms=CREATED_MS + YEAR_MS)
AUTHORITY = Authority(build_authority_certificate(signer("ca"), "org-1", ISSUANCE), signer("ca"))
TSA_KEY = signer("tsa")


def certificate(issuance: Issuance = ISSUANCE) -> bytes:
    return certified(issuance)


@cache
def certified(issuance: Issuance) -> bytes:
    return build_timestamp_certificate(AUTHORITY, "validator-1", TSA_KEY.public_key, issuance)


def request(document: str, algorithm: DocumentDigest = SHA_256, **more: object) -> TimeStampRequest:
    digest = algorithm.new_hash(document.encode()).digest()
    return TimeStampRequest(imprint=Imprint.of(algorithm, digest), **more)  # type: ignore[arg-type]


@dataclass
class Node:
    """A validator as the desk sees it."""

    runner: Runner
    queries: Queries
    stamper: Stamper
    reason: str = ""
    submitted: int = 0

    def unfit(self) -> str:
        return self.reason

    def time_ms(self) -> int:
        return self.runner.engine.time_ms(now())

    async def submit(self, transactions: Sequence[bytes]) -> Ticket:
        self.submitted += len(transactions)
        return await self.runner.submit(transactions)

    async def receipts(self, tx_id: bytes, count: int) -> Sequence[Receipt]:
        found = self.queries.receipts(tx_id, 0, count)
        assert found is not None
        return found

    async def answer(
        self, recorded: Sequence[tuple[Receipt, TimeStampRequest]]
    ) -> Sequence[bytes | TimeStampRefused]:
        answers: list[bytes | TimeStampRefused] = []
        for receipt, asked in recorded:
            try:
                answers.append(self.stamper.answer(receipt, asked))
            except TimeStampRefused as refusal:
                answers.append(refusal)
        return answers

    def desk(self, *, per_minute: int = 1_000, sender: str = SENDER) -> StampDesk:
        submitter = Submitter(ALONE.chain_id, ALONE.suite, sender, signer(SENDER))
        return StampDesk(self, submitter, Quota(per_minute), self.stamper.check)

    def recorded(self, document: str, algorithm: DocumentDigest = SHA_256) -> int:
        digest = algorithm.new_hash(document.encode()).digest()
        return len(self.queries.records(RecordQuery(digest=digest), limit=10, start=0).records)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    alone = Alone(tmp_path)
    async with alone.running() as runner:
        queries = Queries(alone.ledger, ALONE)
        yield Node(runner, queries, Stamper([certificate()], TSA_KEY, queries.parameters_at))


def granted(answer: Answer) -> tuple[bytes, Receipt]:
    """Return the token without its proof, and the proof."""
    assert answer.refusal is None, answer.refusal
    at = answer.reply.index(b"\x02\x01\x00") + 3
    token = answer.reply[at:]
    assert encode_granted(token) == answer.reply
    bare, receipt = take_chain_proof(token)
    assert receipt is not None
    return bare, Receipt.decode(receipt)


def failure(answer: Answer) -> Failure:
    assert answer.refusal is not None
    return answer.refusal.failure


async def test_a_token_comes_with_the_record_that_it_is_of(node: Node) -> None:
    asked = request("paper", nonce=b"\x07", wants_certificates=True)
    token, receipt = granted(await node.desk().answer(asked.encode(), CLIENT))
    leaf = receipt.leaf
    assert (leaf.sender, leaf.record.type_code) == (SENDER, "time-stamp")
    assert leaf.record.digest == asked.imprint.digest
    serial = Coordinates.of(ALONE.chain_id, leaf.height, receipt.log_index).serial_number
    assert serial.to_bytes(20, "big") in token
    assert certificate() in token
    bare, _ = granted(await node.desk().answer(request("paper").encode(), CLIENT))
    assert certificate() not in bare


async def test_requests_that_come_together_share_a_transaction(node: Node) -> None:
    documents = [f"paper {number}" for number in range(20)]
    desk = node.desk()
    asked = [request(document) for document in documents]
    asked += [request(document, SHA_512) for document in documents]
    answers = await asyncio.gather(*(desk.answer(each.encode(), CLIENT) for each in asked))
    assert node.submitted == desk.figures.transactions == 2  # one of each algorithm
    for each, answer in zip(asked, answers, strict=True):
        token, receipt = granted(answer)
        assert receipt.leaf.record.digest == each.imprint.digest
        assert each.imprint.encoded in token
    figures = desk.figures
    assert (figures.requests, figures.granted, figures.waiting) == (40, 40, 0)
    assert sum(figures.latency_counts) == 40
    assert not any(figures.refused.values())


async def test_a_full_transaction_waits_for_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_stamping, "BATCH_RECORDS_MAX", 3)
    monkeypatch.setattr(time_stamping, "GATHER_MS", 1_000_000)
    desk = node.desk()
    answers = [desk.answer(request(f"{number}").encode(), CLIENT) for number in range(6)]
    for answer in await asyncio.gather(*answers):
        granted(answer)
    assert node.submitted == 2


async def test_every_request_is_an_event_of_its_own_even_the_very_same(node: Node) -> None:
    desk, asked = node.desk(), request("paper", nonce=b"\x07").encode()
    (first, one), (second, other) = [granted(await desk.answer(asked, CLIENT)) for _ in range(2)]
    assert first != second
    assert one.leaf.time_ms < other.leaf.time_ms
    assert node.recorded("paper") == 2


def same(one: bytes | None, other: bytes | None) -> bool:
    """Tell whether tokens are one; of SM2, which signs anew each time, if they say one thing."""
    assert one is not None
    assert other is not None
    if SUITE is INTERNATIONAL:
        return one == other
    first, second = ReadToken.decode(one), ReadToken.decode(other)
    return replace(first, encoded=b"", signature=b"") == replace(second, encoded=b"", signature=b"")


async def test_one_record_has_one_token_at_any_time(node: Node) -> None:
    asked = request("paper", nonce=b"\x07", wants_certificates=True)
    token, receipt = granted(await node.desk().answer(asked.encode(), CLIENT))
    again = Stamper([certificate()], TSA_KEY, node.queries.parameters_at)
    assert same(take_chain_proof(again.answer(receipt, asked))[0], token)
    assert same(again.token_of(receipt), node.stamper.token_of(receipt))
    assert not same(again.token_of(receipt), token)
    with_none = replace(asked, nonce=None)
    assert same(again.token_of(receipt), take_chain_proof(again.answer(receipt, with_none))[0])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (b"", Failure.BAD_DATA_FORMAT),
        (request("paper").encode() + b"\x00", Failure.BAD_DATA_FORMAT),
        (request("paper", policy="1.2.3").encode(), Failure.UNACCEPTED_POLICY),
    ],
)
async def test_what_cannot_be_answered_is_not_recorded(
    node: Node, asked: bytes, expected: Failure
) -> None:
    desk = node.desk()
    answer = await desk.answer(asked, CLIENT)
    assert failure(answer) is expected
    assert str(answer.refusal).encode() in answer.reply
    assert desk.figures.refused == dict.fromkeys(desk.figures.refused, 0) | {reason_of(expected): 1}
    assert (desk.figures.requests, desk.figures.granted) == (1, 0)
    assert node.submitted == 0


async def test_the_policy_asked_for_may_be_ours(node: Node) -> None:
    granted(await node.desk().answer(request("paper", policy=POLICY).encode(), CLIENT))


async def test_no_time_is_given_while_the_node_is_unfit(node: Node) -> None:
    desk = node.desk()
    node.reason = "the clock is a minute off"
    answer = await desk.answer(request("paper").encode(), CLIENT)
    assert failure(answer) is Failure.TIME_NOT_AVAILABLE
    assert node.submitted == 0
    node.reason = ""
    granted(await desk.answer(request("paper").encode(), CLIENT))


async def test_a_client_that_asks_too_often_is_told_when_to_come_back(node: Node) -> None:
    desk = node.desk(per_minute=2)
    for _ in range(2):
        granted(await desk.answer(request("paper").encode(), CLIENT))
    answer = await desk.answer(request("paper").encode(), CLIENT)
    assert desk.figures.refused[OVER_QUOTA] == 1
    assert desk.figures.refused[reason_of(Failure.SYSTEM_FAILURE)] == 0
    assert failure(answer) is Failure.SYSTEM_FAILURE
    assert 0 < answer.retry_after_ms <= 30_000
    assert b"more than 2 requests a minute" in answer.reply
    granted(await desk.answer(request("paper").encode(), Client("somebody else")))
    assert node.recorded("paper") == 3


async def test_too_many_at_once_are_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time_stamping, "WAITING_MAX", 2)
    desk = node.desk()
    answers = await asyncio.gather(
        *(desk.answer(request(f"{number}").encode(), CLIENT) for number in range(3))
    )
    assert [answer.refusal is None for answer in answers] == [True, True, False]
    assert failure(answers[2]) is Failure.SYSTEM_FAILURE


async def test_an_identity_that_the_chain_does_not_know_gets_the_reason(node: Node) -> None:
    answer = await node.desk(sender="org-9-tsa").answer(request("paper").encode(), CLIENT)
    assert failure(answer) is Failure.SYSTEM_FAILURE
    assert b"cannot be recorded" in answer.reply


async def test_who_goes_away_holds_up_nobody(node: Node) -> None:
    desk = node.desk()
    gone = asyncio.create_task(desk.answer(request("gone").encode(), CLIENT))
    stays = asyncio.create_task(desk.answer(request("stays").encode(), CLIENT))
    await asyncio.sleep(0)
    gone.cancel()
    granted(await stays)
    assert gone.cancelled()
    assert node.recorded("gone") == 1


async def test_a_desk_that_closes_tells_those_who_wait(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def never(_transactions: Sequence[bytes]) -> Ticket:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(node, "submit", never)
    desk = node.desk()
    submitted = asyncio.create_task(desk.answer(request("paper").encode(), CLIENT))
    await begun.wait()
    gathered = asyncio.create_task(desk.answer(request("paper").encode(), CLIENT))
    await asyncio.sleep(0)
    desk.close()
    for waits in (submitted, gathered):
        assert failure(await asyncio.wait_for(waits, 10)) is Failure.SYSTEM_FAILURE


async def test_what_fails_inside_is_no_answer(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_recorded: object) -> Sequence[bytes | TimeStampRefused]:
        raise InvariantViolation("broken")

    monkeypatch.setattr(node, "answer", broken)
    with pytest.raises(InvariantViolation):
        await node.desk().answer(request("paper").encode(), CLIENT)


async def test_no_token_is_dated_outside_the_certificate_s_life(node: Node) -> None:
    expired = certificate(replace(ISSUANCE, not_after_ms=CREATED_MS + 1))
    node.stamper = Stamper([expired], TSA_KEY, node.queries.parameters_at)
    answer = await node.desk().answer(request("paper").encode(), CLIENT)
    assert failure(answer) is Failure.TIME_NOT_AVAILABLE
    one = transaction(payload("paper"))
    await submit(node.runner, one)
    (receipt,) = node.queries.receipts(one.tx_id, 0, 1) or []
    assert node.stamper.token_of(receipt) is None


async def test_neither_a_degraded_block_nor_a_withdrawal_gets_a_token(node: Node) -> None:
    one = transaction(payload("paper"))
    await submit(node.runner, one)
    (receipt,) = node.queries.receipts(one.tx_id, 0, 1) or []
    assert node.stamper.token_of(receipt) is not None
    header = replace(receipt.block.header, time_degraded=True)
    degraded = replace(receipt, block=replace(receipt.block, header=header))
    assert node.stamper.token_of(degraded) is None
    with pytest.raises(TimeStampRefused, match="did not vouch for"):
        node.stamper.answer(degraded, request("paper"))
    record = msgspec.structs.replace(receipt.leaf.record, action=RecordAction.WITHDRAW)
    withdrawal = replace(receipt, leaf=msgspec.structs.replace(receipt.leaf, record=record))
    assert node.stamper.token_of(withdrawal) is None


def test_a_key_and_a_certificate_that_are_of_two_are_refused() -> None:
    with pytest.raises(CryptoError, match="not the one its certificate names"):
        Stamper([certificate()], signer("another"), lambda _header: Parameters())


async def test_a_renewed_certificate_leaves_the_tokens_of_its_time_as_they_were(node: Node) -> None:
    one = transaction(payload("paper"))
    await submit(node.runner, one)
    (receipt,) = node.queries.receipts(one.tx_id, 0, 1) or []
    late = replace(ISSUANCE, serial_number=2, not_before_ms=receipt.leaf.time_ms + 1_000)
    early = replace(ISSUANCE, serial_number=3, not_before_ms=CREATED_MS - 1_000)
    tokens = [
        Stamper(
            [certificate(each) for each in issuances], TSA_KEY, node.queries.parameters_at
        ).token_of(receipt)
        for issuances in ((ISSUANCE,), (ISSUANCE, late), (late, ISSUANCE), (ISSUANCE, early))
    ]
    assert all(same(each, node.stamper.token_of(receipt)) for each in tokens)
    assert (
        Stamper([certificate(late)], TSA_KEY, node.queries.parameters_at).token_of(receipt) is None
    )
