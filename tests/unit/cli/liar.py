"""A validator that serves the client API of a provisioned home, and lies or dawdles as told.

Run as `python -m tests.unit.cli.liar HOME`; it prints "ready" once it listens.
"""
# ruff: noqa: ARG002 - a liar does not listen to the question

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.chain.genesis import Genesis
from node.config import NodeConfig
from node.crypto.keystore import KeyFileSecret, load_tls_key_pem
from node.rpc.identity import Gatekeeper, TlsIdentity
from node.rpc.port import Block, CertifiedHeader, CommittedTransaction
from node.rpc.server import ClientServer
from tests.unit.rpc.fake_node import FakeLedger, FakeNode, FakeTicket

FORGED = Path(__file__).parents[2] / "vectors/receipt/document.txt.receipt"
BUSY_TIMES = 2


@dataclass
class Liar(FakeNode):
    """Takes everything at once, after having been busy for a while, and proves none of it."""

    submissions: int = 0

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> FakeTicket:
        ticket = await super().submit_batch((), submitter)
        self.submissions += 1
        if self.submissions <= BUSY_TIMES:
            busy = Admission(AdmissionCode.POOL_FULL, "busy", 10)
            ticket.admissions = [busy] * len(transactions)
            ticket.results = [None] * len(transactions)
        else:
            ticket.admissions = [ACCEPTED] * len(transactions)
            ticket.results = [FinalResult(ResultCode.OK, 1, 1, 0, 1)] * len(transactions)
        return ticket

    async def receipts(
        self, wanted: bytes, first_operation: int, limit: int
    ) -> Sequence[bytes] | None:
        return [FORGED.read_bytes(), b"no receipt at all"][
            first_operation : first_operation + limit
        ]

    async def receipt_of_operation(self, wanted: bytes, operation_index: int) -> bytes | None:
        return b"no receipt at all" if operation_index else FORGED.read_bytes()

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:
        return FORGED.read_bytes()

    async def block(self, height: int) -> Block | None:
        return Block(b"no block at all", ())

    async def transaction(self, wanted: bytes) -> CommittedTransaction | None:
        return CommittedTransaction(height=1, index=0, time_ms=1, transaction=b"none", result=b"")

    async def certified_header(self, height: int | None) -> CertifiedHeader | None:
        return CertifiedHeader(b"no header at all", b"no certificate either")


async def serve(home: Path) -> None:
    """Serve until standard input ends."""
    config = NodeConfig.load(home)
    genesis = Genesis.decode((home / "genesis.cbor").read_bytes())
    assert config.key_file is not None
    key = load_tls_key_pem(config.keys / "tls.key", KeyFileSecret.load(config.key_file))
    authorities = {each.organisation_id: (each.ca_certificate,) for each in genesis.organisations}
    server = ClientServer(
        Liar(config.validator_id, FakeLedger()),
        [str(config.client_address)],
        tls=TlsIdentity((home / "tls.pem").read_bytes(), key),
        gatekeeper=Gatekeeper(authorities, lambda: time.time_ns() // 1_000_000),
        chain_id=genesis.chain_id,
        on_failure=lambda error: sys.exit(repr(error)),
    )
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(0)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
