"""Pure work on the same inputs, done once for all validators of a run instead of once for each.

The functions are the real ones and what they return is immutable, so a run is the same run with or
without this. That is checked: one seed in fifty is run again without it (`run_alone`), and has to
leave the same trace.

- Messages, transactions and buckets of the state are decoded once for each byte string, and
  certificates checked so; VIEW-CHANGEs by what is signed, as they also come within NEW-VIEWs.
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

from node.chain import certificate
from node.chain.block import Header
from node.chain.certificate import Phase, QuorumCertificate, Vote
from node.chain.log import LogFrontier
from node.chain.membership import ValidatorSet
from node.chain.state_bucket import Bucket
from node.chain.state_tree import StateTree
from node.chain.transaction import Transaction, VerifiedTransaction
from node.consensus import verification
from node.consensus.messages import NewView, ViewChange
from node.consensus.verification import Verifier
from node.crypto.suite import Suite
from node.execution.apply import BlockInputs, ExecutedBlock, Executor, StateReader
from node.service import ballots, log_records, misconduct, output, reception, wire
from node.service.log_records import LogRecord
from node.storage import ledger
from tests.simulation import oracles
from tests.simulation.adversaries import validator as adversary

REMEMBERED = 4_096
_PURE_METHODS = (
    (Header, "digest"),
    (Vote, "verify"),
    (ViewChange, "sign_bytes"),
    (NewView, "sign_bytes"),
)
"""Of immutable objects, which validators have in common once they have decoded the same bytes."""

_OF_STORES: tuple[tuple[object, str], ...] = ((ledger, "body_and_index"),)
"""What becomes of executed blocks, which validators have in common, on disk."""

_CHECKS = ("check_proposal", "check_view_change", "check_new_view")
"""Of a `Verifier`: what they say depends on the message, the set, and the chain it stands on."""

Question = tuple[str, tuple[Any, ...]]
"""What was asked of a state: the name of what is read of it, and the arguments."""

Execute = Callable[
    [Executor, StateReader, BlockInputs, Sequence[VerifiedTransaction]], ExecutedBlock
]
R = TypeVar("R")
M = TypeVar("M")


@contextmanager
def shared_work() -> Iterator[None]:
    """Share the work of one run while the block lasts."""
    decode_message = lru_cache(REMEMBERED)(wire.decode_message)
    decode_transaction = _once_per_bytes(Transaction.decode)
    encode_message = _once_per_object(wire.encode_message)
    with ExitStack() as shared:
        for owner, name in _PURE_METHODS:
            once = _once_per_object(getattr(owner, name))
            shared.enter_context(patch.object(owner, name, once))
        for sender in (output, adversary):
            shared.enter_context(patch.object(sender, "encode_message", encode_message))
        statement = _once_per_object(misconduct.statement_of)
        shared.enter_context(patch.object(misconduct, "statement_of", statement))
        encode_record = _once_per_fields(log_records.encode_log_record)
        shared.enter_context(patch.object(ballots, "encode_log_record", encode_record))
        check = _once_per_certificate(certificate.check_certificate)
        shared.enter_context(patch.object(verification, "check_certificate", check))
        for name in _CHECKS:
            checked = _once_per_rules(getattr(Verifier, name))
            shared.enter_context(patch.object(Verifier, name, checked))
        for module in (reception, adversary, oracles):
            shared.enter_context(patch.object(module, "decode_message", decode_message))
        shared.enter_context(patch.object(Transaction, "decode", staticmethod(decode_transaction)))
        for holder, name in _OF_STORES:
            once = _once_per_object(getattr(holder, name))
            shared.enter_context(patch.object(holder, name, once))
        decode_bucket = lru_cache(REMEMBERED)(Bucket.decode)
        shared.enter_context(patch.object(Bucket, "decode", staticmethod(decode_bucket)))
        shared.enter_context(patch.object(Executor, "execute", _once_per_state(Executor.execute)))
        yield


def _once_per_bytes(
    decode: Callable[[bytes, Suite], Transaction],
) -> Callable[[bytes, Suite], Transaction]:
    """Remember what bytes mean. Suites are told apart by identity: to hash one takes longer."""
    meanings: dict[bytes, tuple[Suite, Transaction]] = {}

    def decoded(data: bytes, suite: Suite) -> Transaction:
        known = meanings.get(data)
        if known is None or known[0] is not suite:
            known = meanings[data] = (suite, decode(data, suite))
        return known[1]

    return decoded


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


def _once_per_fields(encode: Callable[[LogRecord], R]) -> Callable[[LogRecord], R]:
    """Remember what becomes of a record of these very fields: each validator makes its own."""
    answers: dict[tuple[object, ...], tuple[LogRecord, R]] = {}

    def answered(record: LogRecord) -> R:
        kind = type(record)
        key = (kind, *(id(getattr(record, name)) for name in kind.__match_args__))
        known = answers.get(key)
        if known is None:  # with the record, so that nothing else takes the ids
            known = answers[key] = (record, encode(record))
        return known[1]

    return answered


def _once_per_certificate(check: Callable[..., None]) -> Callable[..., None]:
    """Remember by their bytes which certificates are sound; others are checked each time."""
    sound: dict[tuple[object, ...], ValidatorSet] = {}

    def checked(
        said: QuorumCertificate, chain_id: bytes, validators: ValidatorSet, phase: Phase
    ) -> None:
        key = (said.encoded.data, chain_id, id(validators), phase)
        if key not in sound:
            check(said, chain_id, validators, phase)
            sound[key] = validators  # so that no other set takes its id

    return checked


def _once_per_rules(check: Callable[[Verifier, M], R]) -> Callable[[Verifier, M], R]:
    """Remember which messages are sound by which rules; one that is not is checked each time.

    A message goes by its identity, but a VIEW-CHANGE, which also comes as a part of others, by what
    is signed.
    """
    sound: dict[tuple[object, ...], tuple[M, ValidatorSet, R]] = {}

    def checked(self: Verifier, message: M) -> R:
        rules = (id(self.validators), self.chain_id, self.window_slots, self.anchor_height)
        which: object = id(message)
        if isinstance(message, ViewChange):
            which = message.sign_bytes(self.chain_id) + message.signature
        key = (which, *rules)
        known = sound.get(key)
        if known is None:  # with the message and the set, so that nothing else takes their ids
            known = sound[key] = (message, self.validators, check(self, message))
        return known[2]

    return checked


def _once_per_state(execute: Execute) -> Execute:
    """Remember the block made of these inputs, with all that was read of the state before it."""
    made: dict[tuple[object, ...], list[tuple[dict[Question, object], ExecutedBlock]]] = {}

    def executed(
        self: Executor,
        parent: StateReader,
        inputs: BlockInputs,
        transactions: Sequence[VerifiedTransaction],
    ) -> ExecutedBlock:
        listed = tuple((each.transaction.tx_hash, each.sender_key) for each in transactions)
        alike = made.setdefault((id(self), inputs, parent.header_digest, listed), [])
        for reads, block in alike:
            if _reads_alike(parent, reads):
                return block
        noted = _NotedState(parent)
        block = execute(self, noted, inputs, transactions)
        alike.append((noted.reads, block))
        return block

    return executed


def _reads_alike(state: StateReader, reads: dict[Question, object]) -> bool:
    for (name, args), known in reads.items():
        value = getattr(state, name)
        answer = value(*args) if args else value
        if answer is not known and answer != known:
            return False
    return True


class _NotedState:
    """A `StateReader` that notes every answer of another, which is no other the second time."""

    def __init__(self, state: StateReader) -> None:
        self._state = state
        self.reads: dict[Question, object] = {}

    def _note(self, answer: R, name: str, *args: object) -> R:
        self.reads[name, args] = answer
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

    @property
    def tree(self) -> StateTree:
        return self._note(self._state.tree, "tree")

    def bucket(self, place: bytes) -> Bucket | None:
        return self._note(self._state.bucket(place), "bucket", place)

    def has_transaction(self, tx_id: bytes) -> bool:
        return self._note(self._state.has_transaction(tx_id), "has_transaction", tx_id)

    def find_held(self, tx_ids: Sequence[bytes]) -> bytes | None:
        return self._note(self._state.find_held(tx_ids), "find_held", tuple(tx_ids))

    def digest_at(self, height: int) -> bytes | None:
        return self._note(self._state.digest_at(height), "digest_at", height)


@contextmanager
def garbage_left_to_the_end() -> Iterator[None]:
    """Collect no garbage of a run before its end, and then all of it at once.

    What is older than the run is left out of it. To be put around the outermost call that holds the
    run; within another such block it does nothing.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.collect()
        gc.unfreeze()
        gc.enable()
