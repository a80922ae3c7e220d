"""Four validators as four processes over real gRPC: they agree, survive kill -9, stop in order.

One of them keeps its ledger by RocksDB, the others by what is usual: LevelDB where it is installed.
"""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator

import pytest

from node.assembly.engines import engine_of, installed_engines
from node.chain.admission import AdmissionCode
from node.chain.block import ResultCode
from node.chain.record import RecordLeaf
from node.crypto.suite import SHA_256
from node.operations.supervisor import NODE_COMMAND
from node.rpc.port import PAGE_TOKEN_BYTES_MAX, RecordFilter, RecordPage
from node.timestamp.verify import NamedDigest, Outcome, verify_receipt
from tests.network.local_network import Load, LocalNetwork, make_network

STOP_S_MAX = 3.0
ON_ROCKSDB = "validator-3"  # of which the tests ask most


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    network = make_network(tmp_path_factory.mktemp("node") / "network")
    network.use_engine(ON_ROCKSDB, "rocksdb")
    try:
        network.supervisor.up()
        asyncio.run(network.until_ready(network.ids))
        yield network
    finally:
        network.supervisor.down()


def test_each_has_the_engine_it_was_told_or_the_usual_one(network: LocalNetwork) -> None:
    engines = {name: engine_of(network.folder(name) / "data") for name in network.ids}
    assert engines == dict.fromkeys(network.ids, installed_engines()[0]) | {ON_ROCKSDB: "rocksdb"}


async def test_all_commit_the_same_chain_whoever_is_asked(network: LocalNetwork) -> None:
    for validator_id in network.ids:
        transactions = [network.transaction(records=3) for _ in range(10)]
        async with network.client(validator_id) as client:
            outcomes = await client.submit([tx.encoded for tx in transactions])
        assert [outcome.final().code for outcome in outcomes] == [ResultCode.OK] * 10
    headers = await network.headers(await network.height())
    assert len({header.state_root for header in headers.values()}) == 1
    assert len(set(headers.values())) == 1


async def test_a_receipt_of_any_validator_verifies_against_genesis_alone(
    network: LocalNetwork,
) -> None:
    transaction = network.transaction(records=5)
    async with network.client() as client:
        (outcome,) = await client.submit([transaction.encoded])
    height = outcome.final().height
    for validator_id in network.ids:
        await network.until_height(validator_id, height)
        async with network.client(validator_id) as client:
            receipts = [receipt async for receipt in client.receipts(transaction.tx_id)]
        assert len(receipts) == 5
        for record, receipt in zip(transaction.body.payload.records(), receipts, strict=True):
            verdict = verify_receipt(receipt, network.anchor, NamedDigest(SHA_256, record.digest))
            assert verdict.outcome is Outcome.VERIFIED


async def test_records_come_in_pages_from_wherever_asked(network: LocalNetwork) -> None:
    transaction = network.transaction(records=3)
    digests = [record.digest for record in transaction.body.payload.records()]
    async with network.client("validator-1") as client:
        await client.submit([transaction.encoded])
        found = []
        page = RecordPage((), b"\0")
        while page.next_page_token:
            page = await client.records(RecordFilter(), limit=2, page_token=page.next_page_token)
            found += [RecordLeaf.decode(entry.leaf).record.digest for entry in page.records]
        one, last_place = RecordFilter(digest=digests[0]), b"\xff" * PAGE_TOKEN_BYTES_MAX
        beyond = await client.records(one, page_token=last_place)
    assert found[-3:] == digests
    assert beyond == RecordPage((), b"")


async def test_the_same_submission_twice_has_one_result(network: LocalNetwork) -> None:
    encoded = network.transaction().encoded
    async with network.client("validator-1") as one, network.client("validator-2") as other:
        first, second = await asyncio.gather(one.submit([encoded]), other.submit([encoded]))
        (third,) = await one.submit([encoded])
    assert first[0].final() == second[0].final() == third.final()
    assert third.admission.code is AdmissionCode.ALREADY_FINAL


@pytest.mark.parametrize("victim", ["validator-1", ON_ROCKSDB])  # the first primary is one
async def test_killed_during_load_it_catches_up_and_votes_again(
    network: LocalNetwork, victim: str
) -> None:
    others = [validator_id for validator_id in network.ids if validator_id != victim]
    load = Load(network)
    loading = asyncio.create_task(load.run(*others))
    await network.until_height(others[0], await network.height() + 3)
    network.end(victim, signal.SIGKILL)
    height = await network.height()
    await network.until_height(others[0], height + 5)  # the others go on without it
    await asyncio.to_thread(network.supervisor.up)
    await network.until_ready([victim])
    await network.until_voting(victim)
    await network.until_height(victim, await network.height() + 3)
    load.stop()
    await loading
    assert {result.code for result in load.results.values()} == {ResultCode.OK}
    headers = await network.headers(await network.height())
    assert len(set(headers.values())) == 1


async def test_all_killed_at_once_nothing_final_is_lost(network: LocalNetwork) -> None:
    load = Load(network)
    loading = asyncio.create_task(load.run())
    await network.until_height("validator-1", await network.height() + 3)
    for validator_id in network.ids:
        network.end(validator_id, signal.SIGKILL)
    await asyncio.to_thread(network.supervisor.up)
    await network.until_ready(network.ids)
    await network.until_height("validator-1", await network.height() + 2)
    load.stop()
    await loading
    # Whoever answered the load may be a block ahead of the one that is asked now.
    await network.until_height("validator-3", max(r.height for r in load.results.values()))
    async with network.client("validator-3") as client:
        for tx_id, result in load.results.items():
            found = await client.transaction(tx_id)
            assert (found.height, result.code) == (result.height, ResultCode.OK)


async def test_a_disk_that_refuses_ends_one_validator_and_costs_it_nothing(
    network: LocalNetwork,
) -> None:
    victim, other = "validator-3", "validator-4"
    process = network.process(victim)
    load = Load(network)
    loading = asyncio.create_task(load.run(other))
    await network.until_height(victim, await network.height() + 3)
    written = max(file.stat().st_size for file in (network.folder(victim) / "wal").iterdir())
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (written + 4_096, written + 4_096))
    await asyncio.to_thread(network.wait_for_exit, process)
    *_, headline, _cause, _fix = network.log(victim)
    assert " GC-3001: " in headline
    await network.until_height(other, await network.height() + 3)
    await asyncio.to_thread(network.supervisor.up)
    await network.until_height(victim, await network.height() + 3)
    load.stop()
    await loading
    headers = await network.headers(await network.height())
    assert len(set(headers.values())) == 1


def test_a_second_process_with_the_same_home_is_refused(network: LocalNetwork) -> None:
    home = network.folder("validator-2")
    second = subprocess.run(
        [*NODE_COMMAND, "--home", str(home)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert second.returncode not in (0, 70)
    assert "GC-3002" in second.stderr
    assert network.process("validator-2").is_alive


def test_a_copy_of_a_running_home_is_refused_for_its_key(network: LocalNetwork) -> None:
    home = network.folder("validator-2")
    copy = shutil.copytree(home, home.parent / "copy", ignore=shutil.ignore_patterns("node.pid"))
    second = subprocess.run(
        [*NODE_COMMAND, "--home", str(copy)],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    shutil.rmtree(copy)
    assert second.returncode not in (0, 70)
    assert "GC-3002" in second.stderr
    assert "key is in use" in second.stderr


async def test_sigterm_ends_it_in_order_and_soon(network: LocalNetwork) -> None:
    async with network.client("validator-4") as client:
        await client.submit([network.transaction().encoded])
        took_s = await asyncio.to_thread(network.end, "validator-4", signal.SIGTERM)
    assert took_s < STOP_S_MAX
    last = json.loads([line for line in network.log("validator-4") if line.startswith("{")][-1])
    assert last["event"] == "stopped"
    await asyncio.to_thread(network.supervisor.up)
    await network.until_ready(["validator-4"])


def test_logs_hold_no_secret(network: LocalNetwork) -> None:
    secret = (network.home / "secret.key").read_bytes().hex()
    for validator_id in network.ids:
        text = "\n".join(network.log(validator_id))
        assert secret not in text
        assert "PRIVATE KEY" not in text
