"""Another identity for a node that runs: prepared beside the one in use, then taken into use."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.chain.genesis import Genesis, Role
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.errors import ConfigError
from node.operations.stamping_identity import (
    NEXT_KEY_FILE,
    next_identity_id,
    prepare_identity,
    use_identity,
)
from node.service.home import TSA_IDENTITY_KEY_FILE
from tests.unit.cli.command import run

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stamping") / "network"
    assert run("testnet", "init", "--home", home, "-n", 1, "--json").code == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "network")
    return tmp_path / "network"


def test_an_identity_is_prepared_beside_the_one_in_use_and_then_used(home: Path) -> None:
    node = home / "nodes" / "validator-1"
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    secret = KeyFileSecret.load(home / "secret.key")
    config = NodeConfig.load(node)
    in_use = (node / TSA_IDENTITY_KEY_FILE).read_bytes()
    identity_id = next_identity_id(config)
    assert identity_id == "org-1-tsa.2"
    identity = prepare_identity(config, genesis, secret, identity_id, NOW_MS)
    assert (identity.organisation, identity.role) == ("org-1", Role.AGENCY)
    assert identity.not_before_ms < NOW_MS < NOW_MS + 700 * DAY_MS < identity.not_after_ms
    assert (node / TSA_IDENTITY_KEY_FILE).read_bytes() == in_use
    again = prepare_identity(config, genesis, secret, "another", NOW_MS + 1)
    assert again.public_key == identity.public_key

    use_identity(node, identity_id)
    used = NodeConfig.load(node)
    assert used.timestamp_identity == identity_id
    assert used.client_address == config.client_address
    key = load_signer(node / TSA_IDENTITY_KEY_FILE, secret, KeyPurpose.IDENTITY)
    assert key.public_key.encoded == identity.public_key
    assert not (node / NEXT_KEY_FILE).exists()
    assert next_identity_id(used) == "org-1-tsa.3"


def test_nothing_is_used_that_was_not_prepared(home: Path) -> None:
    node = home / "nodes" / "validator-1"
    before = (node / "node.toml").read_bytes()
    with pytest.raises(ConfigError, match="no identity was prepared"):
        use_identity(node, "org-1-tsa.2")
    assert (node / "node.toml").read_bytes() == before


def test_a_node_without_one_gets_its_first(home: Path) -> None:
    node = home / "nodes" / "validator-1"
    lines = (node / "node.toml").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("timestamp_identity")]
    (node / "node.toml").write_text("\n".join(kept) + "\n")
    assert next_identity_id(NodeConfig.load(node)) == "validator-1-tsa"
