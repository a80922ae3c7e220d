"""Pure work on the same bytes, done once for all validators of a run instead of once for each.

The functions are the real ones and what they return is immutable, so a run is the same run with or
without this; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from unittest.mock import patch

from node.chain.block import Header
from node.chain.transaction import Transaction
from node.service import engine, wire

REMEMBERED = 4_096


@contextmanager
def shared_work() -> Iterator[None]:
    """Remember what bytes decode to, and the digests of headers, while the block runs."""
    decode_message = lru_cache(REMEMBERED)(wire.decode_message)
    decode_transaction = lru_cache(REMEMBERED)(Transaction.decode)
    digest = lru_cache(REMEMBERED)(Header.digest)
    with (
        patch.object(engine, "decode_message", decode_message),
        patch.object(Header, "digest", digest),
        patch.object(Transaction, "decode", staticmethod(decode_transaction)),
    ):
        yield
