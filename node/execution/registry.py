"""What genesis writes into the state, under which keys, and how to read it back.

A state key is a canonical CBOR array whose first item is its `StateKind`. So keys of different
kinds never meet, keys of one kind share a prefix, and a stranger can compute any key:

| kind | key                             | value (canonical CBOR)                         |
|------|---------------------------------|------------------------------------------------|
| 1    | [1]                             | parameters                                     |
| 2    | [2]                             | validator-set, the one that decides next       |
| 3    | [3, organisation id]            | organisation                                   |
| 4    | [4, identity id]                | identity                                       |
| 5    | [5, issuer, type, reference]    | reference-status, see node/chain/reference.py  |
| 6    | [6, epoch]                      | epoch-start; none for epoch 0, which is genesis |
| 7    | [7, validator id]               | retired: an id no validator may have again      |
| 8    | [8, key]                        | retired: a key no validator may have again      |
| 9    | [9, validator id]               | endpoint, a hint for transport                  |
| 20   | [20, organisation id]           | vault-keys, see node/chain/vault.py             |
| 21   | [21, document id]               | vault-document, see node/chain/vault.py         |
| 10   | [10, subject, id]               | status-entry, the last; see node/chain/identity.py |
| 11   | [11, subject, id, number]       | status-entry, one of all, from 1                |
| 12   | [12, identity id]               | accepted-certificates, once one was enrolled    |
| 13   | [13, organisation id]           | authorities, once they were set                 |
| 14   | [14, operation]                 | rule, once one was set; see node/chain/policy.py |
| 15   | [15]                            | roll, of those admitted after genesis           |
| 16   | [16, organisation id]           | quota, once one was set; see node/chain/quota.py |
| 17   | [17, hash of what was approved] | carried-out: approvals that had their effect     |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from node.chain.encoding import decode, encode, expect_array, expect_uint, expect_version
from node.chain.epoch import Epoch
from node.chain.genesis import Genesis, Identity, Organisation, Parameters
from node.chain.governance import Endpoint
from node.chain.identity import Subject
from node.chain.membership import ValidatorSet
from node.chain.quota import Quota
from node.chain.reference import REFERENCE_KIND
from node.chain.vault import VAULT_DOCUMENT_KIND, VAULT_KEYS_KIND
from node.crypto.suite import Suite
from node.errors import DecodeError, InvariantViolation
from node.execution.state import StateReader
from node.limits import STATE_VALUE_BYTES_MAX


class StateKind(IntEnum):
    """The first item of a state key. Numbers are consensus and never reused."""

    PARAMETERS = 1
    VALIDATOR_SET = 2
    ORGANISATION = 3
    IDENTITY = 4
    REFERENCE = REFERENCE_KIND
    EPOCH_START = 6
    RETIRED_VALIDATOR = 7
    RETIRED_KEY = 8
    ENDPOINT = 9
    VAULT_KEYS = VAULT_KEYS_KIND
    VAULT_DOCUMENT = VAULT_DOCUMENT_KIND
    STATUS = 10
    TRAIL = 11
    CERTIFICATES = 12
    AUTHORITIES = 13
    RULE = 14
    ROLL = 15
    QUOTA = 16
    CARRIED_OUT = 17


_IDENTITIES_REMEMBERED: Final = 1_024  # the senders of most transactions are a few

_EPOCHS_REMEMBERED: Final = 16  # one is in force; the next, and those of other chains in a test

PARAMETERS_KEY = encode([StateKind.PARAMETERS.value])
VALIDATOR_SET_KEY = encode([StateKind.VALIDATOR_SET.value])
ROLL_KEY = encode([StateKind.ROLL.value])


def organisation_key(organisation_id: str) -> bytes:
    """Return the state key of an organisation."""
    return encode([StateKind.ORGANISATION.value, organisation_id])


@lru_cache(maxsize=_IDENTITIES_REMEMBERED)
def identity_key(identity_id: str) -> bytes:
    """Return the state key of an identity."""
    return encode([StateKind.IDENTITY.value, identity_id])


def retired_validator_key(validator_id: str) -> bytes:
    """Return the state key that holds something once a validator of this id was removed."""
    return encode([StateKind.RETIRED_VALIDATOR.value, validator_id])


def retired_key_key(key: bytes) -> bytes:
    """Return the state key that holds something once a validator with this key was removed."""
    return encode([StateKind.RETIRED_KEY.value, key])


def endpoint_key(validator_id: str) -> bytes:
    """Return the state key of where a node listens for its peers."""
    return encode([StateKind.ENDPOINT.value, validator_id])


@lru_cache(maxsize=_IDENTITIES_REMEMBERED)
def status_key(subject: Subject, name: str) -> bytes:
    """Return the state key of what happened last to an identity or an organisation."""
    return encode([StateKind.STATUS.value, subject.value, name])


def trail_key(subject: Subject, name: str, number: int) -> bytes:
    """Return the state key of an entry, from 1 on, of what happened to somebody."""
    return encode([StateKind.TRAIL.value, subject.value, name, number])


def certificates_key(identity_id: str) -> bytes:
    """Return the state key of the certificates that an identity may show."""
    return encode([StateKind.CERTIFICATES.value, identity_id])


def authorities_key(organisation_id: str) -> bytes:
    """Return the state key of who certifies an organisation's members, once that was set."""
    return encode([StateKind.AUTHORITIES.value, organisation_id])


@lru_cache(maxsize=_IDENTITIES_REMEMBERED)
def rule_key(operation: str) -> bytes:
    """Return the state key of the rule bound to an operation."""
    return encode([StateKind.RULE.value, operation])


def quota_key(organisation_id: str) -> bytes:
    """Return the state key of the quota of an organisation."""
    return encode([StateKind.QUOTA.value, organisation_id])


def carried_out_key(approval_digest: bytes) -> bytes:
    """Return the state key that holds something once what was approved had its effect."""
    return encode([StateKind.CARRIED_OUT.value, approval_digest])


def epoch_start_key(epoch: int) -> bytes:
    """Return the state key of where an epoch began."""
    return encode([StateKind.EPOCH_START.value, epoch])


@dataclass(frozen=True, slots=True)
class EpochStart:
    """Where an epoch above 0 began, and who decides in it. Never changed once written."""

    first_height: int
    """The height after the barrier of the epoch before."""
    validators: ValidatorSet

    def encode(self) -> bytes:
        """Return the canonical bytes of the CBOR array `epoch-start`."""
        return encode([1, self.first_height, self.validators.to_value()])

    @classmethod
    def decode(cls, data: bytes, suite: Suite) -> EpochStart:
        """Read a start; raises `DecodeError`."""
        version, first_height, validators = expect_array(
            decode(data, what="epoch start", size_max=STATE_VALUE_BYTES_MAX), 3, "epoch start"
        )
        expect_version(version, "epoch start")
        return cls(
            expect_uint(first_height, "epoch first height"),
            ValidatorSet.from_value(validators, suite),
        )


_KEY_ITEMS: Final = {
    StateKind.PARAMETERS: 1,
    StateKind.VALIDATOR_SET: 1,
    StateKind.REFERENCE: 4,
    StateKind.STATUS: 3,
    StateKind.TRAIL: 4,
    StateKind.ROLL: 1,
}
"""How many items state keys have, where it is not two."""


def prefix_of(kind: StateKind) -> bytes:
    """Return what the state keys of a kind, and no others, begin with."""
    rest = _KEY_ITEMS.get(kind, 2) - 1
    whole = encode([kind.value, *([None] * rest)])
    return whole[: len(whole) - rest]


def genesis_state(genesis: Genesis) -> dict[bytes, bytes]:
    """Return the state after genesis: parameters, validator set, organisations, identities."""
    state = {
        PARAMETERS_KEY: encode(genesis.parameters.to_value()),
        VALIDATOR_SET_KEY: genesis.validators.encode(),
    }
    for organisation in genesis.organisations:
        state[organisation_key(organisation.organisation_id)] = encode(organisation.to_value())
    for identity in genesis.identities:
        state[identity_key(identity.identity_id)] = encode(identity.to_value())
    return state


def epoch_in_force(state: StateReader, suite: Suite) -> Epoch:
    """Return the rules that the block after `state` is judged by."""
    validators, parameters = state.get(VALIDATOR_SET_KEY), state.get(PARAMETERS_KEY)
    if validators is None or parameters is None:
        raise InvariantViolation("state holds no validator set or no parameters")
    return _decode_epoch(state.header.chain_id, validators, parameters, suite)


def find_epoch_start(state: StateReader, epoch: int, suite: Suite) -> EpochStart | None:
    """Return where an epoch began; None for epoch 0 and for one to come."""
    value = state.get(epoch_start_key(epoch))
    if value is None:
        return None
    try:
        return EpochStart.decode(value, suite)
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed epoch start: {error}") from error


def find_identity(state: StateReader, identity_id: str) -> Identity | None:
    """Return an identity as it stands in `state`, or None."""
    return read_identity(state.get, identity_id)


def read_identity(read: Callable[[bytes], bytes | None], identity_id: str) -> Identity | None:
    """Return an identity by what `read` gives under its state key, or None."""
    value = read(identity_key(identity_id))
    return None if value is None else _decode_identity(value)


def find_endpoint(state: StateReader, node_id: str) -> Endpoint | None:
    """Return where a node listens for its peers by the word of the administrators, or None."""
    value = state.get(endpoint_key(node_id))
    if value is None:
        return None
    try:
        return Endpoint.from_value(
            decode(value, what="endpoint in state", size_max=STATE_VALUE_BYTES_MAX)
        )
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed endpoint: {error}") from error


def read_quota(read: Callable[[bytes], bytes | None], organisation_id: str) -> Quota | None:
    """Return the quota of an organisation; None where none was set."""
    value = read(quota_key(organisation_id))
    if value is None:
        return None
    try:
        return Quota.decode(value)
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed quota: {error}") from error


def find_last_epoch(state: StateReader, validator_id: str) -> int | None:
    """Return the last epoch in which a validator that was removed took part; None of any other."""
    value = state.get(retired_validator_key(validator_id))
    if value is None:
        return None
    try:
        version, epoch = expect_array(
            decode(value, what="retired validator", size_max=STATE_VALUE_BYTES_MAX),
            2,
            "retired validator",
        )
        expect_version(version, "retired validator")
        return expect_uint(epoch, "last epoch of a validator")
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed retirement: {error}") from error


def decode_organisation(value: bytes) -> Organisation:
    """Read the state value of an organisation."""
    try:
        return Organisation.from_value(
            decode(value, what="organisation in state", size_max=STATE_VALUE_BYTES_MAX)
        )
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed organisation: {error}") from error


def sender_key(state: StateReader, sender: str) -> bytes | None:
    """Return the encoded public key that `sender`'s signatures must verify under, or None."""
    identity = find_identity(state, sender)
    return None if identity is None else identity.public_key


@lru_cache(maxsize=_EPOCHS_REMEMBERED)
def _decode_epoch(chain_id: bytes, validators: bytes, parameters: bytes, suite: Suite) -> Epoch:
    size_max = STATE_VALUE_BYTES_MAX
    try:
        return Epoch(
            chain_id,
            ValidatorSet.from_value(
                decode(validators, what="validator set in state", size_max=size_max), suite
            ),
            Parameters.from_value(
                decode(parameters, what="parameters in state", size_max=size_max)
            ),
        )
    except DecodeError as error:
        raise InvariantViolation(f"state holds malformed rules: {error}") from error


@lru_cache(maxsize=_IDENTITIES_REMEMBERED)
def _decode_identity(value: bytes) -> Identity:
    try:
        return Identity.from_value(
            decode(value, what="identity in state", size_max=STATE_VALUE_BYTES_MAX)
        )
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed identity: {error}") from error
