"""Validators that are behind catch up by themselves, and then vote: real processes and disks."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from node.assembly import open_ledger_at_rest
from node.chain.certificate import QuorumCertificate
from node.chain.encoding import decode
from node.config import NodeConfig
from node.limits import CERTIFICATE_BYTES_MAX
from node.rpc.client import LedgerClient
from tests.network.local_network import (
    LocalNetwork,
    make_network,
    running_network,
    until,
    until_grown_to,
)
from tests.network.long_past import give_past
from tests.unit.cli.command import run

PAST_BLOCKS = 2_000
OLD_BLOCKS = 1_500
GAP_BLOCKS = 200
BEGUN_BYTES = 128 << 10
"""In its database: some dozens of the thousands of blocks it has to fetch."""
VICTIM, FIRST = "validator-4", "validator-1"


@contextmanager
def frozen(network: LocalNetwork, validator_id: str) -> Iterator[None]:
    """Stop a process in the middle of whatever it does; its connections stay open."""
    pid = network.process(validator_id).pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def make_block(network: LocalNetwork, *only: str) -> int:
    """Have one transaction recorded; return the height of its block."""
    async with network.client(*only) as client:
        (outcome,) = await client.submit([network.transaction().encoded])
    return outcome.final().height


async def until_certifying(network: LocalNetwork, validator_id: str, witness: str) -> None:
    """Make blocks until a certificate that another validator holds has a vote of this one."""
    index = network.genesis.validators.index_of(validator_id)

    async def certified(client: LedgerClient) -> bool | None:
        (outcome,) = await client.submit([network.transaction().encoded])
        encoded = (await client.certified_header(outcome.final().height)).certificate
        value = decode(encoded, what="certificate", size_max=CERTIFICATE_BYTES_MAX)
        certificate = QuorumCertificate.from_value(value, network.genesis.suite.signature_size)
        return any(vote.validator == index for vote in certificate.votes) or None

    async with network.client(witness) as client:
        await until(lambda: certified(client), f"a certificate with a vote of {validator_id}")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with running_network(tmp_path_factory.mktemp("catch-up") / "network") as network:
        asyncio.run(network.until_ready(network.ids))
        yield network


async def test_ten_blocks_behind(network: LocalNetwork) -> None:
    network.end(VICTIM, signal.SIGKILL)
    for _ in range(10):
        height = await make_block(network, FIRST)
    await asyncio.to_thread(network.supervisor.up)
    await network.until_height(VICTIM, height)
    await until_certifying(network, VICTIM, FIRST)


async def test_without_its_data_but_with_its_log(network: LocalNetwork) -> None:
    height = await make_block(network, FIRST)
    network.end(VICTIM, signal.SIGKILL)
    shutil.rmtree(network.folder(VICTIM) / "data")
    network.use_engine(VICTIM, "rocksdb")  # how a validator comes to another engine
    await asyncio.to_thread(network.supervisor.up)
    await network.until_height(VICTIM, height)
    await until_certifying(network, VICTIM, FIRST)
    headers = await network.headers(await network.height())
    assert len(set(headers.values())) == 1


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a network that did not run yet, of which all but one have a long past."""
    network = make_network(tmp_path_factory.mktemp("past") / "network", created_ago_ms=3_600_000)
    network.use_engine(VICTIM, "rocksdb")
    others = [name for name in network.ids if name != VICTIM]
    give_past(network, others, PAST_BLOCKS, old_blocks=OLD_BLOCKS)
    return network.home


def stored_bytes(network: LocalNetwork, validator_id: str) -> int:
    """Return how much a validator's database holds, also while it runs."""
    total = 0
    for path in NodeConfig.load(network.folder(validator_id)).data.rglob("*"):
        with suppress(FileNotFoundError):  # its engine removes files as it pleases
            total += path.stat().st_size
    return total


def height_at_rest(network: LocalNetwork, validator_id: str) -> int:
    """Return how many blocks a validator has that does not run."""
    config = NodeConfig.load(network.folder(validator_id))
    with open_ledger_at_rest(config, network.genesis) as (_store, ledger):
        return ledger.tip_height


def copy_of(past: Path, folder: Path) -> LocalNetwork:
    return LocalNetwork(shutil.copytree(past, folder / "network"))


async def test_thousands_of_blocks_behind_killed_on_the_way_and_a_peer_frozen(
    past: Path, tmp_path: Path
) -> None:
    network = copy_of(past, tmp_path)
    try:
        at_rest = stored_bytes(network, VICTIM)
        await asyncio.to_thread(network.supervisor.up)
        # Its disk is watched: a client is answered late where the machine is busy, and may be
        # answered only once there is nothing left to fetch, as it was now and then.
        while stored_bytes(network, VICTIM) < at_rest + BEGUN_BYTES:
            assert network.process(VICTIM).is_alive
            await asyncio.sleep(0)
        network.end(VICTIM, signal.SIGKILL)
        assert 0 < height_at_rest(network, VICTIM) < PAST_BLOCKS
        await asyncio.to_thread(network.supervisor.up)
        with frozen(network, FIRST):
            await network.until_height(VICTIM, PAST_BLOCKS)
            # Without the frozen one, every quorum needs the vote of the one that was behind.
            await network.until_ready([VICTIM])
            await until_certifying(network, VICTIM, "validator-2")
        assert network.metric(VICTIM, "blocks_synced_total") > 0
    finally:
        network.supervisor.down()
    audited = run("audit", "ledger", "--home", network.folder(VICTIM), "--json")
    assert audited.code == 0, audited.out
    assert audited.json["blocks"] > PAST_BLOCKS


def lower_gap(network: LocalNetwork) -> None:
    """Have every validator take one for far behind that is a few hundred blocks behind."""
    for validator_id in network.ids:
        settings = network.folder(validator_id) / "node.toml"
        settings.write_text(f"snapshot_gap_blocks = {GAP_BLOCKS}\n{settings.read_text()}")


def told(network: LocalNetwork, validator_id: str, event: str) -> int:
    """Count how often a validator's log tells of something."""
    return sum(f'"event": "{event}"' in line for line in network.log(validator_id))


async def until_told(network: LocalNetwork, validator_id: str, event: str, times: int) -> None:
    """Wait until a validator's log has told of something so often."""

    async def is_told() -> bool | None:
        return told(network, validator_id, event) >= times or None

    await until(is_told, f"{validator_id} tells of {event}")


async def until_past_whole(network: LocalNetwork, validator_id: str, times: int) -> None:
    """Wait until a validator has the blocks below its snapshot, so often, as long as they come."""

    async def held() -> float:
        return -await asyncio.to_thread(network.metric, validator_id, "missing_blocks")

    await until_grown_to(0, held, f"blocks that {validator_id} has not, as less than none")
    await until_told(network, validator_id, "past-whole", times)


async def test_far_behind_the_state_is_fetched_and_the_past_comes_after(
    past: Path, tmp_path: Path
) -> None:
    network = copy_of(past, tmp_path)
    lower_gap(network)
    try:
        await asyncio.to_thread(network.supervisor.up)
        await network.until_height(VICTIM, PAST_BLOCKS)
        await until_told(network, VICTIM, "ledger-replaced", 1)
        await until_certifying(network, VICTIM, FIRST)
        await until_past_whole(network, VICTIM, 1)
        network.end(VICTIM, signal.SIGKILL)
        shutil.rmtree(network.folder(VICTIM) / "data")  # its log knows what it has signed
        with frozen(network, FIRST):
            await asyncio.to_thread(network.supervisor.up)
            await network.until_height(VICTIM, PAST_BLOCKS)
            await until_told(network, VICTIM, "ledger-replaced", 2)
            # Without the frozen one, every quorum needs the vote of the one that was behind.
            await network.until_ready([VICTIM])
            await until_certifying(network, VICTIM, "validator-2")
            await until_past_whole(network, VICTIM, 2)
        assert network.metric(VICTIM, "missing_blocks") == 0
    finally:
        network.supervisor.down()
    audited = run("audit", "ledger", "--home", network.folder(VICTIM), "--json")
    assert audited.code == 0, audited.out
    assert audited.json["blocks"] > PAST_BLOCKS
