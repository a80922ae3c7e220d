"""Whatever bit is flipped of a sealed chunk or a wrapped key, it does not open."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.crypto.envelope import ContentCipher, opener_of, wrap_key
from node.crypto.suite import SUITES, Suite
from node.errors import CryptoError

KEY = hashlib.sha256(b"key").digest()
INFO = b"context"


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


@given(st.sampled_from(SUITES), st.binary(max_size=300), st.integers(0, 8 * 316 - 1), st.booleans())
def test_a_flipped_bit_of_a_chunk_is_noticed(
    suite: Suite,
    chunk: bytes,
    bit: int,
    is_last: bool,  # noqa: FBT001 - drawn
) -> None:
    cipher = ContentCipher(suite.aead, KEY[: suite.aead.key_size], b"context")
    sealed = cipher.seal(1, chunk, is_last=is_last)
    assert cipher.open(1, sealed, is_last=is_last) == chunk
    with pytest.raises(CryptoError, match="chunk 1: does not open"):
        cipher.open(1, flipped(sealed, bit), is_last=is_last)


@given(st.sampled_from(SUITES), st.binary(min_size=1, max_size=300), st.integers(0, 8 * 500 - 1))
def test_a_flipped_bit_of_a_wrapped_key_is_noticed(suite: Suite, secret: bytes, bit: int) -> None:
    opener = opener_of(suite, suite.signer_type.from_secret(KEY))
    wrapped = wrap_key(suite, opener.public_key, secret, INFO)
    assert opener.unwrap(wrapped, INFO) == secret
    with pytest.raises(CryptoError, match="wrapped key: does not open"):
        opener.unwrap(flipped(wrapped, bit), INFO)
