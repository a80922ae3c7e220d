"""What a node loads of BLS keys when it starts, and what it refuses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from node.assembly.keys import Keys, load_keys
from node.chain.genesis import Genesis
from node.chain.membership import ValidatorSet
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret
from node.errors import ConfigError, CryptoError
from node.operations.provision import provision
from tests.unit.operations.test_provision import plan


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network") / "testnet"
    provision(folder, plan(nodes=2, with_aggregate_keys=True))
    return folder


def genesis_of(network: Path) -> Genesis:
    return Genesis.decode((network / "genesis.cbor").read_bytes())


def load(network: Path, genesis: Genesis | None = None) -> Keys:
    home = network / "nodes/validator-1"
    secret = KeyFileSecret.load(network / "secret.key")
    return load_keys(home, NodeConfig.load(home), genesis or genesis_of(network), secret)


def test_a_founder_signs_with_the_key_that_genesis_gives_it(network: Path) -> None:
    keys, registered = load(network), genesis_of(network).validators.validators[0].aggregate_key
    assert keys.sharer is not None
    assert registered is not None
    assert keys.sharer.public_key.encoded == registered.key


def test_a_chain_without_compact_certificates_asks_for_no_key(network: Path) -> None:
    genesis = genesis_of(network)
    members = tuple(replace(each, aggregate_key=None) for each in genesis.validators.validators)
    plain = replace(genesis, validators=ValidatorSet(0, members, genesis.suite))
    assert load(network, plain).sharer is None


def test_a_genesis_whose_keys_are_not_proved_to_be_held_is_refused(network: Path) -> None:
    """The proof of the other: so a key chosen to cancel another out would come."""
    genesis = genesis_of(network)
    first, second = genesis.validators.validators
    assert first.aggregate_key is not None
    assert second.aggregate_key is not None
    stolen = replace(first.aggregate_key, possession=second.aggregate_key.possession)
    members = (replace(first, aggregate_key=stolen), second)
    forged = replace(genesis, validators=ValidatorSet(0, members, genesis.suite))
    with pytest.raises(ConfigError, match="validator-1: BLS key: the proof of possession"):
        load(network, forged)


def test_another_key_or_none_is_refused(network: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(network, copied)
    key = copied / "nodes/validator-1/keys/bls.key"
    key.unlink()
    with pytest.raises(CryptoError, match=r"bls\.key"):
        load(copied)
    shutil.copy(copied / "nodes/validator-2/keys/bls.key", key)
    with pytest.raises(ConfigError, match="is not the key that this chain gives validator-1"):
        load(copied)
