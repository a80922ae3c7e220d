"""A validator that cannot run says why in one line, with a stable code and the fix, and ends."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from node.assembly.engines import engine_of, open_database
from node.chain.genesis import Genesis
from node.config import NodeConfig
from node.execution.apply import Executor
from node.operations.supervisor import NODE_COMMAND
from node.storage.ledger import LedgerStore
from tests.network.local_network import make_network
from tests.unit.cli.command import ENGLISH

VALIDATOR = "nodes/validator-1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two networks that never ran: `one` and `other`."""
    folder = tmp_path_factory.mktemp("errors")
    for name in ("one", "other"):
        make_network(folder / name)
    return folder


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """Return the home of a validator that a test may damage."""
    shutil.copytree(made, tmp_path / "networks")
    return tmp_path / "networks" / "one" / VALIDATOR


def other_of(home: Path) -> Path:
    return home.parents[2] / "other" / VALIDATOR


def lose_the_log(home: Path) -> None:
    shutil.rmtree(home / "wal")


def empty_the_log(home: Path) -> None:
    for segment in (home / "wal").iterdir():
        segment.unlink()


def take_the_log_of_another(home: Path) -> None:
    shutil.rmtree(home / "wal")
    shutil.copytree(home.parent / "validator-2" / "wal", home / "wal")


def damage_the_log(home: Path) -> None:
    (segment,) = (home / "wal").glob("*.wal")
    content = bytearray(segment.read_bytes())
    content[20] ^= 1
    segment.write_bytes(content)


def take_the_data_of_another_chain(home: Path) -> None:
    genesis = Genesis.decode((other_of(home) / "genesis.cbor").read_bytes())
    database = open_database(home / "data", create=True)
    LedgerStore.open(database, genesis.suite, Executor(genesis).genesis_block())
    database.close()


def ask_for_another_engine(home: Path) -> None:
    open_database(home / "data", create=True).close()
    settings = home / "node.toml"
    other = "leveldb" if engine_of(home / "data") == "rocksdb" else "rocksdb"
    settings.write_text(f'storage.engine = "{other}"\n{settings.read_text()}')


def take_another_secret(home: Path) -> None:
    secret = home.parents[1] / "secret.key"
    secret.write_bytes(bytes(32))


def take_the_genesis_of_another_chain(home: Path) -> None:
    shutil.copy(other_of(home) / "genesis.cbor", home / "genesis.cbor")


def take_another_name(home: Path) -> None:
    settings = home / "node.toml"
    settings.write_text(settings.read_text().replace('"validator-1"', '"validator-9"'))


def lose_all_peers(home: Path) -> None:
    settings = home / "node.toml"
    kept, _, _ = settings.read_text().partition("[[peers]]")
    settings.write_text(kept)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lose_the_log, "GC-2108"),
        (empty_the_log, "GC-3005"),
        (damage_the_log, "GC-3006"),
        (take_the_log_of_another, "GC-3007"),
        (take_the_data_of_another_chain, "GC-3011"),
        (ask_for_another_engine, "GC-3013"),
        (take_another_secret, "GC-1002"),
        (take_the_genesis_of_another_chain, "GC-2002"),
        (take_another_name, "GC-2002"),
        (lose_all_peers, "GC-2002"),
    ],
)
def test_an_unusable_home(home: Path, spoil: Callable[[Path], None], code: str) -> None:
    spoil(home)
    assert_refused(home, code)


@pytest.mark.parametrize(
    "use", ["peer_address", "client_address", "metrics_address", "http_address"]
)
def test_a_port_in_use(home: Path, use: str) -> None:
    address = getattr(NodeConfig.load(home), use)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((address.host, address.port))
        taken.listen()
        assert_refused(home, "GC-2204")


def assert_refused(home: Path, code: str) -> None:
    """Run the validator; it must end by itself and tell the error once, by its own code."""
    ended = subprocess.run(
        [*NODE_COMMAND, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **ENGLISH},
    )
    assert ended.returncode not in (0, 70)
    lines = ended.stderr.splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(each["event"], each["code"]) for each in logged if each["level"] == "critical"] == [
        ("ended", code)
    ]
    headline, cause, fix = lines[-3:]
    assert headline.startswith(f"error {code}: ")
    assert cause.startswith("  cause: ")
    assert fix.startswith("  fix: ")
    assert ended.stderr.count(cause.removeprefix("  cause: ")) == 1
    assert "Traceback" not in ended.stderr
