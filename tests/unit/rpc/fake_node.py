"""The client API's port over a ledger of lists, and validators that serve it on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from node.chain.admission import ACCEPTED, Admission, AdmissionCode, FinalResult
from node.chain.block import ResultCode
from node.chain.genesis import Parameters
from node.chain.governance import CheckpointStatement
from node.chain.reference import ReferenceName
from node.consensus.standing import Standing
from node.crypto import der
from node.errors import ClientError
from node.rpc.client import LedgerClient, LedgerEndpoint
from node.rpc.identity import TlsIdentity
from node.rpc.port import (
    Block,
    BlockSummary,
    CertifiedHeader,
    CommittedTransaction,
    Diagnosis,
    Follower,
    Health,
    Member,
    Membership,
    NodeStatus,
    RecordEntry,
    RecordFilter,
    RecordPage,
    RecordStatus,
    StateEntries,
)
from node.rpc.server import ClientServer
from node.timestamp.tokens.issuing import encode_granted, encode_refused
from node.timestamp.tokens.request import Failure, TimeStampRefused
from tests.unit.rpc.pki import CHAIN_ID, Pki, shared_pki

DEADLINE_S = 20


def tx_id(transaction: bytes) -> bytes:
    return sha256(transaction).digest()


HELD_KIND = 4


class FakeTicket:
    """A batch of which some transactions may still wait for a block."""

    def __init__(self, ledger: FakeLedger, transactions: Sequence[bytes]) -> None:
        self.admissions: list[Admission] = []
        self.results: list[FinalResult | None] = [None] * len(transactions)
        self._ledger = ledger
        self.waiting: dict[bytes, int] = {}
        self.final = asyncio.get_running_loop().create_future()
        self.closed = asyncio.Event()

    def settle(self) -> None:
        for transaction, index in list(self.waiting.items()):
            if (result := self._ledger.final.get(transaction)) is not None:
                self.results[index] = result
                del self.waiting[transaction]
        if not self.waiting and not self.final.done():
            self.final.set_result(None)

    async def wait_final(self) -> None:
        await asyncio.shield(self.final)

    def close(self) -> None:
        self._ledger.tickets.remove(self)
        self.closed.set()


class FakeLedger:
    """What all validators of a network agree on. Nothing is committed while `held`."""

    def __init__(self) -> None:
        self.held = False
        self.pending: list[bytes] = []
        self.final: dict[bytes, FinalResult] = {}
        self.blocks: list[list[bytes]] = [[]]
        self.tickets: list[FakeTicket] = []
        self.changed = asyncio.Event()

    def commit(self) -> None:
        """Make one block of all that is pending."""
        height = len(self.blocks)
        for transaction in self.pending:
            log_index = len(self.final)
            self.final[transaction] = FinalResult(
                ResultCode.OK, height, 1_000 * height, 0, log_index
            )
        self.blocks.append(self.pending)
        self.pending = []
        for ticket in self.tickets:
            ticket.settle()
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a change that makes the condition true."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                await self.changed.wait()


@dataclass
class FakeNode:
    """One validator of a network."""

    validator_id: str
    ledger: FakeLedger
    verdicts: dict[bytes, Admission] = field(default_factory=dict)
    """What this validator answers to some transactions."""
    isolated: bool = False
    """Whether it admits transactions that never reach the others."""
    behind: bool = False
    """Whether it has not seen any block yet."""
    broken: Exception | None = None
    handovers_mib: list[int] = field(default_factory=list)
    proofs_mib: list[int] = field(default_factory=list)
    held_entries: list[tuple[bytes, bytes]] = field(default_factory=list)
    """What the state holds of `HELD_KIND`."""
    """Sizes of further proofs of misbehaviour."""
    submitters: list[str] = field(default_factory=list)
    stamping: Failure | None = None
    """Why it gives no time stamps."""
    tickets_open_max: int = 0

    async def submit_call(self, transactions: Sequence[bytes], submitter: str) -> FakeTicket:
        return await self.submit_batch(transactions, submitter)

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> FakeTicket:
        self.submitters.append(submitter)
        ledger = self.ledger
        ticket = FakeTicket(ledger, transactions)
        for index, transaction in enumerate(transactions):
            admission = self.admit(transaction)
            ticket.admissions.append(admission)
            if admission.code.is_admitted:
                ticket.waiting[transaction] = index
            if admission.code is AdmissionCode.ACCEPTED and not self.isolated:
                ledger.pending.append(transaction)
        ledger.tickets.append(ticket)
        self.tickets_open_max = max(self.tickets_open_max, len(ledger.tickets))
        ticket.settle()
        ledger.notify()
        if ledger.pending and not ledger.held:
            asyncio.get_running_loop().call_soon(ledger.commit)
        return ticket

    def admit(self, transaction: bytes) -> Admission:
        if transaction in self.verdicts:
            return self.verdicts[transaction]
        if transaction in self.ledger.final:
            return Admission(AdmissionCode.ALREADY_FINAL)
        if transaction in self.ledger.pending:
            return Admission(AdmissionCode.DUPLICATE_PENDING)
        return ACCEPTED

    async def status(self) -> NodeStatus:
        if self.broken is not None:
            raise self.broken
        height = len(self.ledger.blocks) - 1
        return NodeStatus(
            validator_id=self.validator_id,
            chain_id=CHAIN_ID,
            version="0.1.0",
            health=Health.READY,
            health_detail="",
            height=height,
            header_digest=sha256(b"%d" % height).digest(),
            time_ms=1_000 * height,
            view=0,
            epoch=0,
            peers_connected=0,
            pending=len(self.ledger.pending),
        )

    async def diagnosis(self) -> Diagnosis:
        status = await self.status()
        return Diagnosis(
            status=status,
            clock_ms=status.time_ms,
            epoch=0,
            validators=(self.validator_id,),
            parameters=Parameters(),
            standing=Standing(
                view=status.view,
                view_active=True,
                leaving=(),
                view_ends_in_ms=None,
                waited_ms=None,
                undecided=(),
            ),
            peers=(),
        )

    async def evidence(self) -> Sequence[bytes]:
        proof = b"proof by " + self.validator_id.encode()
        return [proof, *(bytes(size << 20) for size in self.proofs_mib)]

    async def state_entries(self, kind: int, after: bytes, limit: int) -> StateEntries:
        if kind != HELD_KIND:
            raise ClientError("state kind: expected another")
        held = [each for each in self.held_entries if each[0] > after]
        return StateEntries(7, tuple(held[:limit]))

    async def membership(self) -> Membership:
        return Membership(
            epoch=1,
            members=(
                Member(
                    validator_id=self.validator_id, organisation="org-1", address="127.0.0.1:7100"
                ),
            ),
            followers=(
                Follower(node_id="learner-1", organisation="org-1", height=3),
                Follower(node_id="learner-2", organisation="org-2", height=None),
            ),
        )

    async def checkpoint(self) -> CheckpointStatement:
        return CheckpointStatement(self.validator_id, b"header", b"signature")

    def find(self, wanted: bytes) -> tuple[int, int, bytes] | None:
        """Return (height, index, transaction) of a transaction id."""
        if self.behind:
            return None
        return next(
            (
                (height, index, transaction)
                for height, block in enumerate(self.ledger.blocks)
                for index, transaction in enumerate(block)
                if tx_id(transaction) == wanted
            ),
            None,
        )

    async def receipt_of_operation(self, wanted: bytes, operation_index: int) -> bytes | None:
        if (found := self.find(wanted)) is None or operation_index:
            return None
        return b"receipt of " + found[2]

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:
        return await self.receipt_of_operation(digest, 0)

    async def receipts(
        self, wanted: bytes, first_operation: int, limit: int
    ) -> Sequence[bytes] | None:
        """Take a transaction `<n>:<m>` for one of n operations, with receipts of m MiB each."""
        if (found := self.find(wanted)) is None:
            return None
        count, _, size_mib = found[2].partition(b":")
        operations = range(first_operation, int(count))[:limit]
        return [b"%d:" % n + bytes(int(size_mib or 0) << 20) for n in operations]

    async def records(self, wanted: RecordFilter, limit: int, page_token: bytes) -> RecordPage:
        first = int(page_token or b"0")
        committed = [] if self.behind else list(self.ledger.final)
        matching = [
            RecordEntry(index, transaction, RecordStatus.IN_FORCE)
            for index, transaction in enumerate(committed)
            if wanted.digest in (None, tx_id(transaction))
        ]
        page = tuple(matching[first : first + limit])
        rest = first + len(page) < len(matching)
        return RecordPage(page, b"%d" % (first + len(page)) if rest else b"")

    async def standing_proof(self, name: ReferenceName) -> bytes | None:
        return None if self.behind else f"standing of {name}".encode()

    async def consistency_proof(self, old_height: int, new_height: int | None) -> bytes | None:
        return None if self.behind else f"{old_height} to {new_height}".encode()

    async def block(self, height: int) -> Block | None:
        if height >= len(self.ledger.blocks):
            return None
        block = self.ledger.blocks[height]
        return Block(b"|".join(block), tuple(b"ok" for _ in block))

    async def transaction(self, wanted: bytes) -> CommittedTransaction | None:
        if (found := self.find(wanted)) is None:
            return None
        height, index, transaction = found
        return CommittedTransaction(
            height=height,
            index=index,
            time_ms=1_000 * height,
            transaction=transaction,
            result=b"ok",
        )

    async def certified_header(self, height: int | None) -> CertifiedHeader | None:
        if height is None:
            height = len(self.ledger.blocks) - 1
        if height >= len(self.ledger.blocks):
            return None
        return CertifiedHeader(b"header %d" % height, b"certificate" if height else b"")

    async def handovers(self, from_epoch: int, limit: int) -> Sequence[bytes]:
        """Take `handovers_mib`, the size of each, for a list of as many as it is long."""
        epochs = range(from_epoch, len(self.handovers_mib))[:limit]
        return [b"%d:" % n + bytes(self.handovers_mib[n] << 20) for n in epochs]

    async def time_stamp(self, request: bytes, client: str) -> bytes:
        if self.stamping is not None:
            return encode_refused(TimeStampRefused(self.stamping, f"says {self.validator_id}"))
        told = b"%b of %b by %b" % (request, client.encode(), self.validator_id.encode())
        return encode_granted(der.encode(der.OCTET_STRING, told))

    async def genesis(self) -> bytes:
        return b"genesis"

    async def blocks(self, from_height: int) -> AsyncGenerator[BlockSummary]:
        height = from_height
        while True:
            while height < len(self.ledger.blocks):
                yield BlockSummary(
                    height=height,
                    header_digest=sha256(b"%d" % height).digest(),
                    time_ms=1_000 * height,
                    time_degraded=False,
                    view=0,
                    proposer=0,
                    transactions=len(self.ledger.blocks[height]),
                    records=len(self.ledger.blocks[height]),
                    signers=3,
                )
                height += 1
            await self.ledger.changed.wait()


class FakeNetwork:
    """Validators that share a ledger, each behind a real server on loopback."""

    def __init__(self, size: int, host: str = "127.0.0.1") -> None:
        self.pki: Pki = shared_pki()
        self.ledger = FakeLedger()
        self.failures: list[Exception] = []
        self.nodes = [FakeNode(f"validator-{n + 1}", self.ledger) for n in range(size)]
        self.host = f"[{host}]" if ":" in host else host
        self.servers = [
            ClientServer(
                node,
                [f"{self.host}:0"],
                tls=self.pki.validator(number),
                gatekeeper=self.pki.gatekeeper(),
                chain_id=CHAIN_ID,
                on_failure=self.failures.append,
            )
            for number, node in enumerate(self.nodes, start=1)
        ]
        self.endpoints: list[LedgerEndpoint] = []

    async def start(self) -> None:
        for node, server in zip(self.nodes, self.servers, strict=True):
            [port] = await server.start()
            self.endpoints.append(LedgerEndpoint(node.validator_id, f"{self.host}:{port}"))

    async def stop(self) -> None:
        for server in self.servers:
            await server.stop(0)

    def client(
        self,
        endpoints: Sequence[LedgerEndpoint] | None = None,
        *,
        tls: TlsIdentity | None = None,
        chain_id: bytes = CHAIN_ID,
    ) -> LedgerClient:
        return LedgerClient(
            endpoints or self.endpoints,
            tls=tls or self.pki.client(),
            roots_pem=self.pki.gatekeeper().roots_pem,
            chain_id=chain_id,
        )


@asynccontextmanager
async def running(size: int, host: str = "127.0.0.1") -> AsyncIterator[FakeNetwork]:
    network = FakeNetwork(size, host)
    await network.start()
    try:
        yield network
    finally:
        await network.stop()
