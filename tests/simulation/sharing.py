"""Pure work on the same bytes, done once for all validators of a run instead of once for each.

The functions are the real ones and what they return is immutable, so a run is the same run with or
without this; a test compares the two. Executing a block, and everything that reads a validator's
own state, is never shared.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Concatenate, ParamSpec, TypeVar
from unittest.mock import patch

from node.chain.block import Header
from node.chain.certificate import Vote
from node.chain.transaction import Transaction
from node.service import engine, wire

REMEMBERED = 4_096

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


@contextmanager
def shared_work() -> Iterator[None]:
    """Share the work of one run while the block lasts, and put off the collection of garbage."""
    decode_message = lru_cache(REMEMBERED)(wire.decode_message)
    decode_transaction = lru_cache(REMEMBERED)(Transaction.decode)
    with (
        patch.object(engine, "decode_message", decode_message),
        patch.object(Header, "digest", _once_per_object(Header.digest)),
        patch.object(Vote, "verify", _once_per_object(Vote.verify)),
        patch.object(Transaction, "decode", staticmethod(decode_transaction)),
        _garbage_uncollected(),
    ):
        yield


def _once_per_object(
    method: Callable[Concatenate[T, P], R],
) -> Callable[Concatenate[T, P], R]:
    """Remember what a method of an immutable object returns, for other arguments never changing.

    By identity, as comparing all fields would cost more than some methods do.
    """
    answers: dict[int, tuple[T, R]] = {}

    def answered(self: T, /, *args: P.args, **kwargs: P.kwargs) -> R:
        known = answers.get(id(self))
        if known is None:
            known = answers[id(self)] = (self, method(self, *args, **kwargs))  # keeps the id taken
        return known[1]

    return answered


@contextmanager
def _garbage_uncollected() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
