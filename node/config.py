"""What one process is told at its start: `NodeConfig` and `ClientProfile`, read from TOML.

Nothing here may influence consensus; what every node shares is in the genesis. A file is read
whole, strictly and once: an unknown, missing or unusable field is refused by its name. Files refer
to others by paths relative to their own folder, so that a home can be moved.
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, Self

from node.errors import ConfigError
from node.limits import IDENTITY_ID_BYTES_MAX, VALIDATORS_MAX

NODE_FILE: Final = "node.toml"
PROFILE_FILE: Final = "profile.toml"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")

STORAGE_ENGINES: Final = ("auto", "leveldb", "rocksdb")
CUSTODY_DRIVERS: Final = ("file", "pkcs11", "sdf")
HASHING: Final = ("auto", "kernels", "hashlib")

SNAPSHOT_GAP_BLOCKS: Final = 50_000
SNAPSHOT_GAP_BLOCKS_MIN: Final = 20
"""Less would take a validator that only missed a moment for one far behind."""

TIMESTAMPS_PER_MINUTE: Final = 600

_VERSION: Final = 1
_PORT_MAX: Final = 65_535
_VERIFY_THREADS_MAX: Final = 256
_TIMESTAMPS_PER_MINUTE_MAX: Final = 1_000_000
_SNAPSHOT_GAP_BLOCKS_MAX: Final = 1_000_000_000
_CACHE_MIB_MAX: Final = 65_536
_VAULT_GIB_MAX: Final = 1_048_576
_WRITE_BUFFER_MIB_MAX: Final = 1_024
_CHAIN_ID_BYTES: Final = 32
_ABSENT: Final = object()
_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def is_marked(data: bytes) -> bool:
    """Tell whether a text begins with a byte order mark: some editors write one, we read none."""
    return data.startswith(_MARKS)


def read_text(path: Path) -> str:
    """Return the text of a settings file; raises `ConfigError` where that is marked.

    Raises `OSError` for what cannot be read, and `ValueError` for what is no UTF-8.
    """
    data = path.read_bytes()
    if is_marked(data):
        raise ConfigError(
            f"{path}: begins with a byte order mark (BOM)",
            fix="save it as UTF-8 without a byte order mark",
        )
    return data.decode()


@dataclass(frozen=True, slots=True)
class Address:
    """Where something listens. Written `host:port`, an IPv6 host in brackets: `[::1]:7100`."""

    host: str
    """DNS name or IP address, without brackets."""
    port: int
    """1..65535."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `host:port`; raises `ConfigError` saying what was expected."""
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        elif ":" in host:
            colon = ""  # an IPv6 address without brackets: nobody can tell where it ends
        is_number = port.isascii() and port.isdigit()
        if not (colon and host and is_number and 0 < int(port) <= _PORT_MAX):
            raise ConfigError(f"expected host:port with a port of 1..{_PORT_MAX}, got {text!r:.80}")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A validator and where it listens: to its peers in a node's file, to clients in a profile."""

    validator_id: str
    address: Address
    authority: Path | None = None
    """In a profile, where no other than this (PEM) certifies it; None: those of the bundle do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """The table `storage` of a node's file: its database, and what memory that may take."""

    engine: str = "auto"
    """One of `STORAGE_ENGINES`; auto: what made the database, for a new one what is installed."""
    cache_mib: int = 32
    """Blocks of the database kept in memory, beside the operating system's own cache."""
    write_buffer_mib: int = 32
    """What was written lately, until it is sorted into a table; up to twice this is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultConfig:
    """The table `vault` of a node's file: where sealed content is kept, and how much of it."""

    url: str | None = None
    """A store that fsspec reaches (extra `[s3]`), such as s3://bucket/folder; None: the home."""
    max_gib: int = 100
    """Of content in the home; a store elsewhere has bounds of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustodyConfig:
    """The table `custody` of a node's file: the device that holds keys which are no files."""

    driver: str
    """One of `CUSTODY_DRIVERS`; file: there is no device."""
    module: Path | None = None
    """The library of the device's maker."""
    token: str = ""
    """The label of the token in it; PKCS #11 alone has labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """One validator process: who it is, where it listens, whom it connects to."""

    home: Path
    """Absolute folder of `node.toml`; not a field of the file. All paths are absolute."""
    validator_id: str
    peer_address: Address
    """Where other validators connect."""
    client_address: Address
    """Where clients connect."""
    metrics_address: Address | None = None
    """Where Prometheus scrapes, in clear text; None serves no metrics."""
    http_address: Address | None = None
    """Where those without a certificate are served over HTTP, in clear text; None: nowhere."""
    timestamp_identity: str | None = None
    """Under which identity requests for time stamps are recorded; None: none are taken."""
    timestamps_per_minute: int = TIMESTAMPS_PER_MINUTE
    """How many such requests one client may make: an address, or an identity of the chain."""
    peers: tuple[Endpoint, ...] = ()
    """The other validators."""
    key_file: Path | None = None
    """The secret that opens the keys; None means a passphrase from the environment."""
    verify_threads: int = 2
    """Threads that check transaction signatures."""
    hashing: str = "auto"
    """One of `HASHING`: kernels hash many things at once, for 140 MB; `auto`: where installed.

    They are the extra `[kernels]`.
    """
    log_level: str = "info"
    """One of `LOG_LEVELS`."""
    storage: StorageConfig = StorageConfig()
    vault: VaultConfig = VaultConfig()
    custody: CustodyConfig = CustodyConfig(driver="file")
    snapshot_gap_blocks: int = SNAPSHOT_GAP_BLOCKS
    """Further behind than this, the state is fetched instead of the blocks that led to it.

    Nodes of one network should agree: states are kept for others every quarter of it.
    """

    @classmethod
    def load(cls, home: Path) -> Self:
        """Read `node.toml` of a node's home; raises `ConfigError` naming file and field."""
        fields = _Fields.read(
            home.resolve() / NODE_FILE,
            missing="name the folder of a node, as .testnet/nodes/validator-1 is one",
        )
        validator_id = fields.identity("validator_id")
        config = cls(
            home=fields.folder,
            validator_id=validator_id,
            peer_address=fields.address("peer_address"),
            client_address=fields.address("client_address"),
            metrics_address=fields.address_or_none("metrics_address"),
            http_address=fields.address_or_none("http_address"),
            timestamp_identity=fields.identity_or_none("timestamp_identity"),
            timestamps_per_minute=fields.integer(
                "timestamps_per_minute",
                least=1,
                most=_TIMESTAMPS_PER_MINUTE_MAX,
                default=TIMESTAMPS_PER_MINUTE,
            ),
            peers=fields.endpoints("peers"),
            key_file=fields.path_or_none("key_file"),
            verify_threads=fields.integer(
                "verify_threads", least=1, most=_VERIFY_THREADS_MAX, default=2
            ),
            hashing=fields.choice("hashing", HASHING, default="auto"),
            log_level=fields.choice("log_level", LOG_LEVELS, default="info"),
            storage=fields.storage("storage"),
            vault=fields.vault("vault"),
            custody=fields.custody("custody"),
            snapshot_gap_blocks=fields.integer(
                "snapshot_gap_blocks",
                least=SNAPSHOT_GAP_BLOCKS_MIN,
                most=_SNAPSHOT_GAP_BLOCKS_MAX,
                default=SNAPSHOT_GAP_BLOCKS,
            ),
        )
        fields.finish()
        if validator_id in (peer.validator_id for peer in config.peers):
            fields.refuse("peers", f"{validator_id!r} is this node itself")
        own = (
            config.peer_address,
            config.client_address,
            config.metrics_address,
            config.http_address,
        )
        taken = [str(address) for address in own if address is not None]
        if len(frozenset(taken)) != len(taken):
            fields.refuse("client_address", "expected an address of its own for each use")
        return config

    @property
    def keys(self) -> Path:
        """Folder of the node's private keys; what each is for stands in node/service/home.py."""
        return self.home / "keys"

    @property
    def data(self) -> Path:
        """Folder of the database."""
        return self.home / "data"

    @property
    def wal(self) -> Path:
        """Folder of the write-ahead log."""
        return self.home / "wal"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientProfile:
    """How a client reaches a chain, and as whom."""

    home: Path
    """Absolute folder of the profile; not a field of the file. All paths are absolute."""
    chain_id: bytes
    """32 bytes."""
    suite: str
    """Name of the chain's suite."""
    identity: str
    """Who signs unless told otherwise."""
    credentials: str
    """Folder of client.pem and client.key, where `{identity}` stands for who signs."""
    ca_bundle: Path
    """Certificates of the organisations' authorities (PEM)."""
    genesis: Path
    """The chain's genesis file."""
    endpoints: tuple[Endpoint, ...]
    """The validators, in the order in which they are tried."""
    key_file: Path | None = None
    """The secret that opens the key; None means a passphrase from the environment."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a profile; raises `ConfigError` naming file and field."""
        fields = _Fields.read(
            path.resolve(),
            missing="name the folder of a network, or a client's profile.toml; or make one: "
            "govchain testnet up",
        )
        profile = cls(
            home=fields.folder,
            chain_id=fields.hexadecimal("chain_id", size=_CHAIN_ID_BYTES),
            suite=fields.text("suite"),
            identity=fields.identity("identity"),
            credentials=fields.text("credentials"),
            ca_bundle=fields.path("ca_bundle"),
            genesis=fields.path("genesis"),
            endpoints=fields.endpoints("endpoints", with_authority=True),
            key_file=fields.path_or_none("key_file"),
        )
        fields.finish()
        if not profile.endpoints:
            fields.refuse("endpoints", "expected at least one validator, got none")
        return profile

    def may_hold(self, identity: str) -> bool:
        """Say whether there may be credentials of this identity: else they are another's."""
        return identity == self.identity or "{identity}" in self.credentials

    def credentials_of(self, identity: str) -> Path:
        """Return the folder of this identity's client.pem and client.key."""
        return self.home / self.credentials.replace("{identity}", identity)


class _Fields:
    """The one validator: hands out a table's fields by name and type, and refuses the rest."""

    def __init__(self, path: Path, table: Mapping[str, Any], place: str = "") -> None:
        self._path = path
        self._table = dict(table)
        self._place = place

    @classmethod
    def read(cls, path: Path, *, missing: str) -> Self:
        """Read a file of version 1; `missing` is what helps where there is none."""
        if path.exists() and not path.is_file():  # a pipe would keep us waiting
            raise ConfigError(f"{path}: not a file", fix="name a file")
        try:
            table = tomllib.loads(read_text(path))
        except FileNotFoundError as error:
            raise ConfigError(
                f"{path}: no such file",
                code="GC-2101",
                fix=missing,
            ) from error
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}", fix="make it readable") from error
        except (ValueError, RecursionError) as error:  # not text, not TOML, or beyond its reader
            raise ConfigError(f"{path}: {error}", fix="correct the file: it is TOML") from error
        fields = cls(path, table)
        fields.integer("version", least=_VERSION, most=_VERSION)
        return fields

    @property
    def folder(self) -> Path:
        """Folder of the file, which relative paths start from."""
        return self._path.parent

    def refuse(self, name: str, message: str) -> NoReturn:
        """Raise `ConfigError` naming file and field."""
        raise ConfigError(
            f"{self._path}: {self._place}{name}: {message}", fix=f"correct {name} in {self._path}"
        )

    def finish(self) -> None:
        """Refuse what no one asked for."""
        for name in self._table:
            self.refuse(name, "unknown field")

    def text(self, name: str, default: object = _ABSENT) -> str:
        """Take a text that is not empty."""
        value = self._take(name, default)
        if not isinstance(value, str) or not value:
            self.refuse(name, f"expected a text, got {value!r:.80}")
        return value

    def identity(self, name: str) -> str:
        """Take the id of a validator or client."""
        value = self.text(name)
        if len(value.encode()) > IDENTITY_ID_BYTES_MAX:
            self.refuse(name, f"expected at most {IDENTITY_ID_BYTES_MAX} bytes, got {value!r:.80}")
        return value

    def identity_or_none(self, name: str) -> str | None:
        """Take the id of a validator or client where it is given."""
        return self.identity(name) if name in self._table else None

    def choice(self, name: str, choices: tuple[str, ...], *, default: str) -> str:
        """Take one of some words."""
        value = self.text(name, default)
        if value not in choices:
            self.refuse(name, f"expected one of {', '.join(choices)}, got {value!r:.80}")
        return value

    def integer(self, name: str, *, least: int, most: int, default: object = _ABSENT) -> int:
        """Take a whole number within bounds, both included."""
        value = self._take(name, default)
        if type(value) is not int or not least <= value <= most:
            self.refuse(name, f"expected a whole number of {least}..{most}, got {value!r:.80}")
        return value

    def hexadecimal(self, name: str, *, size: int) -> bytes:
        """Take `size` bytes written in hexadecimal."""
        value = self.text(name)
        try:
            data = bytes.fromhex(value)
        except ValueError:
            data = b""
        if len(data) != size:
            self.refuse(name, f"expected {2 * size} hexadecimal digits, got {value!r:.80}")
        return data

    def path(self, name: str) -> Path:
        """Take a path, made absolute."""
        return self.folder / self.text(name)

    def path_or_none(self, name: str) -> Path | None:
        """Take a path, made absolute, where there is one."""
        return self.path(name) if name in self._table else None

    def address(self, name: str) -> Address:
        """Take `host:port`."""
        value = self.text(name)
        try:
            return Address.parse(value)
        except ConfigError as error:
            self.refuse(name, str(error))

    def address_or_none(self, name: str) -> Address | None:
        """Take `host:port` where it is given."""
        return self.address(name) if name in self._table else None

    def endpoints(self, name: str, *, with_authority: bool = False) -> tuple[Endpoint, ...]:
        """Take a list of tables, each naming a validator once and its address."""
        value = self._take(name, [])
        if not isinstance(value, list) or len(value) > VALIDATORS_MAX:
            self.refuse(name, f"expected at most {VALIDATORS_MAX} tables [[{name}]]")
        endpoints = tuple(
            self._endpoint(name, at, item, with_authority=with_authority)
            for at, item in enumerate(value)
        )
        ids = [endpoint.validator_id for endpoint in endpoints]
        if len(frozenset(ids)) != len(ids):
            self.refuse(name, "expected each validator once")
        return endpoints

    def storage(self, name: str) -> StorageConfig:
        """Take the table of the database, each field of which has a default."""
        value = self._take(name, {})
        if not isinstance(value, dict):
            self.refuse(name, f"expected a table [{name}], got {value!r:.80}")
        fields = _Fields(self._path, value, f"{name}.")
        defaults = StorageConfig()
        storage = StorageConfig(
            engine=fields.choice("engine", STORAGE_ENGINES, default=defaults.engine),
            cache_mib=fields.integer(
                "cache_mib", least=1, most=_CACHE_MIB_MAX, default=defaults.cache_mib
            ),
            write_buffer_mib=fields.integer(
                "write_buffer_mib",
                least=1,
                most=_WRITE_BUFFER_MIB_MAX,
                default=defaults.write_buffer_mib,
            ),
        )
        fields.finish()
        return storage

    def vault(self, name: str) -> VaultConfig:
        """Take the table of the vault, each field of which has a default."""
        value = self._take(name, {})
        if not isinstance(value, dict):
            self.refuse(name, f"expected a table [{name}], got {value!r:.80}")
        fields = _Fields(self._path, value, f"{name}.")
        vault = VaultConfig(
            url=fields.text("url") if "url" in value else None,
            max_gib=fields.integer(
                "max_gib", least=1, most=_VAULT_GIB_MAX, default=VaultConfig().max_gib
            ),
        )
        fields.finish()
        return vault

    def custody(self, name: str) -> CustodyConfig:
        """Take the table of the device, which names module and token where it names a driver."""
        value = self._take(name, {})
        if not isinstance(value, dict):
            self.refuse(name, f"expected a table [{name}], got {value!r:.80}")
        fields = _Fields(self._path, value, f"{name}.")
        driver = fields.choice("driver", CUSTODY_DRIVERS, default="file")
        if driver == "file":
            fields.finish()
            return CustodyConfig(driver=driver)
        token = fields.text("token") if driver == "pkcs11" else ""
        custody = CustodyConfig(driver=driver, module=fields.path_or_none("module"), token=token)
        if custody.module is None:
            fields.refuse("module", "expected the path of the device's library")
        fields.finish()
        return custody

    def _endpoint(self, name: str, at: int, item: object, *, with_authority: bool) -> Endpoint:
        if not isinstance(item, dict):
            self.refuse(name, f"expected tables [[{name}]], got {item!r:.80}")
        fields = _Fields(self._path, item, f"{name}[{at}].")
        endpoint = Endpoint(
            fields.identity("validator_id"),
            fields.address("address"),
            fields.path_or_none("authority") if with_authority else None,
        )
        fields.finish()
        return endpoint

    def _take(self, name: str, default: object) -> object:
        value = self._table.pop(name, default)
        if value is _ABSENT:
            self.refuse(name, "missing field")
        return value
