"""What genesis puts into the state, and that it can be read back and proved."""

from __future__ import annotations

import pytest

from node.chain.encoding import decode, encode
from node.chain.genesis import Identity, Organisation, Parameters
from node.chain.governance import Endpoint
from node.chain.identity import Subject
from node.chain.membership import ValidatorSet
from node.chain.quota import Quota
from node.chain.reference import reference_key
from node.chain.state_tree import prove, verify_proof
from node.chain.vault import vault_document_key, vault_keys_key
from node.errors import DecodeError, InvariantViolation
from node.execution.registry import (
    PARAMETERS_KEY,
    ROLL_KEY,
    VALIDATOR_SET_KEY,
    EpochStart,
    StateKind,
    authorities_key,
    carried_out_key,
    certificates_key,
    endpoint_key,
    epoch_in_force,
    epoch_start_key,
    find_endpoint,
    find_epoch_start,
    find_identity,
    find_last_epoch,
    genesis_state,
    identity_key,
    organisation_key,
    prefix_of,
    quota_key,
    read_quota,
    retired_key_key,
    retired_validator_key,
    rule_key,
    sender_key,
    status_key,
    trail_key,
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


KEYS = {
    StateKind.PARAMETERS: PARAMETERS_KEY,
    StateKind.VALIDATOR_SET: VALIDATOR_SET_KEY,
    StateKind.ORGANISATION: organisation_key("org-1"),
    StateKind.IDENTITY: identity_key("agency-1"),
    StateKind.REFERENCE: reference_key("agency-1", "licence", "A 1"),
    StateKind.EPOCH_START: epoch_start_key(1),
    StateKind.RETIRED_VALIDATOR: retired_validator_key("validator-1"),
    StateKind.RETIRED_KEY: retired_key_key(b"key"),
    StateKind.ENDPOINT: endpoint_key("validator-1"),
    StateKind.VAULT_KEYS: vault_keys_key("org-1"),
    StateKind.VAULT_DOCUMENT: vault_document_key(bytes(32)),
    StateKind.STATUS: status_key(Subject.IDENTITY, "agency-1"),
    StateKind.TRAIL: trail_key(Subject.IDENTITY, "agency-1", 1),
    StateKind.CERTIFICATES: certificates_key("agency-1"),
    StateKind.AUTHORITIES: authorities_key("org-1"),
    StateKind.RULE: rule_key("govern"),
    StateKind.ROLL: ROLL_KEY,
    StateKind.QUOTA: quota_key("org-1"),
    StateKind.CARRIED_OUT: carried_out_key(bytes(32)),
}


@pytest.mark.parametrize("kind", StateKind)
def test_the_keys_of_a_kind_and_no_others_begin_with_its_prefix(kind: StateKind) -> None:
    prefix = prefix_of(kind)
    assert [each for each in StateKind if KEYS[each].startswith(prefix)] == [kind]
    assert KEYS[kind].startswith(encode([kind.value])[1:], 1), "the array's head, then its kind"
    assert prefix == KEYS[kind][: len(encode([kind.value]))], "as far as all of them are alike"


def test_what_the_state_does_not_say_is_not_found() -> None:
    state = SmallChain().state
    assert find_epoch_start(state, 0, GENESIS.suite) is None
    assert find_endpoint(state, "validator-1") is None
    assert read_quota(state.get, "org-1") is None
    assert find_last_epoch(state, "validator-1") is None


def test_what_the_state_says_is_found() -> None:
    state = SmallChain().state
    start = EpochStart(7, ValidatorSet(3, GENESIS.validators.validators, GENESIS.suite))
    endpoint, quota = Endpoint("node.example", 7_000), Quota(2, 5)
    state.values |= {
        epoch_start_key(3): start.encode(),
        endpoint_key("validator-1"): encode(endpoint.to_value()),
        quota_key("org-1"): quota.encode(),
        retired_validator_key("validator-1"): encode([1, 4]),
    }
    assert find_epoch_start(state, 3, GENESIS.suite) == start
    assert find_endpoint(state, "validator-1") == endpoint
    assert read_quota(state.get, "org-1") == quota
    assert find_last_epoch(state, "validator-1") == 4


def test_the_rules_in_force_are_those_of_the_state() -> None:
    epoch = epoch_in_force(SmallChain().state, GENESIS.suite)
    assert (epoch.validators, epoch.parameters) == (GENESIS.validators, GENESIS.parameters)


@pytest.mark.parametrize("lost", [VALIDATOR_SET_KEY, PARAMETERS_KEY])
def test_a_state_without_rules_stops_the_node(lost: bytes) -> None:
    state = SmallChain().state
    del state.values[lost]
    with pytest.raises(InvariantViolation, match="no validator set or no parameters"):
        epoch_in_force(state, GENESIS.suite)


def test_a_start_of_an_epoch_of_another_version_is_refused() -> None:
    later = encode([2, 7, GENESIS.validators.to_value()])
    with pytest.raises(DecodeError, match="epoch start: expected version 1, got 2"):
        EpochStart.decode(later, GENESIS.suite)
    state = SmallChain().state
    state.values[epoch_start_key(1)] = later
    with pytest.raises(InvariantViolation, match="malformed epoch start"):
        find_epoch_start(state, 1, GENESIS.suite)


def test_a_retirement_of_another_version_stops_the_node() -> None:
    state = SmallChain().state
    state.values[retired_validator_key("validator-1")] = encode([2, 4])
    with pytest.raises(InvariantViolation, match="malformed retirement"):
        find_last_epoch(state, "validator-1")
