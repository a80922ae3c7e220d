"""`node prune` on the home of a validator that does not run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from node.assembly import open_ledger_at_rest
from node.assembly.engines import open_database
from node.chain.certificate import Phase, Subject, Vote, build_certificate
from node.chain.genesis import Genesis, Role
from node.chain.transaction import (
    TransactionBody,
    TransactionKind,
    VerifiedTransaction,
    sign_transaction,
)
from node.cli.network import read_genesis
from node.config import NodeConfig
from node.execution.apply import Executor
from node.operations.topology import GENESIS_FILE
from node.service import pruning
from node.storage.ledger import LedgerStore
from tests.unit.cli.command import run
from tests.unit.execution.small_chain import next_inputs, payload, signer

BLOCKS = 260
GAP = 20
KEPT_FOR_GOVERNANCE = 200
MINUTE_MS = 60_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of a validator whose ledger has a record in every block."""
    monkeypatch.setattr(pruning, "PAST_RANGES_AHEAD", 0)
    network = tmp_path / "network"
    assert run("testnet", "init", "--home", network, "-n", 1, "--json").code == 0
    node = network / "nodes" / "validator-1"
    settings = node / "node.toml"
    settings.write_text(f"snapshot_gap_blocks = {GAP}\n" + settings.read_text())
    fill(NodeConfig.load(node))
    return node


def fill(config: NodeConfig) -> None:
    genesis = read_genesis(config.home / GENESIS_FILE)
    executor = Executor(genesis)
    store = open_database(config.data, create=True, storage=config.storage)
    ledger = LedgerStore.open(store, genesis.suite, executor.genesis_block())
    for number in range(BLOCKS):
        inputs = next_inputs(ledger, step_ms=MINUTE_MS)
        executed = executor.execute(ledger, inputs, [record(genesis, number, inputs.time_ms)])
        subject = Subject(Phase.COMMIT, 0, inputs.height, executed.digest)
        votes = [Vote(subject, 0, inputs.time_ms, bytes(64), 0)]
        ledger.commit([(executed, build_certificate(votes, genesis.validators))], sync=False)
    store.close()


def record(genesis: Genesis, number: int, time_ms: int) -> VerifiedTransaction:
    """Return a transaction taken for verified: what is pruned does not depend on its signature."""
    (agency, *_) = [each for each in genesis.identities if each.role is Role.AGENCY]
    body = TransactionBody(
        chain_id=genesis.chain_id,
        sender=agency.identity_id,
        nonce=hashlib.sha256(b"%d" % number).digest()[:16],
        not_after_ms=time_ms + MINUTE_MS,
        kind=TransactionKind.NOTARIZE,
        payload=payload(f"document {number}"),
    )
    signed = sign_transaction(body, signer("anybody"), genesis.suite)
    return VerifiedTransaction(signed, agency.public_key)


def test_old_blocks_are_pruned_once_and_no_more_than_may_be(home: Path) -> None:
    most = BLOCKS - GAP - KEPT_FOR_GOVERNANCE
    refused = run("node", "prune", "--home", home, "--below", most + 1, "--yes", "--json")
    assert refused.json["error"]["code"] == "GC-2303"
    assert f"at most {most}" in refused.json["error"]["message"]
    for below, blocks in ((9, 8), (most, most - 9), (most, 0)):
        ran = run("node", "prune", "--home", home, "--below", below, "--yes", "--json")
        assert ran.code == 0, ran.out
        assert (ran.json["blocks"], ran.json["pruned_below"]) == (blocks, below)
        assert ran.json["bytes_after"] > 0
    assert run("node", "prune", "--home", home, "--yes", "--json").json["blocks"] == 0
    config = NodeConfig.load(home)
    with open_ledger_at_rest(config, read_genesis(home / GENESIS_FILE)) as (_, ledger):
        assert ledger.encoded_block(most - 1) is None
        assert ledger.encoded_block(most) is not None
        leaves = list(ledger.leaves(range(ledger.log_frontier.size)))
        assert len(leaves) == 2 * BLOCKS


def test_nothing_is_pruned_unasked(home: Path) -> None:
    ran = run("node", "prune", "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "GC-2303")
    assert run("node", "prune", "--home", home, "--yes", "--json").json["blocks"] > 0


def test_a_pruned_ledger_is_not_audited_as_if_it_were_whole(home: Path) -> None:
    assert run("node", "prune", "--home", home, "--yes", "--json").code == 0
    audited = run("audit", "ledger", "--home", home, "--json")
    assert audited.json["error"]["code"] == "GC-2210"
