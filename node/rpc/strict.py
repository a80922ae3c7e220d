"""A request holds what the definition of its message names, or is refused. Nothing else is here.

protobuf keeps what it does not know and says nothing: a caller that misspells a field, or speaks of
something newer than this node, would take its silence for consent. And gRPC takes bytes that are no
message for a failure of the server, with a traceback in its log for whoever cares to fill it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf.descriptor import Descriptor
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
    """Hands `Malformed` to a method whose request cannot be read, for it to refuse.

    To be the first of a server's interceptors. What the others made of a method is asked for once,
    as none of them looks at the call that it is asked for.
    """

    def __init__(self) -> None:
        self._handlers: dict[str, _Handler] = {}
        """By method, of those that exist."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Have the method read requests this way."""
        method = handler_call_details.method
        handler = self._handlers.get(method)
        if handler is None:
            found = await continuation(handler_call_details)
            if found is None:
                return None  # no such method: gRPC says so
            read = _tolerant(found.request_deserializer)
            handler = self._handlers[method] = rebuilt(found, behaviour_of(found), read)
        return handler


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
    for name, is_repeated in _messages_in(request.DESCRIPTOR):
        if is_repeated:
            for inner in getattr(request, name):
                refuse_malformed(inner)
        elif request.HasField(name):
            refuse_malformed(getattr(request, name))


@cache
def _messages_in(definition: Descriptor) -> tuple[tuple[str, bool], ...]:
    """Return the fields of a definition that hold messages, and whether each holds many."""
    return tuple(
        (each.name, each.is_repeated) for each in definition.fields if each.message_type is not None
    )


def _tolerant(read: Callable[[bytes], object] | None) -> Callable[[bytes], object] | None:
    if read is None:
        return None

    def attempt(data: bytes) -> object:
        try:
            return read(data)
        except MalformedMessage as error:
            return Malformed(str(error))

    return attempt
