"""Kernels against the hashes themselves: any prefix, any length, any number of messages."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from node.crypto.hashing import HashMany, NewHash, new_sm3
from node.crypto.hashing_kernels import ROWS, sha256_many, sm3_many

KERNELS = st.sampled_from([(sha256_many, hashlib.sha256), (sm3_many, new_sm3)])


@given(KERNELS, st.binary(max_size=150), st.integers(1, 300), st.integers(1, 2 * ROWS), st.data())
def test_a_kernel_gives_what_the_hash_gives(
    kernel: tuple[HashMany, NewHash], prefix: bytes, size: int, count: int, data: st.DataObject
) -> None:
    hash_many, new_hash = kernel
    seed = data.draw(st.binary(min_size=1, max_size=64))
    items = (seed * (size * count // len(seed) + 1))[: size * count]
    expected = [
        new_hash(prefix + items[at : at + size]).digest() for at in range(0, len(items), size)
    ]
    assert hash_many(prefix, items, size) == b"".join(expected)
