"""The canonical subset: what `encode` writes is accepted, every other byte string is refused."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.encoding import (
    decode,
    encode,
    expect_array,
    expect_blob,
    expect_bool,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.errors import DecodeError
from node.limits import CBOR_DEPTH_MAX

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=40,
)


def depth(value: object) -> int:
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(VALUES)
def test_round_trip(value: object) -> None:
    data = encode(value)
    # An empty array opens nothing, so only arrays that hold arrays count as depth.
    if depth(value) <= CBOR_DEPTH_MAX:
        assert decode(data, what="value", size_max=len(data)) == value


@given(st.binary(max_size=60))
def test_whatever_is_accepted_is_canonical_and_nothing_else_escapes(data: bytes) -> None:
    try:
        value = decode(data, what="bytes", size_max=60)
    except DecodeError:
        return
    assert encode(value) == data


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "more bytes"),
        (b"\x01\x01", "expected 1 bytes"),
        (b"\x18\x01", "not the canonical"),
        (b"\x19\x00\x01", "not the canonical"),
        (b"\x58\x01a", "not the canonical"),
        (b"\x98\x01\x01", "not the canonical"),
        (b"\xc0\x01", "0xc0"),
        (b"\xa0", "0xa0"),
        (b"\x9f\xff", "0x9f"),
        (b"\x5f\xff", "0x5f"),
        (b"\xf9\x00\x00", "0xf9"),
        (b"\xf7", "0xf7"),
        (b"\x1c", "0x1c"),
        (b"\x42a", "expected"),
        (b"\x62\xc3\x28", "not well-formed"),
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "cannot fit"),
        (b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "expected"),
        (b"\x81" * (CBOR_DEPTH_MAX + 1) + b"\x01", "deeper"),
    ],
)
def test_refuses(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode(data, what="sample", size_max=64)


def test_bounds_size_before_looking() -> None:
    with pytest.raises(DecodeError, match="at most 3 bytes, got 4"):
        decode(b"\x43abc", what="sample", size_max=3)


def test_bounds_the_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.chain.encoding.CBOR_ITEMS_MAX", 3)
    assert decode(encode([1, 2]), what="sample", size_max=9) == [1, 2]
    with pytest.raises(DecodeError, match="at most 3 items"):
        decode(encode([1, 2, 3]), what="sample", size_max=9)


def test_agrees_with_the_library_on_its_deterministic_form() -> None:
    value = [0, 23, 24, 255, 256, 65_535, 65_536, 2**32, -1, -(2**63), b"", "中文", [], None, True]
    assert encode(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("mark", ["\n", "\x7f", "\u00a0", "\u00ad", "\u202e", "\u200b", "\ufeff"])
def test_text_holds_no_mark_that_hides_or_reorders(mark: str) -> None:
    with pytest.raises(DecodeError, match="printable"):
        expect_text(f"a{mark}b", "name", size_max=20)


def test_text_of_any_script_and_of_later_unicode_versions_is_fine() -> None:
    for text in ("证照 粤A-2025", "\U00031350", "Ω é"):  # the second came with Unicode 15
        assert expect_text(text, "name", size_max=40) == text


def test_field_checks_name_the_field_and_what_was_found() -> None:
    with pytest.raises(DecodeError, match="header: expected an array of 2 items, got 1 items"):
        expect_array([1], 2, "header")
    with pytest.raises(DecodeError, match="votes: expected an array of at most 1 items"):
        expect_list([1, 2], 1, "votes")
    with pytest.raises(DecodeError, match=r"height: expected an integer in 0\.\.9, got 10"):
        expect_uint(10, "height", 9)
    with pytest.raises(DecodeError, match="height: expected an integer"):
        expect_uint(True, "height")  # noqa: FBT003 - a bool is the point
    with pytest.raises(DecodeError, match="flag: expected a bool, got int"):
        expect_bool(1, "flag")
    with pytest.raises(DecodeError, match="digest: expected 32 bytes, got 3 bytes"):
        expect_bytes(b"abc", "digest", size=32)
    with pytest.raises(DecodeError, match="body: expected at most 2 bytes, got str"):
        expect_blob("ab", "body", size_max=2)
    with pytest.raises(DecodeError, match="type: expected printable text"):
        expect_text("a\nb", "type", size_max=9)
    with pytest.raises(DecodeError, match="type: expected text of at most 3 bytes"):
        expect_text("中文", "type", size_max=3)
    with pytest.raises(DecodeError, match="header: expected version 1, got 2"):
        expect_version(2, "header")
