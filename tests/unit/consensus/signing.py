"""Signed consensus messages of the small test chain, each built in one line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.chain.block import CertifiedHeader, Header
from node.chain.certificate import Phase, Subject, Vote, build_certificate
from node.chain.encoding import encode
from node.chain.evidence import Evidence, Offence, Statement
from node.consensus.messages import NewView, Reason, ViewChange
from node.crypto.signature import SoftwareSigner
from node.execution.apply import ExecutedBlock, Executor
from node.execution.overlay import Overlay
from tests.unit.execution.small_chain import (
    CREATED_MS,
    GENESIS,
    DictState,
    next_inputs,
    payload,
    signature_of,
    signer,
    tx,
)

QUORUM = (0, 1, 2)


def validator_signer(validator: int) -> SoftwareSigner:
    """Return the vote key of a validator by index."""
    return signer(f"validator-{validator + 1}")


def signature_by(validator: int, message: bytes) -> bytes:
    """Return what a validator signs by its vote key: the same each time."""
    return signature_of(f"validator-{validator + 1}", message)


def vote(phase: Phase, view: int, header: Header, validator: int) -> Vote:
    """Return a validator's vote, cast when the chain was created."""
    return vote_on(Subject(phase, view, header.height, header.digest(GENESIS.suite)), validator)


def vote_on(subject: Subject, validator: int) -> Vote:
    """Return a validator's vote on a subject."""
    message = subject.sign_bytes(GENESIS.chain_id, GENESIS.validators, CREATED_MS)
    return Vote(subject, validator, CREATED_MS, signature_by(validator, message), 0)


def evidence_against(
    validator: int, *, view: int = 0, height: int = 1, phase: Phase = Phase.PREPARE
) -> Evidence:
    """Return two signed votes of one validator for one place and different headers."""
    header = replace(chain_of_blocks(1)[1].header, height=height)
    other = replace(header, time_ms=header.time_ms + 1)
    one, two = (vote(phase, view, each, validator) for each in (header, other))
    return Evidence.of(one, two, GENESIS.validators)


def certified(
    header: Header, phase: Phase, *, view: int = 0, voters: Sequence[int] = QUORUM
) -> CertifiedHeader:
    """Return a header with a certificate over it."""
    votes = [vote(phase, view, header, voter) for voter in voters]
    return CertifiedHeader(header, build_certificate(votes, GENESIS.validators))


def view_change(
    validator: int,
    view: int,
    *,
    committed: Sequence[CertifiedHeader] = (),
    prepared: Sequence[CertifiedHeader] = (),
    reason: Reason = Reason.TIMEOUT,
    clock_bit: bool = False,
    clock_ms: int = CREATED_MS,
) -> ViewChange:
    """Return a signed VIEW-CHANGE."""
    unsigned = ViewChange(
        epoch=0,
        view=view,
        validator=validator,
        committed=tuple(committed),
        prepared=tuple(prepared),
        clock_bit=clock_bit,
        clock_ms=clock_ms,
        reason=reason,
    )
    message = unsigned.sign_bytes(GENESIS.chain_id)
    return replace(unsigned, signature=signature_by(validator, message))


def new_view(view: int, view_changes: Sequence[ViewChange]) -> NewView:
    """Return a NEW-VIEW signed by the primary of its view."""
    unsigned = NewView(epoch=0, view=view, view_changes=tuple(view_changes))
    primary = GENESIS.validators.primary(view)
    message = unsigned.sign_bytes(GENESIS.chain_id)
    return replace(unsigned, signature=signature_by(primary, message))


def chain_of_blocks(length: int, *, view: int = 0) -> list[ExecutedBlock]:
    """Return genesis and `length` blocks after it, of one transaction each, proposed in `view`."""
    executor = Executor(GENESIS)
    blocks = [executor.genesis_block()]
    state: DictState | Overlay = DictState(blocks[0])
    for height in range(1, length + 1):
        transaction = tx(payload(f"document {height}"))
        blocks.append(executor.execute(state, next_inputs(state, view=view), [transaction]))
        state = Overlay(state, blocks[-1])
    return blocks


def two_view_changes(validator: int, view: int = 1) -> tuple[ViewChange, ViewChange]:
    """Return two VIEW-CHANGEs of one validator for one view, which give two reasons."""
    one, other = (
        view_change(validator, view, reason=reason) for reason in (Reason.TIMEOUT, Reason.FAIRNESS)
    )
    return one, other


def two_new_views(view: int = 1) -> tuple[NewView, NewView]:
    """Return two NEW-VIEWs of one view, each sound, of two quorums."""
    leaving = [view_change(validator, view) for validator in range(4)]
    return new_view(view, leaving[:3]), new_view(view, leaving[1:])


def evidence_of_messages(
    one: ViewChange | NewView, other: ViewChange | NewView, sender: int
) -> Evidence:
    """Return the evidence that two messages make."""
    is_leaving = isinstance(one, ViewChange)
    first, second = (
        Statement(encode(each.unsigned_value()), 0, each.signature) for each in (one, other)
    )
    return Evidence.of_messages(
        Offence.VIEW_CHANGE if is_leaving else Offence.NEW_VIEW,
        first,
        second,
        GENESIS.validators,
        view=one.view,
        sender=sender,
    )
