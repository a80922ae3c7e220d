"""Packed values: nothing is lost, what cannot shrink is not tried, and damage is an error."""

from __future__ import annotations

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import DecodeError
from node.storage.packing import pack, unpack

LONG = 1 << 20
NOISE = random.Random(1).randbytes(32_768)


@given(st.binary(max_size=300), st.integers(0, 40), st.binary(max_size=300))
def test_what_is_packed_comes_back(head: bytes, times: int, tail: bytes) -> None:
    value = head * times + tail
    packed = pack(value)
    assert unpack(packed, LONG) == unpack(packed, len(value)) == value
    assert len(packed) <= len(value) + 1


def test_long_values_shrink_where_their_end_does() -> None:
    text = b"".join(b"agency-1 licence %d;" % number for number in range(2_000))
    assert len(pack(text)) < len(text) // 3
    assert len(pack(NOISE + text)) < len(NOISE) + len(text) // 3
    assert pack(text + NOISE) == b"\x00" + text + NOISE


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\x02abc",
        b"\x00" + bytes(101),
        b"\x01" + zlib.compress(bytes(101), 1, -15),
        b"\x01" + zlib.compress(bytes(50), 1, -15)[:-1],
        b"\x01" + zlib.compress(bytes(50), 1, -15) + b"\x00",
        b"\x01\xff",
    ],
    ids=["empty", "unknown", "long", "long inside", "cut", "more", "no stream"],
)
def test_what_was_never_packed_is_refused(packed: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack(packed, 100)
