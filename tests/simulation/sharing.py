"""Pure work on the same inputs, done once for all validators of a run instead of once for each.

The functions are the real ones and what they return is immutable, so a run is the same run with or
without this. That is checked: one seed in fifty is run again without it (`run_alone`), and has to
leave the same trace.

- Messages and transactions are decoded once for each byte string.
- What a method of an immutable object returns is remembered by the identity of the object and of
  every argument.
- A block is executed again wherever any read of the validator's own state gives another answer than
  it gave the first time; else the outcome is the one of the first time.
- Nothing else of a validator is shared, and nothing of a run outlives it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any, TypeVar
from unittest.mock import patch

from node.chain.block import Header
from node.chain.certificate import QuorumCertificate, Vote
from node.chain.log import LogFrontier
from node.chain.state_tree import Page
from node.chain.transaction import Transaction, VerifiedTransaction
from node.consensus.messages import NewView, ViewChange
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader
from node.service import reception, wire
from tests.simulation.adversaries import validator as adversary

REMEMBERED = 4_096
_PURE_METHODS = (
    (Header, "digest"),
    (Vote, "verify"),
    (QuorumCertificate, "digest"),
    (ViewChange, "sign_bytes"),
    (NewView, "sign_bytes"),
)
"""Of immutable objects, which validators have in common once they have decoded the same bytes."""

Read = tuple[str, tuple[Any, ...], object]
"""What was asked of a state, and its answer."""

Execute = Callable[
    [Executor, StateReader, BlockInputs, Sequence[VerifiedTransaction]], ExecutedBlock
]
R = TypeVar("R")


@contextmanager
def shared_work() -> Iterator[None]:
    """Share the work of one run while the block lasts, and put off the collection of garbage."""
    decode_message = lru_cache(REMEMBERED)(wire.decode_message)
    decode_transaction = lru_cache(REMEMBERED)(Transaction.decode)
    with ExitStack() as shared:
        for owner, name in _PURE_METHODS:
            once = _once_per_object(getattr(owner, name))
            shared.enter_context(patch.object(owner, name, once))
        for module in (reception, adversary):
            shared.enter_context(patch.object(module, "decode_message", decode_message))
        shared.enter_context(patch.object(Transaction, "decode", staticmethod(decode_transaction)))
        shared.enter_context(patch.object(Executor, "execute", _once_per_state(Executor.execute)))
        shared.enter_context(_garbage_uncollected())
        yield


def _once_per_object(method: Callable[..., R]) -> Callable[..., R]:
    """Remember what a method of an immutable object returns for these very arguments.

    By identity, as comparing all fields would cost more than some methods do.
    """
    answers: dict[tuple[int, ...], tuple[tuple[object, ...], R]] = {}

    def answered(*args: object) -> R:
        key = tuple(map(id, args))
        known = answers.get(key)
        if known is None:  # with the arguments, so that no other object takes their ids
            known = answers[key] = (args, method(*args))
        return known[1]

    return answered


def _once_per_state(execute: Execute) -> Execute:
    """Remember the block made of these inputs, with all that was read of the state before it."""
    made: dict[tuple[object, ...], list[tuple[list[Read], ExecutedBlock]]] = {}

    def executed(
        self: Executor,
        parent: StateReader,
        inputs: BlockInputs,
        transactions: Sequence[VerifiedTransaction],
    ) -> ExecutedBlock:
        listed = tuple((each.transaction.tx_hash, each.sender_key) for each in transactions)
        alike = made.setdefault((id(self), inputs, parent.header_digest, listed), [])
        for reads, block in alike:
            if all(_read(parent, name, args) == answer for name, args, answer in reads):
                return block
        noted = _NotedState(parent)
        block = execute(self, noted, inputs, transactions)
        alike.append((noted.reads, block))
        return block

    return executed


def _read(state: StateReader, name: str, args: tuple[Any, ...]) -> object:
    value = getattr(state, name)
    return value(*args) if args else value


class _NotedState:
    """A `StateReader` that notes every answer of another."""

    def __init__(self, state: StateReader) -> None:
        self._state = state
        self.reads: list[Read] = []

    def _note(self, answer: R, name: str, *args: object) -> R:
        self.reads.append((name, args, answer))
        return answer

    @property
    def header(self) -> Header:
        return self._note(self._state.header, "header")

    @property
    def header_digest(self) -> bytes:
        return self._note(self._state.header_digest, "header_digest")

    @property
    def log_frontier(self) -> LogFrontier:
        return self._note(self._state.log_frontier, "log_frontier")

    def get(self, key: bytes) -> bytes | None:
        return self._note(self._state.get(key), "get", key)

    def page(self, place: str) -> Page | None:
        return self._note(self._state.page(place), "page", place)

    def has_transaction(self, tx_id: bytes) -> bool:
        return self._note(self._state.has_transaction(tx_id), "has_transaction", tx_id)

    def digest_at(self, height: int) -> bytes | None:
        return self._note(self._state.digest_at(height), "digest_at", height)


@contextmanager
def _garbage_uncollected() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
