"""Answers without a token (RFC 3161 section 2.4.2), read: why there is none."""

from __future__ import annotations

from typing import Final

from node.crypto import der
from node.errors import DecodeError
from node.timestamp.tokens.request import Failure, TimeStampRefused

_GRANTED: Final = (0, 1)
_STATUS_MAX: Final = 5
_TEXT_BYTES_MAX: Final = 4_096


def read_refusal(answer: bytes) -> TimeStampRefused | None:
    """Return why an answer (DER of TimeStampResp) grants no token; None where it grants one.

    Raises `DecodeError` for what is no answer. A refusal that names none of the failures known here
    counts as `SYSTEM_FAILURE`.
    """
    reader = der.read_only(answer, der.SEQUENCE, "answer")
    info = reader.enter(der.SEQUENCE, "answer status")
    status = info.read_integer()
    if status in _GRANTED:
        return None
    if not 0 <= status <= _STATUS_MAX:
        raise DecodeError(f"answer status: expected 0..{_STATUS_MAX}, got {status}")
    texts = info.enter_if(der.SEQUENCE, "answer text")
    said = "" if texts is None else "; ".join(_texts(texts))
    bits = info.read_if(der.BIT_STRING)
    info.finish()
    reader.finish()
    failure = Failure.SYSTEM_FAILURE if bits is None else _failure(bits.content)
    return TimeStampRefused(failure, said or failure.name)


def _texts(reader: der.Reader) -> list[str]:
    texts = []
    while not reader.is_empty:
        content = reader.read(der.UTF8_STRING).content
        texts.append(content[:_TEXT_BYTES_MAX].decode(errors="replace"))
    return texts


def _failure(content: bytes) -> Failure:
    """Return the failure of the first bit that is set, of a BIT STRING."""
    for place in range(8 * (len(content) - 1)):
        byte, bit = divmod(place, 8)
        if content[1 + byte] & 0x80 >> bit:
            try:
                return Failure(place)
            except ValueError:
                break
    return Failure.SYSTEM_FAILURE
