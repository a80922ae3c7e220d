"""DER: what is written is what asn1crypto writes, and nothing but that is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from asn1crypto import core
from hypothesis import given
from hypothesis import strategies as st

from node.crypto import der
from node.crypto.der import Reader
from node.errors import DecodeError

numbers = st.integers(-(1 << 200), 1 << 200)
arcs = st.lists(st.integers(0, 1 << 70), min_size=0, max_size=5)
first_arcs = st.one_of(
    st.tuples(st.integers(0, 1), st.integers(0, 39)), st.tuples(st.just(2), st.integers(0, 1 << 70))
)


@given(numbers)
def test_integers_are_in_their_shortest_form(number: int) -> None:
    encoded = der.encode_integer(number)
    assert encoded == core.Integer(number).dump()
    assert Reader(encoded, "number").read_integer() == number


@given(first_arcs, arcs)
def test_object_identifiers_are_numbers_between_dots(
    first: tuple[int, int], rest: list[int]
) -> None:
    dotted = ".".join(map(str, (*first, *rest)))
    encoded = der.encode_oid(dotted)
    assert encoded == core.ObjectIdentifier(dotted).dump()
    if len(encoded) <= 64:
        assert Reader(encoded, "oid").read_oid() == dotted


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 24])
def test_lengths_are_in_their_shortest_form(size: int) -> None:
    content = bytes(size)
    encoded = der.encode(der.OCTET_STRING, content)
    assert encoded == core.OctetString(content).dump()
    reader = Reader(encoded + b"\x05\x00", "string")
    assert reader.read(der.OCTET_STRING).content == content
    assert reader.read(der.NULL).encoded == b"\x05\x00"
    reader.finish()


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_a_set_is_in_ascending_order(contents: list[bytes]) -> None:
    elements = [der.encode(der.OCTET_STRING, content) for content in contents]

    class Octets(core.SetOf):  # type: ignore[misc] # a library without types
        _child_spec = core.OctetString

    assert der.encode_set(*elements) == Octets(contents).dump()
    assert der.encode_sequence(*elements) == der.encode(der.SEQUENCE, b"".join(elements))


@pytest.mark.parametrize("number", [0, 5, 7, 8, 14, 25])
def test_one_named_bit_is_the_last(number: int) -> None:
    bits = core.BitString.load(der.encode_named_bit(number)).native
    assert [at for at, bit in enumerate(bits) if bit] == [number]
    assert len(bits) == number + 1


def test_context_tags_are_primitive_or_constructed() -> None:
    assert der.context(0, constructed=True) == 0xA0
    assert der.context(1, constructed=False) == 0x81


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("", "the end"),
        ("04", "the end"),
        ("0401", "expected 1 bytes, got 0"),
        ("1f0100", "a tag of one byte"),
        ("0480", "shortest form"),
        ("04800000", "shortest form"),
        ("04817f" + "00" * 127, "shortest form"),
        ("04820080" + "00" * 128, "shortest form"),
        ("0485000000000100", "shortest form"),
        ("0481", "shortest form"),
        ("0482ffff00", "expected 65535 bytes"),
        ("0500", "expected tag 0x04, got 0x05"),
    ],
)
def test_what_is_not_the_one_form_of_an_element_is_refused(data: str, reason: str) -> None:
    with pytest.raises(DecodeError, match=f"element: .*{reason}"):
        Reader(bytes.fromhex(data), "element").read(der.OCTET_STRING)


@pytest.mark.parametrize(
    ("data", "read"),
    [
        ("0200", Reader.read_integer),
        ("02020001", Reader.read_integer),
        ("0202ff80", Reader.read_integer),
        ("0600", Reader.read_oid),
        ("060180", Reader.read_oid),
        ("06028001", Reader.read_oid),
        ("06032a8001", Reader.read_oid),
        ("0641" + "01" * 65, Reader.read_oid),
        ("010100", Reader.read_true),
        ("010101", Reader.read_true),
        ("0100", Reader.read_true),
    ],
)
def test_padded_and_default_values_are_refused(data: str, read: Callable[[Reader], object]) -> None:
    with pytest.raises(DecodeError, match="value"):
        read(Reader(bytes.fromhex(data), "value"))


def test_what_is_left_is_refused() -> None:
    data = der.encode_sequence(der.TRUE, der.encode_integer(-1))
    with pytest.raises(DecodeError, match="outer: expected no more elements, got 1 bytes"):
        der.read_only(data + b"\x00", der.SEQUENCE, "outer")
    reader = der.read_only(data, der.SEQUENCE, "outer")
    assert reader.read_true()
    assert not reader.read_true()
    assert reader.read_if(der.NULL) is None
    with pytest.raises(DecodeError, match="outer: expected no more elements, got 3 bytes"):
        reader.finish()
    assert reader.read_integer() == -1
    assert reader.is_empty
    assert reader.enter_if(der.SEQUENCE, "inner") is None
    reader.finish()


@given(st.binary(max_size=60))
def test_whatever_is_read_is_written_again_alike(data: bytes) -> None:
    reader = Reader(data, "data")
    try:
        element = reader.read()
    except DecodeError:
        return
    assert der.encode(element.tag, element.content) == element.encoded
    assert data.startswith(element.encoded)
