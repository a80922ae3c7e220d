"""A request holds what the definition of its message names, or is refused. Nothing else is here.

protobuf keeps what it does not know and says nothing: a caller that misspells a field, or speaks of
something newer than this node, would take its silence for consent.
"""

from __future__ import annotations

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from node.errors import DecodeError


def refuse_unknown_fields(message: Message) -> None:
    """Raise `DecodeError`, naming the number, where a message or one within it has such a field."""
    unknown = UnknownFieldSet(message)
    if len(unknown):
        number = unknown[0].field_number
        raise DecodeError(f"{message.DESCRIPTOR.full_name}: field {number} is unknown")
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for inner in value if descriptor.is_repeated else (value,):
                refuse_unknown_fields(inner)
