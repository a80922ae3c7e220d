"""The client library: submit transactions and ask questions, at whichever validator answers.

Used by the command line, the quickstart and the benchmark. No protobuf type shows in it. Every call
ends by its deadline, with a value or an error of the `ClientError` family: `NetworkUnavailable`,
`NotFound`, `Refused`, `NotFinal`, `AccessError`, `WrongChainError`. What one validator says may be
wrong: whoever keeps a receipt, a header or a block verifies it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import cycle
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

import grpc

from node.chain.admission import AdmissionCode
from node.chain.block import ResultCode
from node.chain.governance import CheckpointStatement
from node.chain.reference import ReferenceName
from node.errors import ClientError, DecodeError, invariant
from node.rpc import convert
from node.rpc.connection import (
    Connections,
    LedgerEndpoint,
    NetworkUnavailable,
    after_ms,
    is_over,
    judge,
    read_failure,
)
from node.rpc.guard import ADMITTED, NotFound, WrongChainError
from node.rpc.identity import AccessError, TlsIdentity
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.port import (
    BATCHES_OUTSTANDING_MAX,
    HANDOVERS_PAGE_MAX,
    RECEIPTS_PAGE_MAX,
    RECORDS_PAGE_MAX,
    STATE_ENTRIES_PAGE_MAX,
    WAIT_MS_MAX,
    Block,
    BlockSummary,
    CertifiedHeader,
    CommittedTransaction,
    Diagnosis,
    Membership,
    NodeStatus,
    RecordFilter,
    RecordPage,
)
from node.rpc.submission import BatchCall, BatchStream, NotFinal, Refused, Submission, check_request
from node.timestamp.tokens.refusal import read_refusal
from node.timestamp.tokens.request import Failure

if TYPE_CHECKING:
    from node.rpc.pb.ledger_pb2_grpc import LedgerAsyncStub

__all__ = [
    "AccessError",
    "BatchStream",
    "HeardDiagnosis",
    "LedgerClient",
    "LedgerEndpoint",
    "NetworkUnavailable",
    "NotFinal",
    "NotFound",
    "Refused",
    "Submission",
    "WrongChainError",
]

STATE_ENTRIES_MAX: Final = 200_000
"""Of one kind: more are taken for made up."""
TIMEOUT_MS: Final = 10_000
_ANSWER_MS: Final = 1_000  # what a validator may take to answer, beyond the wait it is asked for
STAMP_TIMEOUT_MS: Final = 60_000
EVIDENCE_HELD_MAX: Final = 4_096
"""More proofs are not taken from one validator: no chain has so many equivocators."""
QUIET_MS: Final = 5_000
"""After so long without a block the others are asked whether there is one: the validator that is
followed may be cut off, or keep blocks back."""
_PAUSE_MS: Final = 100  # before the validators are asked again
_ELSEWHERE: Final = (
    AdmissionCode.POOL_FULL,
    AdmissionCode.NOT_READY,
    AdmissionCode.OVER_QUOTA,
    AdmissionCode.EXPIRED,
    AdmissionCode.TOO_FAR_AHEAD,
)
"""Refusals that speak of one validator, its clock too, and not of the transaction alone."""


_NOT_NOW: Final = (Failure.TIME_NOT_AVAILABLE, Failure.SYSTEM_FAILURE)

_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class HeardDiagnosis:
    """A diagnosis, and between which moments of this process's monotonic clock it was given."""

    diagnosis: Diagnosis
    asked_ms: float
    answered_ms: float


class LedgerClient:
    """One chain, seen through its validators. Use it as an async context manager.

    `tls` is the client's certificate and key, `roots_pem` the authorities it believes, `chain_id`
    the chain it means: a validator of another chain refuses it. Nothing is connected until asked.
    """

    def __init__(
        self,
        endpoints: Sequence[LedgerEndpoint],
        *,
        tls: TlsIdentity,
        roots_pem: bytes,
        chain_id: bytes,
    ) -> None:
        self._connections = Connections(endpoints, tls=tls, roots_pem=roots_pem, chain_id=chain_id)

    @property
    def connections(self) -> Connections:
        """The channels, for clients of the validators' other APIs."""
        return self._connections

    async def close(self) -> None:
        """Close all connections."""
        await self._connections.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- Submitting ---

    async def submit(
        self, transactions: Sequence[bytes], timeout_ms: int = TIMEOUT_MS
    ) -> tuple[Submission, ...]:
        """Submit encoded transactions; return their outcomes, in order, when all are settled.

        Validators are tried in turn with the same bytes, which is safe: a transaction takes effect
        once. A refusal for want of room or readiness, or by one validator's clock, is tried
        elsewhere before it counts, as is that a transaction expired: no block shows that. After
        `timeout_ms` it returns what is known by then (`Submission.final` tells). Raises
        `NetworkUnavailable` if no validator answered at all, `ClientError` for too large a request.
        """
        check_request(transactions)
        deadline_s = after_ms(timeout_ms)
        known: list[Submission | None] = [None] * len(transactions)
        while True:
            failures: list[ClientError] = []
            for endpoint, share_s in self._connections.turns(deadline_s):
                asked = [index for index, outcome in enumerate(known) if not _is_settled(outcome)]
                request = [transactions[index] for index in asked]
                try:
                    answers = await self._submit_to(endpoint, request, share_s)
                except (grpc.aio.AioRpcError, DecodeError) as error:
                    failures.append(read_failure(endpoint, error))
                    continue
                self._connections.prefer(endpoint)
                for index, answer in zip(asked, answers, strict=True):
                    known[index] = _merge(known[index], answer)
                if all(map(_is_settled, known)):
                    break
            outcomes = tuple(outcome for outcome in known if outcome is not None)
            if not outcomes:
                raise judge(failures)
            if not any(map(_is_pending, outcomes)) or is_over(deadline_s):
                return outcomes
            await asyncio.sleep(_PAUSE_MS / 1_000)

    async def open_stream(
        self, *, outstanding_max: int = 5, timeout_ms: int = TIMEOUT_MS
    ) -> BatchStream:
        """Open a stream of batches to the first validator that takes one.

        `outstanding_max` batches, 1..32, are under way at once; each has `timeout_ms`. Raises
        `NetworkUnavailable` if no validator takes a stream.
        """
        invariant(
            0 < outstanding_max <= BATCHES_OUTSTANDING_MAX,
            f"outstanding batches: expected 1..{BATCHES_OUTSTANDING_MAX}, got {outstanding_max}",
        )
        failures: list[ClientError] = []
        for endpoint, share_s in self._connections.turns(after_ms(timeout_ms)):
            stub = self._connections.stub(endpoint)
            call: BatchCall = stub.SubmitStream(metadata=self._connections.metadata)
            try:
                async with asyncio.timeout(share_s):
                    if ADMITTED not in [tuple(each) for each in await call.initial_metadata()]:
                        await call.read()  # raises why
            except TimeoutError:
                call.cancel()
                failures.append(read_failure(endpoint, TimeoutError("no answer in time")))
                continue
            except grpc.aio.AioRpcError as error:
                failures.append(read_failure(endpoint, error))
                continue
            self._connections.prefer(endpoint)
            return BatchStream(
                endpoint, call, outstanding_max=outstanding_max, timeout_ms=timeout_ms
            )
        raise judge(failures)

    async def _submit_to(
        self, endpoint: LedgerEndpoint, transactions: Sequence[bytes], share_s: float
    ) -> list[Submission]:
        share_ms = int(share_s * 1_000)
        wait_ms = share_ms - min(_ANSWER_MS, share_ms // 4)
        reply = await self._connections.stub(endpoint).Submit(
            pb.SubmitRequest(transactions=transactions, wait_ms=min(wait_ms, WAIT_MS_MAX)),
            timeout=share_s,
            metadata=self._connections.metadata,
        )
        admissions = convert.admissions_from_pb(reply.admissions, len(transactions))
        results = convert.results_from_pb(reply.results, len(transactions))
        return list(map(Submission, admissions, results))

    # --- Asking ---

    async def status(self, timeout_ms: int = TIMEOUT_MS) -> NodeStatus:
        """Return how the first validator that answers is."""
        return await self._connections.ask(
            lambda api: api.GetStatus, pb.GetStatusRequest(), convert.status_from_pb, timeout_ms
        )

    async def statuses(self, timeout_ms: int = TIMEOUT_MS) -> dict[str, NodeStatus | ClientError]:
        """Return how every validator is, by validator id, or why it did not say; asked at once."""
        return await self._ask_each(
            lambda api: api.GetStatus, pb.GetStatusRequest(), convert.status_from_pb, timeout_ms
        )

    async def diagnoses(
        self, timeout_ms: int = TIMEOUT_MS
    ) -> dict[str, HeardDiagnosis | ClientError]:
        """Return what every validator knows of why the chain moves or not, or why it did not say.

        By validator id; all are asked at once.
        """
        return await self._gather(lambda endpoint: self._diagnosis_of(endpoint, timeout_ms))

    async def evidence(
        self, timeout_ms: int = TIMEOUT_MS
    ) -> dict[str, tuple[bytes, ...] | ClientError]:
        """Return the proofs of misbehaviour that every validator holds, or why it did not say.

        By validator id; all are asked at once, each page has `timeout_ms`. Each proof is canonical
        `evidence`, unchecked.
        """
        return await self._gather(lambda endpoint: self._evidence_of(endpoint, timeout_ms))

    async def membership(self, timeout_ms: int = TIMEOUT_MS) -> Membership:
        """Return who decides the next height, by the word of the first node that answers."""
        return await self._connections.ask(
            lambda api: api.GetMembership,
            pb.GetMembershipRequest(),
            convert.membership_from_pb,
            timeout_ms,
        )

    async def state_entries(self, kind: int, timeout_ms: int = TIMEOUT_MS) -> dict[bytes, bytes]:
        """Return all that the state holds of one kind (`node.execution.registry.StateKind`).

        By the word of the first node that answers. Raises `ClientError` where it sends more than
        all there can be, or not in order.
        """
        found: dict[bytes, bytes] = {}
        after = b""
        while True:
            request = pb.GetStateEntriesRequest(
                kind=kind, after=after, limit=STATE_ENTRIES_PAGE_MAX
            )
            page = await self._connections.ask(
                lambda api: api.GetStateEntries,
                request,
                lambda reply: [(each.key, each.value) for each in reply.entries],
                timeout_ms,
            )
            for key, value in page:
                if key <= after or len(found) >= STATE_ENTRIES_MAX:
                    raise ClientError("state entries: out of order, or too many")
                found[key] = value
                after = key
            if not page:
                return found

    async def checkpoints(
        self, timeout_ms: int = TIMEOUT_MS
    ) -> dict[str, CheckpointStatement | ClientError]:
        """Return every node's statement of the chain it holds, or why it gave none; unchecked.

        By validator id; all are asked at once.
        """
        return await self._ask_each(
            lambda api: api.GetCheckpoint,
            pb.GetCheckpointRequest(),
            lambda reply: CheckpointStatement(reply.validator_id, reply.header, reply.signature),
            timeout_ms,
        )

    async def receipt_of_operation(
        self, tx_id: bytes, operation_index: int = 0, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Return the canonical receipt of one record; raises `NotFound`."""
        operation = pb.GetReceiptRequest.Operation(tx_id=tx_id, operation_index=operation_index)
        return await self._receipt(pb.GetReceiptRequest(operation=operation), timeout_ms)

    async def receipt_of_digest(self, digest: bytes, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """Return the canonical receipt of the earliest record of a digest; raises `NotFound`."""
        return await self._receipt(pb.GetReceiptRequest(digest=digest), timeout_ms)

    async def receipts(
        self, tx_id: bytes, first_operation: int = 0, timeout_ms: int = TIMEOUT_MS
    ) -> AsyncGenerator[bytes]:
        """Yield the canonical receipts of a transaction from one operation on, in order.

        Each page of them has `timeout_ms`. Raises `NotFound` if the transaction wrote no records.
        """
        operation = first_operation
        while True:
            request = pb.GetReceiptsRequest(
                tx_id=tx_id, first_operation=operation, limit=RECEIPTS_PAGE_MAX
            )
            page = await self._connections.ask(
                lambda api: api.GetReceipts, request, lambda reply: reply.receipts, timeout_ms
            )
            for receipt in page:
                yield receipt
            operation += len(page)
            if not page:
                return

    async def records(
        self,
        wanted: RecordFilter,
        *,
        limit: int = RECORDS_PAGE_MAX,
        page_token: bytes = b"",
        timeout_ms: int = TIMEOUT_MS,
    ) -> RecordPage:
        """Return one page of matching records, in log order; at most `limit`, 1..1,000."""
        request = convert.records_request_to_pb(wanted, limit, page_token)
        return await self._connections.ask(
            lambda api: api.GetRecords, request, convert.record_page_from_pb, timeout_ms
        )

    async def standing_proofs(
        self, name: ReferenceName, timeout_ms: int = TIMEOUT_MS
    ) -> dict[str, bytes | ClientError]:
        """Return every validator's proof of what stands under a reference, or why it gave none.

        By validator id; all are asked at once. Each is canonical `standing-proof` after the newest
        block there, unchecked: the newest one that verifies tells most.
        """
        request = pb.GetStandingProofRequest(
            issuer=name.issuer, type_code=name.type_code, reference=name.reference
        )
        return await self._ask_each(
            lambda api: api.GetStandingProof, request, lambda reply: reply.proof, timeout_ms
        )

    async def consistency_proof(
        self, old_height: int, new_height: int | None = None, timeout_ms: int = TIMEOUT_MS
    ) -> bytes:
        """Return the canonical proof that the chain only grew between two heights, unchecked.

        To the newest block unless told. Raises `NotFound` for a height that is not there.
        """
        request = pb.GetConsistencyProofRequest(old_height=old_height, new_height=new_height)
        return await self._connections.ask(
            lambda api: api.GetConsistencyProof, request, lambda reply: reply.proof, timeout_ms
        )

    async def block(self, height: int, timeout_ms: int = TIMEOUT_MS) -> Block:
        """Return a committed block; raises `NotFound`."""
        return await self._connections.ask(
            lambda api: api.GetBlock,
            pb.GetBlockRequest(height=height),
            lambda reply: Block(reply.block, tuple(reply.results)),
            timeout_ms,
        )

    async def transaction(self, tx_id: bytes, timeout_ms: int = TIMEOUT_MS) -> CommittedTransaction:
        """Return a committed transaction; raises `NotFound`."""
        request = pb.GetTransactionRequest(tx_id=tx_id)
        return await self._connections.ask(
            lambda api: api.GetTransaction, request, convert.transaction_from_pb, timeout_ms
        )

    async def transactions(
        self, tx_id: bytes, timeout_ms: int = TIMEOUT_MS
    ) -> dict[str, CommittedTransaction | ClientError]:
        """Return what every validator has of one transaction, `NotFound` where that is nothing.

        By validator id; all are asked at once.
        """
        request = pb.GetTransactionRequest(tx_id=tx_id)
        return await self._ask_each(
            lambda api: api.GetTransaction, request, convert.transaction_from_pb, timeout_ms
        )

    async def certified_header(
        self, height: int | None = None, timeout_ms: int = TIMEOUT_MS
    ) -> CertifiedHeader:
        """Return a header with its certificate, the newest unless told; raises `NotFound`."""
        return await self._connections.ask(
            lambda api: api.GetCertifiedHeader,
            pb.GetCertifiedHeaderRequest(height=height),
            lambda reply: CertifiedHeader(reply.header, reply.certificate),
            timeout_ms,
        )

    async def handovers(
        self, from_epoch: int = 0, timeout_ms: int = TIMEOUT_MS
    ) -> AsyncGenerator[bytes]:
        """Yield the canonical handovers from the one that ends an epoch on, in order, unchecked.

        Each page of them has `timeout_ms`. Ends where the validator that answers knows no more.
        """
        epoch = from_epoch
        while True:
            request = pb.GetHandoversRequest(from_epoch=epoch, limit=HANDOVERS_PAGE_MAX)
            page = await self._connections.ask(
                lambda api: api.GetHandovers, request, lambda reply: reply.handovers, timeout_ms
            )
            for handover in page:
                yield handover
            epoch += len(page)
            if not page:
                return

    async def time_stamp(self, request: bytes, timeout_ms: int = STAMP_TIMEOUT_MS) -> bytes:
        """Have a request (DER of TimeStampReq) recorded; return the reply (DER of TimeStampResp).

        Unchecked, and a refusal as well as a token: that of the first validator where none can
        stamp time now. A validator that fails meanwhile may have recorded it: the next one does so
        again, which does no harm.
        """
        refusals: list[bytes] = []

        def read(message: pb.TimeStampReply) -> bytes:
            refused = read_refusal(message.reply)
            if refused is not None and refused.failure in _NOT_NOW:
                refusals.append(message.reply)
                raise DecodeError(str(refused))  # another may be able to
            return message.reply

        asked = pb.TimeStampRequest(request=request)
        try:
            return await self._connections.ask(lambda api: api.TimeStamp, asked, read, timeout_ms)
        except ClientError:
            if not refusals:
                raise
            return refusals[0]

    async def genesis(self, timeout_ms: int = TIMEOUT_MS) -> bytes:
        """Return the canonical genesis."""
        return await self._connections.ask(
            lambda api: api.GetGenesis,
            pb.GetGenesisRequest(),
            lambda reply: reply.genesis,
            timeout_ms,
        )

    async def blocks(
        self, from_height: int, timeout_ms: int = TIMEOUT_MS
    ) -> AsyncGenerator[BlockSummary]:
        """Yield every committed block from a height on, those to come included, for `timeout_ms`.

        Where a validator fails, or tells nothing of what others have, the next one goes on. Raises
        `NetworkUnavailable` when every one failed since the last block. Close the iterator
        (`aclose`) to stop early.
        """
        deadline_s = after_ms(timeout_ms)
        height = from_height
        failures: dict[LedgerEndpoint, ClientError] = {}
        for endpoint in cycle(self._connections.endpoints):
            if is_over(deadline_s):
                return
            if endpoint in failures:
                raise judge(list(failures.values()))
            stream = self._connections.stub(endpoint).Subscribe(
                pb.SubscribeRequest(from_height=height),
                timeout=deadline_s - asyncio.get_running_loop().time(),
                metadata=self._connections.metadata,
            )
            failures[endpoint] = NetworkUnavailable(f"{endpoint.validator_id} ended the stream")
            reading = asyncio.ensure_future(stream.read())
            try:
                while True:
                    done, _ = await asyncio.wait([reading], timeout=QUIET_MS / 1_000)
                    if not done and await self._is_known_elsewhere(height, endpoint):
                        failures[endpoint] = NetworkUnavailable(
                            f"{endpoint.validator_id} tells of no block {height}: others have it"
                        )
                        break
                    if not done:
                        continue
                    message = reading.result()
                    if not isinstance(message, pb.BlockSummary):
                        break  # the end
                    summary = _read_summary(message, height)
                    if endpoint in failures:
                        self._connections.prefer(endpoint)
                    failures.clear()
                    yield summary
                    height += 1
                    reading = asyncio.ensure_future(stream.read())
            except (grpc.aio.AioRpcError, DecodeError) as error:
                failures[endpoint] = read_failure(endpoint, error)
            finally:
                stream.cancel()
                with suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                    await reading

    async def _is_known_elsewhere(self, height: int, asked: LedgerEndpoint) -> bool:
        """Say whether another validator than the one asked has a block of this height."""
        told = await self.statuses(_ANSWER_MS)
        return any(
            isinstance(status, NodeStatus) and status.height >= height
            for validator_id, status in told.items()
            if validator_id != asked.validator_id
        )

    async def _ask_each(
        self,
        method: Callable[[LedgerAsyncStub], grpc.aio.UnaryUnaryMultiCallable[_Request, _Reply]],
        request: _Request,
        read: Callable[[_Reply], _Answer],
        timeout_ms: int,
    ) -> dict[str, _Answer | ClientError]:
        async def ask(endpoint: LedgerEndpoint) -> _Answer | ClientError:
            call = method(self._connections.stub(endpoint))
            metadata = self._connections.metadata
            try:
                return read(await call(request, timeout=timeout_ms / 1_000, metadata=metadata))
            except (grpc.aio.AioRpcError, DecodeError) as error:
                return read_failure(endpoint, error)

        return await self._gather(ask)

    async def _gather(
        self, question: Callable[[LedgerEndpoint], Awaitable[_Answer]]
    ) -> dict[str, _Answer]:
        endpoints = self._connections.endpoints
        found = await asyncio.gather(*map(question, endpoints))
        ids = [endpoint.validator_id for endpoint in endpoints]
        return dict(zip(ids, found, strict=True))

    async def _diagnosis_of(
        self, endpoint: LedgerEndpoint, timeout_ms: int
    ) -> HeardDiagnosis | ClientError:
        stub = self._connections.stub(endpoint)
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        try:
            reply = await stub.GetDiagnosis(
                pb.GetDiagnosisRequest(),
                timeout=timeout_ms / 1_000,
                metadata=self._connections.metadata,
            )
            answered_s = loop.time()
            diagnosis = convert.diagnosis_from_pb(reply)
        except (grpc.aio.AioRpcError, DecodeError) as error:
            return read_failure(endpoint, error)
        return HeardDiagnosis(diagnosis, asked_s * 1_000, answered_s * 1_000)

    async def _evidence_of(
        self, endpoint: LedgerEndpoint, timeout_ms: int
    ) -> tuple[bytes, ...] | ClientError:
        stub = self._connections.stub(endpoint)
        held: list[bytes] = []
        while True:
            try:
                reply = await stub.GetEvidence(
                    pb.GetEvidenceRequest(skip=len(held)),
                    timeout=timeout_ms / 1_000,
                    metadata=self._connections.metadata,
                )
            except grpc.aio.AioRpcError as error:
                return read_failure(endpoint, error)
            held += reply.evidence[: EVIDENCE_HELD_MAX - len(held)]
            if not reply.evidence or len(held) == EVIDENCE_HELD_MAX:
                return tuple(held)

    async def _receipt(self, request: pb.GetReceiptRequest, timeout_ms: int) -> bytes:
        return await self._connections.ask(
            lambda api: api.GetReceipt, request, lambda reply: reply.receipt, timeout_ms
        )


def _read_summary(message: pb.BlockSummary, height: int) -> BlockSummary:
    if message.height != height:
        raise DecodeError(f"block summary: expected height {height}, got {message.height}")
    return convert.summary_from_pb(message)


def _is_settled(outcome: Submission | None) -> bool:
    """Say whether no validator could say more."""
    if outcome is None:
        return False
    code = outcome.admission.code
    if outcome.result is not None:
        return outcome.result.code is not ResultCode.EXPIRED
    return not (code.is_admitted or code in _ELSEWHERE)


def _is_pending(outcome: Submission) -> bool:
    return outcome.result is None and outcome.admission.code.is_admitted


def _merge(known: Submission | None, answer: Submission) -> Submission:
    """Return what is known after another answer: no refusal undoes an admission."""
    if known is None or answer.admission.code.is_admitted:
        return answer
    return known if known.admission.code.is_admitted else answer
