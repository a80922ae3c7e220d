"""What every call to the client API passes through: who calls, which chain is meant, what failed.

Only what is common to all methods lives here: authentication, no request beyond the definition of
its message, and the one table from errors to gRPC status codes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import Message

from node.crypto.certificate_profile import CertificateIdentity
from node.errors import ClientError, DecodeError, NodeError
from node.rpc.identity import AccessError, Gatekeeper
from node.rpc.port import NoteRefusal, ignore_refusal
from node.rpc.shares import Shares
from node.rpc.strict import Malformed, behaviour_of, rebuilt, refuse_malformed
from node.storage.objects import ObjectStoreError
from node.storage.past import NotHeldYet, Pruned

CHAIN_ID_KEY: Final = "govchain-chain-id"
"""Metadata by which a client may say, in hexadecimal, which chain it means."""

CODE_KEY: Final = "govchain-code"
"""Trailing metadata that carries the code of an error."""

ADMITTED: Final = ("govchain-admitted", "1")
"""Initial metadata of a stream that was let in; one that was refused has begun as well, without."""

CALLS_OF_ONE_MAX: Final = 512
"""Calls of one identity served at once, half of all (`node.rpc.server.CALLS_MAX`): no client alone
keeps others out with streams that last for ever."""

caller: ContextVar[CertificateIdentity] = ContextVar("caller")
"""Who makes the call being served."""


class WrongChainError(ClientError):
    """The client means another chain than this validator serves."""

    code = "GC-2202"


class TooManyCalls(ClientError):  # noqa: N818 - a state
    """The client has as many calls under way here as one may have; another validator may serve."""


class NoTimeStamps(ClientError):  # noqa: N818 - a state of that node
    """The node takes no requests for time stamps: another may."""

    code = "GC-2209"


class NotFound(ClientError):  # noqa: N818 - absence is an answer
    """There is no such record, block or transaction."""

    code = "GC-2203"


_STATUS: Final = (
    (AccessError, grpc.StatusCode.PERMISSION_DENIED),
    (WrongChainError, grpc.StatusCode.FAILED_PRECONDITION),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (ObjectStoreError, grpc.StatusCode.UNAVAILABLE),  # another node may have room, or the object
    (NotHeldYet, grpc.StatusCode.UNAVAILABLE),  # so that another validator is asked
    (Pruned, grpc.StatusCode.UNAVAILABLE),  # as above
    (NoTimeStamps, grpc.StatusCode.UNAVAILABLE),  # as above
    (TooManyCalls, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ClientError, grpc.StatusCode.INVALID_ARGUMENT),
    (DecodeError, grpc.StatusCode.INVALID_ARGUMENT),
)
"""The first row whose error it is; anything else is this node's own fault: INTERNAL."""

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_Request: TypeAlias = Message | Malformed
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a generic type for type checkers only


class Guard(grpc.aio.ServerInterceptor):
    """Lets a call through to its method when the caller is a member's and means this chain.

    `on_failure` learns of every error that is not the caller's, `note_refusal` of who was not let
    in: where they are, what was refused, and the code.
    """

    def __init__(
        self,
        gatekeeper: Gatekeeper,
        chain_id: bytes,
        on_failure: Callable[[Exception], None],
        note_refusal: NoteRefusal = ignore_refusal,
    ) -> None:
        self._note_refusal = note_refusal
        self._gatekeeper = gatekeeper
        self._chain_id = chain_id.hex()
        self._on_failure = on_failure
        self._calls = Shares(CALLS_OF_ONE_MAX)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Put this guard around the method called."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # no such method: gRPC says so
        behaviour = behaviour_of(handler)

        async def guarded(request: _Request | AsyncIterator[_Request], context: _Context) -> object:
            return await self._serve(behaviour, request, context)

        return rebuilt(handler, guarded, handler.request_deserializer)

    async def _serve(
        self,
        behaviour: Callable[[Any, _Context], Any],
        request: _Request | AsyncIterator[_Request],
        context: _Context,
    ) -> object:
        try:
            self._admit(context)
            with self._calls.one(caller.get().identity_id) as has_place:
                _expect_place(has_place=has_place)
                return await self._serve_admitted(behaviour, request, context)
        except grpc.aio.BaseError:
            raise  # the caller has gone away
        except Exception as error:  # noqa: BLE001 - the boundary: every error becomes a status
            await self._refuse(context, error)
        return None

    async def _serve_admitted(
        self,
        behaviour: Callable[[Any, _Context], Any],
        request: _Request | AsyncIterator[_Request],
        context: _Context,
    ) -> object:
        if isinstance(request, Message | Malformed):
            refuse_malformed(request)
        else:
            request = self._strict(request, context)
        outcome = behaviour(request, context)
        if not isinstance(outcome, AsyncIterator):
            return await outcome
        async for reply in outcome:
            self._judge_again(context)
            await context.write(reply)
        return None

    def _admit(self, context: _Context) -> None:
        caller.set(self._gatekeeper.identify(context.auth_context()))
        for key, value in context.invocation_metadata() or ():
            if key == CHAIN_ID_KEY and value != self._chain_id:
                raise WrongChainError(f"expected chain {self._chain_id}, got {value!r:.80}")

    def _judge_again(self, context: _Context) -> None:
        """Refuse to go on with a stream whose caller lost its rights since; costs a look-up."""
        self._gatekeeper.identify(context.auth_context())

    async def _strict(
        self, requests: AsyncIterator[_Request], context: _Context
    ) -> AsyncIterator[_Request]:
        async for request in requests:
            self._judge_again(context)
            refuse_malformed(request)
            yield request

    async def _refuse(self, context: _Context, error: Exception) -> None:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, grpc.aio.BaseError):
            raise error  # as above, in a task of the method
        if isinstance(error, NodeError):
            status = status_of(error)
            if isinstance(error, AccessError | WrongChainError):
                self._note_refusal(context.peer(), "access", error.code)
            if status is not grpc.StatusCode.INTERNAL:
                await context.abort(status, str(error), ((CODE_KEY, error.code),))
        self._on_failure(error)
        code = error.code if isinstance(error, NodeError) else NodeError.code
        await context.abort(
            grpc.StatusCode.INTERNAL, "this validator failed; its log says why", ((CODE_KEY, code),)
        )


def _expect_place(*, has_place: bool) -> None:
    if not has_place:
        who = caller.get().identity_id
        raise TooManyCalls(f"{who}: expected at most {CALLS_OF_ONE_MAX} calls at once")


def status_of(error: NodeError) -> grpc.StatusCode:
    """Return what a caller is told of an error: INTERNAL where it is this node's own fault."""
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(found, grpc.StatusCode.INTERNAL)
