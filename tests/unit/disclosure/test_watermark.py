"""What is stated of a marked copy, and its code: of this copy, keyed, chosen by nobody."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from node.crypto.suite import INTERNATIONAL, NATIONAL, SUITES, Suite
from node.disclosure.watermark import RECIPIENT_BYTES_MAX, Watermark, pattern_bits
from node.errors import DecodeError

MARK = Watermark(
    suite=INTERNATIONAL,
    digest=hashlib.sha256(b"document").digest(),
    recipient="深圳市某局",
    time_ms=1_760_000_000_000,
    key=bytes(range(32)),
)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_a_statement_is_read_as_it_was_written(suite: Suite) -> None:
    mark = replace(MARK, suite=suite)
    assert Watermark.decode(mark.encode()) == mark
    assert mark.code_text == mark.code_text.upper()
    assert mark.code_text.replace("-", "").lower() == mark.code.hex()
    assert len(mark.code) == 16


def test_the_code_depends_on_all_that_is_stated() -> None:
    others = [
        replace(MARK, suite=NATIONAL),
        replace(MARK, digest=bytes(32)),
        replace(MARK, recipient="other"),
        replace(MARK, time_ms=MARK.time_ms + 1),
        replace(MARK, key=bytes(32)),
    ]
    assert len({each.code for each in (MARK, *others)}) == 6
    assert str(MARK.key) not in repr(MARK)


def code_of(data: bytes) -> bytes | None:
    try:
        return Watermark.decode(data).code
    except DecodeError:
        return None


def test_every_altered_byte_is_refused_or_gives_another_code() -> None:
    encoded = MARK.encode()
    for at in range(len(encoded)):
        altered = bytearray(encoded)
        altered[at] ^= 1
        assert code_of(bytes(altered)) != MARK.code, at
    for data in (encoded[:-1], encoded + b"\0", b""):
        with pytest.raises(DecodeError):
            Watermark.decode(data)
    with pytest.raises(DecodeError, match="recipient"):
        Watermark.decode(replace(MARK, recipient="x" * (RECIPIENT_BYTES_MAX + 1)).encode())


def test_the_pattern_of_a_code_is_balanced_and_of_no_other() -> None:
    bits = pattern_bits(MARK.code, 4_096)
    assert len(bits) == 4_096
    assert {*bits} == {0, 1}
    assert abs(sum(bits) - 2_048) < 160  # five standard deviations
    other = pattern_bits(bytes(16), 4_096)
    same = sum(one == two for one, two in zip(bits, other, strict=True))
    assert abs(same - 2_048) < 160
