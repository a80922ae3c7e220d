"""The governance service: what a governed transaction does to the state, and when it may.

It is atomic, as every transaction: its operations apply in order, each seeing those before it. A
change of the validator set or of the parameters ends the epoch: the block is its barrier, and what
is written here holds from the next height on. The rules, in this order:

- V1 it was made for the epoch in force, its end is neither past at T nor more than ninety days off,
  and it was not carried out before: approvals are on the chain, and whoever may hand one thing in
  could do it again after others undid it;
- V2 it is approved, for each of its operations, as the rule bound to that says (policy.py): by
  default, by administrators of a majority of the founding organisations. Who approves is valid at
  T and has its rights, as the state was before it;
- V3 names and validators' keys are new: none is ever used twice, by anybody;
- V4 who is named exists; who joins has its rights and those of its organisation, and holds its
  vote key, and its BLS key if the others have one;
- I1 to I6 of what changes identities and organisations (identity.py);
- V8 it leaves nothing vital that nobody could approve any more: else what is frozen by mistake
  would be so for good;
- and where the epoch ends:
- V5 nothing earlier in the block ends it already; nor is anybody barred whom that has join: it
  leaves in a later block, by I6;
- V6 the new set has 1 to 64 members, and at most f of the old set's size, or one where f is none,
  are added and as many removed;
- V7 a quorum of the new set has shown by checkpoint statements that it holds the chain: of headers
  of this chain, at most 2 K heights below the block or ten minutes of T older than it. So no change
  can leave a set that is not there to go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from node.chain.block import Header, ResultCode, checkpoint_of
from node.chain.encoding import encode
from node.chain.epoch import Epoch
from node.chain.genesis import Identity, Parameters
from node.chain.governance import (
    AddOrganisation,
    AddValidator,
    Governance,
    Operation,
    RegisterIdentity,
    RemoveValidator,
    SetEndpoint,
    SetParameters,
    is_barred_by,
    possession_bytes,
)
from node.chain.identity import ChangeStatus, EnrolIdentity, RotateIdentity, SetAuthorities
from node.chain.membership import Validator, ValidatorSet, quorum_size
from node.chain.policy import SetRule
from node.chain.quota import SetQuota
from node.errors import CryptoError, DecodeError
from node.execution.identity import Occasion, People, lost_rights
from node.execution.notary import Failure, Position
from node.execution.policy import (
    Founding,
    is_approver_role,
    is_usable,
    missing_approval,
    names_of,
    stuck,
)
from node.execution.registry import (
    PARAMETERS_KEY,
    VALIDATOR_SET_KEY,
    EpochStart,
    carried_out_key,
    endpoint_key,
    epoch_start_key,
    organisation_key,
    quota_key,
    read_identity,
    retired_key_key,
    retired_validator_key,
    rule_key,
)
from node.limits import GOVERNANCE_LIFETIME_MS_MAX, VALIDATORS_MAX

EVIDENCE_AGE_MS_MAX: Final = 600_000
EVIDENCE_CHECKPOINTS_MAX: Final = 2

_Read = Callable[[bytes], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a governed transaction is judged on, besides itself and the state values it reads."""

    epoch: Epoch
    """The one in force."""
    tx_id: bytes
    """Its own."""
    founding: Founding
    next_epoch: Epoch | None
    """What an earlier transaction of the block, which ends the epoch, puts in force after it."""
    digest_at: Callable[[int], bytes | None]
    """Digest of the header at a height below the block's."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a governed transaction does."""

    writes: Mapping[bytes, bytes | None]
    """State key to value, None for a deletion."""
    next_epoch: Epoch | None
    """What is in force from the next height on, if that is something else."""


def govern(payload: Governance, at: Position, read: _Read, ground: Ground) -> Change | Failure:
    """Return what the operations of `payload` write, or why they fail.

    `read` gives the state as the transactions before this one left it.
    """
    void = why_void(payload, at.time_ms, read, ground.epoch)
    if void is not None:
        return Failure(void)
    outcome = _check_approvals(payload, at, read, ground) or carry_out(payload, at, read, ground)
    if isinstance(outcome, Failure):
        return outcome
    done = {_key_of(payload, ground.epoch): encode([1, ground.tx_id])}
    return replace(outcome, writes={**outcome.writes, **done})


def why_void(payload: Governance, time_ms: int, read: _Read, epoch: Epoch) -> ResultCode | None:
    """Return why `payload`, whoever approves, has no effect at T `time_ms`: V1, in its order."""
    if payload.epoch != epoch.number:
        return ResultCode.EPOCH_NOT_IN_FORCE
    if not time_ms <= payload.not_after_ms <= time_ms + GOVERNANCE_LIFETIME_MS_MAX:
        return ResultCode.PROPOSAL_LAPSED
    if read(_key_of(payload, epoch)) is not None:
        return ResultCode.ALREADY_CARRIED_OUT
    return None


def _key_of(payload: Governance, epoch: Epoch) -> bytes:
    return carried_out_key(payload.approval_digest(epoch.chain_id, epoch.validators.suite))


def carry_out(payload: Governance, at: Position, read: _Read, ground: Ground) -> Change | Failure:
    """Return the same of a payload that is approved: all rules but V1 and V2."""
    occasion = Occasion(at.height, at.time_ms, ground.tx_id)
    draft = _Draft(read, ground.epoch, occasion, ground.next_epoch)
    for index, operation in enumerate(payload.operations):
        code = draft.apply(operation)
        if code is not None:
            return Failure(code, index)
    if draft.may_lock_out and _is_stuck_by(draft, at, read, ground):
        return Failure(ResultCode.NOBODY_COULD_APPROVE)  # V8
    if not draft.ends_epoch:
        return Change(draft.writes, None)
    failure = _check_end(payload, at, draft, ground)
    return failure or Change(draft.writes, draft.finish(at.height + 1))


def _check_approvals(
    payload: Governance, at: Position, read: _Read, ground: Ground
) -> Failure | None:
    """V2: each approval is sound, and they are enough for each operation."""
    suite = ground.epoch.validators.suite
    message = payload.approval_bytes(ground.epoch.chain_id)
    parameters = ground.epoch.parameters
    wanted = [names_of(operation, parameters) for operation in payload.operations]
    every = dict.fromkeys(name for names in wanted for name in names)
    approvers: dict[str, Identity] = {}
    for index, approval in enumerate(payload.approvals):
        identity = read_identity(read, approval.identity_id)
        if (
            identity is None
            or approval.identity_id in approvers
            or not is_approver_role(read, identity.role, every)
            or not is_usable(read, identity, at.time_ms)
            or len(approval.signature) != suite.signature_size
            or not suite.load_public_key(identity.public_key).verify(message, approval.signature)
        ):
            return Failure(ResultCode.APPROVAL_INVALID, index)
        approvers[approval.identity_id] = identity
    given = [*approvers.values()]
    missing = {name for name in every if missing_approval(read, name, given, ground.founding)}
    for index, names in enumerate(wanted):
        if any(name in missing for name in names):
            return Failure(ResultCode.APPROVALS_MISSING, index)
    return None


def _is_stuck_by(draft: _Draft, at: Position, read: _Read, ground: Ground) -> bool:
    """V8: whether something vital could be approved before, and could not be after it."""
    before = stuck(read, at.time_ms, ground.founding)
    after = stuck(draft.read, at.time_ms, ground.founding)
    return any(name not in before for name in after)


def _check_end(payload: Governance, at: Position, draft: _Draft, ground: Ground) -> Failure | None:
    """V5 to V7: the epoch may end so."""
    if ground.next_epoch is not None:
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
    _occasion: Occasion
    _coming: Epoch | None
    """The one that an earlier transaction of the block has begun."""
    members: list[Validator] = field(init=False)
    parameters: Parameters = field(init=False)
    writes: dict[bytes, bytes | None] = field(default_factory=dict)
    added: int = 0
    removed: int = 0
    may_lock_out: bool = False
    """Whether an operation could take somebody the right to approve."""
    _people: People = field(init=False)

    def __post_init__(self) -> None:
        self.members = list(self._epoch.validators.validators)
        self.parameters = self._epoch.parameters
        self._people = People(
            self.read,
            self.writes,
            self._epoch.validators.suite,
            self._occasion,
            lambda: [member.validator_id for member in self.members],
        )

    def read(self, key: bytes) -> bytes | None:
        """Return a state value as the operations so far would leave it."""
        return self.writes[key] if key in self.writes else self._read(key)

    @property
    def ends_epoch(self) -> bool:
        """Whether the set or the parameters are no longer those in force."""
        return bool(self.added or self.removed) or self.parameters != self._epoch.parameters

    def apply(self, operation: Operation) -> ResultCode | None:  # noqa: PLR0911 - one per operation
        """Carry out one operation, or say why it cannot be."""
        match operation:
            case AddOrganisation():
                return self._people.admit(operation.organisation)
            case RegisterIdentity():
                return self._people.register(operation.identity)
            case EnrolIdentity():
                return self._people.enrol(operation)
            case RotateIdentity():
                self.may_lock_out = True
                return self._people.rotate(operation)
            case SetAuthorities():
                return self._people.set_authorities(operation)
            case ChangeStatus():
                self.may_lock_out = True
                return self._people.change(operation) or self._bar(operation)
            case AddValidator():
                return self._add(operation)
            case RemoveValidator():
                return self._remove(operation.validator_id)
            case SetParameters():
                self.parameters = operation.parameters
                return None
            case SetEndpoint():
                key = endpoint_key(operation.validator_id)
                self.writes[key] = encode(operation.endpoint.to_value())
                return None
            case SetQuota() | SetRule():
                return self._set(operation)
            case _:
                assert_never(operation)

    def _set(self, operation: SetQuota | SetRule) -> ResultCode | None:
        """Put a quota or a rule in force, or the default again."""
        if isinstance(operation, SetQuota):
            if not self._has(organisation_key(operation.organisation_id)):  # V4
                return ResultCode.ORGANISATION_UNKNOWN
            quota = operation.quota
            key = quota_key(operation.organisation_id)
            self.writes[key] = None if quota is None else quota.encode()
            return None
        self.may_lock_out = True
        rule = operation.rule
        self.writes[rule_key(operation.operation)] = None if rule is None else rule.encode()
        return None

    def finish(self, first_height: int) -> Epoch:
        """Write what the next epoch begins with, and return it."""
        old = self._epoch
        validators = ValidatorSet(old.number + 1, tuple(self.members), old.validators.suite)
        self.writes[PARAMETERS_KEY] = encode(self.parameters.to_value())
        self.writes[VALIDATOR_SET_KEY] = validators.encode()
        start = EpochStart(first_height, validators)
        self.writes[epoch_start_key(validators.epoch)] = start.encode()
        return Epoch(old.chain_id, validators, self.parameters)

    def _has(self, key: bytes) -> bool:
        return self.read(key) is not None

    def _bar(self, operation: ChangeStatus) -> ResultCode | None:
        """I6: have who lost its rights leave the set; who is about to join cannot yet (V5)."""
        coming = () if self._coming is None else self._coming.validators.validators
        if any(is_barred_by(operation, each) for each in coming):
            return ResultCode.EPOCH_ENDING
        for member in [each for each in self.members if is_barred_by(operation, each)]:
            self._remove(member.validator_id)
        return None

    def _add(self, operation: AddValidator) -> ResultCode | None:
        validator = operation.validator
        if not self._has(organisation_key(validator.organisation)):
            return ResultCode.ORGANISATION_UNKNOWN
        lost = lost_rights(self.read, validator.validator_id, validator.organisation)  # V4
        if lost is not None:
            return lost
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

    def _remove(self, validator_id: str) -> ResultCode | None:
        for index, member in enumerate(self.members):
            if member.validator_id == validator_id:
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
