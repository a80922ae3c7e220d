"""The client API's port, implemented: domain types in, values of the wire out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

import node
from node.assembly.health import Health
from node.assembly.peering import Peering
from node.assembly.reader import Reader
from node.assembly.stamping import Stamping
from node.chain.admission import Admission, AdmissionCode
from node.chain.block import checkpoint_of
from node.chain.encoding import encode
from node.chain.genesis import Genesis
from node.chain.governance import CheckpointStatement
from node.chain.reference import ReferenceName
from node.consensus.events import Now
from node.consensus.standing import standing_of
from node.crypto.signature import Signer
from node.errors import ClientError, InvariantViolation
from node.execution.registry import StateKind, find_endpoint
from node.rpc import port
from node.rpc.guard import NoTimeStamps
from node.rpc.peer import RemotePeer
from node.service import clock
from node.service.engine import CommittedBlock, Engine
from node.service.public_log.files import PublicLogFiles
from node.service.queries import Queries
from node.service.runner import Runner
from node.service.stamping.requests import Client
from node.service.telemetry import Telemetry
from node.service.tickets import Ticket
from node.storage.ledger import LedgerStore, RecordQuery
from node.timestamp.receipt import Receipt

RETRY_AFTER_MS: Final = 500
"""When a client refused for want of readiness should come back."""

_KINDS_TOLD: Final = (
    StateKind.ORGANISATION,
    StateKind.IDENTITY,
    StateKind.ENDPOINT,
    StateKind.STATUS,
    StateKind.TRAIL,
    StateKind.CERTIFICATES,
    StateKind.AUTHORITIES,
    StateKind.RULE,
    StateKind.QUOTA,
    StateKind.ROLL,
    StateKind.RETIRED_VALIDATOR,
    StateKind.RETIRED_KEY,
    StateKind.CARRIED_OUT,
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The running parts that answer."""

    validator_id: str
    runner: Runner
    ledger: LedgerStore
    queries: Queries
    reader: Reader
    public_log: PublicLogFiles
    stamping: Stamping | None
    peering: Peering
    health: Health
    telemetry: Telemetry

    @property
    def engine(self) -> Engine:
        """The validator."""
        return self.runner.engine


class Api:
    """The `NodeApi` that the client server serves: domain types in, values of the wire out.

    Reads run on a thread of their own, so that a page of receipts does not hold up a vote.
    """

    def __init__(self, genesis: Genesis, parts: Parts, cosigner: Signer) -> None:
        """Ask `parts`; what is stated of the ledger is signed by `cosigner`."""
        self._genesis, self._parts, self._cosigner = genesis, parts, cosigner
        self._stated: tuple[bytes, CheckpointStatement] | None = None
        """The newest statement, by the header's digest: asking again costs nothing."""
        self._suite, self._queries = genesis.suite, parts.queries
        self._read = parts.reader.read
        self._committed = asyncio.Event()
        parts.runner.on_committed.append(self._note_commit)

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> Ticket:
        """Judge and queue a batch, unless another validator would serve it better."""
        return await self._submit(self._parts.runner.submit_in_order, transactions, submitter)

    async def submit_call(self, transactions: Sequence[bytes], submitter: str) -> Ticket:
        """Do the same for what may be judged together with others."""
        return await self._submit(self._parts.runner.submit, transactions, submitter)

    async def _submit(
        self,
        submit: Callable[[Sequence[bytes]], Awaitable[Ticket]],
        transactions: Sequence[bytes],
        submitter: str,
    ) -> Ticket:
        parts = self._parts
        if parts.health.known is not port.Health.READY:
            refusal = Admission(AdmissionCode.NOT_READY, parts.health.detail, RETRY_AFTER_MS)
            count = len(transactions)
            return parts.runner.tickets.open([None] * count, [refusal] * count)
        log.debug("submitted", submitter=submitter, transactions=len(transactions))
        submitted_ms = clock.monotonic_ms()
        ticket = await submit(transactions)
        ticket.when_final(lambda: parts.telemetry.became_final(submitted_ms))
        return ticket

    async def status(self) -> port.NodeStatus:
        """Return how the node is."""
        parts, engine = self._parts, self._parts.engine
        header = parts.ledger.header
        return port.NodeStatus(
            validator_id=parts.validator_id,
            chain_id=self._genesis.chain_id,
            version=node.__version__,
            health=parts.health.known,
            health_detail=parts.health.detail,
            height=header.height,
            header_digest=parts.ledger.header_digest,
            time_ms=header.time_ms,
            view=engine.core.view,
            epoch=header.epoch,
            peers_connected=len(parts.peering.transport.connected),
            pending=engine.mempool.pending_count,
            time_degraded=engine.core.is_degraded,
        )

    async def diagnosis(self) -> port.Diagnosis:
        """Return what the node knows of why the chain moves or does not."""
        parts, engine = self._parts, self._parts.engine
        now = parts.runner.now()
        chaos, epoch = parts.peering.trial.chaos, engine.term.epoch
        verdict = engine.clock_fitness.judge()
        terms = None if parts.stamping is None else parts.stamping.terms(parts.ledger.get)
        return port.Diagnosis(
            status=await self.status(),
            clock_ms=now.utc_ms,
            clock_cause=verdict.cause,
            clock_detail=verdict.detail,
            epoch=epoch.number,
            validators=tuple(each.validator_id for each in epoch.validators.validators),
            parameters=epoch.parameters,
            standing=standing_of(engine.core, now),
            chaos="" if chaos is None else chaos.describe(clock.monotonic_ms()),
            accused=tuple(each.validator_id for each in engine.accused),
            stamping_identity="" if terms is None else terms.identity,
            stamping_identity_ends_ms=0 if terms is None else terms.identity_ends_ms,
            peers=tuple(_sight(parts, peer, now) for peer in parts.peering.transport.assigned),
        )

    async def evidence(self) -> Sequence[bytes]:
        """Return the proofs of misbehaviour held."""
        return [each.encode() for each in self._parts.engine.evidence]

    async def membership(self) -> port.Membership:
        """Return who decides the next height, and who follows."""
        parts, state = self._parts, self._parts.ledger
        epoch = parts.engine.term.epoch
        return port.Membership(
            epoch=epoch.number,
            members=tuple(
                port.Member(
                    validator_id=each.validator_id,
                    organisation=each.organisation,
                    address=str(find_endpoint(state, each.validator_id) or ""),
                )
                for each in epoch.validators.validators
            ),
            followers=tuple(_follower(parts, each) for each in parts.peering.transport.followers),
        )

    async def checkpoint(self) -> CheckpointStatement:
        """Return a statement of the newest header here, signed once."""
        header, digest = self._parts.ledger.header, self._parts.ledger.header_digest
        if self._stated is None or self._stated[0] != digest:
            signature = self._cosigner.sign(checkpoint_of(header, digest))
            statement = CheckpointStatement(self._parts.validator_id, header.encode(), signature)
            self._stated = (digest, statement)
        return self._stated[1]

    async def receipt_of_operation(self, tx_id: bytes, operation_index: int) -> bytes | None:
        """Return the receipt of one record."""
        found = await self.receipts(tx_id, operation_index, 1)
        return found[0] if found else None

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:
        """Return the receipt of the earliest record of a digest."""
        return await self._read(partial(self._read_receipt, digest))

    async def receipts(
        self, tx_id: bytes, first_operation: int, limit: int
    ) -> Sequence[bytes] | None:
        """Return receipts of one transaction."""
        return await self._read(partial(self._read_receipts, tx_id, first_operation, limit))

    async def records(
        self, wanted: port.RecordFilter, limit: int, page_token: bytes
    ) -> port.RecordPage:
        """Return one page of records; the token is the log index where the next one starts."""
        query = RecordQuery(
            digest=wanted.digest,
            reference=wanted.reference,
            type_code=wanted.type_code,
            from_ms=wanted.from_ms,
            to_ms=wanted.to_ms,
        )
        start = int.from_bytes(page_token)
        return await self._read(partial(self._read_records, query, limit, start))

    async def standing_proof(self, name: ReferenceName) -> bytes | None:
        """Return the proof of what stands under a reference now."""
        found = await self._read(partial(self._queries.standing_proof, name))
        return None if found is None else found.encode()

    async def consistency_proof(self, old_height: int, new_height: int | None) -> bytes | None:
        """Return the proof that the chain only grew between two heights."""
        question = partial(self._queries.consistency_proof, old_height, new_height)
        found = await self._read(question)
        return None if found is None else found.encode()

    async def block(self, height: int) -> port.Block | None:
        """Return a committed block."""
        return await self._read(partial(self._read_block, height))

    async def transaction(self, tx_id: bytes) -> port.CommittedTransaction | None:
        """Return a committed transaction."""
        found = await self._read(partial(self._queries.transaction, tx_id))
        if found is None:
            return None
        return port.CommittedTransaction(
            height=found.height,
            index=found.index,
            time_ms=found.time_ms,
            transaction=found.transaction.encoded,
            result=found.result.encode(),
        )

    async def time_stamp(self, request: bytes, client: str) -> bytes:
        """Return the reply to a request for a time stamp."""
        stamping = self._parts.stamping
        if stamping is None or stamping.desk is None:
            raise NoTimeStamps("this node takes no requests for time stamps")
        return (await stamping.desk.answer(request, Client(f"identity {client}"))).reply

    async def certified_header(self, height: int | None) -> port.CertifiedHeader | None:
        """Return a header and its certificate."""
        wanted = self._parts.ledger.tip_height if height is None else height
        header, certificate = self._queries.header(wanted) or (None, None)
        if header is None:
            return None
        encoded = b"" if certificate is None else encode(certificate.to_value())
        return port.CertifiedHeader(header.encode(), encoded)

    async def handovers(self, from_epoch: int, limit: int) -> Sequence[bytes]:
        """Return what led from epoch to epoch."""
        found = await self._read(partial(self._queries.handovers_from, from_epoch, limit))
        return [handover.encode() for handover in found]

    async def state_entries(self, kind: int, after: bytes, limit: int) -> port.StateEntries:
        """Return what the state holds of one kind."""
        if kind not in _KINDS_TOLD:
            known = ", ".join(str(each.value) for each in _KINDS_TOLD)
            raise ClientError(f"state kind: expected one of {known}, got {kind}")
        height = self._parts.ledger.tip_height
        entries = await self._read(
            partial(self._parts.ledger.entries_of, StateKind(kind), after, limit)
        )
        return port.StateEntries(height, tuple(entries))

    async def genesis(self) -> bytes:
        """Return the genesis."""
        return self._genesis.encode()

    async def blocks(self, from_height: int) -> AsyncGenerator[port.BlockSummary]:
        """Yield summaries of blocks from a height on, and of each new one as it is committed."""
        height = from_height
        while True:
            committed = self._committed
            while height <= self._parts.ledger.tip_height:
                yield await self._read(partial(self._summarise, height))
                height += 1
            await committed.wait()

    def _note_commit(self, _block: CommittedBlock) -> None:
        committed, self._committed = self._committed, asyncio.Event()
        committed.set()

    def _read_receipt(self, digest: bytes) -> bytes | None:
        receipt = self._queries.receipt_of_digest(digest)
        return None if receipt is None else self._stamp(receipt).encode()

    def _read_receipts(self, tx_id: bytes, first: int, limit: int) -> Sequence[bytes] | None:
        found = self._queries.receipts(tx_id, first, limit)
        return None if found is None else [self._stamp(receipt).encode() for receipt in found]

    def _stamp(self, receipt: Receipt) -> Receipt:
        stamping = self._parts.stamping
        return receipt if stamping is None else stamping.stamp(receipt)

    def _read_records(self, query: RecordQuery, limit: int, start: int) -> port.RecordPage:
        page = self._queries.records(query, limit=limit, start=start)
        entries = tuple(
            port.RecordEntry(
                found.log_index,
                found.leaf.encode(),
                port.RecordStatus(self._queries.status_of(found).value),
            )
            for found in page.records
        )
        following = page.next_log_index
        return port.RecordPage(entries, b"" if following is None else following.to_bytes(8))

    def _read_block(self, height: int) -> port.Block | None:
        block = self._queries.block(height)
        if block is None:
            return None
        return port.Block(block.encode(), tuple(result.encode() for result in block.results()))

    def _summarise(self, height: int) -> port.BlockSummary:
        block = self._queries.block(height)
        if block is None:
            raise InvariantViolation(f"block {height} lies below the tip and is not there")
        header, certificate = block.header, block.certificate
        return port.BlockSummary(
            height=height,
            header_digest=header.digest(self._suite),
            time_ms=header.time_ms,
            time_degraded=header.time_degraded,
            view=header.view,
            proposer=header.proposer,
            transactions=block.count,
            records=max(header.log_size - block.first_log_index - 1, 0),
            signers=0 if certificate is None else len(certificate.votes),
        )


def _sight(parts: Parts, peer: int, now: Now) -> port.PeerSight:
    signs = parts.engine.peer_signs
    said = signs.status(peer)
    return port.PeerSight(
        validator_id=parts.peering.name_of(peer),
        connected=peer in parts.peering.transport.connected,
        heard_ms_ago=signs.heard_ms_ago(peer, now),
        height=None if said is None else said.height,
        view=None if said is None else said.view,
    )


def _follower(parts: Parts, peer: RemotePeer) -> port.Follower:
    said = parts.engine.peer_signs.status(peer.number)
    return port.Follower(
        node_id=peer.validator_id,
        organisation=peer.organisation,
        height=None if said is None else said.height,
    )
