"""What would come of a transaction, operation by operation, and by which rules. Nothing is kept.

The functions that carry transactions out are asked, so a trial says what a block would: at one
state, for one T, with nobody's transactions in between. An operation is tried on the state as those
before it that pass would leave it; the transaction itself is atomic, and fails with its first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from node.chain.block import ResultCode
from node.chain.genesis import Identity
from node.chain.governance import Governance, Operation
from node.chain.record import Notarization
from node.chain.transaction import Payload
from node.execution.apply import operation_name
from node.execution.governance import Change, Ground, carry_out, govern
from node.execution.notary import Failure, Position, notarize
from node.execution.policy import deciding_rule, is_usable, missing_approval, names_of, why_not
from node.execution.registry import read_identity
from node.execution.vault import keep_vault

_Read = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True)
class OperationTrial:
    """What would come of one operation."""

    rules: tuple[str, ...]
    """Names of the rules that decide who may: that of the sender first, then, where it is governed,
    those of who approves."""
    code: ResultCode


@dataclass(frozen=True, slots=True)
class Trial:
    """What would come of a transaction."""

    code: ResultCode
    operation_index: int
    """The operation, of `APPROVAL_INVALID` the approval, that fails it; 0 where none does."""
    operations: tuple[OperationTrial, ...]


def try_payload(
    payload: Payload, sender: Identity, at: Position, read: _Read, ground: Ground
) -> Trial:
    """Try what `sender` asks for, `at` being where it would land.

    `read` gives the state before it; `ground` is of the same state. What makes a transaction
    invalid, and no failed one (B1 to B6 of apply.py), is none of this.
    """
    name = operation_name(payload)
    of_sender = (deciding_rule(read, name),)
    refused = why_not(read, sender, name, at.time_ms, ground.founding)  # T1, T2
    if isinstance(payload, Governance):
        parameters = ground.epoch.parameters
        named = [names_of(operation, parameters) for operation in payload.operations]
        rules = [(*of_sender, *(deciding_rule(read, each) for each in names)) for names in named]
    else:
        rules = [of_sender] * max(payload.count, 1)
    if refused is not None:
        return Trial(refused, 0, tuple(OperationTrial(each, refused) for each in rules))
    outcome: Mapping[bytes, bytes] | Change | Failure
    if isinstance(payload, Governance):
        outcome = govern(payload, at, read, ground)
        codes = _governed(payload, at, read, ground)
    elif isinstance(payload, Notarization):
        outcome = notarize(payload, sender.identity_id, at, read)
        codes = _notarized(payload, sender.identity_id, at, read)
    else:
        outcome = keep_vault(payload, sender, at, read, ground.epoch.validators.suite)
        codes = iter((_code_of(outcome),))
    index = outcome.operation_index if isinstance(outcome, Failure) else 0
    tried = tuple(OperationTrial(*each) for each in zip(rules, codes, strict=True))
    return Trial(_code_of(outcome), index, tried)


def _governed(
    payload: Governance, at: Position, read: _Read, ground: Ground
) -> Iterator[ResultCode]:
    """Yield what would come of each operation: that its rules are not met goes before the rest.

    Evidence is gathered last: one that lacks nothing else is tried with those after it.
    """
    found = [read_identity(read, each.identity_id) for each in payload.approvals]
    approvers = [each for each in found if each is not None and is_usable(read, each, at.time_ms)]
    passing: tuple[Operation, ...] = ()
    for operation in payload.operations:
        names = names_of(operation, ground.epoch.parameters)
        if any(missing_approval(read, name, approvers, ground.founding) for name in names):
            yield ResultCode.APPROVALS_MISSING
            continue
        tried = replace(payload, operations=(*passing, operation))
        code = _code_of(carry_out(tried, at, read, ground))
        if code in (ResultCode.OK, ResultCode.EVIDENCE_MISSING):
            passing = tried.operations
        yield code


def _notarized(
    payload: Notarization, issuer: str, at: Position, read: _Read
) -> Iterator[ResultCode]:
    """Yield what would come of each record."""
    writes: dict[bytes, bytes] = {}

    def read_after(key: bytes) -> bytes | None:
        return writes.get(key) or read(key)

    references = payload.references or (None,) * payload.count
    pairs = zip(payload.split_digests(), references, strict=True)
    for index, (digest, reference) in enumerate(pairs):
        alone = Notarization(
            digest_algorithm=payload.digest_algorithm,
            type_code=payload.type_code,
            action=payload.action,
            digests=digest,
            references=None if reference is None else (reference,),
        )
        place = Position(at.height, at.time_ms, at.log_index + index)
        outcome = notarize(alone, issuer, place, read_after)
        if not isinstance(outcome, Failure):
            writes.update(outcome)
        yield _code_of(outcome)


def _code_of(outcome: Mapping[bytes, bytes] | Change | Failure) -> ResultCode:
    return outcome.code if isinstance(outcome, Failure) else ResultCode.OK
