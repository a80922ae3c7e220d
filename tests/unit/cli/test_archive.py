"""`archive`: blocks of a validator at rest to a file, verified, and given back to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from node.assembly.engines import open_database
from node.chain.block import ResultCode
from node.cli.exit_codes import ExitCode
from node.config import NodeConfig
from node.execution.apply import Executor
from node.operations.topology import GENESIS_FILE
from node.service.archived import anchor_of
from node.storage import filesystem
from node.storage.filesystem import sync_path
from node.storage.kv import WriteBatch
from node.storage.ledger import LedgerStore
from node.timestamp.trust import TrustFile
from tests.unit.cli.command import run
from tests.unit.execution.governed_chain import GOVERNED, adding
from tests.unit.service.chatting import Chat, govern, notarize

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
TIP, BARRIER = 6, 4


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network's folder: its first home holds six blocks, the fourth ends an epoch."""
    network = tmp_path_factory.mktemp("archive") / "network"
    assert run("testnet", "init", "--home", network, "-n", 4, "--json").code == 0
    home = network / "nodes" / "validator-1"
    (home / GENESIS_FILE).write_bytes(GOVERNED.encode())
    chat = Chat(*FOUNDERS, "validator-5")
    for number in range(BARRIER - 1):
        notarize(chat, f"first {number}")
    chat.pass_time(2_000)
    members = (*FOUNDERS, "validator-5")
    assert govern(chat, adding("validator-5"), members=members) is ResultCode.OK
    for number in range(TIP - BARRIER):
        notarize(chat, f"second {number}")
    batch = WriteBatch()
    for key, value in chat.nodes["validator-1"].store.scan(b""):
        batch.put(key, value)
    store = open_database(NodeConfig.load(home).data, create=True)
    store.write(batch, sync=True)
    store.close()
    ledger = chat.nodes["validator-1"].ledger
    genesis = TrustFile(chain_id=GOVERNED.chain_id, genesis=GOVERNED)
    (network / "genesis.json").write_bytes(genesis.encode())
    (network / "pinned.json").write_bytes(anchor_of(ledger, GOVERNED).file.encode())
    return network


@pytest.fixture
def network(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "network")
    return tmp_path / "network"


def exported(network: Path, first: int, last: int) -> Path:
    out = network / f"{first}-{last}.archive"
    home = network / "nodes" / "validator-1"
    ran = run(
        "archive", "export", "--home", home, "--from", first, "--to", last, "--out", out, "--json"
    )
    assert ran.code == 0, ran.out
    assert ran.json["bytes"] == out.stat().st_size
    return out


def test_the_name_of_an_archive_is_durable_before_its_blocks_may_be_pruned(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool]] = []
    archive = network / f"1-{TIP}.archive"

    def note(folder: Path) -> None:
        synced.append((folder, archive.exists()))
        sync_path(folder)

    monkeypatch.setattr(filesystem, "sync_path", note)
    assert exported(network, 1, TIP) == archive
    assert synced == [(network, True)]


def test_blocks_are_exported_and_verified(network: Path) -> None:
    archive = exported(network, 2, TIP)
    for trust in ("genesis.json", "pinned.json"):
        ran = run("archive", "verify", archive, "--trust", network / trust, "--json")
        assert ran.code == 0, ran.out
        assert (ran.json["first"], ran.json["last"]) == (2, TIP)
        assert (ran.json["transactions"], ran.json["rooted"]) == (5, True)
    assert [*network.glob("tmp*")] == []


def test_what_retired_keys_signed_is_not_rooted_unless_pinned(network: Path) -> None:
    for last, code in ((BARRIER - 1, ExitCode.NOT_ROOTED), (BARRIER, ExitCode.DONE)):
        archive = exported(network, 1, last)
        ran = run("archive", "verify", archive, "--trust", network / "pinned.json", "--json")
        assert ran.code == code, ran.out


def test_a_changed_archive_is_refused_by_its_rule(network: Path) -> None:
    archive = exported(network, 1, 2)
    data = archive.read_bytes()
    archive.write_bytes(data[:-1])
    ran = run("archive", "verify", archive, "--trust", network / "genesis.json", "--json")
    assert ran.json["error"]["code"] == "GC-1001"
    other = Path(__file__).parents[2] / "vectors" / "archive" / "trust.json"
    archive.write_bytes(data)
    ran = run("archive", "verify", archive, "--trust", other, "--json")
    assert (ran.code, ran.json["rule"]) == (ExitCode.NOT_VERIFIED, "archive-chain")


def test_what_was_pruned_is_taken_in_again(network: Path) -> None:
    home = network / "nodes" / "validator-1"
    archive, lower = exported(network, 1, BARRIER), exported(network, 1, 1)
    store = open_database(home / "data", create=False)
    genesis_block = Executor(GOVERNED).genesis_block()
    LedgerStore.open(store, GOVERNED.suite, genesis_block).prune(3)
    store.close()
    out = network / "more.archive"
    pruned = run("archive", "export", "--home", home, "--out", out, "--json")
    assert pruned.json["error"]["code"] == "GC-2210"
    assert not out.exists()
    refused = run("archive", "import", lower, "--home", home, "--json")
    assert refused.code == ExitCode.NOT_ROOTED
    for blocks in (2, 0):
        ran = run("archive", "import", archive, "--home", home, "--json")
        assert ran.code == 0, ran.out
        assert (ran.json["blocks"], ran.json["pruned_below"]) == (blocks, 0)
    assert run("audit", "ledger", "--home", home, "--json").code == 0


def test_heights_that_are_not_there_are_wrong_usage(network: Path) -> None:
    home = network / "nodes" / "validator-1"
    for heights in (("--from", 3, "--to", 2), ("--to", TIP + 1)):
        ran = run("archive", "export", "--home", home, *heights, "--out", network / "x", "--json")
        assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2303")
