"""A chain whose blocks are committed at once: real signatures, blocks, receipts, client API.

It has the keys of a provisioned home, and no engine: each transaction becomes a block of its own
within the call that brings it. It breaks where a test says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from node.chain.admission import ACCEPTED, Admission, AdmissionCode
from node.chain.certificate import Phase, Subject, Vote, build_certificate
from node.chain.genesis import Genesis
from node.chain.reference import ReferenceName
from node.chain.transaction import Transaction, verify_transaction
from node.crypto.keystore import KeyFileSecret, KeyPurpose, load_signer
from node.errors import ClientError
from node.execution.apply import BlockInputs, Executor, sender_key
from node.rpc.port import (
    Block,
    BlockSummary,
    CommittedTransaction,
    Health,
    NodeStatus,
    RecordEntry,
    RecordFilter,
    RecordPage,
    RecordStatus,
)
from node.service.queries import Queries
from node.storage.ledger import FoundRecord, LedgerStore, RecordQuery
from node.storage.memory import MemoryStore
from node.timestamp.receipt import Receipt
from tests.suites import hash_by_hand
from tests.unit.cli.command import Ran, run
from tests.unit.rpc.fake_node import FakeLedger, FakeNode, FakeTicket


class InstantNode(FakeNode):
    """The validators of a home, all in one."""

    def __init__(self, home: Path, size: int = 1) -> None:
        assert run("testnet", "init", "--home", home, "-n", size).code == 0
        super().__init__("validator-1", FakeLedger())
        self.chain = Genesis.decode((home / "genesis.cbor").read_bytes())
        secret = KeyFileSecret.load(home / "secret.key")
        self._voters = [
            load_signer(home / f"nodes/validator-{n}/keys/vote.key", secret, KeyPurpose.VOTE)
            for n in range(1, self.chain.validators.quorum + 1)
        ]
        self._executor = Executor(self.chain)
        self._store = LedgerStore.open(
            MemoryStore(), self.chain.suite, self._executor.genesis_block()
        )
        self.queries = Queries(self._store, self.chain)
        self.is_ready: Callable[[int], bool] = lambda _times: True
        """Whether it says that it serves, by how often it was asked before."""
        self._times_asked = 0
        self.time_ms = 0
        """What its clock says, if it is ahead of what the next transaction allows."""
        self.before_commit: Callable[[Transaction], None] = lambda _transaction: None
        self.after_commit: Callable[[Transaction], None] = lambda _transaction: None
        """May raise: then the client has no answer."""
        self.receipts_given = 0
        self.receipts_max: int | None = None
        """After so many it gives no more."""

    @property
    def documents(self) -> Counter[bytes]:
        """How often each digest is recorded."""
        return Counter(record.leaf.record.digest for record in self.records_held)

    @property
    def records_held(self) -> Sequence[FoundRecord]:
        """All that is recorded."""
        return self._store.records(RecordQuery(), limit=1_000_000).records

    @property
    def height(self) -> int:
        """Of the newest block."""
        return self._store.header.height

    async def submit_batch(self, transactions: Sequence[bytes], submitter: str) -> FakeTicket:
        ticket = await super().submit_batch((), submitter)
        for encoded in transactions:
            transaction = Transaction.decode(encoded, self.chain.suite)
            admission = self._judge(transaction)
            if admission is ACCEPTED:
                self.before_commit(transaction)
                self._commit(transaction)
                self.after_commit(transaction)
            final = self.queries.final_result(transaction.tx_id)
            ticket.admissions.append(admission)
            ticket.results.append(final)
        return ticket

    def _judge(self, transaction: Transaction) -> Admission:
        if self._store.find_transaction(transaction.tx_id) is not None:
            return Admission(AdmissionCode.ALREADY_FINAL)
        if transaction.body.not_after_ms < self.time_ms:
            return Admission(AdmissionCode.EXPIRED, "too late")
        return ACCEPTED

    def _commit(self, transaction: Transaction) -> None:
        key = sender_key(self._store, transaction.body.sender)
        assert key is not None
        verified = verify_transaction(transaction, self.chain.suite.load_public_key(key))
        parent = self._store.header
        inputs = BlockInputs(
            height=parent.height + 1,
            view=0,
            time_ms=max(parent.time_ms + 1, transaction.body.not_after_ms - 300_000),
            time_degraded=False,
            proposer=0,
        )
        executed = self._executor.execute(self._store, inputs, [verified])
        validators = self.chain.validators
        subject = Subject(Phase.COMMIT, 0, inputs.height, executed.digest)
        message = subject.sign_bytes(self.chain.chain_id, validators, inputs.time_ms)
        votes = [
            Vote(subject, place, inputs.time_ms, voter.sign(message), 0)
            for place, voter in enumerate(self._voters)
        ]
        self._store.commit([(executed, build_certificate(votes, validators))], sync=False)
        self.ledger.notify()

    async def block(self, height: int) -> Block | None:
        block = self.queries.block(height)
        if block is None:
            return None
        return Block(block.encode(), tuple(each.encode() for each in block.results()))

    async def blocks(self, from_height: int) -> AsyncGenerator[BlockSummary]:
        height = from_height
        while True:
            while height <= self.height:
                yield BlockSummary(
                    height=height,
                    header_digest=bytes(32),
                    time_ms=0,
                    time_degraded=False,
                    view=0,
                    proposer=0,
                    transactions=0,
                    records=0,
                    signers=0,
                )
                height += 1
            await self.ledger.changed.wait()

    async def receipt_of_operation(self, wanted: bytes, operation_index: int) -> bytes | None:
        found = self.queries.receipts(wanted, operation_index, 1)
        return found[0].encode() if found else None

    async def receipt_of_digest(self, digest: bytes) -> bytes | None:
        held = [found.leaf for found in self.records_held if found.leaf.record.digest == digest]
        if not held:
            return None
        return await self.receipt_of_operation(held[0].tx_id, held[0].operation_index)

    async def records(self, wanted: RecordFilter, limit: int, page_token: bytes) -> RecordPage:
        query = RecordQuery(reference=wanted.reference, type_code=wanted.type_code)
        page = self.queries.records(query, limit=limit, start=int.from_bytes(page_token))
        entries = [
            RecordEntry(found.log_index, found.leaf.encode(), RecordStatus.NONE)
            for found in page.records
        ]
        following = page.next_log_index
        return RecordPage(tuple(entries), b"" if following is None else following.to_bytes(8))

    async def receipts(
        self, wanted: bytes, first_operation: int, limit: int
    ) -> Sequence[bytes] | None:
        if self.receipts_max is not None and self.receipts_given >= self.receipts_max:
            raise ClientError("no more receipts today")
        found = self.queries.receipts(wanted, first_operation, limit)
        self.receipts_given += 0 if found is None else len(found)
        return None if found is None else [receipt.encode() for receipt in found]

    async def standing_proof(self, name: ReferenceName) -> bytes | None:
        proof = self.queries.standing_proof(name)
        return None if proof is None else proof.encode()

    async def transaction(self, wanted: bytes) -> CommittedTransaction | None:
        found = self.queries.transaction(wanted)
        if found is None:
            return None
        return CommittedTransaction(
            height=found.height,
            index=found.index,
            time_ms=found.time_ms,
            transaction=found.transaction.encoded,
            result=found.result.encode(),
        )

    async def status(self) -> NodeStatus:
        header = self._store.header
        is_ready = self.is_ready(self._times_asked)
        self._times_asked += 1
        return replace(
            await super().status(),
            chain_id=self.chain.chain_id,
            height=header.height,
            time_ms=header.time_ms,
            health=Health.READY if is_ready else Health.STARTING,
        )


class Office:
    """A home with a validator, documents, and a folder for receipts."""

    def __init__(self, folder: Path, size: int = 1) -> None:
        self.home, self.documents = folder / "net", folder / "documents"
        self.out = folder / "receipts"
        self.node = InstantNode(self.home, size)
        self.documents.mkdir()

    def write(self, *names: str) -> None:
        for name in names:
            (self.documents / name).write_text(f"content of {name}")

    def arguments(self, *more: object) -> Sequence[object]:
        return ["notarize", *more, "--home", self.home, "--out", self.out, "--wait", 0]

    def notarize(self, *more: object) -> Ran:
        return run(*self.arguments(self.documents, *more, "--json"))

    @property
    def under_way(self) -> list[Path]:
        return [*self.out.glob("*.sent")]

    def expect_all_once(self) -> None:
        """Check that each document is recorded once, and has its receipt."""
        contents = [path.read_bytes() for path in self.documents.iterdir()]
        digests = {hash_by_hand(content) for content in contents}
        assert self.node.documents == dict.fromkeys(digests, 1)
        kept = [Receipt.decode(path.read_bytes()) for path in self.out.glob("*.receipt")]
        assert {receipt.leaf.record.digest for receipt in kept} == digests
        assert len(kept) == len(digests)
        assert self.under_way == []
