"""Submitting as a client sees it: outcomes, their errors, and many batches over one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

import grpc

from node.chain.admission import Admission, FinalResult
from node.errors import ClientError, DecodeError
from node.rpc import convert
from node.rpc.connection import LedgerEndpoint, NetworkUnavailable, read_failure
from node.rpc.pb import ledger_pb2 as pb
from node.rpc.port import BATCH_TXS_MAX, REQUEST_BYTES_MAX

BatchCall: TypeAlias = grpc.aio.StreamStreamCall[pb.SubmitBatch, pb.SubmitBatchReply]


class Refused(ClientError):  # noqa: N818 - a validator's verdict, as the exit codes name it
    """A transaction was not admitted; `admission` says why and whether to come back."""

    code = "GC-2206"

    def __init__(self, admission: Admission) -> None:
        super().__init__(f"{admission.code.name}: {admission.message}")
        self.admission = admission


class NotFinal(ClientError):  # noqa: N818 - a state, as the exit codes name it
    """A transaction was admitted but was not final in time. It may still become so."""

    code = "GC-2207"


@dataclass(frozen=True, slots=True)
class Submission:
    """What is known of a submitted transaction."""

    admission: Admission
    result: FinalResult | None
    """None if it was refused or is not final yet."""

    def final(self) -> FinalResult:
        """Return its result; raises `Refused` or `NotFinal`."""
        if self.result is not None:
            return self.result
        if not self.admission.code.is_admitted:
            raise Refused(self.admission)
        raise NotFinal("admitted, but not final in time", fix="submit the same bytes again")


def check_request(transactions: Sequence[bytes]) -> None:
    """Raise `ClientError` unless these transactions fit one request."""
    if not 0 < len(transactions) <= BATCH_TXS_MAX:
        raise ClientError(
            f"batch: expected 1..{BATCH_TXS_MAX} transactions, got {len(transactions)}"
        )
    size_bytes = sum(map(len, transactions))
    framing_bytes = 8 * len(transactions) + 64
    if size_bytes + framing_bytes > REQUEST_BYTES_MAX:
        room_bytes = REQUEST_BYTES_MAX - framing_bytes
        raise ClientError(f"batch: expected at most {room_bytes} bytes, got {size_bytes}")


@dataclass(slots=True)
class _Pending:
    size: int
    admissions: list[Admission] | None
    outcome: asyncio.Future[tuple[Submission, ...]]


class BatchStream:
    """A stream of batches to one validator. Use it as an async context manager.

    Call `submit` from several tasks: up to `outstanding_max` batches are under way at once, further
    calls wait. When the stream breaks, all of them fail; open another and submit the same bytes.
    """

    def __init__(
        self, endpoint: LedgerEndpoint, call: BatchCall, *, outstanding_max: int, timeout_ms: int
    ) -> None:
        self.validator_id = endpoint.validator_id
        self._endpoint = endpoint
        self._call = call
        self._timeout_ms = timeout_ms
        self._places = asyncio.Semaphore(outstanding_max)
        self._writing = asyncio.Lock()  # gRPC takes one write at a time
        self._pending: dict[int, _Pending] = {}
        self._submitted = 0
        self._failure: ClientError | None = None
        self._reader = asyncio.create_task(self._read())

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Submission, ...]:
        """Submit a batch and return its outcomes, in order, when all that was admitted is final.

        After the stream's `timeout_ms` it returns what is known by then. Raises `ClientError` for a
        batch that is too large, `NotFinal` if not even admission was judged in time, and what broke
        the stream if it breaks.
        """
        check_request(transactions)
        pending = _Pending(len(transactions), None, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(self._timeout_ms / 1_000):
                await self._send(pending, transactions)
                return await asyncio.shield(pending.outcome)
        except TimeoutError:
            if pending.admissions is None:
                raise NotFinal(f"{self.validator_id} gave no answer in time") from None
            return tuple(Submission(admission, None) for admission in pending.admissions)

    async def close(self) -> None:
        """End the stream; what is not final by now is not waited for."""
        self._call.cancel()
        await self._reader

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _send(self, pending: _Pending, transactions: Sequence[bytes]) -> None:
        async with self._writing:
            await self._places.acquire()  # given back when the batch is final, or with the stream
            if self._failure is not None:
                self._places.release()
                raise self._failure
            self._submitted += 1
            self._pending[self._submitted] = pending
            message = pb.SubmitBatch(batch_id=self._submitted, transactions=transactions)
            try:
                await self._call.write(message)
            except (grpc.RpcError, grpc.aio.BaseError, asyncio.InvalidStateError):
                await self._reader  # it learns why, and fails this batch with the others

    async def _read(self) -> None:
        try:
            async for reply in self._call:
                self._take(reply)
        except (grpc.aio.AioRpcError, DecodeError, asyncio.CancelledError) as error:
            self._failure = read_failure(self._endpoint, error)
        else:
            self._failure = NetworkUnavailable(f"{self.validator_id} ended the stream")
        self._call.cancel()
        self._places.release()  # for whoever waits to send: it fails, and passes the place on
        for pending in self._pending.values():
            if not pending.outcome.done():
                pending.outcome.set_exception(self._failure)
                pending.outcome.exception()  # whoever waited for it may have gone
        self._pending.clear()

    def _take(self, reply: pb.SubmitBatchReply) -> None:
        pending = self._pending.get(reply.batch_id)
        if pending is None:
            raise DecodeError(f"batch {reply.batch_id}: none of this id is under way")
        if reply.WhichOneof("step") == "admissions":
            pending.admissions = convert.admissions_from_pb(reply.admissions, pending.size)
            return
        if pending.admissions is None:
            raise DecodeError(f"batch {reply.batch_id}: final before it was admitted")
        results = convert.results_from_pb(reply.final.results, pending.size)
        del self._pending[reply.batch_id]
        self._places.release()
        if not pending.outcome.done():
            pending.outcome.set_result(tuple(map(Submission, pending.admissions, results)))
