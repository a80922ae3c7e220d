"""The governance service: what a governed transaction does to the state, and when it may.

It is atomic, as every transaction: its operations apply in order, each seeing those before it. A
change of the validator set or of the parameters ends the epoch: the block is its barrier, and what
is written here holds from the next height on. The rules, in this order:

- V1 it was made for the epoch in force;
- V2 it is approved by administrators, valid at T, of a majority of the founding organisations;
- V3 names and validators' keys are new: none is ever used twice, by anybody;
- V4 who is named exists; who joins holds its vote key, and its BLS key if the others have one;
- and where the epoch ends:
- V5 nothing earlier in the block ends it already;
- V6 the new set has 1 to 64 members, and at most f of the old set's size, or one where f is none,
  are added and as many removed;
- V7 a quorum of the new set has shown by checkpoint statements that it holds the chain: of headers
  of this chain, at most 2 K heights below the block or ten minutes of T older than it. So no change
  can leave a set that is not there to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from node.chain.block import Header, ResultCode, checkpoint_of
from node.chain.encoding import encode
from node.chain.epoch import Epoch
from node.chain.genesis import Parameters, Role
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
    possession_bytes,
)
from node.chain.membership import Validator, ValidatorSet, quorum_size
from node.errors import CryptoError, DecodeError
from node.execution.notary import Failure, Position
from node.execution.registry import (
    PARAMETERS_KEY,
    VALIDATOR_SET_KEY,
    EpochStart,
    endpoint_key,
    epoch_start_key,
    identity_key,
    organisation_key,
    read_identity,
    retired_key_key,
    retired_validator_key,
)
from node.limits import VALIDATORS_MAX

EVIDENCE_AGE_MS_MAX: Final = 600_000
EVIDENCE_CHECKPOINTS_MAX: Final = 2

_Read = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a governed transaction is judged on, besides itself and the state values it reads."""

    epoch: Epoch
    """The one in force."""
    founders: Sequence[str]
    """The organisations of genesis."""
    is_ending: bool
    """Whether an earlier transaction of the block ends the epoch."""
    digest_at: Callable[[int], bytes | None]
    """Digest of the header at a height below the block's."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a governed transaction does."""

    writes: Mapping[bytes, bytes]
    next_epoch: Epoch | None
    """What is in force from the next height on, if that is something else."""


def govern(payload: Governance, at: Position, read: _Read, ground: Ground) -> Change | Failure:
    """Return what the operations of `payload` write, or why they fail.

    `read` gives the state as the transactions before this one left it.
    """
    if payload.epoch != ground.epoch.number:
        return Failure(ResultCode.EPOCH_NOT_IN_FORCE)  # V1
    failure = _check_approvals(payload, at, read, ground)
    if failure is not None:
        return failure
    draft = _Draft(read, ground.epoch)
    for index, operation in enumerate(payload.operations):
        code = draft.apply(operation)
        if code is not None:
            return Failure(code, index)
    if not draft.ends_epoch:
        return Change(draft.writes, None)
    failure = _check_end(payload, at, draft, ground)
    return failure or Change(draft.writes, draft.finish(at.height + 1))


def _check_approvals(
    payload: Governance, at: Position, read: _Read, ground: Ground
) -> Failure | None:
    """V2: each approval is sound, and those of founders are enough."""
    suite = ground.epoch.validators.suite
    message = payload.approval_bytes(ground.epoch.chain_id)
    approving: dict[str, None] = {}
    seen: dict[str, None] = {}
    for index, approval in enumerate(payload.approvals):
        identity = read_identity(read, approval.identity_id)
        if (
            identity is None
            or approval.identity_id in seen
            or identity.role is not Role.ADMIN
            or not identity.not_before_ms <= at.time_ms <= identity.not_after_ms
            or len(approval.signature) != suite.signature_size
            or not suite.load_public_key(identity.public_key).verify(message, approval.signature)
        ):
            return Failure(ResultCode.APPROVAL_INVALID, index)
        seen[approval.identity_id] = None
        if identity.organisation in ground.founders:
            approving[identity.organisation] = None
    if 2 * len(approving) <= len(ground.founders):
        return Failure(ResultCode.APPROVALS_MISSING)
    return None


def _check_end(payload: Governance, at: Position, draft: _Draft, ground: Ground) -> Failure | None:
    """V5 to V7: the epoch may end so."""
    if ground.is_ending:
        return Failure(ResultCode.EPOCH_ENDING)  # V5
    if not 1 <= len(draft.members) <= VALIDATORS_MAX:
        return Failure(ResultCode.VALIDATOR_COUNT)  # V6
    if max(draft.added, draft.removed) > max(ground.epoch.validators.faults, 1):
        return Failure(ResultCode.CHANGE_TOO_LARGE)  # V6
    return _check_evidence(payload, at, draft.members, ground)


def _check_evidence(
    payload: Governance, at: Position, members: Sequence[Validator], ground: Ground
) -> Failure | None:
    """V7: each statement is sound, and they are enough."""
    known = {member.validator_id: member for member in members}
    for index, statement in enumerate(payload.evidence):
        member = known.pop(statement.validator_id, None)  # a second statement of one is refused
        if member is None or not _is_sound_statement(
            statement.header, statement.signature, member, at, ground
        ):
            return Failure(ResultCode.EVIDENCE_INVALID, index)
    if len(payload.evidence) < quorum_size(len(members)):
        return Failure(ResultCode.EVIDENCE_MISSING)
    return None


def _is_sound_statement(
    encoded: bytes, signature: bytes, member: Validator, at: Position, ground: Ground
) -> bool:
    suite = ground.epoch.validators.suite
    try:
        header = Header.decode(encoded)
        key = suite.load_cosignature_key(member.cosignature_key)
    except (DecodeError, CryptoError):
        return False
    reach = EVIDENCE_CHECKPOINTS_MAX * ground.epoch.parameters.checkpoint_blocks
    is_recent = (
        header.height >= at.height - reach or header.time_ms >= at.time_ms - EVIDENCE_AGE_MS_MAX
    )
    digest = header.digest(suite)
    if header.height >= at.height or not is_recent or ground.digest_at(header.height) != digest:
        return False
    return key.verify(checkpoint_of(header, digest), signature)


@dataclass(slots=True)
class _Draft:
    """The state and the set as the operations so far would leave them."""

    _read: _Read
    _epoch: Epoch
    members: list[Validator] = field(init=False)
    parameters: Parameters = field(init=False)
    writes: dict[bytes, bytes] = field(default_factory=dict)
    added: int = 0
    removed: int = 0

    def __post_init__(self) -> None:
        self.members = list(self._epoch.validators.validators)
        self.parameters = self._epoch.parameters

    @property
    def ends_epoch(self) -> bool:
        """Whether the set or the parameters are no longer those in force."""
        return bool(self.added or self.removed) or self.parameters != self._epoch.parameters

    def apply(self, operation: Operation) -> ResultCode | None:
        """Carry out one operation, or say why it cannot be."""
        match operation:
            case AddOrganisation():
                return self._add_organisation(operation)
            case RegisterIdentity():
                return self._register(operation)
            case AddValidator():
                return self._add(operation)
            case RemoveValidator():
                return self._remove(operation)
            case SetParameters():
                self.parameters = operation.parameters
                self.writes[PARAMETERS_KEY] = encode(operation.parameters.to_value())
                return None
            case SetEndpoint():
                key = endpoint_key(operation.validator_id)
                self.writes[key] = encode(operation.endpoint.to_value())
                return None
            case _:
                assert_never(operation)

    def finish(self, first_height: int) -> Epoch:
        """Write what the next epoch begins with, and return it."""
        old = self._epoch
        validators = ValidatorSet(old.number + 1, tuple(self.members), old.validators.suite)
        self.writes[VALIDATOR_SET_KEY] = validators.encode()
        start = EpochStart(first_height, validators)
        self.writes[epoch_start_key(validators.epoch)] = start.encode()
        return Epoch(old.chain_id, validators, self.parameters)

    def _has(self, key: bytes) -> bool:
        return key in self.writes or self._read(key) is not None

    def _add_organisation(self, operation: AddOrganisation) -> ResultCode | None:
        organisation = operation.organisation
        key = organisation_key(organisation.organisation_id)
        if self._has(key):
            return ResultCode.NAME_TAKEN
        self.writes[key] = encode(organisation.to_value())
        return None

    def _register(self, operation: RegisterIdentity) -> ResultCode | None:
        identity = operation.identity
        key = identity_key(identity.identity_id)
        if not self._has(organisation_key(identity.organisation)):
            return ResultCode.ORGANISATION_UNKNOWN
        if self._has(key):
            return ResultCode.NAME_TAKEN
        try:
            self._epoch.validators.suite.load_public_key(identity.public_key)
        except CryptoError:
            return ResultCode.KEY_INVALID
        self.writes[key] = encode(identity.to_value())
        return None

    def _add(self, operation: AddValidator) -> ResultCode | None:
        validator = operation.validator
        if not self._has(organisation_key(validator.organisation)):
            return ResultCode.ORGANISATION_UNKNOWN
        ids = [member.validator_id for member in self.members]
        if validator.validator_id in ids or self._has(
            retired_validator_key(validator.validator_id)
        ):
            return ResultCode.NAME_TAKEN
        used = [key for member in self.members for key in _keys_of(member)]
        own = _keys_of(validator)
        if any(key in used or self._has(retired_key_key(key)) for key in own):
            return ResultCode.KEY_TAKEN
        if not self._holds_its_key(operation):
            return ResultCode.KEY_INVALID
        self.members.append(validator)
        self.added += 1
        return None

    def _holds_its_key(self, operation: AddValidator) -> bool:
        """Check a new validator's keys; it has one for aggregates where the chain has them."""
        validator, suite = operation.validator, self._epoch.validators.suite
        aggregate_key = validator.aggregate_key
        if (aggregate_key is not None) != self._epoch.validators.has_aggregates:
            return False
        try:
            key = suite.load_public_key(validator.vote_key)
            suite.load_cosignature_key(validator.cosignature_key)
            if aggregate_key is not None:
                aggregate_key.check()
        except CryptoError:
            return False
        message = possession_bytes(self._epoch.chain_id, validator)
        return len(operation.possession) == suite.signature_size and key.verify(
            message, operation.possession
        )

    def _remove(self, operation: RemoveValidator) -> ResultCode | None:
        for index, member in enumerate(self.members):
            if member.validator_id == operation.validator_id:
                ended = encode([1, self._epoch.number])
                self.writes[retired_validator_key(member.validator_id)] = ended
                for key in _keys_of(member):
                    self.writes[retired_key_key(key)] = ended
                del self.members[index]
                self.removed += 1
                return None
        return ResultCode.VALIDATOR_UNKNOWN


def _keys_of(validator: Validator) -> list[bytes]:
    keys = [validator.vote_key, validator.cosignature_key]
    aggregate_key = validator.aggregate_key
    return keys if aggregate_key is None else [*keys, aggregate_key.key]
