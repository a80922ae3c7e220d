"""What is read by known parts is what decoding gives, and nothing that it refuses is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.chain import transaction_reader
from node.chain.encoding import encode
from node.chain.governance import Governance, RemoveValidator
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import Transaction, TransactionBody, TransactionKind
from node.chain.transaction_reader import PARTS_REMEMBERED_MAX, TransactionReader
from node.errors import DecodeError
from node.limits import RECORD_REFERENCE_BYTES_MAX
from tests.suites import SUITE
from tests.unit.execution.small_chain import CREATED_MS, GENESIS

SIGNATURE = bytes(range(64))
FAR_MS = CREATED_MS + 300_000


def body(
    *,
    sender: str = "agency-1",
    nonce: bytes = b"\x01" * 16,
    not_after_ms: int = FAR_MS,
    type_code: str = "licence",
    algorithm: int = 1,
    action: RecordAction = RecordAction.RECORD,
    digests: bytes = b"\x02" * 32,
    references: tuple[str | None, ...] | None = ("R-1",),
) -> TransactionBody:
    return TransactionBody(
        chain_id=GENESIS.chain_id,
        sender=sender,
        nonce=nonce,
        not_after_ms=not_after_ms,
        kind=TransactionKind.NOTARIZE,
        payload=Notarization(
            digest_algorithm=algorithm,
            type_code=type_code,
            action=action,
            digests=digests,
            references=references,
        ),
    )


def signed(body_bytes: bytes) -> bytes:
    return encode([body_bytes, SIGNATURE])


def encoded(each: TransactionBody) -> bytes:
    return signed(each.encode())


USUAL = (
    body(),
    body(references=None),
    body(sender="an agency with a long name", type_code="t" * 30, references=("r" * 40,)),
    body(algorithm=3, digests=b"\x03" * 48, action=RecordAction.SUPERSEDE),
    body(sender="市民", type_code="证照", references=("京A-1",)),
)
UNUSUAL = (
    body(digests=b"\x04" * 64, references=("a", None)),
    body(not_after_ms=1 << 31),
    body(algorithm=77),
    body(sender="s" * 64, type_code="c" * 32, references=("r" * RECORD_REFERENCE_BYTES_MAX,)),
)


@dataclass
class Reading:
    """A reader, and how often it had to decode."""

    reader: TransactionReader
    decoded: list[bytes]
    """The bodies."""


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    decoded: list[bytes] = []
    decode_body = TransactionBody.decode

    def noting(data: bytes) -> TransactionBody:
        decoded.append(data)
        return decode_body(data)

    monkeypatch.setattr(TransactionBody, "decode", noting)
    return Reading(TransactionReader(SUITE), decoded)


def warm_reader(bodies: Sequence[TransactionBody] = (*USUAL, *UNUSUAL)) -> TransactionReader:
    reader = TransactionReader(SUITE)
    for each in bodies:
        reader.read(encoded(each))
    return reader


def verdict(read: object, data: bytes) -> object:
    """Return what reading gives, or what it refuses it with."""
    try:
        return read(data)  # type: ignore[operator]
    except DecodeError as error:
        return str(error)


def decode(data: bytes) -> Transaction:
    return Transaction.decode(data, SUITE)


def test_a_body_of_known_parts_is_not_decoded_again(reading: Reading) -> None:
    for each in USUAL:
        reading.reader.read(encoded(each))
    first = len(reading.decoded)
    assert first <= len(USUAL)
    like_them = [
        body(nonce=b"\x09" * 16, digests=b"\x08" * 32, not_after_ms=FAR_MS + 1),
        body(references=("another",)),
        body(references=("x" * RECORD_REFERENCE_BYTES_MAX,), sender="an agency with a long name"),
        body(sender="市民", references=None),
        body(sender="市民", type_code="t" * 30, algorithm=1),
        body(sender="an agency with a long name", type_code="证照"),
    ]
    read = [reading.reader.read(encoded(each)) for each in like_them]
    assert len(reading.decoded) == first
    assert read == [decode(encoded(each)) for each in like_them]


def test_what_is_made_otherwise_is_decoded(reading: Reading) -> None:
    for each in (*USUAL, *UNUSUAL):
        reading.reader.read(encoded(each))
    reading.decoded.clear()
    others = [
        *UNUSUAL[:3],
        body(references=("京A-1",)),  # no ASCII
        body(sender="agency-2"),
        body(type_code="another"),
        body(action=RecordAction.WITHDRAW),
    ]
    read = [reading.reader.read(encoded(each)) for each in others]
    assert reading.decoded == [each.encode() for each in others]
    assert read == [decode(encoded(each)) for each in others]


@pytest.mark.parametrize(
    "each",
    [
        body(not_after_ms=1 << 32),
        body(references=("r",)),
        body(references=("r" * 23,)),
        body(references=("r" * 24,)),
        body(references=("r" * RECORD_REFERENCE_BYTES_MAX,)),
    ],
)
def test_parts_go_as_far_as_their_forms_do(reading: Reading, each: TransactionBody) -> None:
    reading.reader.read(encoded(body()))
    reading.decoded.clear()
    assert reading.reader.read(encoded(each)).body == each
    assert reading.decoded == []


def ending_with(references: bytes, digests: bytes = b"\x02" * 32) -> bytes:
    """Return the usual body with other bytes in place of those of its references."""
    return body(references=None, digests=digests).encode()[:-1] + references


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (ending_with(b"\x81\x78\x03R-1"), "a short text in the form of a long one"),
        (ending_with(b"\x81\x78\x17" + b"r" * 23), "one of 23 bytes in it"),
        (ending_with(encode(["r" * (RECORD_REFERENCE_BYTES_MAX + 1)])), "too long a reference"),
        (ending_with(b"\x81\x63R-1", digests=b"\x02" * 64), "two records, one reference"),
        (
            body()
            .encode()
            .replace(
                b"\x1b" + FAR_MS.to_bytes(8, "big"), b"\x1b" + ((1 << 32) - 1).to_bytes(8, "big")
            ),
            "a time of four bytes in eight",
        ),
    ],
)
def test_another_form_of_known_parts_is_refused_as_decoding_does(data: bytes, why: str) -> None:
    two = body(digests=b"\x04" * 64, references=None)
    reader = warm_reader((*USUAL, two))
    refused = verdict(decode, signed(data))
    assert isinstance(refused, str), why
    assert verdict(reader.read, signed(data)) == refused


@pytest.mark.parametrize("size", range(RECORD_REFERENCE_BYTES_MAX + 2))
def test_only_the_heads_that_decoding_takes_stand_before_a_reference(size: int) -> None:
    """A head may be the sum of that of text and a size too large for it: 0x79 before 25 bytes."""
    reader, text = warm_reader(), b"r" * size
    for head in range(256):
        for between in (b"", bytes((size,))):
            data = signed(ending_with(b"\x81" + bytes((head,)) + between + text))
            assert verdict(reader.read, data) == verdict(decode, data), (hex(head), between)
    usual = signed(ending_with(encode(["r" * size])))
    is_taken = not isinstance(verdict(reader.read, usual), str)
    assert is_taken is (0 < size <= RECORD_REFERENCE_BYTES_MAX)


def test_what_notarizes_nothing_is_read_and_makes_no_part_known(reading: Reading) -> None:
    governed = TransactionBody(
        chain_id=GENESIS.chain_id,
        sender="admin-1",
        nonce=bytes(16),
        not_after_ms=FAR_MS,
        kind=TransactionKind.GOVERN,
        payload=Governance(
            epoch=0, not_after_ms=1, nonce=bytes(16), operations=(RemoveValidator("validator-1"),)
        ),
    )
    for _ in range(2):
        assert reading.reader.read(encoded(governed)).body == governed
    assert reading.decoded == [governed.encode()] * 2


@pytest.mark.parametrize("each", [*USUAL, *UNUSUAL])
def test_each_byte_changed_cut_or_doubled_is_judged_as_decoding_does(each: TransactionBody) -> None:
    reader, data = warm_reader(), each.encode()
    for at in range(len(data)):
        for changed in (
            *(data[:at] + bytes((data[at] ^ flip,)) + data[at + 1 :] for flip in (1, 0x20, 0x80)),
            data[:at] + data[at + 1 :],
            data[:at] + data[at : at + 1] + data[at:],
            data[:at],
        ):
            assert verdict(reader.read, signed(changed)) == verdict(decode, signed(changed))


@given(
    parts=st.lists(st.sampled_from([*USUAL, *UNUSUAL]), min_size=2, max_size=2),
    cuts=st.tuples(st.integers(0, 260), st.integers(0, 260)),
    noise=st.binary(max_size=3),
)
def test_bodies_spliced_are_judged_as_decoding_does(
    parts: list[TransactionBody], cuts: tuple[int, int], noise: bytes
) -> None:
    first, second = (each.encode() for each in parts)
    spliced = signed(first[: cuts[0]] + noise + second[cuts[1] :])
    assert verdict(warm_reader().read, spliced) == verdict(decode, spliced)


@given(reference=st.text(max_size=30), not_after_ms=st.integers(0, 1 << 40))
def test_any_reference_and_lifetime_are_judged_as_decoding_does(
    reference: str, not_after_ms: int
) -> None:
    data = encoded(body(references=(reference,), not_after_ms=not_after_ms))
    assert verdict(warm_reader().read, data) == verdict(decode, data)


@pytest.mark.parametrize("data", [b"", b"\x82", encode([b"", SIGNATURE]), signed(b"\x87" * 40)])
def test_what_is_no_transaction_is_refused_as_decoding_does(data: bytes) -> None:
    assert verdict(warm_reader().read, data) == verdict(decode, data)
    assert isinstance(verdict(decode, data), str)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction_reader, "PARTS_REMEMBERED_MAX", 3)
    reader = TransactionReader(SUITE)
    for number in range(20):
        data = encoded(body(sender=f"agency-{number}", type_code=f"type-{number}"))
        assert reader.read(data) == decode(data)
        assert len(reader._starts) <= 3  # noqa: SLF001 - not seen otherwise
        assert len(reader._middles) <= 3  # noqa: SLF001 - as above
    assert PARTS_REMEMBERED_MAX * 300 < 2_000_000  # bytes, of either
