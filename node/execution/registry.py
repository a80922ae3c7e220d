"""What genesis writes into the state, under which keys, and how to read it back.

A state key is a canonical CBOR array whose first item is its `StateKind`. So keys of different
kinds never meet, keys of one kind share a prefix, and a stranger can compute any key:

| kind | key                             | value (canonical CBOR)                         |
|------|---------------------------------|------------------------------------------------|
| 1    | [1]                             | parameters                                     |
| 2    | [2]                             | validator-set, the one that decides next       |
| 3    | [3, organisation id]            | organisation                                   |
| 4    | [4, identity id]                | identity                                       |
| 5    | [5, issuer, type, reference]    | reference-status, see notary.py                |
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache
from typing import Final

from node.chain.encoding import decode, encode
from node.chain.genesis import Genesis, Identity
from node.errors import DecodeError, InvariantViolation
from node.execution.state import StateReader
from node.limits import STATE_VALUE_BYTES_MAX


class StateKind(IntEnum):
    """The first item of a state key. Numbers are consensus and never reused."""

    PARAMETERS = 1
    VALIDATOR_SET = 2
    ORGANISATION = 3
    IDENTITY = 4
    REFERENCE = 5


_IDENTITIES_REMEMBERED: Final = 1_024  # the senders of most transactions are a few

PARAMETERS_KEY = encode([StateKind.PARAMETERS.value])
VALIDATOR_SET_KEY = encode([StateKind.VALIDATOR_SET.value])


def organisation_key(organisation_id: str) -> bytes:
    """Return the state key of an organisation."""
    return encode([StateKind.ORGANISATION.value, organisation_id])


def identity_key(identity_id: str) -> bytes:
    """Return the state key of an identity."""
    return encode([StateKind.IDENTITY.value, identity_id])


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


def find_identity(state: StateReader, identity_id: str) -> Identity | None:
    """Return an identity as it stands in `state`, or None."""
    value = state.get(identity_key(identity_id))
    return None if value is None else _decode_identity(value)


def sender_key(state: StateReader, sender: str) -> bytes | None:
    """Return the encoded public key that `sender`'s signatures must verify under, or None."""
    identity = find_identity(state, sender)
    return None if identity is None else identity.public_key


@lru_cache(maxsize=_IDENTITIES_REMEMBERED)
def _decode_identity(value: bytes) -> Identity:
    try:
        return Identity.from_value(
            decode(value, what="identity in state", size_max=STATE_VALUE_BYTES_MAX)
        )
    except DecodeError as error:
        raise InvariantViolation(f"state holds a malformed identity: {error}") from error
