"""A request holds what the definition of its message names, or is refused. Nothing else is here.

protobuf keeps what it does not know and says nothing: a caller that misspells a field, or speaks of
something newer than this node, would take its silence for consent. And gRPC takes bytes that are no
message for a failure of the server, with a traceback in its log for whoever cares to fill it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.message import DecodeError as MalformedMessage
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import DecodeError

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # a generic type for type checkers only

_HANDLERS: Final = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


@dataclass(frozen=True, slots=True)
class Malformed:
    """What came in place of a message."""

    reason: str


class Tolerant(grpc.aio.ServerInterceptor):
    """Hands `Malformed` to a method whose request cannot be read, for it to refuse."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Have the method read requests this way."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None  # no such method: gRPC says so
        return rebuilt(handler, behaviour_of(handler), _tolerant(handler.request_deserializer))


def behaviour_of(handler: _Handler) -> Callable[..., Any]:
    """Return what serves the method's calls."""
    name, _ = _HANDLERS[handler.request_streaming, handler.response_streaming]
    return getattr(handler, name)  # type: ignore[no-any-return]


def rebuilt(
    handler: _Handler,
    behaviour: Callable[..., Any],
    deserializer: Callable[[bytes], object] | None,
) -> _Handler:
    """Return the handler of a method with another behaviour and way to read its requests."""
    _, build = _HANDLERS[handler.request_streaming, handler.response_streaming]
    return build(behaviour, deserializer, handler.response_serializer)


def refuse_malformed(request: Message | Malformed) -> None:
    """Raise `DecodeError` where it is no message, or it or one within has an unknown field."""
    if isinstance(request, Malformed):
        raise DecodeError(f"request: {request.reason}")
    unknown = UnknownFieldSet(request)
    if len(unknown):
        number = unknown[0].field_number
        raise DecodeError(f"{request.DESCRIPTOR.full_name}: field {number} is unknown")
    for descriptor, value in request.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else (value,):
                refuse_malformed(inner)


def _tolerant(read: Callable[[bytes], object] | None) -> Callable[[bytes], object] | None:
    if read is None:
        return None

    def attempt(data: bytes) -> object:
        try:
            return read(data)
        except MalformedMessage as error:
            return Malformed(str(error))

    return attempt
