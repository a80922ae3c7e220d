"""The genesis tool: what it makes fits together, and a failure leaves nothing."""

from __future__ import annotations

import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.genesis import Genesis, Parameters, Role
from node.config import Address, ClientProfile, NodeConfig
from node.crypto.authority import AuthorityCertificate
from node.crypto.certificate import encode_pem
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    load_aggregate_signer,
    load_signer,
    load_tls_key_pem,
)
from node.crypto.member_certificate import verify_identity
from node.errors import ConfigError
from node.operations.provision import (
    NetworkPlan,
    provision,
    render_toml,
    shared_machine_parameters,
    update_toml,
    write_addresses,
)
from node.operations.topology import PORTS_PER_NODE, Topology, is_vacant
from tests.suites import SUITE

CREATED_MS = 1_700_000_000_000
PORTS = tuple(range(20_000, 20_016))


def plan(nodes: int = 4, **changes: object) -> NetworkPlan:
    ports = PORTS[: PORTS_PER_NODE * nodes]
    given = {"name": "trial", "suite": SUITE, "created_ms": CREATED_MS, "ports": ports}
    return NetworkPlan(**{**given, "node_count": nodes, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network") / "testnet"
    provision(folder, plan())
    return folder


def test_every_node_holds_the_genesis_that_the_topology_names(home: Path) -> None:
    topology = Topology.load(home)
    holders = [home, *(home / node.home for node in topology.nodes)]
    for holder in holders:
        genesis = Genesis.decode((holder / "genesis.cbor").read_bytes())
        assert genesis.chain_id.hex() == topology.chain_id
    assert [v.validator_id for v in genesis.validators.validators] == [
        node.id for node in topology.nodes
    ]
    assert genesis.testnet
    assert genesis.created_ms == topology.created_ms == CREATED_MS


def test_settings_name_the_recorded_ports_and_the_other_nodes(home: Path) -> None:
    topology = Topology.load(home)
    for node in topology.nodes:
        config = NodeConfig.load(home / node.home)
        assert config.validator_id == node.id
        assert (config.peer_address.port, config.client_address.port) == node.ports[:2]
        assert config.metrics_address is not None
        assert config.metrics_address.port == node.metrics_port
        assert config.http_address == Address("127.0.0.1", node.http_port)
        others = {other.id: other.peer_port for other in topology.nodes if other.id != node.id}
        assert {peer.validator_id: peer.address.port for peer in config.peers} == others
        assert all(peer.address.host == "127.0.0.1" for peer in config.peers)


def test_each_validator_key_opens_and_is_the_one_in_genesis(home: Path) -> None:
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    for validator in genesis.validators.validators:
        config = NodeConfig.load(home / "nodes" / validator.validator_id)
        assert config.key_file is not None
        secret = KeyFileSecret.load(config.key_file)
        vote = load_signer(config.keys / "vote.key", secret, KeyPurpose.VOTE)
        cosignature = load_signer(config.keys / "cosignature.key", secret, KeyPurpose.COSIGNATURE)
        assert vote.public_key.encoded == validator.vote_key
        assert cosignature.public_key.encoded == validator.cosignature_key
        assert validator.aggregate_key is None


def test_certificates_are_issued_by_the_organisation_that_genesis_names(home: Path) -> None:
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    authorities = {o.organisation_id: o.ca_certificate for o in genesis.organisations}
    bundle = (home / "ca-bundle.pem").read_bytes()
    assert bundle.count(b"BEGIN CERTIFICATE") == len(authorities)
    for validator in genesis.validators.validators:
        folder = home / "nodes" / validator.validator_id
        authority = authorities[validator.organisation]
        identity = verify_identity((folder / "tls.pem").read_bytes(), authority, CREATED_MS)
        assert (identity.identity_id, identity.role) == (validator.validator_id, "validator")
        assert (folder / "ca-bundle.pem").read_bytes() == bundle
        own = home / "organisations" / validator.organisation / "ca.pem"
        assert own.read_bytes() == encode_pem(authority)


def test_clients_may_sign_and_connect_as_genesis_says(home: Path) -> None:
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    roles = {identity.identity_id: identity.role for identity in genesis.identities}
    admins = dict.fromkeys(("admin-1", "admin-2", "admin-3", "admin-4"), Role.ADMIN)
    stampers = dict.fromkeys(("org-1-tsa", "org-2-tsa", "org-3-tsa", "org-4-tsa"), Role.AGENCY)
    assert roles == {"agency-1": Role.AGENCY, "auditor-1": Role.AUDITOR, **admins, **stampers}
    authorities = {each.organisation_id: each.ca_certificate for each in genesis.organisations}
    assert {each.organisation for each in genesis.identities} == set(authorities)
    clients = [each for each in genesis.identities if each.identity_id not in stampers]
    for identity in clients:
        profile = ClientProfile.load(home / "clients" / identity.identity_id / "profile.toml")
        assert profile.chain_id == genesis.chain_id
        assert profile.genesis.resolve() == home / "genesis.cbor"
        assert profile.key_file is not None
        secret = KeyFileSecret.load(profile.key_file)
        folder = profile.credentials_of(identity.identity_id)
        signer = load_signer(folder / "client.key", secret, KeyPurpose.IDENTITY)
        assert signer.public_key.encoded == identity.public_key
        assert load_tls_key_pem(folder / "tls.key", secret).startswith(b"-----BEGIN PRIVATE KEY")
        certificate = (folder / "client.pem").read_bytes()
        named = verify_identity(certificate, authorities[identity.organisation], genesis.created_ms)
        assert (named.identity_id, named.role) == (identity.identity_id, identity.role.name.lower())
        assert named.not_after_ms == identity.not_after_ms


def test_the_shared_profile_reaches_every_validator_as_the_agency(home: Path) -> None:
    profile = ClientProfile.load(home / "profile.toml")
    assert profile.identity == "agency-1"
    assert [(e.validator_id, e.address.port) for e in profile.endpoints] == [
        (node.id, node.client_port) for node in Topology.load(home).nodes
    ]
    assert (profile.credentials_of("auditor-1") / "client.pem").is_file()


def test_each_node_can_stamp_time_under_an_identity_of_its_organisation(home: Path) -> None:
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    authorities = {o.organisation_id: o.ca_certificate for o in genesis.organisations}
    identities = {identity.identity_id: identity for identity in genesis.identities}
    for validator in genesis.validators.validators:
        config = NodeConfig.load(home / "nodes" / validator.validator_id)
        assert config.timestamp_identity is not None
        assert config.key_file is not None
        identity = identities[config.timestamp_identity]
        assert identity.organisation == validator.organisation
        secret = KeyFileSecret.load(config.key_file)
        key = load_signer(config.keys / "tsa-identity.key", secret, KeyPurpose.IDENTITY)
        assert key.public_key.encoded == identity.public_key
        stamper = load_signer(config.keys / "tsa.key", secret, KeyPurpose.TIMESTAMP)
        certificate = AuthorityCertificate.read((config.home / "tsa.pem").read_bytes())
        assert certificate.is_issued_by(
            AuthorityCertificate.read(authorities[validator.organisation])
        )
        assert certificate.is_of(stamper.public_key)


def test_secrets_are_for_the_owner_alone_and_encrypted(home: Path) -> None:
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    private = [*home.rglob("*.key")]
    assert len(private) == 1 + 4 + 4 * 5 + (2 + 4) * 2
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert b"PRIVATE KEY" not in path.read_bytes()


def test_new_addresses_keep_what_else_an_operator_set(tmp_path: Path) -> None:
    home = tmp_path / "testnet"
    topology = provision(home, plan(nodes=2))
    settings = home / "nodes/validator-1/node.toml"
    settings.write_text(
        settings.read_text(encoding="utf-8").replace(
            "version = 1", 'version = 1\nlog_level = "debug"'
        ),
        encoding="utf-8",
    )
    write_addresses(home, topology)
    assert NodeConfig.load(settings.parent).log_level == "debug"


def test_aggregate_keys_come_with_a_proof_of_possession(tmp_path: Path) -> None:
    provision(tmp_path / "testnet", plan(nodes=1, with_aggregate_keys=True))
    home = tmp_path / "testnet/nodes/validator-1"
    genesis = Genesis.decode((tmp_path / "testnet/genesis.cbor").read_bytes())
    genesis.validators.check_possessions()
    (validator,) = genesis.validators.validators
    assert validator.aggregate_key is not None
    secret = KeyFileSecret.load(tmp_path / "testnet/secret.key")
    key = load_aggregate_signer(home / "keys/bls.key", secret)
    assert key.public_key.encoded == validator.aggregate_key.key


@pytest.mark.parametrize("nodes", [0, 65])
def test_a_number_of_nodes_out_of_bounds_is_refused(tmp_path: Path, nodes: int) -> None:
    with pytest.raises(ConfigError, match=r"expected 1\.\.64 nodes"):
        provision(tmp_path / "testnet", plan(nodes=nodes))
    assert is_vacant(tmp_path / "testnet")


def test_a_folder_in_use_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(ConfigError, match="not empty") as raised:
        provision(tmp_path, plan(nodes=1))
    assert raised.value.code == "GC-2102"
    assert raised.value.fix == "name another folder with --home"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".testnet.unfinished"
    (left / "nodes").mkdir(parents=True)
    provision(tmp_path / "testnet", plan(nodes=1))
    assert [path.name for path in tmp_path.iterdir()] == ["testnet"]


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be made") as raised:
        provision(tmp_path / ("n" * 250), plan(nodes=1))  # the unfinished folder's name is too long
    assert raised.value.code == "GC-2103"
    assert not [*tmp_path.iterdir()]


def test_the_files_of_settings_are_plain_toml(home: Path) -> None:
    for path in [*home.rglob("*.toml")]:
        assert tomllib.loads(path.read_text(encoding="utf-8"))["version"] == 1


def test_settings_in_tables_outlive_a_change_of_others(tmp_path: Path) -> None:
    """A network that finds its ports taken writes new ones: an operator's own tables stay."""
    path = tmp_path / "node.toml"
    path.write_text('storage.engine = "rocksdb"\nlisten = "a"\n[[peers]]\nid = "x"\n')
    update_toml(path, {"listen": "b"})
    expected = {"listen": "b", "storage": {"engine": "rocksdb"}, "peers": [{"id": "x"}]}
    assert tomllib.loads(path.read_text()) == expected
    assert tomllib.loads(render_toml({"t": {"n": 1}, "l": [{"b": True}], "s": "x"}).decode()) == {
        "t": {"n": 1},
        "l": [{"b": True}],
        "s": "x",
    }


@pytest.mark.parametrize(
    ("nodes", "cores", "view_timeout_ms", "fairness_ms"),
    [
        (4, 2, 1_000, 5_000),
        (16, 2, 4_000, 5_000),
        (16, 16, 1_000, 5_000),
        (64, 2, 16_000, 16_000),
        (64, 1, 30_000, 30_000),
    ],
)
def test_views_may_take_longer_where_many_share_a_core(
    nodes: int, cores: int, view_timeout_ms: int, fairness_ms: int
) -> None:
    parameters = shared_machine_parameters(nodes, cores)
    changed = {"view_timeout_ms": view_timeout_ms, "fairness_ms": fairness_ms}
    assert parameters == replace(Parameters(), **changed)
    assert Parameters.from_value(parameters.to_value()) == parameters, "a genesis may state them"
