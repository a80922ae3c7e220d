"""The bytes of a log segment: what is read back, what is torn, what is corrupt."""

from __future__ import annotations

import struct

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import InvariantViolation, StorageError
from node.storage.segment import (
    HEAD_BYTES,
    HEADER_BYTES,
    RECORD_BYTES_MAX,
    Record,
    SegmentHeader,
    Tail,
    WalCorruption,
    encode_record,
    parse_segment,
)

IDENTITY = bytes(range(32))
RECORDS = (Record(0, b""), Record(7, b"seven"), Record(255, b"\x00" * 20))


def header(base_records: int = 0) -> SegmentHeader:
    return SegmentHeader(number=3, first_lsn=11, base_records=base_records, identity=IDENTITY)


def segment(records: tuple[Record, ...] = RECORDS, base_records: int = 0) -> bytes:
    return header(base_records).encode() + b"".join(encode_record(*record) for record in records)


def ends_of(records: tuple[Record, ...]) -> list[int]:
    """Return the offsets at which the header and each record end."""
    ends = [HEADER_BYTES]
    for record in records:
        ends.append(ends[-1] + HEAD_BYTES + len(record.payload))
    return ends


def test_the_bytes_are_those_documented() -> None:
    covered = struct.pack(">IB", 5, 7)
    head = struct.pack(">IIB", 5, google_crc32c.value(covered + b"seven"), 7)
    expected = head + struct.pack(">I", google_crc32c.value(head)) + b"seven"
    assert encode_record(7, b"seven") == expected
    fields = struct.pack(">8sIQQI32s", b"GOVCWAL\n", 1, 3, 11, 2, IDENTITY)
    assert header(2).encode() == fields + struct.pack(">I", google_crc32c.value(fields))


def test_the_checksum_is_crc32c() -> None:
    assert google_crc32c.value(b"123456789") == 0xE3069283  # RFC 3720 B.4's algorithm, check value
    assert google_crc32c.value(bytes(32)) == 0x8A9136AA  # RFC 3720 B.4
    assert google_crc32c.implementation == "c"


@given(st.lists(st.builds(Record, st.integers(0, 255), st.binary(max_size=40)), max_size=6))
def test_what_was_written_is_read_back(records: list[Record]) -> None:
    data = segment(tuple(records), base_records=len(records))
    parsed = parse_segment(data)
    assert parsed.header == header(len(records))
    assert parsed.records == tuple(records)
    assert parsed.valid_length == len(data)
    assert parsed.tail is Tail.CLEAN
    parsed.require_sound()


def test_the_largest_record_fits_and_a_larger_one_is_a_bug() -> None:
    largest = Record(1, bytes(RECORD_BYTES_MAX))
    assert parse_segment(segment((largest,))).records == (largest,)
    with pytest.raises(InvariantViolation):
        encode_record(1, bytes(RECORD_BYTES_MAX + 1))


@pytest.mark.parametrize("kind", [-1, 256])
def test_a_type_that_is_no_byte_is_a_bug(kind: int) -> None:
    with pytest.raises(InvariantViolation):
        encode_record(kind, b"")


def test_a_head_that_states_more_than_the_largest_record_is_no_record() -> None:
    head = struct.pack(">IIB", RECORD_BYTES_MAX + 1, 0, 1)
    data = segment() + head + struct.pack(">I", google_crc32c.value(head))
    parsed = parse_segment(data)
    assert parsed.records == RECORDS
    assert parsed.tail is Tail.TORN


def test_a_segment_cut_at_any_byte_keeps_the_whole_records() -> None:
    data, ends = segment(), ends_of(RECORDS)
    for length in range(HEADER_BYTES, len(data) + 1):
        parsed = parse_segment(data[:length])
        whole = sum(end <= length for end in ends) - 1
        assert parsed.records == RECORDS[:whole]
        assert parsed.valid_length == ends[whole]
        assert parsed.tail is (Tail.CLEAN if length == ends[whole] else Tail.TORN)


def test_a_cut_among_the_base_records_is_corruption() -> None:
    data, ends = segment(base_records=2), ends_of(RECORDS)
    for length in range(HEADER_BYTES, len(data)):
        expected = Tail.CORRUPT if length < ends[2] else parse_segment(segment()[:length]).tail
        assert parse_segment(data[:length]).tail is expected


def test_damage_to_any_bit_is_torn_in_the_last_record_and_corrupt_before() -> None:
    data, ends = segment(), ends_of(RECORDS)
    for place in range(HEADER_BYTES, len(data)):
        damaged_record = sum(end <= place for end in ends) - 1
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            parsed = parse_segment(bytes(damaged))
            assert parsed.records == RECORDS[:damaged_record]
            assert parsed.valid_length == ends[damaged_record]
            assert parsed.tail is (Tail.TORN if damaged_record == 2 else Tail.CORRUPT)


def test_damage_to_any_byte_of_a_base_record_is_corruption() -> None:
    data = segment(base_records=3)
    for place in range(HEADER_BYTES, len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x80
        parsed = parse_segment(bytes(damaged))
        with pytest.raises(WalCorruption) as caught:
            parsed.require_sound()
        assert caught.value.offset == parsed.valid_length <= place


def test_damage_to_two_records_in_a_row_is_corruption_when_a_third_is_sound() -> None:
    data, ends = bytearray(segment()), ends_of(RECORDS)
    data[ends[0] + 4] ^= 1  # checksum and head checksum no longer match
    data[ends[1] + HEAD_BYTES] ^= 1  # the payload no longer matches, the head does
    assert parse_segment(bytes(data)).tail is Tail.CORRUPT


def test_corruption_is_told_with_its_record_and_offset() -> None:
    data, ends = bytearray(segment()), ends_of(RECORDS)
    data[ends[1] + HEAD_BYTES] ^= 1
    with pytest.raises(WalCorruption, match=f"record 12 .* at byte {ends[1]}$") as caught:
        parse_segment(bytes(data)).require_sound()
    assert caught.value.code == "GC-3006"


def test_a_torn_payload_that_looks_like_records_is_still_torn() -> None:
    """Payloads are written by strangers; they must not turn a crash into a refusal to start."""
    hostile = encode_record(1, b"a vote that never was") * 3
    data = segment((*RECORDS, Record(2, hostile)))
    for length in range(ends_of(RECORDS)[-1] + 1, len(data)):
        parsed = parse_segment(data[:length])
        assert parsed.records == RECORDS
        assert parsed.tail is Tail.TORN


def test_a_tail_of_zeros_is_torn() -> None:
    assert parse_segment(segment() + bytes(4_096)).tail is Tail.TORN


def test_damage_to_any_byte_of_the_header_is_corruption() -> None:
    data = segment()
    for place in range(HEADER_BYTES):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(WalCorruption) as caught:
            parse_segment(bytes(damaged))
        assert caught.value.offset == 0


def test_a_header_cut_at_any_byte_is_corruption() -> None:
    for length in range(HEADER_BYTES):
        with pytest.raises(WalCorruption):
            parse_segment(segment()[:length])


def test_a_later_format_is_refused_by_its_number() -> None:
    fields = bytearray(segment()[: HEADER_BYTES - 4])
    fields[11] = 2
    data = bytes(fields) + struct.pack(">I", google_crc32c.value(bytes(fields)))
    with pytest.raises(StorageError, match="format 1, got 2") as caught:
        parse_segment(data)
    assert caught.value.code == "GC-3009"


def test_an_identity_of_the_wrong_length_is_a_bug() -> None:
    with pytest.raises(InvariantViolation):
        SegmentHeader(number=1, first_lsn=1, base_records=0, identity=b"short").encode()
