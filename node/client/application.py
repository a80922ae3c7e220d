"""`Client`: what an application does with a chain, in as many calls as there are verbs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from node.chain.admission import FinalResult
from node.chain.record import RecordAction
from node.chain.reference import ReferenceName
from node.chain.transaction import Transaction
from node.client.blocks import BlockReader, ProvedBlock, ProvedTransaction
from node.client.chain import WRONG_ANSWER, Chain
from node.client.events import Event, EventId, follow_events
from node.client.recording import (
    DIGEST,
    Outlook,
    Recorded,
    UncheckedReceipt,
    WrongReceipt,
    lead_ms,
    record_digests,
    send_again,
    sign_batches,
)
from node.client.standing import ask_standing
from node.crypto.keystore import KeySecret
from node.crypto.suite import document_digest_by_id
from node.errors import ClientError, DecodeError
from node.rpc.client import LedgerClient, NotFinal
from node.rpc.port import RECORDS_PAGE_MAX, NodeStatus, RecordFilter, RecordPage
from node.timestamp.receipt import Receipt
from node.timestamp.standing import StandingVerdict
from node.timestamp.trust import TrustAnchor
from node.timestamp.verify import NamedDigest, Verdict, verify_receipt

DEFAULT_TYPE: Final = "document"


class Client:
    """One chain, asked as one identity. Use it as an async context manager, on one event loop.

    Every call raises errors of the `NodeError` family, each with a stable code:
    `NetworkUnavailable` where no validator answers, `NotFound`, `Refused` and `Failed` where the
    chain does not take it, `NotFinal` where that is open yet, `WrongReceipt` for what does not
    prove what it should.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self._ledger: LedgerClient | None = None

    @classmethod
    def open(
        cls, profile: Path, identity: str | None = None, secret: KeySecret | None = None
    ) -> Self:
        """Return the client of a profile; raises `ConfigError`. `secret` opens the keys."""
        return cls(Chain.load(profile, identity, secret))

    async def __aenter__(self) -> Self:
        self._ledger = self.chain.client()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            await ledger.close()

    @property
    def ledger(self) -> LedgerClient:
        """Return the client of the validators' whole API."""
        if self._ledger is None:
            raise ClientError("the client is not open", fix="use it as: async with client")
        return self._ledger

    # --- Recording ---

    async def notarize(
        self,
        digest: bytes,
        type_code: str = DEFAULT_TYPE,
        *,
        reference: str | None = None,
        action: RecordAction = RecordAction.RECORD,
    ) -> Recorded:
        """Record one digest (SHA-256, 32 bytes); return it with its verified receipt.

        Raises what kept it from having one.
        """
        references = None if reference is None else (reference,)
        (recorded,) = await self.batch([digest], type_code, references=references, action=action)
        if recorded.error is not None:
            raise recorded.error
        return recorded

    async def batch(
        self,
        digests: Sequence[bytes],
        type_code: str = DEFAULT_TYPE,
        *,
        references: Sequence[str | None] | None = None,
        action: RecordAction = RecordAction.RECORD,
    ) -> list[Recorded]:
        """Record many digests in few transactions; return what became of each, in order.

        An error of one is in its `error`. Raises `NetworkUnavailable` where nothing was sent.
        """
        found: dict[int, Recorded] = {}
        outlook = Outlook(type_code, references, action=action, digest=DIGEST)
        end = await record_digests(
            self.chain,
            self.ledger,
            digests,
            outlook,
            learn=lambda first, part: found.update(enumerate(part, first)),
        )
        return _all_of(found, len(digests), end)

    async def sign(
        self,
        digests: Sequence[bytes],
        type_code: str = DEFAULT_TYPE,
        *,
        references: Sequence[str | None] | None = None,
        action: RecordAction = RecordAction.RECORD,
    ) -> list[Transaction]:
        """Return the signed transactions that `batch` would send: kept, they can be sent again."""
        outlook = Outlook(type_code, references, action=action, digest=DIGEST)
        ahead_ms = await lead_ms(self.ledger)
        return list(sign_batches(self.chain, digests, outlook, ahead_ms))

    async def send(self, transactions: Sequence[Transaction]) -> list[Recorded]:
        """Send signed transactions of records, perhaps not for the first time, as `batch`."""
        found: dict[int, Recorded] = {}
        end = await send_again(
            self.chain,
            self.ledger,
            transactions,
            learn=lambda first, part: found.update(enumerate(part, first)),
        )
        count = sum(each.body.payload.count for each in transactions)
        return _all_of(found, count, end)

    async def submit(self, transaction: bytes) -> FinalResult:
        """Send one transaction that somebody signed; return what became of it, once that is final.

        Raises `Refused`, `NotFinal` or `NetworkUnavailable`; by the word of one validator.
        """
        (outcome,) = await self.ledger.submit([transaction])
        return outcome.final()

    # --- Receipts ---

    async def receipt(self, tx_id: bytes, operation_index: int = 0) -> bytes:
        """Return the receipt of a record, verified; raises `NotFound`."""
        receipt = await self.ledger.receipt_of_operation(tx_id, operation_index)
        name = f"{tx_id.hex()}:{operation_index}"
        leaf = (await self._checked(receipt, name, None)).leaf
        if (leaf.tx_id, leaf.operation_index) != (tx_id, operation_index):
            raise WrongReceipt(name, "it is of another record")
        return receipt

    async def receipt_of(self, digest: bytes) -> bytes:
        """Return the receipt of the earliest record of a digest, verified; raises `NotFound`."""
        receipt = await self.ledger.receipt_of_digest(digest)
        await self._checked(receipt, digest.hex(), digest)
        return receipt

    def verify(
        self, receipt: bytes, document: NamedDigest, trust: TrustAnchor | None = None
    ) -> Verdict:
        """Return the verdict on a receipt of a document; opens no connection.

        By what the trust file beside the profile pins, or by another.
        """
        return verify_receipt(receipt, self.chain.pinned if trust is None else trust, document)

    # --- Asking ---

    async def status(self) -> NodeStatus:
        """Return how the first validator that answers is."""
        return await self.ledger.status()

    async def records(
        self, wanted: RecordFilter, *, limit: int = RECORDS_PAGE_MAX, page_token: bytes = b""
    ) -> RecordPage:
        """Return one page of records, by the word of one validator."""
        return await self.ledger.records(wanted, limit=limit, page_token=page_token)

    async def block(self, height: int | None = None) -> ProvedBlock:
        """Return a block, 1 or more, or the newest one, proved; raises `NotFound`."""
        reader = BlockReader(self.chain, self.ledger)
        return await (reader.read_newest() if height is None else reader.read(height))

    async def transaction(self, tx_id: bytes) -> ProvedTransaction:
        """Return a transaction and its result, proved by its block; raises `NotFound`."""
        return await BlockReader(self.chain, self.ledger).find(tx_id)

    async def standing(
        self, reference: str, type_code: str = DEFAULT_TYPE, *, issuer: str | None = None
    ) -> tuple[bytes, StandingVerdict]:
        """Return the proof of what stands under a reference by now, and what it attests.

        Of records of this identity, unless of another `issuer`. All validators are asked, and the
        newest proof counts; others verify it offline. Raises `DecodeError` for what is none.
        """
        name = ReferenceName.from_value([issuer or self.chain.identity, type_code, reference])
        return await ask_standing(self.chain, self.ledger, name, self.chain.pinned)

    async def events(self, after: str | None = None) -> AsyncGenerator[Event]:
        """Yield what happens, for ever, each proved: after an event's id, or from now on.

        Raises `NetworkUnavailable` where no validator answers: going on after the last event that
        was seen loses nothing. Close the iterator (`aclose`) to stop early.
        """
        place = None if after is None else EventId.parse(after)
        reader = BlockReader(self.chain, self.ledger)
        async with aclosing(follow_events(self.ledger, reader, place)) as found:
            async for event in found:
                yield event

    async def _checked(self, receipt: bytes, name: str, digest: bytes | None) -> Receipt:
        """Return a receipt that holds, of the digest that is asked for or that it names itself."""
        try:
            opened = Receipt.decode(receipt)
        except DecodeError as error:
            raise ClientError(str(error), code=WRONG_ANSWER) from error
        record = opened.leaf.record
        algorithm = document_digest_by_id(record.digest_algorithm)
        document = NamedDigest(algorithm, record.digest if digest is None else digest)
        verdict = await self.chain.verify(self.ledger, receipt, document)
        if verdict.attestation is None:  # that of a withdrawal is sound, and has one
            failure = verdict.failure
            raise WrongReceipt(name, "" if failure is None else failure.detail)
        if verdict.unchecked is not None:
            raise UncheckedReceipt(verdict.unchecked)
        return opened


def _all_of(found: dict[int, Recorded], count: int, end: ClientError | None) -> list[Recorded]:
    """Return what is known of each of `count` records; what is open yet is `NotFinal`."""
    if end is not None and not found:
        raise end
    missing = end or NotFinal("not sent")
    known = [found.get(place, Recorded(b"", 0, error=missing)) for place in range(count)]
    return [
        each if each.is_settled else Recorded(each.tx_id, each.operation_index, error=missing)
        for each in known
    ]
