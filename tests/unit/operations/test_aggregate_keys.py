"""Who joins a chain with compact certificates brings a BLS key and its proof, all the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from node.chain.genesis import Genesis
from node.chain.governance import members_after
from node.config import Address
from node.config import Endpoint as KnownPeer
from node.crypto.keystore import KeyFileSecret, load_aggregate_signer
from node.errors import ConfigError
from node.operations.homes import HomePlan, make_home
from node.operations.introduction import Introduction
from node.operations.newcomer import describe, settle
from node.operations.provision import NetworkPlan, provision
from node.operations.topology import PORTS_PER_NODE, find_free_ports
from tests.suites import SUITE

NOW_MS = 1_700_000_000_000


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "testnet"
    plan = NetworkPlan(
        name="trial",
        suite=SUITE,
        created_ms=NOW_MS,
        node_count=2,
        ports=find_free_ports("127.0.0.1", 2 * PORTS_PER_NODE),
        with_aggregate_keys=True,
    )
    provision(folder, plan)
    return folder


@pytest.fixture
def genesis(home: Path) -> Genesis:
    return Genesis.decode((home / "genesis.cbor").read_bytes())


def test_a_newcomer_of_the_network_registers_its_key(home: Path, genesis: Genesis) -> None:
    entry = settle(home, "city", "org-9", NOW_MS)
    joining = describe(home, entry).joining
    again = describe(home, entry).joining.validator
    assert joining.validator == again, "the proof can be given again"
    registered = joining.validator.aggregate_key
    assert registered is not None
    registered.check()
    key = home / entry.home / "keys/bls.key"
    sharer = load_aggregate_signer(key, KeyFileSecret.load(home / "secret.key"))
    assert sharer.public_key.encoded == registered.key
    founders = genesis.validators.validators
    assert members_after(founders, [joining])[-1].aggregate_key == registered


def introduced(folder: Path, genesis: Genesis) -> bytes:
    plan = HomePlan(
        node_id="city-a",
        organisation_id="city",
        genesis=genesis,
        peer_address=Address("::", 7_100),
        client_address=Address("::", 7_101),
        host="2001:db8::7",
        peers=(KnownPeer("validator-1", Address("::1", 7_200)),),
    )
    make_home(folder / "city-a", plan, folder / "authority", None, NOW_MS)
    return (folder / "city-a/introduction.json").read_bytes()


def test_an_introduction_carries_the_key_and_its_proof(tmp_path: Path, genesis: Genesis) -> None:
    data = introduced(tmp_path, genesis)
    introduction = Introduction.decode(data, genesis)
    registered = introduction.newcomer.joining.validator.aggregate_key
    assert registered is not None
    registered.check()
    assert introduction.encode() == data


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"bls_key": "", "bls_possession": ""}, "expected a BLS key where"),
        ({"bls_possession": "00" * 96}, "BLS key: the proof of possession does not verify"),
        ({"bls_key": "c0" + "00" * 47}, "public key: expected"),
        ({"bls_key": ""}, "BLS key: expected 48 bytes"),
    ],
)
def test_one_with_another_key_is_refused(
    tmp_path: Path, genesis: Genesis, changes: dict[str, str], reason: str
) -> None:
    content = {**json.loads(introduced(tmp_path, genesis)), **changes}
    with pytest.raises(ConfigError, match=reason):
        Introduction.decode(json.dumps(content).encode(), genesis)
