"""The client API as gRPC serves it: requests bounded and checked, passed to the node, answered.

Nothing is decided here. What a caller may do is judged on the transactions it signed, by the node
behind the port; who the caller is was judged by the guard before a method is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Final, TypeVar

import grpc

from node.chain.admission import AdmissionCode
from node.chain.reference import ReferenceName
from node.crypto.suite import DOCUMENT_DIGESTS
from node.errors import ClientError, DecodeError
from node.limits import MEMPOOL_TXS_MAX
from node.rpc import convert
from node.rpc.guard import ADMITTED, NotFound, TooManyCalls, caller
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.pb.ledger_pb2_grpc import LedgerServicer
from node.rpc.port import (
    BATCH_TXS_MAX,
    BATCHES_OUTSTANDING_MAX,
    HANDOVERS_PAGE_MAX,
    PAGE_TOKEN_BYTES_MAX,
    RECEIPTS_PAGE_MAX,
    RECORDS_PAGE_MAX,
    STATE_ENTRIES_PAGE_MAX,
    STATE_KEY_BYTES_MAX,
    WAIT_MS_MAX,
    BatchTicket,
    NodeApi,
    NoteRefusal,
    ignore_refusal,
)
from node.rpc.shares import Shares

_DIGEST_BYTES: Final = 32
_DOCUMENT_DIGEST_BYTES: Final = sorted({digest.size for digest in DOCUMENT_DIGESTS})
_PAGE_BYTES_AIM: Final = 4_194_304  # a page ends before the item that would exceed this

WAITED_FOR_BY_ONE_MAX: Final = MEMPOOL_TXS_MAX
"""Transactions that one identity waits for at once, all its calls together: a pool holds no more,
and to name the same again and again must not fill this node's memory."""

_UNRIGHTFUL: Final = frozenset(
    (
        AdmissionCode.WRONG_CHAIN,
        AdmissionCode.UNKNOWN_SENDER,
        AdmissionCode.BAD_SIGNATURE,
        AdmissionCode.NOT_PERMITTED,
    )
)
"""Refusals that no right client earns."""

_Found = TypeVar("_Found")
_BatchContext = grpc.aio.ServicerContext[pb.SubmitBatch, pb.SubmitBatchReply]


class LedgerApi(LedgerServicer):
    """Serves the client API from a node. Every method of it is described in ledger.proto."""

    def __init__(self, node: NodeApi, note_refusal: NoteRefusal = ignore_refusal) -> None:
        self._node, self._note_refusal = node, note_refusal
        self._waited_for = Shares(WAITED_FOR_BY_ONE_MAX)

    async def Submit(self, request: pb.SubmitRequest, context: object) -> pb.SubmitReply:
        """Judge transactions, then wait until those admitted are final or the time is up."""
        ticket = await self._submit(self._node.submit_call, request.transactions)
        try:
            if request.wait_ms:
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(request.wait_ms, WAIT_MS_MAX) / 1_000):
                        await ticket.wait_final()
            reply = pb.SubmitReply(admissions=convert.admissions_to_pb(ticket.admissions))
            convert.add_results(reply.results, ticket.results)
            return reply
        finally:
            self._close(ticket, caller.get().identity_id)

    async def SubmitStream(  # type: ignore[override]  # the stub knows the generator style alone
        self, request_iterator: AsyncIterator[pb.SubmitBatch], context: _BatchContext
    ) -> None:
        """Judge batches as they come and report each when it is final."""
        await context.send_initial_metadata((ADMITTED,))
        places = asyncio.Semaphore(BATCHES_OUTSTANDING_MAX)
        writing = asyncio.Lock()  # gRPC takes one write at a time
        who = caller.get().identity_id
        async with asyncio.TaskGroup() as tasks:
            await places.acquire()
            async for batch in request_iterator:
                ticket = await self._submit(self._node.submit_batch, batch.transactions)
                reply = pb.SubmitBatchReply(
                    batch_id=batch.batch_id,
                    admissions=convert.admissions_to_pb(ticket.admissions),
                )
                # It starts once this task waits, so its report comes second.
                finishing = tasks.create_task(
                    self._finish(batch.batch_id, ticket, context, places, writing=writing)
                )
                # Not left to the task: one that is cancelled before it starts does nothing at all.
                finishing.add_done_callback(partial(self._close, ticket, who))
                async with writing:
                    await context.write(reply)
                await places.acquire()

    async def GetStatus(self, request: pb.GetStatusRequest, context: object) -> pb.Status:
        """Say how this validator is."""
        return convert.status_to_pb(await self._node.status())

    async def GetDiagnosis(self, request: pb.GetDiagnosisRequest, context: object) -> pb.Diagnosis:
        """Say what this validator knows of why the chain moves or does not."""
        return convert.diagnosis_to_pb(await self._node.diagnosis())

    async def GetEvidence(
        self, request: pb.GetEvidenceRequest, context: object
    ) -> pb.GetEvidenceReply:
        """Return the proofs of misbehaviour held here, as many as fit."""
        held = await self._node.evidence()
        return pb.GetEvidenceReply(evidence=_page(held[request.skip :]))

    async def GetMembership(
        self, request: pb.GetMembershipRequest, context: object
    ) -> pb.Membership:
        """Say who decides the next height, and who follows."""
        return convert.membership_to_pb(await self._node.membership())

    async def GetCheckpoint(
        self, request: pb.GetCheckpointRequest, context: object
    ) -> pb.CheckpointStatement:
        """State, signed, which chain this node holds."""
        statement = await self._node.checkpoint()
        return pb.CheckpointStatement(
            validator_id=statement.validator_id,
            header=statement.header,
            signature=statement.signature,
        )

    async def GetReceipt(self, request: pb.GetReceiptRequest, context: object) -> pb.Receipt:
        """Return the receipt of one record."""
        match request.WhichOneof("key"):
            case "operation":
                tx_id = _digest(request.operation.tx_id, "transaction id")
                index = request.operation.operation_index
                receipt = await self._node.receipt_of_operation(tx_id, index)
                what = f"operation {index} of transaction {tx_id.hex()}"
            case "digest":
                digest = _document_digest(request.digest)
                receipt = await self._node.receipt_of_digest(digest)
                what = f"record of digest {digest.hex()}"
            case _:
                raise ClientError("receipt: expected an operation or a digest, got neither")
        return pb.Receipt(receipt=_found(receipt, what))

    async def GetReceipts(
        self, request: pb.GetReceiptsRequest, context: object
    ) -> pb.GetReceiptsReply:
        """Return receipts of one transaction, as many as asked for and fit."""
        tx_id = _digest(request.tx_id, "transaction id")
        limit = _limit(request.limit, RECEIPTS_PAGE_MAX)
        found = await self._node.receipts(tx_id, request.first_operation, limit)
        receipts = _found(found, f"records of transaction {tx_id.hex()}")
        return pb.GetReceiptsReply(receipts=_page(receipts))

    async def GetRecords(
        self, request: pb.GetRecordsRequest, context: object
    ) -> pb.GetRecordsReply:
        """Return one page of matching records."""
        wanted = convert.record_filter_from_pb(request)
        if wanted.digest is not None:
            _document_digest(wanted.digest)
        limit = _limit(request.limit, RECORDS_PAGE_MAX)
        if len(request.page_token) > PAGE_TOKEN_BYTES_MAX:
            raise ClientError(f"page token: expected at most {PAGE_TOKEN_BYTES_MAX} bytes")
        page = await self._node.records(wanted, limit, request.page_token)
        return convert.record_page_to_pb(page)

    async def GetStandingProof(
        self, request: pb.GetStandingProofRequest, context: object
    ) -> pb.StandingProof:
        """Return the proof of what stands under a reference."""
        try:
            name = ReferenceName.from_value([request.issuer, request.type_code, request.reference])
        except DecodeError as error:
            raise ClientError(str(error)) from error
        proof = await self._node.standing_proof(name)
        return pb.StandingProof(proof=_found(proof, "certified state"))

    async def GetConsistencyProof(
        self, request: pb.GetConsistencyProofRequest, context: object
    ) -> pb.ConsistencyProof:
        """Return the proof that the chain only grew between two heights."""
        old = request.old_height
        new = request.new_height if request.HasField("new_height") else None
        proof = await self._node.consistency_proof(old, new)
        what = f"header of height {old}" if new is None else f"header of height {old} or {new}"
        return pb.ConsistencyProof(proof=_found(proof, what))

    async def GetBlock(self, request: pb.GetBlockRequest, context: object) -> pb.Block:
        """Return a committed block."""
        block = _found(await self._node.block(request.height), f"block {request.height}")
        return pb.Block(block=block.block, results=block.results)

    async def GetTransaction(
        self, request: pb.GetTransactionRequest, context: object
    ) -> pb.CommittedTransaction:
        """Return a committed transaction."""
        tx_id = _digest(request.tx_id, "transaction id")
        found = await self._node.transaction(tx_id)
        return convert.transaction_to_pb(_found(found, f"transaction {tx_id.hex()}"))

    async def GetCertifiedHeader(
        self, request: pb.GetCertifiedHeaderRequest, context: object
    ) -> pb.CertifiedHeader:
        """Return a committed header and its certificate."""
        height = request.height if request.HasField("height") else None
        found = await self._node.certified_header(height)
        certified = _found(found, f"header of height {height}")
        return pb.CertifiedHeader(header=certified.header, certificate=certified.certificate)

    async def GetHandovers(
        self, request: pb.GetHandoversRequest, context: object
    ) -> pb.GetHandoversReply:
        """Return what led from epoch to epoch, as much as asked for and fits."""
        limit = _limit(request.limit, HANDOVERS_PAGE_MAX)
        found = await self._node.handovers(request.from_epoch, limit)
        return pb.GetHandoversReply(handovers=_page(found))

    async def GetStateEntries(
        self, request: pb.GetStateEntriesRequest, context: object
    ) -> pb.StateEntries:
        """Return entries of the state of one kind, as many as asked for and fit."""
        limit = _limit(request.limit, STATE_ENTRIES_PAGE_MAX)
        if len(request.after) > STATE_KEY_BYTES_MAX:
            raise ClientError(f"state key: expected at most {STATE_KEY_BYTES_MAX} bytes")
        found = await self._node.state_entries(request.kind, request.after, limit)
        fitting = len(_page([value for _, value in found.entries]))
        return pb.StateEntries(
            height=found.height,
            entries=[pb.StateEntry(key=key, value=value) for key, value in found.entries[:fitting]],
        )

    async def TimeStamp(self, request: pb.TimeStampRequest, context: object) -> pb.TimeStampReply:
        """Record a request for a time stamp and answer it."""
        reply = await self._node.time_stamp(request.request, caller.get().identity_id)
        return pb.TimeStampReply(reply=reply)

    async def GetGenesis(self, request: pb.GetGenesisRequest, context: object) -> pb.Genesis:
        """Return the genesis."""
        return pb.Genesis(genesis=await self._node.genesis())

    async def Subscribe(
        self, request: pb.SubscribeRequest, context: object
    ) -> AsyncIterator[pb.BlockSummary]:
        """Report every committed block from a height on."""
        async with aclosing(self._node.blocks(request.from_height)) as summaries:
            async for summary in summaries:
                yield convert.summary_to_pb(summary)

    async def _submit(
        self,
        submit: Callable[[Sequence[bytes], str], Awaitable[BatchTicket]],
        transactions: Sequence[bytes],
    ) -> BatchTicket:
        if not 0 < len(transactions) <= BATCH_TXS_MAX:
            raise ClientError(
                f"batch: expected 1..{BATCH_TXS_MAX} transactions, got {len(transactions)}"
            )
        who, count = caller.get().identity_id, len(transactions)
        if not self._waited_for.take(who, count):
            raise TooManyCalls(
                f"{who}: expected at most {WAITED_FOR_BY_ONE_MAX} transactions waited for at once"
            )
        try:
            ticket = await submit(list(transactions), who)
        except BaseException:
            self._waited_for.give_back(who, count)
            raise
        for admission in ticket.admissions:
            if admission.code in _UNRIGHTFUL:
                self._note_refusal(who, "admission", admission.code.name)
        return ticket

    def _close(self, ticket: BatchTicket, who: str, _finished: object = None) -> None:
        """Forget what was submitted as `_submit` did it."""
        ticket.close()
        self._waited_for.give_back(who, len(ticket.admissions))

    async def _finish(
        self,
        batch_id: int,
        ticket: BatchTicket,
        context: _BatchContext,
        places: asyncio.Semaphore,
        *,
        writing: asyncio.Lock,
    ) -> None:
        """Report a batch when it is final, and make room for the next."""
        await ticket.wait_final()
        final = pb.BatchResults()
        convert.add_results(final.results, ticket.results)
        async with writing:
            await context.write(pb.SubmitBatchReply(batch_id=batch_id, final=final))
        places.release()


def _found(value: _Found | None, what: str) -> _Found:
    if value is None:
        raise NotFound(f"no {what} here")
    return value


def _page(items: Sequence[bytes]) -> list[bytes]:
    """Return the first of the items, as many as a message should hold, one at least."""
    page: list[bytes] = []
    room_bytes = _PAGE_BYTES_AIM
    for item in items:
        room_bytes -= len(item)
        if page and room_bytes < 0:
            break
        page.append(item)
    return page


def _digest(value: bytes, what: str) -> bytes:
    if len(value) != _DIGEST_BYTES:
        raise ClientError(f"{what}: expected {_DIGEST_BYTES} bytes, got {len(value)}")
    return value


def _document_digest(value: bytes) -> bytes:
    if len(value) not in _DOCUMENT_DIGEST_BYTES:
        expected = ", ".join(map(str, _DOCUMENT_DIGEST_BYTES))
        raise ClientError(f"digest: expected {expected} bytes, got {len(value)}")
    return value


def _limit(value: int, most: int) -> int:
    if not 0 < value <= most:
        raise ClientError(f"limit: expected 1..{most}, got {value}")
    return value
