"""Requests that no client of ours would make, drawn from one source of chance.

A message is filled field by field from its definition, with what a caller may know of the chain and
with what nobody should send, and some are damaged as bytes. For HTTP it is lines instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from node.rpc.pb.peer_pb2 import PeerFrame

_NUMBERS: Final = (0, 1, 2, 3, 7, 255, 256, 65_536, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63)
_SIZES: Final = (0, 1, 16, 31, 32, 33, 64, 65, 1_000)
_TEXTS: Final = ("", "a", "..", "/", "\x00", "部门", "validator-1", "é" * 300, "x" * 5_000)
_REPEATED_MAX: Final = 4
_MANY: Final = 3_000
_DEPTH_MAX: Final = 4
_DAMAGED: Final = 0.4
_METHODS: Final = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "get", "\x00", "G" * 9_000)
_PATHS: Final = (
    "/", "/healthz", "/verify", "/tsa", "/tsa/policy", "/tsa/certificates", "/checkpoint", "/log",
    "/tile/0/000", "/tile/8/x001/067.p/1", "/tile/entries/000", "/add-checkpoint", "/%2e%2e/x",
    "/tile/0/" + "x999/" * 50 + "999", "/%00", "//", "/?" + "a=1&" * 500, "http://other/", "*",
)  # fmt: skip
_HEADERS: Final = (
    "Host: a", "Host: ", "Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999",
    "Transfer-Encoding: chunked", "Transfer-Encoding: gzip, chunked", "Expect: 100-continue",
    "Content-Type: application/timestamp-query", "Range: bytes=0-1,5-", "Accept: */*;q=x",
    "If-None-Match: *", "If-Modified-Since: x", "Upgrade: websocket", "Connection: keep-alive",
    "X: " + "y" * 9_000, "bad header", ": empty", "Accept-Encoding: gzip;q=0",
)  # fmt: skip


class Hostile:
    """Draws requests; `known` are ids, digests and transactions of the chain that is asked."""

    def __init__(self, chance: Random, known: Sequence[bytes], spoken: Sequence[bytes]) -> None:
        """Start; `spoken` are messages such as validators send, of whatever chain."""
        self._chance = chance
        self._known = known
        self._spoken = spoken

    def message(self, kind: type[Message]) -> bytes:
        """Return the bytes of a request of a kind, or what was one before damage."""
        message = kind()
        self._fill(message, 0)
        encoded = message.SerializeToString()
        return self.damaged(encoded) if self._chance.random() < _DAMAGED else encoded

    def frame(self) -> bytes:
        """Return what is sent on the stream of a validator."""
        messages = self._chance.choices(self._spoken, k=self._chance.randrange(5))
        frame = PeerFrame(messages=[self.damaged(each) for each in messages]).SerializeToString()
        return self.damaged(frame) if self._chance.random() < _DAMAGED / 4 else frame

    def http(self) -> bytes:
        """Return what is sent on one connection over HTTP/1.1."""
        chance = self._chance
        first = f"{chance.choice(_METHODS)} {chance.choice(_PATHS)} HTTP/1.{chance.choice('0112')}"
        lines = [first, *chance.choices(_HEADERS, k=chance.randrange(6)), "Connection: close"]
        body = self._bytes() if chance.random() < 1 / 2 else b""
        if body and chance.random() < 3 / 4:
            lines.append(f"Content-Length: {len(body)}")
        data = "\r\n".join((*lines, "", "")).encode() + body
        return self.damaged(data) if chance.random() < _DAMAGED else data

    def damaged(self, data: bytes) -> bytes:
        """Return the bytes with some changed, lost, doubled or put in."""
        chance, changed = self._chance, bytearray(data)
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(changed) + 1)
            match chance.randrange(5):
                case 0 if at < len(changed):
                    changed[at] ^= 1 << chance.randrange(8)
                case 1:
                    changed[at:at] = chance.randbytes(chance.randrange(1, 9))
                case 2:
                    del changed[at : at + chance.randrange(1, 40)]
                case 3:
                    changed[at:at] = changed[at : at + chance.randrange(1, 200)]
                case _:
                    del changed[at:]
        return bytes(changed)

    def _fill(self, message: Message, depth: int) -> None:
        chance = self._chance
        for field in message.DESCRIPTOR.fields:
            if chance.random() < 1 / 4:
                continue
            if field.is_repeated:
                count = chance.randrange(_REPEATED_MAX)
                if depth == 0 and chance.random() < 1 / 50:
                    count = _MANY
                for _ in range(count):
                    self._add(getattr(message, field.name), field, depth)
            elif field.message_type is not None:
                if depth < _DEPTH_MAX:
                    self._fill(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self._value(field))

    def _add(self, held: Any, field: Any, depth: int) -> None:  # noqa: ANN401 - a repeated field
        if field.message_type is None:
            held.append(self._value(field))
        elif depth < _DEPTH_MAX:
            self._fill(held.add(), depth + 1)

    def _value(self, field: Any) -> bytes | str | int | bool:  # noqa: ANN401 - as above
        chance = self._chance
        match field.type:
            case FieldDescriptor.TYPE_BYTES:
                return self._bytes()
            case FieldDescriptor.TYPE_STRING:
                return chance.choice(_TEXTS)
            case FieldDescriptor.TYPE_BOOL:
                return chance.random() < 1 / 2
            case FieldDescriptor.TYPE_ENUM:
                return chance.choice((0, 1, 2, 3, 99))
            case FieldDescriptor.TYPE_UINT64 | FieldDescriptor.TYPE_FIXED64:
                return chance.choice((*_NUMBERS, 2**64 - 1))
            case FieldDescriptor.TYPE_INT64 | FieldDescriptor.TYPE_SINT64:
                return chance.choice((-1, -(2**63), *_NUMBERS[:-1]))
            case _:
                return chance.choice((0, 1, 2, 7, 2**31 - 1))

    def _bytes(self) -> bytes:
        chance = self._chance
        if self._known and chance.random() < 1 / 2:
            known = chance.choice(self._known)
            return self.damaged(known) if chance.random() < 1 / 3 else known
        return chance.randbytes(chance.choice(_SIZES))
