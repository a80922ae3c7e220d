"""A network of real validator processes for a test: made, started, driven, killed, removed."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
import signal
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from node.chain.admission import FinalResult
from node.chain.block import Header
from node.chain.genesis import Genesis
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    sign_transaction,
)
from node.crypto.keystore import (
    KeyFileSecret,
    KeyPurpose,
    generate_key,
    load_signer,
    load_tls_key_pem,
)
from node.crypto.signature import Signer
from node.crypto.suite import NATIONAL
from node.errors import CryptoError
from node.operations.process import ProcessRecord, wait_for_an_exit
from node.operations.provision import DEFAULT_IDENTITY, NetworkPlan, provision
from node.operations.supervisor import Supervisor
from node.operations.topology import PORTS_PER_NODE, SECRET_FILE, NodeEntry, find_free_ports
from node.rpc.client import LedgerClient, LedgerEndpoint, NetworkUnavailable
from node.rpc.identity import TlsIdentity
from node.rpc.port import Health, NodeStatus
from node.timestamp.trust import TrustAnchor, TrustFile
from tests.suites import SUITE
from tests.unit.cli.command import run

HOST = "127.0.0.1"
_Answer = TypeVar("_Answer")

DEADLINE_S = 40.0
POLL_S = 0.1


def utc_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class LocalNetwork:
    """A network made in `home`."""

    home: Path

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(self.home, lambda _step, _node: None)
        self.genesis = Genesis.decode((self.home / "genesis.cbor").read_bytes())
        secret = KeyFileSecret.load(self.home / SECRET_FILE)
        folder = self.home / "clients" / DEFAULT_IDENTITY
        self.signer: Signer = load_signer(folder / "client.key", secret, KeyPurpose.IDENTITY)
        self._tls = TlsIdentity(
            (folder / "client.pem").read_bytes(), load_tls_key_pem(folder / "tls.key", secret)
        )

    @property
    def entries(self) -> tuple[NodeEntry, ...]:
        return self.supervisor.topology.nodes

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(entry.id for entry in self.entries)

    def folder(self, validator_id: str) -> Path:
        return self.home / "nodes" / validator_id

    def use_engine(self, validator_id: str, engine: str) -> None:
        """Have a validator that does not run keep its database by this engine."""
        settings = self.folder(validator_id) / "node.toml"
        settings.write_text(f'storage.engine = "{engine}"\n{settings.read_text()}')

    # --- Processes ---

    def process(self, validator_id: str) -> ProcessRecord:
        for each in self.supervisor.inspect():
            if each.entry.id == validator_id and each.process is not None:
                return each.process
        raise AssertionError(f"{validator_id} does not run: {self.log(validator_id)[-3:]}")

    def end(self, validator_id: str, number: signal.Signals) -> float:
        """Send a signal that ends a validator; return how long its end took, in seconds."""
        process = self.process(validator_id)
        started_s = time.monotonic()
        os.kill(process.pid, number)
        self.wait_for_exit(process)
        return time.monotonic() - started_s

    def wait_for_exit(self, process: ProcessRecord) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while process.is_alive:
            assert time.monotonic() < deadline_s, "the process did not end"
            wait_for_an_exit([process], 0.2)

    def log(self, validator_id: str) -> list[str]:
        return (self.folder(validator_id) / "node.log").read_text().splitlines()

    def metric(self, validator_id: str, name: str) -> float:
        (entry,) = (entry for entry in self.entries if entry.id == validator_id)
        url = f"http://{entry.host}:{entry.metrics_port}/metrics"
        with urllib.request.urlopen(url, timeout=5) as reply:
            for line in reply.read().decode().splitlines():
                if line.startswith(f"govchain_{name} "):
                    return float(line.split()[1])
        raise AssertionError(f"{validator_id} has no metric {name}")

    # --- Clients ---

    def client(self, *only: str) -> LedgerClient:
        """Return a client of the named validators, or of all."""
        endpoints = [
            LedgerEndpoint(entry.id, f"{entry.host}:{entry.client_port}")
            for entry in self.entries
            if not only or entry.id in only
        ]
        return LedgerClient(
            endpoints,
            tls=self._tls,
            roots_pem=(self.home / "ca-bundle.pem").read_bytes(),
            chain_id=self.genesis.chain_id,
        )

    @property
    def anchor(self) -> TrustAnchor:
        return TrustFile(chain_id=self.genesis.chain_id, genesis=self.genesis).establish()

    def transaction(self, records: int = 1) -> Transaction:
        return self.transaction_of(
            Notarization(
                digest_algorithm=1,
                type_code="test",
                action=RecordAction.RECORD,
                digests=secrets.token_bytes(32 * records),
            )
        )

    def transaction_of(self, payload: Notarization) -> Transaction:
        body = TransactionBody(
            chain_id=self.genesis.chain_id,
            sender=DEFAULT_IDENTITY,
            nonce=secrets.token_bytes(16),
            not_after_ms=utc_ms() + 300_000,
            kind=TransactionKind.NOTARIZE,
            payload=payload,
        )
        return sign_transaction(body, self.signer, self.genesis.suite)

    async def until_ready(self, ids: Sequence[str]) -> dict[str, NodeStatus]:
        """Wait until these validators say that they are ready."""

        async def ready(client: LedgerClient) -> dict[str, NodeStatus] | None:
            found = {
                validator_id: status
                for validator_id, status in (await client.statuses(2_000)).items()
                if isinstance(status, NodeStatus) and status.health is Health.READY
            }
            return found if len(found) == len(ids) else None

        async with self.client(*ids) as client:
            return await until(lambda: ready(client), f"{ids} ready")

    async def until_height(self, validator_id: str, height: int) -> None:
        """Wait until a validator has committed a height, as long as it gets nearer."""

        async def held(client: LedgerClient) -> int:
            return (await client.status(2_000)).height

        async with self.client(validator_id) as client:
            await until_grown_to(height, lambda: held(client), f"height of {validator_id}")

    async def until_voting(self, validator_id: str) -> None:
        """Wait until a validator has voted since its start."""

        async def votes() -> float | None:
            return await asyncio.to_thread(self.metric, validator_id, "votes_signed_total") or None

        await until(votes, f"{validator_id} votes")

    async def headers(self, height: int) -> dict[str, Header]:
        """Return the header that each validator holds at a height, waiting for the last one."""
        found = {}
        for validator_id in self.ids:
            await self.until_height(validator_id, height)
            async with self.client(validator_id) as client:
                certified = await client.certified_header(height)
                found[validator_id] = Header.decode(certified.header)
        return found

    async def height(self) -> int:
        """Return the greatest height any validator reports."""
        async with self.client() as client:
            statuses = await client.statuses(2_000)
        return max(each.height for each in statuses.values() if isinstance(each, NodeStatus))


async def until(question: Callable[[], Awaitable[_Answer | None]], what: str) -> _Answer:
    """Ask until there is an answer, or fail at the deadline."""
    deadline_s = time.monotonic() + DEADLINE_S
    while True:
        try:
            answer = await question()
        except NetworkUnavailable:
            answer = None
        if answer is not None:
            return answer
        assert time.monotonic() < deadline_s, f"not in time: {what}"
        await asyncio.sleep(POLL_S)


async def until_grown_to(target: float, figure: Callable[[], Awaitable[float]], what: str) -> None:
    """Ask until a figure has reached its target; growing, it has a deadline more.

    So a long way may take as long as a busy machine needs, and who stands still is found at once.
    """
    held = -math.inf

    async def grown() -> float | None:
        found = await figure()
        return found if found > held else None

    while held < target:
        held = await until(grown, f"{what}, {held:g} of {target:g}")


class Load:
    """A client that submits batches until told to stop, each again until all of it is final.

    After each it rests for `pause_ms`, so as to leave some of the machine to others.
    """

    def __init__(self, network: LocalNetwork, batch: int = 20, pause_ms: int = 20) -> None:
        self._network, self._batch, self._pause_ms = network, batch, pause_ms
        self._stopping = False
        self.results: dict[bytes, FinalResult] = {}
        """By tx_id."""

    async def run(self, *only: str) -> None:
        async with self._network.client(*only) as client:
            while not self._stopping:
                transactions = [self._network.transaction() for _ in range(self._batch)]
                encoded = [transaction.encoded for transaction in transactions]
                results = await until(partial(self._submit, client, encoded), "a batch is final")
                for transaction, result in zip(transactions, results, strict=True):
                    self.results[transaction.tx_id] = result
                await asyncio.sleep(self._pause_ms / 1_000)

    async def _submit(
        self, client: LedgerClient, encoded: Sequence[bytes]
    ) -> list[FinalResult] | None:
        outcomes = await client.submit(encoded)
        results = [outcome.result for outcome in outcomes if outcome.result is not None]
        return results if len(results) == len(encoded) else None

    def stop(self) -> None:
        self._stopping = True


def make_network(home: Path, nodes: int = 4, *, created_ago_ms: int = 0) -> LocalNetwork:
    """Make the files of a network, as of some time ago."""
    provision(
        home,
        NetworkPlan(
            name="test",
            suite=SUITE,
            created_ms=utc_ms() - created_ago_ms,
            node_count=nodes,
            ports=find_free_ports(HOST, PORTS_PER_NODE * nodes),
        ),
    )
    return LocalNetwork(home)


@contextmanager
def running_network(home: Path, nodes: int = 4) -> Iterator[LocalNetwork]:
    """Make and start a network; stop it at the end."""
    network = make_network(home, nodes)
    try:
        network.supervisor.up()
        yield network
    finally:
        LocalNetwork(home).supervisor.down()  # whoever is part of it by now


@contextmanager
def national_testnet(home: Path) -> Iterator[Path]:
    """Have the command run four validators on the national suite; skip where none can sign so."""
    try:
        generate_key(KeyPurpose.VOTE, NATIONAL)
    except CryptoError as error:
        pytest.skip(f"a national network was NOT RUN: {error}")
    up = run("testnet", "up", "--suite", "national", "--home", home, "--json")
    assert up.code == 0, up.out
    try:
        yield home
    finally:
        run("testnet", "down", "--home", home)
