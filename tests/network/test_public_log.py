"""Four validators cosign the log and serve it as files, to whoever knows only the C2SP pages."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node.chain.log import TileId
from node.chain.merkle import TreeHead, leaf_hash, merkle_root, verify_consistency
from node.chain.record import Notarization, RecordAction
from node.storage.cosigned_file import COSIGNED_FILE
from node.timestamp.log.checkpoint import Checkpoint
from node.timestamp.log.note import Note
from node.timestamp.log.policy import Cosigned, parse_policy
from node.timestamp.log.proof import sha256, tlog_proof_of
from node.timestamp.log.tiles import file_of
from node.timestamp.receipt import Receipt
from node.web.verifier.bundle import bundle
from tests.network.local_network import LocalNetwork, running_network, until
from tests.outside.html_verifier import Case, answers, difference, encoded
from tests.unit.cli.command import run
from tests.unit.timestamp import independent_tlog
from tests.unit.timestamp.log.bundles import read_bundle


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with running_network(tmp_path_factory.mktemp("log") / "network") as network:
        asyncio.run(network.until_ready(network.ids))
        yield network


@dataclass
class Files:
    """The files of the log as one node serves them."""

    network: LocalNetwork
    validator_id: str

    def open(self, path: str) -> tuple[bytes, str]:
        """Return a file and what is said of keeping it."""
        (entry,) = (each for each in self.network.entries if each.id == self.validator_id)
        url = f"http://{entry.host}:{entry.http_port}{path}"
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.read(), reply.headers["Cache-Control"]

    def read(self, path: str) -> bytes:
        return self.open(path)[0]

    def checkpoint(self) -> Cosigned:
        policy = parse_policy(self.read("/policy/0"))
        return policy.check(Note.decode(self.read("/checkpoint")))

    def tile(self, size: int, tile: TileId) -> bytes:
        return self.read(f"/tile/{file_of(tile.level, tile.index, size).path}")

    async def until_covered(self, size: int) -> Cosigned:
        """Wait until the checkpoint served covers a size."""

        async def covered() -> Cosigned | None:
            try:
                found = await asyncio.to_thread(self.checkpoint)
            except urllib.error.HTTPError:
                return None
            return found if found.checkpoint.head.size >= size else None

        return await until(covered, f"{self.validator_id} serves a checkpoint of {size}")


async def tip_size(network: LocalNetwork) -> int:
    headers = await network.headers(await network.height())
    return max(header.log_size for header in headers.values())


async def submit(network: LocalNetwork, records: int = 3) -> Notarization:
    transaction = network.transaction(records=records)
    async with network.client() as client:
        (outcome,) = await client.submit([transaction.encoded])
    outcome.final()
    payload = transaction.body.payload
    assert isinstance(payload, Notarization)
    return payload


async def test_every_validator_serves_the_whole_log_under_a_quorums_cosignatures(
    network: LocalNetwork,
) -> None:
    payload = await submit(network, records=300)
    size = await tip_size(network)
    for validator_id in network.ids:
        files = Files(network, validator_id)
        cosigned = await files.until_covered(size)
        assert len(cosigned.witnesses) == 3
        head = cosigned.checkpoint.head
        last = (head.size - 1) // 256
        entries = [
            entry
            for index in range(last + 1)
            for entry in read_bundle(files.read(f"/tile/{file_of(None, index, head.size).path}"))
        ]
        hashes = [leaf_hash(each, sha256) for each in entries]
        assert merkle_root(hashes, sha256) == head.root
        assert b"".join(hashes) == b"".join(
            files.tile(head.size, TileId(0, index)) for index in range(last + 1)
        )
        held = b"".join(entries)
        assert all(
            payload.digests[at : at + 32] in held for at in range(0, len(payload.digests), 32)
        )


async def test_what_never_changes_may_be_kept_and_the_newest_checkpoint_may_not(
    network: LocalNetwork,
) -> None:
    files = Files(network, network.ids[0])
    await files.until_covered(1)
    newest, kept = files.open("/checkpoint")
    assert kept == "public, max-age=1"
    size = Checkpoint.parse(Note.decode(newest).text).head.size
    for path in (f"/checkpoint/{size}", "/policy/0", f"/tile/{file_of(0, 0, size).path}"):
        assert files.open(path)[1] == "public, max-age=31536000, immutable", path
    assert files.read(f"/checkpoint/{size}") == newest
    for path in (
        f"/checkpoint/{size + 10**6}",
        "/checkpoint/01",
        "/policy/7",
        "/handover/0",
        "/tile/0/999",
        "/tile/0/0",
        "/tile/9/000",
        f"/consistency/1/{10**9}",
    ):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            files.read(path)


async def test_a_receipt_becomes_a_proof_for_those_who_know_only_the_pages(
    network: LocalNetwork, tmp_path: Path
) -> None:
    document = tmp_path.name.encode()
    transaction = network.transaction_of(
        Notarization(
            digest_algorithm=1,
            type_code="test",
            action=RecordAction.RECORD,
            digests=hashlib.sha256(document).digest(),
        )
    )
    async with network.client(network.ids[1]) as client:
        (outcome,) = await client.submit([transaction.encoded])
        outcome.final()

        async def with_checkpoint() -> Receipt | None:
            receipt = await client.receipt_of_operation(transaction.tx_id)
            found = Receipt.decode(receipt)
            return found if found.checkpoint is not None else None

        receipt = await until(with_checkpoint, "a receipt with a checkpoint")
    policy = Files(network, network.ids[2]).read("/policy/0").decode()
    proof = tlog_proof_of(receipt).encode().decode()
    assert independent_tlog.verify(proof, policy, document) == ""
    assert independent_tlog.verify(proof, policy, b"other") == "another document"


async def test_a_node_serves_the_page_that_verifies_its_receipts(
    network: LocalNetwork, tmp_path: Path
) -> None:
    page, kept = Files(network, network.ids[0]).open("/verify")
    assert (page, kept) == (bundle(), "no-cache")
    payload = await submit(network, records=1)
    async with network.client(network.ids[1]) as client:
        receipt = await client.receipt_of_digest(payload.digests)
    trust = network.anchor.file.encode()
    case = Case("of a running node", trust, receipt, f"sha-256:{payload.digests.hex()}")
    (answer,) = await asyncio.to_thread(answers, [encoded(case)], tmp_path)
    assert (answer["outcome"], difference(case, answer)) == ("verified", None)


async def test_checkpoints_grow_and_do_so_over_a_restart(network: LocalNetwork) -> None:
    last = network.ids[3]
    files = Files(network, last)
    before = (await files.until_covered(await tip_size(network))).checkpoint.head
    said = Checkpoint.parse((network.folder(last) / COSIGNED_FILE).read_text())
    assert said.head.size >= before.size
    network.end(last, signal.SIGKILL)
    await submit(network)
    network.supervisor.start(last)
    await network.until_ready([last])
    await submit(network)
    after = (await files.until_covered(await tip_size(network))).checkpoint.head
    assert after.size > before.size
    answer = files.read(f"/consistency/{before.size}/{after.size}")
    path = parse_consistency(answer)
    verify_consistency(TreeHead(before.size, before.root), after, path, sha256)

    async def said_more() -> Checkpoint | None:  # three others may have been faster
        found = Checkpoint.parse((network.folder(last) / COSIGNED_FILE).read_text())
        return found if found.head.size > said.head.size else None

    await until(said_more, f"{last} cosigns more than before")


def parse_consistency(answer: bytes) -> list[bytes]:
    return [base64.b64decode(each) for each in json.loads(answer)["consistency"]]


async def test_a_witness_follows_all_of_them_and_finds_one_log(
    network: LocalNetwork, tmp_path: Path
) -> None:
    size = await tip_size(network)
    for validator_id in network.ids:
        await Files(network, validator_id).until_covered(size)
    home, trust = tmp_path / "witness", tmp_path / "trust.json"
    trust.write_bytes(network.anchor.file.encode())
    urls = [f"http://{each.host}:{each.http_port}" for each in network.entries]
    assert run("witness", "init", home, "--name", "witness.example/w1").code == 0
    assert run("witness", "follow", home, trust, *urls).code == 0
    first = await asyncio.to_thread(run, "witness", "run", home, "--once", "--json")
    assert [each["seen"] for each in first.json["looks"]] == ["cosigned", *["same"] * 3]
    await submit(network)
    size = await tip_size(network)
    for validator_id in network.ids:
        await Files(network, validator_id).until_covered(size)
    second = await asyncio.to_thread(run, "witness", "run", home, "--once", "--json")
    assert [each["seen"] for each in second.json["looks"]] == ["cosigned", *["same"] * 3]
    assert second.json["looks"][0]["size"] >= size
