"""Validators join, leave and get new keys on a network of real processes, under load."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from node.chain.block import CertifiedBlock, CertifiedHeader, Header, ResultCode
from node.chain.certificate import QuorumCertificate
from node.chain.encoding import decode
from node.chain.governance import RemoveValidator
from node.chain.membership import ValidatorSet
from node.chain.transaction import TransactionBody, TransactionKind, sign_transaction
from node.cli.change import approve_all, propose
from node.cli.network import Network
from node.crypto.suite import SHA_256
from node.limits import CERTIFICATE_BYTES_MAX
from node.operations.supervisor import NODE_COMMAND
from node.operations.topology import TOPOLOGY_FILE, Topology
from node.rpc.client import LedgerClient
from node.rpc.port import Health, NodeStatus
from node.timestamp.history import check_certified
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.network.local_network import Load, LocalNetwork, running_network, until, utc_ms
from tests.unit.cli.command import Ran, run

FIRST = "validator-1"
FOUNDERS = ("validator-1", "validator-2", "validator-3", "validator-4")
JOINED, ROTATED = "validator-5", "validator-2.2"


async def govchain(*arguments: object) -> Ran:
    """Run a command beside what this test does meanwhile."""
    return await asyncio.to_thread(run, *arguments, "--json")


async def validators_of(network: LocalNetwork) -> ValidatorSet:
    """Return who decides now, followed from genesis by handovers."""
    return await asyncio.to_thread(lambda: Network.open(network.home, None, None).validators)


async def certificate_at(
    network: LocalNetwork, client: LedgerClient, height: int | None = None
) -> tuple[Header, QuorumCertificate]:
    """Ask for the header of a height, or else the newest, and who certified it."""
    found = await client.certified_header(height)
    value = decode(found.certificate, what="certificate", size_max=CERTIFICATE_BYTES_MAX)
    size = network.genesis.suite.signature_size
    return Header.decode(found.header), QuorumCertificate.from_value(value, size)


async def until_voted(network: LocalNetwork, validator_id: str) -> None:
    """Wait for a commit certificate with a vote of a validator; others go on making blocks."""
    index = (await validators_of(network)).index_of(validator_id)

    async def voted(client: LedgerClient) -> bool | None:
        _, certificate = await certificate_at(network, client)
        return any(vote.validator == index for vote in certificate.votes) or None

    async with network.client(FIRST) as client:
        await until(lambda: voted(client), f"a certificate with a vote of {validator_id}")


@dataclass
class Kept:
    """A document's receipt, as its owner keeps it."""

    digest: bytes
    receipt: bytes

    def verifies(self, network: LocalNetwork) -> bool:
        """Whether it holds by the genesis alone, with no network to ask."""
        verdict = verify_receipt(self.receipt, network.anchor, NamedDigest(SHA_256, self.digest))
        return verdict.outcome is Outcome.VERIFIED


async def notarize(network: LocalNetwork) -> Kept:
    transaction = network.transaction()
    async with network.client(FIRST) as client:
        (outcome,) = await client.submit([transaction.encoded])
        assert outcome.final().code is ResultCode.OK
        receipt = await client.receipt_of_operation(transaction.tx_id)
    (record,) = transaction.body.payload.records()
    return Kept(record.digest, receipt)


@asynccontextmanager
async def load_on(network: LocalNetwork, *only: str) -> AsyncIterator[Load]:
    load = Load(network, batch=10, pause_ms=100)
    loading = asyncio.create_task(load.run(*only))
    try:
        yield load
    finally:
        load.stop()
        await loading


async def expect_nothing_lost(network: LocalNetwork, load: Load) -> None:
    """Look into the blocks that the load was told of."""
    assert {result.code for result in load.results.values()} == {ResultCode.OK}
    told: dict[int, set[bytes]] = {}
    for tx_id, result in load.results.items():
        told.setdefault(result.height, set()).add(tx_id)
    async with network.client(FIRST) as client:
        for height, tx_ids in told.items():
            found = await client.block(height)
            block = CertifiedBlock.decode(found.block, network.genesis.suite)
            assert tx_ids <= {transaction.tx_id for transaction in block.transactions}


async def expect_sets(network: LocalNetwork, barriers: Sequence[int]) -> None:
    """Check around each barrier that certificates hold under the set of their own height."""
    last = Network.open(network.home, None, None)
    followed = await asyncio.to_thread(last.follow, len(barriers))
    async with network.client(FIRST) as client:
        for epoch, barrier in enumerate(barriers):
            for height, number in ((barrier, epoch), (barrier + 1, epoch + 1)):
                header, certificate = await certificate_at(network, client, height)
                validators = followed.validator_sets[number]
                assert header.epoch == number == validators.epoch
                block = CertifiedHeader(header, certificate)
                check_certified(block, network.genesis.chain_id, validators)


async def test_join_leave_and_rotate_under_load(tmp_path: Path) -> None:
    home = tmp_path / "network"
    with running_network(home) as founding:
        await founding.until_ready(founding.ids)
        kept = [await notarize(founding)]
        async with load_on(founding, FIRST, "validator-3") as load:
            joined = await govchain("node", "join", "--home", home)
            assert joined.code == 0, joined.out
            assert joined.json["validators"] == [*FOUNDERS, JOINED]
            assert (joined.json["epoch"], joined.json["quorum"]) == (1, 4)
            grown = LocalNetwork(home)
            await until_voted(grown, JOINED)
            kept.append(await notarize(grown))

            left = await govchain("node", "leave", "validator-4", "--home", home)
            assert left.code == 0, left.out
            assert left.json["validators"] == [*FOUNDERS[:3], JOINED]
            async with alone(grown, "validator-4"):
                await expect_a_follower(grown, "validator-4")

            grown.end("validator-2", signal.SIGKILL)
            shutil.rmtree(grown.folder("validator-2") / "wal")
            await expect_refusal_to_vote(grown, "validator-2")
            rotated = await govchain("node", "rotate", "validator-2", "--home", home)
            assert rotated.code == 0, rotated.out
            assert rotated.json["validators"] == [FIRST, "validator-3", JOINED, ROTATED]
            changed = LocalNetwork(home)
            await until_voted(changed, ROTATED)
            kept.append(await notarize(changed))
        await expect_nothing_lost(changed, load)
        await expect_sets(changed, [ran.json["height"] for ran in (joined, left, rotated)])
        assert set(changed.ids) == {FIRST, "validator-3", JOINED, ROTATED}
        headers = await changed.headers(await changed.height())
        assert len(set(headers.values())) == 1
        assert all(each.verifies(changed) for each in kept)

        again = await govchain("node", "rotate", JOINED, "--to", ROTATED, "--home", home)
        assert (again.code, again.json["error"]["code"]) == (2, "GC-2102")
        unknown = await govchain("node", "leave", "validator-4", "--home", home)
        assert (unknown.code, unknown.json["error"]["code"]) == (2, "GC-2303")


@asynccontextmanager
async def alone(network: LocalNetwork, validator_id: str) -> AsyncIterator[None]:
    """Run the node of a home that is no part of the network any more."""
    process = await asyncio.create_subprocess_exec(
        *NODE_COMMAND, "--home", network.folder(validator_id), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def expect_a_follower(network: LocalNetwork, validator_id: str) -> None:
    """Check that a validator that was removed follows the chain, and casts no vote."""
    assert validator_id not in LocalNetwork(network.home).ids

    async def follows(client: LedgerClient) -> NodeStatus | None:
        status = await client.status(2_000)
        return status if status.health is Health.FOLLOWING else None

    async with network.client(validator_id) as client:
        height = (await until(lambda: follows(client), f"{validator_id} follows")).height
    await network.until_height(validator_id, height + 3)
    assert network.metric(validator_id, "votes_signed_total") == 0


async def expect_refusal_to_vote(network: LocalNetwork, validator_id: str) -> None:
    """Check that a validator that lost its log does not start, and says what to do."""
    process = await asyncio.create_subprocess_exec(
        *NODE_COMMAND,
        "--home",
        network.folder(validator_id),
        "--json",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    assert process.returncode == 2
    error = json.loads(said)["error"]
    assert error["code"] == "GC-2108"
    assert "govchain node rotate" in error["fix"]


async def test_a_change_that_would_lose_the_quorum_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "network"
    with running_network(home, nodes=3) as network:
        await network.until_ready(network.ids)
        network.end("validator-3", signal.SIGKILL)  # two of three go on
        leave = ("node", "leave", "validator-2", "--home", home, "--wait", 1)
        refused = await govchain(*leave)
        assert (refused.code, refused.json["error"]["code"]) == (8, "GC-2320")
        assert "validator-3" in refused.json["error"]["message"]
        assert await submit_without_evidence(network) is ResultCode.EVIDENCE_MISSING
        assert (await validators_of(network)).epoch == 0
        await asyncio.to_thread(network.supervisor.up)
        await network.until_ready(network.ids)
        before = (home / TOPOLOGY_FILE).read_bytes()
        done = await govchain(*leave[:-2])
        assert done.code == 0, done.out
        assert done.json["validators"] == [FIRST, "validator-3"]
        (home / TOPOLOGY_FILE).write_bytes(before)  # as if it had been killed at its very end
        again = await govchain(*leave[:-2])
        assert (again.code, again.json["error"]["code"]) == (2, "GC-2303")
        assert [each.id for each in Topology.load(home).nodes] == [FIRST, "validator-3"]
        changed = await govchain("parameters", "set", "clock_error_ms=40", "--home", home)
        assert (changed.code, changed.json["epoch"]) == (0, 2), changed.out
        shown = await govchain("parameters", "show", "--home", home)
        assert shown.json["parameters"]["clock_error_ms"]["value"] == 40


async def submit_without_evidence(network: LocalNetwork) -> ResultCode:
    """Have the chain itself judge a change that nobody vouches for."""
    as_admin = Network.open(network.home, None, "admin-1")
    operations = (RemoveValidator("validator-2"),)
    proposal = await asyncio.to_thread(
        lambda: approve_all(as_admin, propose(as_admin, operations, valid_days=1))
    )
    body = TransactionBody(
        chain_id=network.genesis.chain_id,
        sender="admin-1",
        nonce=bytes(16),
        not_after_ms=utc_ms() + 300_000,
        kind=TransactionKind.GOVERN,
        payload=replace(proposal.governance, evidence=()),
    )
    transaction = sign_transaction(body, as_admin.signer, network.genesis.suite)
    async with network.client(FIRST, "validator-2") as client:
        (outcome,) = await client.submit([transaction.encoded])
    return outcome.final().code


@pytest.fixture(autouse=True)
def _in_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "en")
