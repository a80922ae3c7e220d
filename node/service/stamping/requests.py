"""Requests for time stamps (RFC 3161): recorded on the chain, then answered with a token.

Whoever asks needs no identity on the chain: the node submits the records, under its organisation's
time-stamping identity, and each client has a quota. Requests that come close together share a
transaction. No token leaves before its record is final, and a token is dated by the record's block.

Every request is an event of its own and gets its own record, whatever was asked before: a nonce
protects its owner from an old answer, and to give one again would be just that.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NewType, Protocol

import structlog

from node.chain.admission import FinalResult
from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.crypto.signature import Signer
from node.crypto.suite import DocumentDigest, Suite
from node.limits import TX_NONCE_BYTES
from node.service import clock
from node.service.stamping.figures import OVER_QUOTA, StampFigures, reason_of
from node.service.stamping.quota import Quota
from node.service.tickets import Ticket
from node.storage.past import NotHeldYet
from node.timestamp.receipt import Receipt
from node.timestamp.tokens.issuing import encode_granted, encode_refused
from node.timestamp.tokens.request import Failure, TimeStampRefused, TimeStampRequest

RECORD_TYPE: Final = "time-stamp"
"""Type code of the records of requests."""
GATHER_MS: Final = 5
"""How long a request waits for others to share its transaction."""
BATCH_RECORDS_MAX: Final = 1_000
WAITING_MAX: Final = 10_000
"""Requests under way; more are refused."""
FINAL_WITHIN_MS: Final = 20_000
"""Within which a record is final, or will never be: the transaction is void afterwards."""
_SLACK_MS: Final = 2_000
"""For how much longer the outcome is waited for."""

Client = NewType("Client", str)
"""Who asks, as quotas tell clients apart: an address, or an identity of the chain."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets: always a reply by RFC 3161."""

    reply: bytes
    """DER of TimeStampResp."""
    refusal: TimeStampRefused | None = None
    """Why there is no token in it."""
    retry_after_ms: int = 0
    """Where the client asked too often: when to come back."""


class Chain(Protocol):
    """The node as the desk sees it."""

    def unfit(self) -> str:
        """Return why no time can be vouched for now, for a person; empty where it can."""

    def time_ms(self) -> int:
        """Return the time by which the life of a transaction is reckoned."""

    async def submit(self, transactions: Sequence[bytes]) -> Ticket:
        """Judge and queue encoded transactions."""

    async def receipts(self, tx_id: bytes, count: int) -> Sequence[Receipt]:
        """Return the receipts of all records of a final transaction, without tokens."""

    async def answer(
        self, recorded: Sequence[tuple[Receipt, TimeStampRequest]]
    ) -> Sequence[bytes | TimeStampRefused]:
        """Return for each request recorded so the token (DER) that answers it, or why none does."""


@dataclass(frozen=True, slots=True)
class Submitter:
    """The time-stamping identity."""

    chain_id: bytes
    suite: Suite
    identity_id: str
    signer: Signer


class StampDesk:
    """Takes requests, as many at once as come, and answers them. Lives on the event loop."""

    def __init__(
        self,
        chain: Chain,
        submitter: Submitter,
        quota: Quota,
        check: Callable[[TimeStampRequest], None],
    ) -> None:
        """Record requests by `submitter`; `check` raises for those that get no token anyway."""
        self._chain, self._submitter = chain, submitter
        self._quota, self._check = quota, check
        self._gathered: dict[DocumentDigest, list[_Waiting]] = {}
        """By algorithm, since a transaction has one."""
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self.figures = StampFigures()

    async def answer(self, request: bytes, client: Client) -> Answer:
        """Answer the DER of a TimeStampReq; raises nothing that `request` could be blamed for."""
        begun_ms, figures = clock.monotonic_ms(), self.figures
        figures.requests += 1
        try:
            asked = self._accept(request)
            if retry_after_ms := self._quota.take(client, begun_ms):
                figures.refuse(OVER_QUOTA)
                refusal = _unable(f"more than {self._quota.per_minute} requests a minute")
                return Answer(encode_refused(refusal), refusal, retry_after_ms)
            token = await self._stamp(asked)
        except TimeStampRefused as refusal:
            figures.refuse(reason_of(refusal.failure))
            return Answer(encode_refused(refusal), refusal)
        figures.grant(clock.monotonic_ms() - begun_ms)
        return Answer(encode_granted(token))

    def close(self) -> None:
        """Give up on what is under way, and say so to those who wait."""
        if self._timer is not None:
            self._timer.cancel()
        for batch in self._gathered.values():
            _fail(batch, _STOPPING)
        for task in tuple(self._tasks):
            task.cancel()

    def _accept(self, request: bytes) -> TimeStampRequest:
        """Return what is asked, if it can be answered now; raises `TimeStampRefused`."""
        asked = TimeStampRequest.decode(request)
        self._check(asked)
        if reason := self._chain.unfit():
            raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, reason)
        if self.figures.waiting >= WAITING_MAX:
            raise _unable("too many requests are under way")
        return asked

    async def _stamp(self, request: TimeStampRequest) -> bytes:
        """Return the token of a request once its record is final."""
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        gathered = self._gathered.setdefault(request.imprint.algorithm, [])
        gathered.append(waiting)
        if len(gathered) >= BATCH_RECORDS_MAX:
            self._flush()
        elif self._timer is None:
            self._timer = loop.call_later(GATHER_MS / 1_000, self._flush)
        self.figures.waiting += 1
        try:
            return await waiting.token
        finally:
            self.figures.waiting -= 1

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, {}
        for algorithm, batch in gathered.items():
            task = asyncio.get_running_loop().create_task(self._serve(algorithm, batch))
            self._tasks[task] = None
            task.add_done_callback(partial(self._reap, batch))

    def _reap(self, batch: Sequence[_Waiting], task: asyncio.Task[None]) -> None:
        """Tell everybody in a batch what came in between, if anything did."""
        self._tasks.pop(task, None)
        error = _STOPPING if task.cancelled() else task.exception()
        if error is not None:
            _fail(batch, error)

    async def _serve(self, algorithm: DocumentDigest, batch: Sequence[_Waiting]) -> None:
        """Record a batch in one transaction, and answer each of it."""
        receipts = await self._record(algorithm, [each.request.imprint.digest for each in batch])
        requests = [each.request for each in batch]
        tokens = await self._chain.answer(list(zip(receipts, requests, strict=True)))
        for waiting, token in zip(batch, tokens, strict=True):
            if waiting.token.done():  # its client is gone
                continue
            if isinstance(token, TimeStampRefused):
                waiting.token.set_exception(token)
            else:
                waiting.token.set_result(token)

    async def _record(
        self, algorithm: DocumentDigest, digests: Sequence[bytes]
    ) -> Sequence[Receipt]:
        """Return the receipts of records of these digests, in their order, once they are final."""
        submitter = self._submitter
        body = TransactionBody(
            chain_id=submitter.chain_id,
            sender=submitter.identity_id,
            nonce=secrets.token_bytes(TX_NONCE_BYTES),
            not_after_ms=self._chain.time_ms() + FINAL_WITHIN_MS,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=algorithm.digest_id,
                type_code=RECORD_TYPE,
                action=RecordAction.RECORD,
                digests=b"".join(digests),
            ),
        )
        transaction = sign_transaction(body, submitter.signer, submitter.suite)
        self.figures.transactions += 1
        ticket = await self._chain.submit([transaction.encoded])
        try:
            result = await _outcome(ticket)
        finally:
            ticket.close()
        if result.code is not ResultCode.OK:
            raise _unable(f"the chain did not record it: {result.code.name}")
        try:
            return await self._chain.receipts(transaction.tx_id, len(digests))
        except NotHeldYet as error:  # what leads to the validators of today is still being fetched
            raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, str(error)) from error


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request and whoever waits for its token."""

    request: TimeStampRequest
    token: asyncio.Future[bytes]


def _fail(batch: Sequence[_Waiting], error: BaseException) -> None:
    for waiting in batch:
        if not waiting.token.done():
            waiting.token.set_exception(error)


async def _outcome(ticket: Ticket) -> FinalResult:
    """Return what became of a ticket's one transaction; raises `TimeStampRefused`."""
    (admission,) = ticket.admissions
    if not admission.code.is_admitted:
        detail = admission.message or admission.code.name
        log.warning("time-stamp-not-recorded", code=admission.code.name, detail=admission.message)
        raise _unable(f"it cannot be recorded: {detail}")
    try:
        async with asyncio.timeout((FINAL_WITHIN_MS + _SLACK_MS) / 1_000):
            await ticket.wait_final()
    except TimeoutError as error:
        raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, "not final in time") from error
    (result,) = ticket.results
    if result is None or result.code is ResultCode.EXPIRED:
        raise TimeStampRefused(Failure.TIME_NOT_AVAILABLE, "not final in time")
    return result


def _unable(message: str) -> TimeStampRefused:
    return TimeStampRefused(Failure.SYSTEM_FAILURE, message)


_STOPPING: Final = _unable("the node is stopping")
