"""Governed transactions: what is proposed, who approves it, and the evidence that it can work.

Shapes and the bytes that are signed. Which of them has an effect: node/execution/governance.py.

Approvals bind the operations, the epoch, an end and a nonce, but not the evidence: people of
several organisations take longer to approve than evidence stays fresh, and evidence vouches for
itself. What was approved is carried out once: approvals stand in the block, for all to read and
hand in. What was never handed in lapses, or an administrator could do it when all forgot of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from node.chain.encoding import (
    encode,
    expect_array,
    expect_blob,
    expect_bytes,
    expect_list,
    expect_text,
    expect_uint,
    expect_version,
)
from node.chain.genesis import Identity, Organisation, Parameters
from node.chain.identity import (
    ChangeStatus,
    EnrolIdentity,
    RotateIdentity,
    SetAuthorities,
    Status,
    Subject,
)
from node.chain.membership import Validator
from node.chain.policy import SetRule
from node.chain.quota import SetQuota
from node.chain.record import Record
from node.crypto import domains
from node.crypto.suite import Suite
from node.errors import DecodeError
from node.limits import IDENTITY_ID_BYTES_MAX, TX_NONCE_BYTES, VALIDATORS_MAX

OPERATIONS_MAX: Final = 16
APPROVALS_MAX: Final = 64
HOST_BYTES_MAX: Final = 255
SIGNATURE_BYTES_MAX: Final = 128
_STATEMENT_HEADER_BYTES_MAX: Final = 1_024
_PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a node listens for its peers: a hint for who dials it, never a matter of consensus."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return `host:port`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def to_value(self) -> list[Any]:
        """Return the CBOR array `endpoint`."""
        return [self.host, self.port]

    @classmethod
    def from_value(cls, value: object) -> Endpoint:
        """Read the CBOR array `endpoint`; raises `DecodeError`."""
        host, port = expect_array(value, 2, "endpoint")
        endpoint = cls(
            expect_text(host, "endpoint host", size_max=HOST_BYTES_MAX),
            expect_uint(port, "endpoint port", _PORT_MAX),
        )
        if not endpoint.port:
            raise DecodeError("endpoint port: expected 1..65535, got 0")
        return endpoint


class OperationKind(IntEnum):
    """What a governed operation does. Numbers are consensus and never reused."""

    ADD_ORGANISATION = 1
    REGISTER_IDENTITY = 2
    ADD_VALIDATOR = 3
    REMOVE_VALIDATOR = 4
    SET_PARAMETERS = 5
    SET_ENDPOINT = 6
    CHANGE_STATUS = 7
    ENROL_IDENTITY = 8
    ROTATE_IDENTITY = 9
    SET_AUTHORITIES = 10
    SET_RULE = 11
    SET_QUOTA = 12


@dataclass(frozen=True, slots=True)
class AddOrganisation:
    """Admit an organisation and its certificate authority."""

    organisation: Organisation


@dataclass(frozen=True, slots=True)
class RegisterIdentity:
    """Register who may sign transactions, or may follow the chain as a validator to be."""

    identity: Identity


@dataclass(frozen=True, slots=True)
class AddValidator:
    """Add a validator to the set, at its end."""

    validator: Validator
    possession: bytes
    """Signature under its vote key over `possession_bytes`."""


@dataclass(frozen=True, slots=True)
class RemoveValidator:
    """Remove a validator; together with `AddValidator` under a new id, replace its keys."""

    validator_id: str


@dataclass(frozen=True, slots=True)
class SetParameters:
    """Replace all consensus parameters."""

    parameters: Parameters


@dataclass(frozen=True, slots=True)
class SetEndpoint:
    """Say where a validator, or one to be, listens for its peers."""

    validator_id: str
    endpoint: Endpoint


Operation = (
    AddOrganisation
    | RegisterIdentity
    | AddValidator
    | RemoveValidator
    | SetParameters
    | SetEndpoint
    | ChangeStatus
    | EnrolIdentity
    | RotateIdentity
    | SetAuthorities
    | SetRule
    | SetQuota
)


@dataclass(frozen=True, slots=True)
class Approval:
    """An administrator's signature over `Governance.approval_bytes`."""

    identity_id: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class CheckpointStatement:
    """A member of the set to be says, under its cosignature key, that it holds the chain so far."""

    validator_id: str
    header: bytes
    """Canonical bytes of the header it stands at."""
    signature: bytes
    """Over `checkpoint_bytes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Governance:
    """The payload of a governed transaction. It writes no records."""

    epoch: int
    """The epoch in force when it was made: it is void in any other."""
    not_after_ms: int
    """T (ms) of the last block that may carry it out, `GOVERNANCE_LIFETIME_MS_MAX` off at most."""
    nonce: bytes
    """16 bytes that make two equal changes two, each of which takes approvals of its own."""
    operations: tuple[Operation, ...]
    """1..16, carried out in order, all or none."""
    evidence: tuple[CheckpointStatement, ...] = ()
    """Needed where the set or the parameters change."""
    approvals: tuple[Approval, ...] = ()

    @property
    def count(self) -> int:
        """Return the number of records: none."""
        return 0

    def records(self) -> Iterator[Record]:
        """Yield the records: none."""
        return iter(())

    def approval_bytes(self, chain_id: bytes) -> bytes:
        """Return what each approving administrator signs."""
        operations = [_operation_value(operation) for operation in self.operations]
        subject = [chain_id, self.epoch, self.not_after_ms, self.nonce, operations]
        return domains.tagged(domains.GOVERNANCE, encode(subject))

    def approval_digest(self, chain_id: bytes, suite: Suite) -> bytes:
        """Return the hash of these bytes: what the chain remembers of what it has carried out."""
        return suite.hash(self.approval_bytes(chain_id))

    def to_value(self) -> list[Any]:
        """Return the CBOR array `governance`."""
        return [
            1,
            self.epoch,
            self.not_after_ms,
            self.nonce,
            [_operation_value(operation) for operation in self.operations],
            [[each.validator_id, each.header, each.signature] for each in self.evidence],
            [[each.identity_id, each.signature] for each in self.approvals],
        ]

    @classmethod
    def from_value(cls, value: object) -> Governance:
        """Read the CBOR array `governance`; raises `DecodeError`."""
        version, epoch, not_after_ms, nonce, operations, evidence, approvals = expect_array(
            value, 7, "governance"
        )
        expect_version(version, "governance")
        listed = expect_list(operations, OPERATIONS_MAX, "governance operations")
        if not listed:
            raise DecodeError("governance operations: expected 1..16, got none")
        return cls(
            epoch=expect_uint(epoch, "governance epoch"),
            not_after_ms=expect_uint(not_after_ms, "governance not-after"),
            nonce=expect_bytes(nonce, "governance nonce", size=TX_NONCE_BYTES),
            operations=tuple(_read_operation(item) for item in listed),
            evidence=tuple(
                _read_statement(item)
                for item in expect_list(evidence, VALIDATORS_MAX, "governance evidence")
            ),
            approvals=tuple(
                _read_approval(item)
                for item in expect_list(approvals, APPROVALS_MAX, "governance approvals")
            ),
        )


def members_after(
    members: Sequence[Validator], operations: Sequence[Operation]
) -> tuple[Validator, ...]:
    """Return who decides after `operations`, in their order, where execution accepts them."""
    after = list(members)
    for operation in operations:
        match operation:
            case AddValidator():
                after.append(operation.validator)
            case RemoveValidator():
                after = [each for each in after if each.validator_id != operation.validator_id]
            case ChangeStatus():
                after = [each for each in after if not is_barred_by(operation, each)]
            case _:
                pass
    return tuple(after)


def is_barred_by(operation: ChangeStatus, validator: Validator) -> bool:
    """Say whether a validator loses its rights by an operation, alone or with its organisation."""
    names = {
        Subject.IDENTITY: validator.validator_id,
        Subject.ORGANISATION: validator.organisation,
    }
    return operation.status is not Status.ACTIVE and names[operation.subject] == operation.name


def ends_epoch(operations: Sequence[Operation], members: Sequence[Validator]) -> bool:
    """Say whether the block that carries these out is the last of its epoch.

    `members` decide in it. New parameters count as others, even where they say the same.
    """
    return any(
        isinstance(each, AddValidator | RemoveValidator | SetParameters)
        or (isinstance(each, ChangeStatus) and any(is_barred_by(each, who) for who in members))
        for each in operations
    )


def possession_bytes(chain_id: bytes, validator: Validator) -> bytes:
    """Return what a validator to be signs with its vote key, to show that it holds it."""
    return domains.tagged(domains.POSSESSION, encode([chain_id, validator.to_value()]))


def checkpoint_bytes(
    chain_id: bytes,
    *,
    epoch: int,
    height: int,
    header_digest: bytes,
    log_size: int,
    log_roots: Sequence[bytes],
    state_root: bytes,
    tag: bytes = domains.CHECKPOINT,
) -> bytes:
    """Return what a cosignature key signs for the chain up to a header; the fields are its own.

    Under the tag `SHARE` it is what BLS keys sign: the same bytes by all, without any time.
    """
    statement = [
        chain_id,
        epoch,
        height,
        header_digest,
        log_size,
        list(log_roots),
        state_root,
    ]
    return domains.tagged(tag, encode(statement))


def _operation_value(operation: Operation) -> list[Any]:
    match operation:
        case AddOrganisation():
            return [OperationKind.ADD_ORGANISATION.value, operation.organisation.to_value()]
        case RegisterIdentity():
            return [OperationKind.REGISTER_IDENTITY.value, operation.identity.to_value()]
        case AddValidator():
            added = [operation.validator.to_value(), operation.possession]
            return [OperationKind.ADD_VALIDATOR.value, added]
        case RemoveValidator():
            return [OperationKind.REMOVE_VALIDATOR.value, operation.validator_id]
        case SetParameters():
            return [OperationKind.SET_PARAMETERS.value, operation.parameters.to_value()]
        case SetEndpoint():
            placed = [operation.validator_id, operation.endpoint.to_value()]
            return [OperationKind.SET_ENDPOINT.value, placed]
        case _:
            return [_KIND_BY_SHAPE[type(operation)].value, operation.to_value()]


_KIND_BY_SHAPE: Final[Mapping[type, OperationKind]] = {
    ChangeStatus: OperationKind.CHANGE_STATUS,
    EnrolIdentity: OperationKind.ENROL_IDENTITY,
    RotateIdentity: OperationKind.ROTATE_IDENTITY,
    SetAuthorities: OperationKind.SET_AUTHORITIES,
    SetRule: OperationKind.SET_RULE,
    SetQuota: OperationKind.SET_QUOTA,
}
_READ_BY_SHAPE: Final[Mapping[int, Callable[[object], Operation]]] = {
    OperationKind.CHANGE_STATUS: ChangeStatus.from_value,
    OperationKind.ENROL_IDENTITY: EnrolIdentity.from_value,
    OperationKind.ROTATE_IDENTITY: RotateIdentity.from_value,
    OperationKind.SET_AUTHORITIES: SetAuthorities.from_value,
    OperationKind.SET_RULE: SetRule.from_value,
    OperationKind.SET_QUOTA: SetQuota.from_value,
}


def _read_operation(value: object) -> Operation:
    kind, body = expect_array(value, 2, "governance operation")
    read = _READ_BY_SHAPE.get(expect_uint(kind, "governance operation kind"))
    if read is not None:
        return read(body)
    match kind:
        case OperationKind.ADD_ORGANISATION:
            return AddOrganisation(Organisation.from_value(body))
        case OperationKind.REGISTER_IDENTITY:
            return RegisterIdentity(Identity.from_value(body))
        case OperationKind.ADD_VALIDATOR:
            validator, possession = expect_array(body, 2, "added validator")
            return AddValidator(
                Validator.from_value(validator), _read_signature(possession, "possession")
            )
        case OperationKind.REMOVE_VALIDATOR:
            return RemoveValidator(_read_id(body, "removed validator"))
        case OperationKind.SET_PARAMETERS:
            return SetParameters(Parameters.from_value(body))
        case OperationKind.SET_ENDPOINT:
            validator_id, endpoint = expect_array(body, 2, "endpoint of a validator")
            return SetEndpoint(
                _read_id(validator_id, "endpoint's validator"), Endpoint.from_value(endpoint)
            )
        case other:
            raise DecodeError(f"governance operation kind: {other} is unknown")


def _read_statement(value: object) -> CheckpointStatement:
    validator_id, header, signature = expect_array(value, 3, "checkpoint statement")
    return CheckpointStatement(
        _read_id(validator_id, "checkpoint statement validator"),
        expect_blob(header, "checkpoint statement header", size_max=_STATEMENT_HEADER_BYTES_MAX),
        _read_signature(signature, "checkpoint statement signature"),
    )


def _read_approval(value: object) -> Approval:
    identity_id, signature = expect_array(value, 2, "approval")
    return Approval(
        _read_id(identity_id, "approval identity"),
        _read_signature(signature, "approval signature"),
    )


def _read_id(value: object, what: str) -> str:
    return expect_text(value, what, size_max=IDENTITY_ID_BYTES_MAX)


def _read_signature(value: object, what: str) -> bytes:
    return expect_blob(value, what, size_max=SIGNATURE_BYTES_MAX)
