"""Files of nodes and clients: what is read, and that whatever is wrong is named."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path

import pytest

import node
from node.cli.remedies import NO_NODE_FIX
from node.config import Address, ClientProfile, Endpoint, NodeConfig, StorageConfig, VaultConfig
from node.errors import ConfigError

ROOT = Path(node.__file__).parent
NODE = """\
version = 1
validator_id = "validator-1"
peer_address = "127.0.0.1:7100"
client_address = "[::1]:7101"
metrics_address = "127.0.0.1:7102"
http_address = "127.0.0.1:7103"
key_file = "../../secret.key"
verify_threads = 4
hashing = "kernels"
log_level = "debug"
storage.engine = "rocksdb"
storage.cache_mib = 8
storage.write_buffer_mib = 4
vault.url = "s3://bucket/vault"
vault.max_gib = 7

[[peers]]
validator_id = "validator-2"
address = "node-2.example:7110"
"""

PROFILE = f"""\
version = 1
chain_id = "{"ab" * 32}"
suite = "international"
identity = "agency-1"
credentials = "clients/{{identity}}"
ca_bundle = "ca-bundle.pem"
genesis = "genesis.cbor"

[[endpoints]]
validator_id = "validator-1"
address = "127.0.0.1:7101"
"""


def load_node(home: Path, text: str) -> NodeConfig:
    (home / "node.toml").write_text(text, encoding="utf-8")
    return NodeConfig.load(home)


def load_profile(home: Path, text: str) -> ClientProfile:
    path = home / "profile.toml"
    path.write_text(text, encoding="utf-8")
    return ClientProfile.load(path)


def test_a_complete_node_file_is_read(tmp_path: Path) -> None:
    config = load_node(tmp_path, NODE)
    assert config == NodeConfig(
        home=tmp_path.resolve(),
        validator_id="validator-1",
        peer_address=Address("127.0.0.1", 7100),
        client_address=Address("::1", 7101),
        metrics_address=Address("127.0.0.1", 7102),
        http_address=Address("127.0.0.1", 7103),
        peers=(Endpoint("validator-2", Address("node-2.example", 7110)),),
        key_file=tmp_path.resolve() / "../../secret.key",
        verify_threads=4,
        hashing="kernels",
        log_level="debug",
        storage=StorageConfig(engine="rocksdb", cache_mib=8, write_buffer_mib=4),
        vault=VaultConfig(url="s3://bucket/vault", max_gib=7),
    )


def test_what_a_node_file_leaves_out_has_a_default(tmp_path: Path) -> None:
    config = load_node(tmp_path, "\n".join(NODE.splitlines()[:4]))
    assert (config.metrics_address, config.http_address) == (None, None)
    assert config.key_file is None
    assert config.peers == ()
    assert (config.verify_threads, config.log_level) == (2, "info")
    assert config.hashing == "auto"
    assert config.snapshot_gap_blocks == 50_000
    assert config.storage == StorageConfig(engine="auto", cache_mib=32, write_buffer_mib=32)
    assert config.vault == VaultConfig(url=None, max_gib=100)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("version = 1", "version = 2", "version: expected a whole number of 1..1, got 2"),
        ("version = 1\n", "", "version: missing field"),
        ('"validator-1"', '""', "validator_id: expected a text"),
        ('"validator-1"', "7", "validator_id: expected a text, got 7"),
        ('"validator-1"', f'"{"v" * 65}"', "validator_id: expected at most 64 bytes"),
        ('"127.0.0.1:7100"', '"127.0.0.1"', "peer_address: expected host:port"),
        ('"127.0.0.1:7100"', '":7100"', "peer_address: expected host:port"),
        ('"127.0.0.1:7100"', '"::1:7100"', "peer_address: expected host:port"),
        ('"127.0.0.1:7100"', '"127.0.0.1:0"', "peer_address: expected host:port"),
        ('"127.0.0.1:7100"', '"127.0.0.1:65536"', "peer_address: expected host:port"),
        ('"127.0.0.1:7100"', '"[::1]:7101"', "client_address: expected an address of its own"),
        ('"127.0.0.1:7103"', '"127.0.0.1:7100"', "client_address: expected an address of its own"),
        ("verify_threads = 4", "verify_threads = 0", "verify_threads: expected a whole number"),
        ("verify_threads = 4", "snapshot_gap_blocks = 19", "snapshot_gap_blocks: expected a whole"),
        ("storage.engine", "storage.motor", "storage.motor: unknown field"),
        ("vault.max_gib = 7", "vault.max_gib = 0", "vault.max_gib: expected a whole number of 1.."),
        ("vault.url", "vault.uri", "vault.uri: unknown field"),
        ('vault.url = "s3://bucket/vault"', "vault.url = 1", "vault.url: expected a text"),
        (
            'engine = "rocksdb"',
            'engine = "sqlite"',
            "storage.engine: expected one of auto, leveldb",
        ),
        ("cache_mib = 8", "cache_mib = 0", "storage.cache_mib: expected a whole number of 1.."),
        (
            "storage.write_buffer_mib = 4",
            "storage.write_buffer_mib = 1025",
            "write_buffer_mib: expected",
        ),
        ("verify_threads = 4", "verify_threads = true", "verify_threads: expected a whole number"),
        ('"debug"', '"loud"', "log_level: expected one of debug, info, warning, error"),
        ('"kernels"', '"fast"', "hashing: expected one of auto, kernels, hashlib"),
        ("log_level", "log_levle", "log_levle: unknown field"),
        ('address = "node-2', 'adress = "node-2', "peers[0].address: missing field"),
        ('"validator-2"', '"validator-1"', "peers: 'validator-1' is this node itself"),
        ("[[peers]]", "[peers]", "peers: expected at most 64 tables"),
    ],
)
def test_a_bad_field_of_a_node_file_is_named(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in NODE
    with pytest.raises(ConfigError) as raised:
        load_node(tmp_path, NODE.replace(old, new, 1))
    assert named in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert raised.value.fix


def test_a_validator_listed_twice_is_refused(tmp_path: Path) -> None:
    peer = NODE[NODE.index("[[peers]]") :]
    with pytest.raises(ConfigError, match="peers: expected each validator once"):
        load_node(tmp_path, NODE + peer)


@pytest.mark.parametrize(
    "content",
    [b"version = ", b"\xff\xfe", b"version = " + b"9" * 5_000, b"version = " + b"[" * 100_000],
    ids=["cut short", "not text", "a number without end", "nested too deep"],
)
def test_a_file_that_is_not_toml_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "node.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"node\.toml"):
        NodeConfig.load(tmp_path)


@pytest.mark.parametrize(
    "marked", [codecs.BOM_UTF8 + NODE.encode(), NODE.encode("utf-16")], ids=["utf-8", "utf-16"]
)
def test_a_byte_order_mark_is_named(tmp_path: Path, marked: bytes) -> None:
    (tmp_path / "node.toml").write_bytes(marked)
    with pytest.raises(ConfigError, match="begins with a byte order mark") as refused:
        NodeConfig.load(tmp_path)
    assert str(tmp_path / "node.toml") in str(refused.value)


def test_every_settings_file_is_read_by_one_function() -> None:
    """So that a byte order mark is named in each, as in masking policies, which are no settings."""
    reading = re.compile(r"tomllib\.loads?\((?!read_text\()")
    found = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if reading.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["disclosure/masking.py"]


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "profile.toml")
    with pytest.raises(ConfigError, match=r"profile\.toml: not a file"):
        ClientProfile.load(tmp_path / "profile.toml")


def test_a_missing_file_says_where_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file") as node_missing:
        NodeConfig.load(tmp_path)
    with pytest.raises(ConfigError, match="no such file") as profile_missing:
        ClientProfile.load(tmp_path / "profile.toml")
    assert node_missing.value.fix == NO_NODE_FIX
    assert "folder of a network, or a client's profile.toml" in profile_missing.value.fix


def test_a_profile_is_read_and_finds_credentials_by_identity(tmp_path: Path) -> None:
    profile = load_profile(tmp_path, PROFILE)
    assert profile.chain_id == b"\xab" * 32
    assert profile.endpoints == (Endpoint("validator-1", Address("127.0.0.1", 7101)),)
    assert profile.credentials_of("auditor-1") == tmp_path.resolve() / "clients/auditor-1"
    assert profile.key_file is None


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("ab" * 32, "ab" * 31, "chain_id: expected 64 hexadecimal digits"),
        ("ab" * 32, "xy" * 32, "chain_id: expected 64 hexadecimal digits"),
        (
            '[[endpoints]]\nvalidator_id = "validator-1"\naddress = "127.0.0.1:7101"',
            "",
            "endpoints",
        ),
        ('genesis = "genesis.cbor"', "", "genesis: missing field"),
        ('"127.0.0.1:7101"', '"here"', "endpoints[0].address: expected host:port"),
    ],
)
def test_a_bad_field_of_a_profile_is_named(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert old in PROFILE
    with pytest.raises(ConfigError) as raised:
        load_profile(tmp_path, PROFILE.replace(old, new, 1))
    assert named in str(raised.value)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::1]:65535", "validator-1.example:443"])
def test_an_address_is_written_as_it_is_read(text: str) -> None:
    assert str(Address.parse(text)) == text


def test_a_storage_that_is_no_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="storage: expected a table"):
        load_node(tmp_path, "storage = 1\n" + "\n".join(NODE.splitlines()[:4]))
