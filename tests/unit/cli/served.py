"""A chain of several epochs, made by engines in memory and served over the real client API.

The folder of a provisioned network gives the keys and certificates that clients and server need;
its chain is exchanged for the served one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from node.chain.encoding import encode
from node.chain.genesis import Genesis
from node.chain.reference import ReferenceName
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret, load_tls_key_pem
from node.operations.provision import update_toml
from node.rpc.identity import Gatekeeper, TlsIdentity
from node.rpc.port import (
    Block,
    CertifiedHeader,
    NodeStatus,
    RecordEntry,
    RecordFilter,
    RecordPage,
    RecordStatus,
)
from node.rpc.server import ClientServer
from node.service.queries import Queries
from node.storage.ledger import RecordQuery
from tests.unit.cli.command import run
from tests.unit.execution.governed_chain import GOVERNED
from tests.unit.rpc.fake_node import FakeLedger, FakeNode
from tests.unit.service.chatting import Node


class ServedNode(FakeNode):
    """Answers from the ledger of an engine."""

    def __init__(self, node: Node) -> None:
        super().__init__(node.name, FakeLedger())
        self.engine, self.queries = node.engine, Queries(node.ledger, GOVERNED)
        self.handed_over = [each.encode() for each in self.queries.handovers_from(0, 256)]
        """What it says; a test may change it."""
        self.hidden: set[int] = set()
        """Log indexes of records that it keeps to itself."""
        self.forged: dict[int, bytes] = {}
        """Blocks that it gives instead of its own, by height."""
        self.shown: bytes | None = None
        """What it shows for every standing, instead of the true one."""

    async def handovers(self, from_epoch: int, limit: int) -> Sequence[bytes]:
        return self.handed_over[from_epoch:][:limit]

    async def receipt_of_operation(self, wanted: bytes, operation_index: int) -> bytes | None:
        found = self.queries.receipts(wanted, operation_index, 1)
        return found[0].encode() if found else None

    async def records(self, wanted: RecordFilter, limit: int, page_token: bytes) -> RecordPage:
        query = RecordQuery(reference=wanted.reference, type_code=wanted.type_code)
        start = int.from_bytes(page_token)
        page = self.queries.records(query, limit=limit, start=start)
        entries = [
            RecordEntry(found.log_index, found.leaf.encode(), RecordStatus.NONE)
            for found in page.records
            if found.log_index not in self.hidden
        ]
        following = page.next_log_index
        return RecordPage(tuple(entries), b"" if following is None else following.to_bytes(8))

    async def standing_proof(self, name: ReferenceName) -> bytes | None:
        if self.shown is not None:
            return self.shown
        proof = self.queries.standing_proof(name)
        return None if proof is None else proof.encode()

    async def consistency_proof(self, old_height: int, new_height: int | None) -> bytes | None:
        proof = self.queries.consistency_proof(old_height, new_height)
        return None if proof is None else proof.encode()

    async def evidence(self) -> Sequence[bytes]:
        return [each.encode() for each in self.engine.evidence]

    async def status(self) -> NodeStatus:
        return replace(await super().status(), height=self.engine.height)

    async def block(self, height: int) -> Block | None:
        block = self.queries.block(height)
        if block is None:
            return None
        if height in self.forged:
            return Block(self.forged[height], ())
        return Block(block.encode(), tuple(each.encode() for each in block.results()))

    async def certified_header(self, height: int | None) -> CertifiedHeader | None:
        header, certificate = self.queries.header(
            self.engine.height if height is None else height
        ) or (None, None)
        if header is None:
            return None
        encoded = b"" if certificate is None else encode(certificate.to_value())
        return CertifiedHeader(header.encode(), encoded)


def prepare_home(folder: Path, genesis: Genesis = GOVERNED) -> Path:
    """Make the folder of a network of the served chain, with one validator to ask."""
    made = run("testnet", "init", "--home", folder, "-n", 1, "--suite", genesis.suite.name)
    assert made.code == 0, made.err
    (folder / "genesis.cbor").write_bytes(genesis.encode())
    update_toml(folder / "profile.toml", {"chain_id": genesis.chain_id.hex()})
    return folder


@contextmanager
def served(
    node: FakeNode,
    home: Path,
    chain_id: bytes = GOVERNED.chain_id,
    validator: str = "validator-1",
) -> Iterator[None]:
    """Serve a node of a chain on a thread of its own, as one validator of a home."""
    folder = home / "nodes" / validator
    config = NodeConfig.load(folder)
    assert config.key_file is not None
    key = load_tls_key_pem(config.keys / "tls.key", KeyFileSecret.load(config.key_file))
    authority = (home / "organisations/org-1/ca.pem").read_bytes()
    started, failures = threading.Event(), list[Exception]()
    loop = asyncio.new_event_loop()
    stopping = asyncio.Event()

    async def serve() -> None:
        server = ClientServer(
            node,
            [str(config.client_address)],
            tls=TlsIdentity((folder / "tls.pem").read_bytes(), key),
            gatekeeper=Gatekeeper({"org-1": (authority,)}, lambda: time.time_ns() // 1_000_000),
            chain_id=chain_id,
            on_failure=failures.append,
        )
        await server.start()
        started.set()
        await stopping.wait()
        await server.stop(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join()
        loop.close()
    assert failures == []
