"""Answers without a token, read: ours exactly, others' as far as they say, garbage never."""

from __future__ import annotations

import pytest

from node.crypto import der
from node.errors import DecodeError
from node.timestamp.tokens.issuing import encode_granted, encode_refused
from node.timestamp.tokens.refusal import read_refusal
from node.timestamp.tokens.request import Failure, TimeStampRefused


@pytest.mark.parametrize("failure", list(Failure))
def test_what_we_refuse_reads_back(failure: Failure) -> None:
    read = read_refusal(encode_refused(TimeStampRefused(failure, "why not, 为何")))
    assert read is not None
    assert (read.failure, str(read)) == (failure, "why not, 为何")


def test_what_is_granted_is_no_refusal() -> None:
    assert read_refusal(encode_granted(der.encode_sequence())) is None


def status(number: int, *more: bytes) -> bytes:
    return der.encode_sequence(der.encode_sequence(der.encode_integer(number), *more))


@pytest.mark.parametrize(
    ("answer", "failure", "text"),
    [
        (status(2), Failure.SYSTEM_FAILURE, "SYSTEM_FAILURE"),
        (status(4), Failure.SYSTEM_FAILURE, "SYSTEM_FAILURE"),
        (status(2, der.encode(der.BIT_STRING, b"\x00\x40")), Failure.SYSTEM_FAILURE, None),
        (status(2, der.encode(der.BIT_STRING, b"")), Failure.SYSTEM_FAILURE, None),
        (
            status(
                3,
                der.encode_sequence(
                    der.encode(der.UTF8_STRING, b"a"), der.encode(der.UTF8_STRING, b"\xff")
                ),
                der.encode(der.BIT_STRING, b"\x05\x20"),
            ),
            Failure.BAD_REQUEST,
            "a; \ufffd",
        ),
    ],
)
def test_what_others_refuse_is_read_as_far_as_it_says(
    answer: bytes, failure: Failure, text: str | None
) -> None:
    read = read_refusal(answer)
    assert read is not None
    assert read.failure is failure
    assert text is None or str(read) == text


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x30\x00",
        status(2) + b"\x00",
        status(9),
        status(-1),
        status(2, der.TRUE),
        b"\xff" * 9,
    ],
)
def test_what_is_no_answer_is_told(answer: bytes) -> None:
    with pytest.raises(DecodeError):
        read_refusal(answer)
