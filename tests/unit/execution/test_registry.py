"""What genesis puts into the state, and that it can be read back and proved."""

from __future__ import annotations

import pytest

from node.chain.encoding import decode, encode
from node.chain.genesis import Identity, Organisation, Parameters
from node.chain.state_tree import prove, verify_proof
from node.errors import InvariantViolation
from node.execution.registry import (
    PARAMETERS_KEY,
    VALIDATOR_SET_KEY,
    find_identity,
    genesis_state,
    identity_key,
    organisation_key,
    sender_key,
)
from node.limits import STATE_VALUE_BYTES_MAX
from tests.unit.execution.small_chain import GENESIS, SmallChain, signer


def value_of(key: bytes) -> object:
    stored = genesis_state(GENESIS)[key]
    return decode(stored, what="value", size_max=STATE_VALUE_BYTES_MAX)


def test_genesis_writes_everything_it_declares_once() -> None:
    assert Parameters.from_value(value_of(PARAMETERS_KEY)) == GENESIS.parameters
    assert genesis_state(GENESIS)[VALIDATOR_SET_KEY] == GENESIS.validators.encode()
    for organisation in GENESIS.organisations:
        stored = value_of(organisation_key(organisation.organisation_id))
        assert Organisation.from_value(stored) == organisation
    for identity in GENESIS.identities:
        assert Identity.from_value(value_of(identity_key(identity.identity_id))) == identity
    assert len(genesis_state(GENESIS)) == 2 + len(GENESIS.organisations) + len(GENESIS.identities)


def test_keys_are_the_documented_arrays() -> None:
    assert encode([1]) == PARAMETERS_KEY
    assert encode([2]) == VALIDATOR_SET_KEY
    assert organisation_key("org-1") == encode([3, "org-1"])
    assert identity_key("agency-1") == encode([4, "agency-1"])


def test_a_sender_is_found_with_its_key_and_a_stranger_is_not() -> None:
    state = SmallChain().state
    assert find_identity(state, "agency-1") == GENESIS.identities[0]
    assert sender_key(state, "agency-1") == signer("agency-1").public_key.encoded
    assert find_identity(state, "nobody") is None
    assert sender_key(state, "org-1") is None


def test_every_value_of_genesis_can_be_proved_under_its_header() -> None:
    state = SmallChain().state
    for key, value in genesis_state(GENESIS).items():
        proof = prove(state.tree, key, state.bucket, GENESIS.suite)
        verify_proof(state.header.state_root, key, value, proof, GENESIS.suite)


def test_a_malformed_identity_in_state_stops_the_node() -> None:
    chain = SmallChain()
    chain.state.values[identity_key("agency-1")] = b"\x00"
    with pytest.raises(InvariantViolation, match="malformed identity"):
        find_identity(chain.state, "agency-1")
