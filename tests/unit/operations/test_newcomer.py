"""A node that joins a local network: files whole or absent, and the network's files about it."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.genesis import Genesis, Role
from node.chain.governance import (
    AddOrganisation,
    RegisterIdentity,
    SetEndpoint,
    members_after,
    possession_bytes,
)
from node.config import HASHING, ClientProfile, NodeConfig
from node.crypto.member_certificate import verify_identity
from node.errors import ConfigError
from node.operations.introduction import Newcomer
from node.operations.newcomer import describe, record_change, settle
from node.operations.provision import NetworkPlan, provision, update_toml
from node.operations.topology import PORTS_PER_NODE, Topology, find_free_ports
from node.service.home import log_identity, require_whole
from node.storage.wal import WriteAheadLog
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
    )
    provision(folder, plan)
    return folder


def test_a_home_is_whole_and_of_a_new_organisation(home: Path) -> None:
    entry = settle(home, "city", "org-9", NOW_MS)
    folder = home / entry.home
    require_whole(folder)
    config = NodeConfig.load(folder)
    assert {peer.validator_id for peer in config.peers} == {"validator-1", "validator-2"}
    genesis = Genesis.decode((folder / "genesis.cbor").read_bytes())
    log, _ = WriteAheadLog.open(config.wal, log_identity(genesis, "city"))
    log.close()
    authority = (home / "organisations/org-9/ca.pem").read_bytes()
    shown = verify_identity((folder / "tls.pem").read_bytes(), authority, NOW_MS)
    assert (shown.identity_id, shown.role, shown.organisation) == ("city", "validator", "org-9")
    for holder in (home, folder, home / "nodes/validator-1"):
        assert (holder / "ca-bundle.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 3
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not [*home.rglob("*.unfinished")]


@pytest.mark.parametrize("hashing", HASHING)
def test_it_hashes_as_the_nodes_do_that_it_shares_the_machine_with(
    home: Path, hashing: str
) -> None:
    update_toml(home / "nodes/validator-1/node.toml", {"hashing": hashing})
    entry = settle(home, "city", "org-1", NOW_MS)
    assert NodeConfig.load(home / entry.home).hashing == hashing


def test_it_is_known_as_a_learner_until_it_is_recorded(home: Path) -> None:
    entry = settle(home, "city", "org-1", NOW_MS)
    assert not entry.is_member
    topology = Topology.load(home)
    assert [each.id for each in topology.members] == ["validator-1", "validator-2"]
    assert topology.quorum == 2
    profile = ClientProfile.load(home / "profile.toml")
    assert profile.endpoints[-1].validator_id == "city"
    record_change(home, joined=["city"], left=["validator-2"])
    topology = Topology.load(home)
    assert [each.id for each in topology.members] == ["validator-1", "city"]
    assert (home / "nodes/validator-2/keys/vote.key").is_file()
    config = NodeConfig.load(home / "nodes/validator-1")
    assert [peer.validator_id for peer in config.peers] == ["city"]


def without_signatures(newcomer: Newcomer) -> Newcomer:
    """SM2 signs the same thing differently each time."""
    return replace(newcomer, joining=replace(newcomer.joining, possession=b""))


def test_what_the_chain_is_told_is_what_lies_in_the_home(home: Path) -> None:
    entry = settle(home, "city", "org-9", NOW_MS)
    newcomer = describe(home, entry)
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    again = describe(home, settle(home, "city", "org-9", NOW_MS + 1))
    assert without_signatures(again) == without_signatures(newcomer)
    validator = newcomer.joining.validator
    key = genesis.suite.load_public_key(validator.vote_key)
    assert key.verify(possession_bytes(genesis.chain_id, validator), newcomer.joining.possession)
    assert newcomer.identity.role is Role.VALIDATOR
    assert newcomer.endpoint == SetEndpoint("city", newcomer.endpoint.endpoint)
    assert newcomer.endpoint.endpoint.port == entry.peer_port
    added, *others = newcomer.registration(["org-1", "org-2"])
    assert isinstance(added, AddOrganisation)
    stamping = newcomer.timestamp_identity
    assert (stamping.identity_id, stamping.organisation) == ("city-tsa", "org-9")
    assert stamping.role is Role.AGENCY
    config = NodeConfig.load(home / "nodes/city")
    assert config.timestamp_identity == stamping.identity_id
    registered = (RegisterIdentity(newcomer.identity), RegisterIdentity(stamping))
    assert tuple(others) == (*registered, newcomer.endpoint)
    assert newcomer.registration(["org-9"]) == tuple(others)
    after = members_after(genesis.validators.validators, [newcomer.joining])
    assert [each.validator_id for each in after] == ["validator-1", "validator-2", "city"]


def test_no_name_is_used_twice(home: Path) -> None:
    settle(home, "city", "org-9", NOW_MS)
    record_change(home, joined=["city"], left=[])
    for name in ("city", "validator-1"):
        with pytest.raises(ConfigError, match="no name is used twice"):
            settle(home, name, "org-9", NOW_MS)
    record_change(home, joined=[], left=["city"])
    with pytest.raises(ConfigError, match="no name is used twice"):
        settle(home, "city", "org-9", NOW_MS)


def test_what_a_killed_call_left_is_cleared_away(home: Path) -> None:
    left = home / "nodes/.city.unfinished/keys"
    left.mkdir(parents=True)
    settle(home, "city", "org-9", NOW_MS)
    assert not [*home.rglob("*.unfinished")]
