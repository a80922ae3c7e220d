"""Verbs on a chain of more epochs than a proof carries handovers: what is missing is asked for.

A proof carries one handover here, so that a chain of four epochs passes that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.chain.block import ResultCode
from node.chain.governance import SetParameters
from node.chain.record import RecordAction
from node.cli.anchor_chain import ReachedChain
from node.cli.exit_codes import ExitCode
from node.cli.network import Network
from node.client import Client
from node.client.recording import WrongReceipt
from node.config import PROFILE_FILE
from node.timestamp import history
from node.timestamp.receipt import Receipt
from tests.unit.cli.command import run
from tests.unit.cli.served import ServedNode, prepare_home, served
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.execution.small_chain import CREATED_MS, payload, tx
from tests.unit.service.chatting import Chat, govern

FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
EPOCHS = 3
TYPE = "licence"


class CountingNode(ServedNode):
    """Counts how often it is asked for handovers."""

    asked = 0

    async def handovers(self, from_epoch: int, limit: int) -> list[bytes]:
        self.asked += 1
        return list(await super().handovers(from_epoch, limit))


@pytest.fixture(scope="module", autouse=True)
def one_carried() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(history, "CARRIED_HANDOVERS_MAX", 1)
        yield


@pytest.fixture(scope="module")
def node() -> CountingNode:
    """Return a node of a chain of four epochs, with a record of each."""
    chat = Chat(*FOUNDERS)
    for epoch in range(EPOCHS + 1):
        if epoch:
            change = SetParameters(replace(GOVERNED.parameters, view_timeout_ms=900 - epoch))
            assert govern(chat, change, members=FOUNDERS) is ResultCode.OK
        action = RecordAction.SUPERSEDE if epoch else RecordAction.RECORD
        record = payload(f"in epoch {epoch}", references=["R"], action=action)
        until_ms = CREATED_MS + 600_000
        chat.submit("validator-1", tx(record, chain_id=GOVERNED.chain_id, not_after_ms=until_ms))
    return CountingNode(chat.nodes["validator-1"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, node: CountingNode) -> Iterator[Path]:
    folder = prepare_home(tmp_path_factory.mktemp("served") / "net")
    with served(node, folder):
        yield folder


def receipt_of(node: CountingNode, epoch: int) -> Receipt:
    receipt = node.queries.receipt_of_digest(payload(f"in epoch {epoch}").digests)
    assert receipt is not None
    assert (receipt.block.header.epoch, len(receipt.handovers)) == (epoch, min(epoch, 1))
    return receipt


@pytest.mark.parametrize("epoch", range(EPOCHS + 1))
def test_a_receipt_of_any_epoch_is_fetched_and_serves_again(
    home: Path, node: CountingNode, tmp_path: Path, epoch: int
) -> None:
    leaf, node.asked = receipt_of(node, epoch).leaf, 0
    words = ("receipt", "fetch", f"tx:{leaf.tx_id.hex()}", "--home", home, "--out", tmp_path)
    for _ in range(2):
        fetched = run(*words, "--json")
        assert fetched.code == 0, fetched.err
        assert fetched.json["attestation"]["height"] == leaf.height
    assert bool(node.asked) is (epoch > 1), "handovers are asked for where they are needed"
    assert len(list(tmp_path.iterdir())) == 1


async def test_handovers_are_asked_for_once(home: Path, node: CountingNode) -> None:
    node.asked = 0
    async with Client.open(home / PROFILE_FILE) as client:
        for epoch in (0, 1, EPOCHS, EPOCHS, 2):
            leaf = receipt_of(node, epoch).leaf
            assert await client.receipt(leaf.tx_id) == receipt_of(node, epoch).encode()
        assert client.chain.known.epoch == EPOCHS
        assert node.asked == 2  # a page, and that there is no other
        await client.standing("R", TYPE)
        await client.block()
        assert node.asked == 2


async def test_a_validator_that_leads_nowhere_is_not_believed(
    home: Path, node: CountingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "handed_over", node.handed_over[:1])
    async with Client.open(home / PROFILE_FILE) as client:
        with pytest.raises(WrongReceipt, match="expected handovers from epoch 1 or earlier, got"):
            await client.receipt(receipt_of(node, EPOCHS).leaf.tx_id)


def test_what_stands_is_proved_after_many_epochs(home: Path) -> None:
    for words in (("history", "R"), ("record", "status", "R")):
        ran = run(*words, "--type", TYPE, "--home", home, "--json")
        assert ran.code == 0, ran.err


def test_an_old_trust_file_says_what_helps_and_leads_on_where_a_network_is_asked(
    home: Path, node: CountingNode, tmp_path: Path
) -> None:
    receipt, trust = tmp_path / "a.receipt", tmp_path / "old.json"
    receipt.write_bytes(receipt_of(node, EPOCHS).encode())
    network = Network.open(home, None, None)
    trust.write_bytes(network.follow(EPOCHS).up_to(0).file.encode())
    digest = payload(f"in epoch {EPOCHS}").digests.hex()
    words = ("verify", digest, "--receipt", receipt, "--trust", trust, "--json")
    ran = run(*words, "--offline")
    assert (ran.code, ran.json["error"]["code"]) == (ExitCode.NOT_ROOTED, "GC-2310")
    assert "it is of epoch 3, the trust file leads to epoch 0" in ran.json["error"]["message"]
    assert "govchain trust export" in ran.json["error"]["fix"]
    assert run("trust", "export", "--out", tmp_path / "new.json", "--home", home).code == 0
    assert run(*words[:4], "--trust", tmp_path / "new.json", "--offline").code == 0


def test_a_receipt_is_refreshed_over_more_epochs_than_a_proof_carries(
    home: Path, node: CountingNode, tmp_path: Path
) -> None:
    receipt, trust = tmp_path / "a.receipt", tmp_path / "trust.json"
    receipt.write_bytes(receipt_of(node, 0).encode())
    ran = run("receipt", "refresh", receipt, "--home", home, "--json")
    assert ran.code == 0, ran.json
    assert run("trust", "export", "--out", trust, "--home", home).code == 0
    words = ("verify", payload("in epoch 0").digests.hex(), "--trust", trust, "--offline")
    assert run(*words, "--receipt", tmp_path / "a.refreshed").code == 0


def test_an_anchor_is_of_the_newest_handovers_too(home: Path) -> None:
    chain = ReachedChain(Network.open(home, None, None))
    checkpoint = chain.checkpoint_before(None)
    assert checkpoint is not None
    assert (checkpoint.block.header.epoch, len(checkpoint.handovers)) == (EPOCHS, 1)
    assert chain.trust.epoch == EPOCHS


def test_no_trust_file_is_written_that_nobody_could_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = home / "trust.json"
    assert run("trust", "export", "--home", home).code == 0
    before = kept.read_bytes()
    monkeypatch.setattr("node.limits.TRUST_FILE_BYTES_MAX", len(before) - 1)
    try:
        for out in ((), ("--out", tmp_path / "trust.json")):
            ran = run("trust", "export", "--home", home, *out, "--json")
            assert (ran.code, ran.json["error"]["code"]) == (ExitCode.USAGE, "GC-2308")
            assert f"this one would have {len(before)}" in ran.json["error"]["message"]
        assert kept.read_bytes() == before
        assert not (tmp_path / "trust.json").exists()
    finally:
        kept.unlink()
