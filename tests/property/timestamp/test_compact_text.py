"""Whatever the text of a QR code, verification answers; what is sound has one text alone."""

from __future__ import annotations

import base64
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node.timestamp.compact import COMPACT_START, CompactReceipt
from node.timestamp.compact_verify import CompactStep, verify_compact
from node.timestamp.steps import Outcome
from node.timestamp.trust import load_trust
from node.timestamp.verify import NamedDigest
from tests.vectors.receipt.story import DOCUMENT, sha_256_of

VECTORS = Path(__file__).parents[2] / "vectors" / "receipt"
TEXT = (VECTORS / "compact.qr.txt").read_bytes().strip()
SOUND = CompactReceipt.parse(TEXT).encode()
ANCHOR = load_trust((VECTORS / "trust" / "compact.json").read_bytes())
DIGEST = NamedDigest.parse(sha_256_of(DOCUMENT))


def as_text(data: bytes) -> bytes:
    return COMPACT_START + base64.b32encode(data).rstrip(b"=")


def is_sound_only_as_it_is(text: bytes) -> None:
    verdict = verify_compact(text, ANCHOR, DIGEST)
    assert (verdict.outcome is Outcome.VERIFIED) == (text.strip(b" \t\r\n") == TEXT)
    assert [report.step for report in verdict.steps] == [*CompactStep][: len(verdict.steps)]


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(data: bytes) -> None:
    for text in (data, COMPACT_START + data, as_text(data)):
        is_sound_only_as_it_is(text)


@given(st.integers(0, len(SOUND) - 1), st.integers(1, 255))
@settings(max_examples=200)
def test_any_byte_of_the_structure_counts(position: int, mask: int) -> None:
    changed = bytearray(SOUND)
    changed[position] ^= mask
    is_sound_only_as_it_is(as_text(bytes(changed)))


@given(
    st.integers(0, len(TEXT)),
    st.integers(0, 40),
    st.binary(max_size=40),
)
@settings(max_examples=200)
def test_any_stretch_of_the_text_counts(start: int, length: int, other: bytes) -> None:
    is_sound_only_as_it_is(TEXT[:start] + other + TEXT[start + length :])
