"""The canonical subset: what `encode` writes is accepted, every other byte string is refused."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain.certificate import Phase
from node.chain.encoding import (
    Encoded,
    decode,
    encode,
    encode_bytes,
    encode_text,
    encode_uint,
    expect_array,
    expect_blob,
    expect_bool,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
    split_signed,
)
from node.errors import DecodeError, InvariantViolation
from node.limits import CBOR_DEPTH_MAX

EDGES = [edge + step for edge in (24, 2**8, 2**16, 2**32) for step in (-1, 0)]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.sampled_from([*EDGES, *(-1 - edge for edge in EDGES)])
    | st.binary(max_size=40)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=40,
)


WIDTHS = (0, 1, 2, 4, 8)
RARELY = st.sampled_from([False] * 15 + [True])


def depth(value: object) -> int:
    """Return how deep arrays nest; an empty one opens nothing."""
    return 1 + max(map(depth, value)) if isinstance(value, list) and value else 0


def is_in_subset(value: object) -> bool:
    if isinstance(value, list):
        return all(map(is_in_subset, value))
    if type(value) is int:
        return -(2**64) <= value < 2**64
    return value is None or type(value) in (bool, bytes, str)


def decode_slowly(data: bytes) -> object:
    """Decode as the library does, then look at every value, encode it again and compare.

    What the library makes of foreign items may raise anything.
    """
    value = cbor2.loads(data)
    if is_in_subset(value) and depth(value) <= CBOR_DEPTH_MAX and cbor2.dumps(value) == data:
        return value
    raise ValueError("not canonical")


def head(draw: st.DrawFn, major: int, argument: int) -> bytes:
    """Return a head and its argument, which may take more bytes than it needs."""
    least = 0 if argument < 24 else next(width for width in WIDTHS[1:] if argument < 256**width)
    width = draw(st.sampled_from(WIDTHS[WIDTHS.index(least) :]) if draw(RARELY) else st.just(least))
    low = 23 + WIDTHS.index(width) if width else argument
    return bytes((major << 5 | low,)) + (argument.to_bytes(width) if width else b"")


@st.composite
def loose_encodings(draw: st.DrawFn) -> bytes:
    """Draw encodings of values of which some are longer than the canonical one."""

    def written(value: object) -> bytes:
        match value:
            case None | bool():
                return encode(value)
            case int():
                return head(draw, 0, value) if value >= 0 else head(draw, 1, -1 - value)
            case bytes():
                return head(draw, 2, len(value)) + value
            case str():
                text = value.encode()
                return head(draw, 3, len(text)) + text
            case list():
                return head(draw, 4, len(value)) + b"".join(map(written, value))
        raise TypeError(value)

    return written(draw(VALUES))


@st.composite
def damaged_encodings(draw: st.DrawFn) -> bytes:
    """Draw encodings with a few bytes changed, removed or put in."""
    data = bytearray(draw(loose_encodings()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(data)


@given(VALUES)
def test_round_trip(value: object) -> None:
    data = encode(value)
    if depth(value) <= CBOR_DEPTH_MAX:
        assert decode(data, what="value", size_max=len(data)) == value


@given(st.one_of(st.binary(max_size=12), loose_encodings(), damaged_encodings()))
def test_accepts_what_the_slow_way_accepts_and_nothing_else(data: bytes) -> None:
    try:
        expected = decode_slowly(data)
    except Exception:  # noqa: BLE001 - as the library may raise
        with pytest.raises(DecodeError):
            decode(data, what="bytes", size_max=len(data))
    else:
        found = decode(data, what="bytes", size_max=len(data))
        assert (found, repr(found)) == (expected, repr(expected))  # 1 == True, but reads otherwise


@given(st.lists(VALUES, max_size=4))
def test_what_is_encoded_already_is_spliced_as_what_it_is(values: list[object]) -> None:
    assert encode([Encoded(values), *map(Encoded, values)]) == encode([values, *values])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "more bytes"),
        (b"\x01\x01", "1 bytes follow the end"),
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
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "more bytes"),
        (b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "expected"),
    ],
)
def test_refuses(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        decode(data, what="sample", size_max=64)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(("width", "least"), [(1, 24), (2, 2**8), (4, 2**16), (8, 2**32)])
def test_an_argument_takes_no_more_bytes_than_it_needs(
    *, width: int, least: int, negative: bool
) -> None:
    first = bytes((0x20 * negative | 0x17 + WIDTHS.index(width),))
    value = -1 - least if negative else least
    assert decode(first + least.to_bytes(width), what="sample", size_max=9) == value
    with pytest.raises(DecodeError, match="not the canonical"):
        decode(first + (least - 1).to_bytes(width), what="sample", size_max=9)


def test_bounds_depth_which_an_empty_array_does_not_add_to() -> None:
    deepest = b"\x81" * CBOR_DEPTH_MAX
    for innermost in (b"\x01", b"\x80"):
        assert decode(deepest + innermost, what="sample", size_max=64)
        with pytest.raises(DecodeError, match="deeper"):
            decode(b"\x81" + deepest + innermost, what="sample", size_max=64)


def test_bounds_size_before_looking() -> None:
    with pytest.raises(DecodeError, match="at most 3 bytes, got 4"):
        decode(b"\x43abc", what="sample", size_max=3)


def test_bounds_the_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.chain.encoding.CBOR_ITEMS_MAX", 3)
    assert decode(encode([1, 2]), what="sample", size_max=9) == [1, 2]
    with pytest.raises(DecodeError, match="at most 3 items"):
        decode(encode([1, 2, 3]), what="sample", size_max=9)


@given(
    number=st.integers(0, 2**64 - 1) | st.sampled_from(EDGES),
    data=st.binary(max_size=40) | st.sampled_from(EDGES[:4]).map(bytes),
    text=st.text(max_size=40) | st.sampled_from(EDGES[:4]).map("证".__mul__),
)
def test_items_of_one_kind_are_written_as_any(number: int, data: bytes, text: str) -> None:
    assert encode_uint(number) == encode(number)
    assert encode_bytes(data) == encode(data)
    assert encode_text(text) == encode(text)


@st.composite
def signed_things(draw: st.DrawFn) -> bytes:
    """Draw what may be the array of two byte strings: of sizes at the edges, and damaged."""
    sizes = st.sampled_from([0, 1, 23, 24, 255, 256, 300, 2**16 - 1, 2**16])
    signature = bytes(draw(st.sampled_from([64] * 9 + [0, 63, 65])))
    data = bytearray(encode([bytes(draw(sizes)), signature]))
    damage = draw(st.sampled_from(["none", "head", "end", "more"]))
    if damage == "head":
        data[draw(st.integers(0, 2))] ^= draw(st.integers(1, 255))
    elif damage == "end":
        data[-draw(st.integers(1, 3))] ^= draw(st.integers(1, 255))
    elif damage == "more":
        data += b"\x00"
    return bytes(data)


@given(signed_things())
def test_a_signed_thing_is_split_as_it_decodes_or_not_at_all(data: bytes) -> None:
    parts = split_signed(data, 64)
    if parts is not None:
        assert list(parts) == decode(data, what="it", size_max=2**17)


@pytest.mark.parametrize("size", [24, 255, 256, 2**16 - 1])
def test_a_signed_thing_of_the_usual_size_is_split(size: int) -> None:
    body, signature = b"b" * size, b"s" * 64
    assert split_signed(encode([body, signature]), 64) == (body, signature)


@given(VALUES)
def test_agrees_with_the_library_on_its_deterministic_form(value: object) -> None:
    assert encode(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("size", [23, 24, 255, 256, 65_535, 65_536])
def test_agrees_with_the_library_on_long_items(size: int) -> None:
    for value in (b"x" * size, "x" * size, [None] * size, (0,) * size):
        assert encode(value) == cbor2.dumps(value, canonical=True)


@pytest.mark.parametrize("value", [2**64, -(2**64) - 1, 1.0, {}, bytearray(b"x"), Phase.COMMIT])
def test_writes_nothing_that_it_would_not_read(value: object) -> None:
    with pytest.raises(InvariantViolation, match="no canonical encoding"):
        encode([value])


# What Unicode has programs draw as nothing (its property Default_Ignorable_Code_Point), but what
# selects the form of the letter before; and what looks like a space, or turns the order around.
HIDDEN = (
    *(0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3000, 0x3164, 0xFEFF, 0xFFA0),
    *range(0x2000, 0x2010),
    *range(0x2028, 0x2030),
    *range(0x2060, 0x2070),
    *range(0xFFF0, 0xFFFC),
    *range(0x1BCA0, 0x1BCA4),
    *range(0x1D173, 0x1D17B),
    *range(0xE0000, 0xE0100),
    *range(0xE01F0, 0xE1000, 0x10),
    0xE0FFF,
)


@pytest.mark.parametrize("mark", ["\n", "\x7f", "\u00a0", *map(chr, HIDDEN)])
def test_text_holds_no_mark_that_hides_or_reorders(mark: str) -> None:
    with pytest.raises(DecodeError, match="printable"):
        expect_text(f"a{mark}b", "name", size_max=20)


@given(st.text(st.characters(max_codepoint=0x80), max_size=4))
def test_text_of_ascii_is_judged_as_any(text: str) -> None:
    fine = 0 < len(text.encode()) <= 3 and all(" " <= mark <= "~" for mark in text)
    if fine:
        assert expect_text(text, "text", size_max=3) == text
    else:
        with pytest.raises(DecodeError):
            expect_text(text, "text", size_max=3)


def test_text_of_any_script_and_of_later_unicode_versions_is_fine() -> None:
    # The second came with Unicode 15; the last two select forms of letters, as names may need.
    for text in ("证照 粤A-2025", "\U00031350", "Ω é", "葛\U000e0100", "\u182a\u180b"):
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
