"""Many hashes at once, against each by itself."""

from __future__ import annotations

import hashlib

import pytest

from node.crypto.hashing import NewHash, Sm3, hash_many
from node.errors import InvariantViolation

HASHES = pytest.mark.parametrize("new_hash", [hashlib.sha256, Sm3])


@HASHES
@pytest.mark.parametrize("count", [0, 1, 2, 3, 15, 16, 17])
def test_many_hashes_are_each_in_turn(new_hash: NewHash, count: int) -> None:
    items = [index.to_bytes(64, "big") for index in range(count)]
    expected = b"".join(new_hash(b"\x01" + item).digest() for item in items)
    assert hash_many(new_hash, b"\x01", b"".join(items), 64) == expected


@HASHES
@pytest.mark.parametrize("size", [0, -1, 63])
def test_what_is_no_whole_number_of_items_is_a_mistake(new_hash: NewHash, size: int) -> None:
    with pytest.raises(InvariantViolation, match="are no items of"):
        hash_many(new_hash, b"", bytes(64), size)
