"""What each request does: one method of `Api` for each row of the table in `endpoints.py`.

A method takes what was asked, already of its type, and returns what is answered. Who asks and
whether they may was settled before; errors are told by `problems.py`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from node.chain.block import ResultCode
from node.chain.encoding import expect_text
from node.chain.record import RecordAction, RecordLeaf
from node.chain.transaction import Transaction
from node.client import Client, Failed, Recorded
from node.client.blocks import BlockReader, ProvedTransaction
from node.client.recording import DIGEST
from node.errors import ClientError, ProofError
from node.gateway import schema
from node.gateway.exchange import Answer, Blocking, Exchange
from node.gateway.feed import EventFeed
from node.gateway.problems import KEY_MISUSED, Refusal
from node.gateway.store import GatewayStore, KeyUse
from node.limits import (
    RECORD_REFERENCE_BYTES_MAX,
    RECORD_TYPE_BYTES_MAX,
    TX_REFERENCES_MAX,
)
from node.rpc.port import RecordFilter
from node.timestamp.receipt import digest_name, iso_time
from node.timestamp.verify import NamedDigest

RECEIPT_TYPE: Final = "application/cbor"
JSON_TYPE: Final = "application/json"
KEY_CHARACTERS_MAX: Final = 128

_UNDER_WAY_MAX: Final = 64
"""Requests that wait for the chain at once; one more is told to come back."""


class Api:
    """The API of a gateway."""

    def __init__(
        self,
        client: Client,
        store: GatewayStore,
        feed: EventFeed,
        *,
        run_blocking: Blocking,
        now_ms: Callable[[], int],
    ) -> None:
        """Run what blocks by `run_blocking`, on the one thread that may use `store`."""
        self._client, self._store, self.feed = client, store, feed
        self._run, self._now_ms = run_blocking, now_ms
        self._reader = BlockReader(client.chain, client.ledger)
        self._masking = client.chain.masking  # a file that is no policy is refused at the start
        self._in_use: set[tuple[str, str]] = set()

    # --- Recording ---

    async def create_records(self, asked: Exchange) -> Answer:
        """Record documents in one transaction, once for an idempotency key."""
        wanted = asked.body_as(schema.NewRecords)
        _check_texts(wanted)
        key = _expect_key(asked.idempotency_key)
        application = asked.caller.application.name
        use = (application, key)
        if use in self._in_use:
            raise Refusal(
                409,
                "a request with this idempotency key is under way",
                code=KEY_MISUSED,
                retry_ms=1_000,
            )
        if len(self._in_use) >= _UNDER_WAY_MAX:
            raise Refusal(503, "too many requests are under way", code="GC-2703", retry_ms=1_000)
        self._in_use.add(use)
        try:
            return await self._once(asked, wanted, application, key)
        finally:
            self._in_use.discard(use)

    async def _once(
        self, asked: Exchange, wanted: schema.NewRecords, application: str, key: str
    ) -> Answer:
        fingerprint = hashlib.sha256(asked.body).digest()
        kept = await self._run(self._store.begin, application, key, fingerprint, self._now_ms())
        if kept.use is KeyUse.OTHER:
            raise Refusal(
                422,
                "this idempotency key stands for a request with another content",
                code=KEY_MISUSED,
                fix="make a new key for each request",
            )
        if kept.use is KeyUse.FINISHED:
            return Answer(kept.status, kept.body, JSON_TYPE, {"Idempotent-Replayed": "true"})
        transaction = await self._transaction_for(wanted, application, key, kept.signed)
        recorded = await self._client.send([transaction])
        if kept.signed is not None and all(map(_ran_out, recorded)):
            # What an earlier attempt sent is in no block and never will be.
            transaction = await self._transaction_for(wanted, application, key, None)
            recorded = await self._client.send([transaction])
        asked.about["transaction"] = transaction.tx_id.hex()
        for each in recorded:
            if each.error is not None:
                raise each.error
        body = msgspec.json.encode(_describe_made(wanted, recorded))
        await self._run(self._store.finish, application, key, 201, body)
        return Answer(201, body, JSON_TYPE)

    async def _transaction_for(
        self, wanted: schema.NewRecords, application: str, key: str, signed: bytes | None
    ) -> Transaction:
        """Return the transaction of a request, on disk before it is sent."""
        if signed is not None:
            return Transaction.decode(signed, self._client.chain.suite)
        references = [each.reference for each in wanted.records]
        (transaction,) = await self._client.sign(
            [bytes.fromhex(each.digest) for each in wanted.records],
            wanted.type,
            references=references if any(references) else None,
            action=RecordAction[wanted.action.upper()],
        )
        await self._run(self._store.keep_signed, application, key, transaction.encoded)
        return transaction

    async def submit_transaction(self, asked: Exchange) -> Answer:
        """Hand in a transaction that somebody signed."""
        transaction = Transaction.decode(asked.body, self._client.chain.suite)
        asked.about["transaction"] = transaction.tx_id.hex()
        result = await self._client.submit(transaction.encoded)
        if result.code is not ResultCode.OK:
            raise Failed(result.code, result.operation_index, result.operation_index)
        return await self._final_transaction(transaction.tx_id)

    # --- Asking ---

    async def get_status(self, _asked: Exchange) -> Answer:
        """Say how the chain is."""
        status = await self._client.status()
        return _json(
            schema.ChainStatus(
                chain=status.chain_id.hex(),
                validator=status.validator_id,
                is_ready=status.health.name == "READY",
                height=status.height,
                time_ms=status.time_ms,
                epoch=status.epoch,
                time_degraded=status.time_degraded,
            )
        )

    async def list_records(self, asked: Exchange) -> Answer:
        """List records."""
        question = asked.query_as(schema.RecordQuestion)
        token = b""
        if question.page is not None:
            padded = question.page + "=" * (-len(question.page) % 4)
            try:
                token = base64.urlsafe_b64decode(padded)
            except binascii.Error as error:
                raise ClientError(f"page: {error}") from error
        page = await self._client.records(
            RecordFilter(
                reference=question.reference,
                type_code=question.type,
                from_ms=question.from_ms,
                to_ms=question.to_ms,
                digest=None if question.digest is None else bytes.fromhex(question.digest),
            ),
            limit=question.limit,
            page_token=token,
        )
        following = base64.urlsafe_b64encode(page.next_page_token).decode().rstrip("=")
        records = []
        for entry in page.records:
            leaf = RecordLeaf.decode(entry.leaf)
            record = leaf.record
            records.append(
                schema.ListedRecord(
                    log_index=entry.log_index,
                    height=leaf.height,
                    time_ms=leaf.time_ms,
                    digest=f"{digest_name(record.digest_algorithm)}:{record.digest.hex()}",
                    type=record.type_code,
                    reference=self._masking.mask_reference(record.reference),
                    action=record.action.name.lower(),
                    status=entry.status.name.lower(),
                    sender=leaf.sender,
                    transaction=leaf.tx_id.hex(),
                    operation=leaf.operation_index,
                    receipt=_receipt_path(leaf.tx_id.hex(), leaf.operation_index),
                )
            )
        return _json(schema.RecordList(records=records, next=following or None))

    async def get_receipt(self, asked: Exchange) -> Answer:
        """Give the receipt of a record, verified."""
        path = asked.path_as(schema.OperationPath)
        receipt = await self._client.receipt(bytes.fromhex(path.transaction), path.operation)
        return Answer(200, receipt, RECEIPT_TYPE)

    async def find_receipt(self, asked: Exchange) -> Answer:
        """Give the receipt of the earliest record of a digest, verified."""
        question = asked.query_as(schema.ReceiptQuestion)
        receipt = await self._client.receipt_of(bytes.fromhex(question.digest))
        return Answer(200, receipt, RECEIPT_TYPE)

    async def verify_receipt(self, asked: Exchange) -> Answer:
        """Verify a receipt by the trust file of the gateway."""
        wanted = asked.body_as(schema.Verification)
        try:
            receipt = base64.b64decode(wanted.receipt, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ClientError(f"receipt: expected base64: {error}") from error
        document = NamedDigest(DIGEST, bytes.fromhex(wanted.digest))
        loop = asyncio.get_running_loop()
        judge = partial(self._client.verify, receipt, document)
        verdict = await loop.run_in_executor(None, judge)
        found = verdict.attestation
        steps = [
            schema.VerifiedStep(
                number=int(each.step),
                name=each.step.name.lower(),
                passed=each.passed,
                detail=str(each.detail),
            )
            for each in verdict.steps
        ]
        if found is None:
            return _json(schema.Verdict(outcome=verdict.outcome.name, steps=steps))
        return _json(
            schema.Verdict(
                outcome=verdict.outcome.name,
                steps=steps,
                transaction=found.tx_id.hex(),
                operation=found.operation_index,
                height=found.height,
                time_ms=found.time_ms,
                sender=found.sender,
                signers=list(found.signers),
            )
        )

    async def get_transaction(self, asked: Exchange) -> Answer:
        """Say what became of a transaction, by the block it is in."""
        path = asked.path_as(schema.TransactionPath)
        return await self._final_transaction(bytes.fromhex(path.transaction))

    async def get_block(self, asked: Exchange) -> Answer:
        """Give a block that a quorum certified."""
        proved = await self._reader.read(asked.path_as(schema.BlockPath).height)
        header = proved.certified.header
        return _json(
            schema.Block(
                height=header.height,
                digest=proved.header_digest.hex(),
                time_ms=header.time_ms,
                time_degraded=header.time_degraded,
                epoch=header.epoch,
                log_size=header.log_size,
                transactions=[each.tx_id.hex() for each in proved.certified.transactions],
            )
        )

    async def _final_transaction(self, tx_id: bytes) -> Answer:
        return _json(_describe_final(await self._reader.find(tx_id)))


def _json(value: msgspec.Struct) -> Answer:
    return Answer(200, msgspec.json.encode(value), JSON_TYPE)


def _describe_made(wanted: schema.NewRecords, recorded: list[Recorded]) -> schema.MadeRecords:
    attested = recorded[0].attestation
    if attested is None:
        raise ProofError("receipt", "expected an attestation of what is recorded")
    transaction = recorded[0].tx_id.hex()
    return schema.MadeRecords(
        transaction=transaction,
        height=attested.height,
        time=iso_time(attested.time_ms),
        time_ms=attested.time_ms,
        time_degraded=attested.time_degraded,
        records=[
            schema.MadeRecord(
                digest=each.digest,
                reference=each.reference,
                operation=place,
                receipt=_receipt_path(transaction, place),
            )
            for place, each in enumerate(wanted.records)
        ],
    )


def _describe_final(found: ProvedTransaction) -> schema.FinalTransaction:
    header, body, result = found.block.certified.header, found.transaction.body, found.result
    return schema.FinalTransaction(
        transaction=found.transaction.tx_id.hex(),
        height=header.height,
        time_ms=header.time_ms,
        sender=body.sender,
        kind=body.kind.name.lower(),
        result=result.code.name,
        records=body.payload.count if result.code is ResultCode.OK else 0,
        log_index=result.log_index,
    )


def _ran_out(recorded: Recorded) -> bool:
    """Tell whether a record was never made for want of time, and never will be."""
    error = recorded.error
    is_judged = isinstance(error, Failed) and error.result is not ResultCode.EXPIRED
    return recorded.is_void and not is_judged


def _receipt_path(transaction: str, operation: int) -> str:
    return f"/v1/receipts/{transaction}/{operation}"


def _check_texts(wanted: schema.NewRecords) -> None:
    """Check what the schema cannot say: bytes, and printable text; raises `DecodeError`."""
    expect_text(wanted.type, "type", size_max=RECORD_TYPE_BYTES_MAX)
    referenced = [each.reference for each in wanted.records if each.reference is not None]
    for reference in referenced:
        expect_text(reference, "reference", size_max=RECORD_REFERENCE_BYTES_MAX)
    if referenced and len(wanted.records) > TX_REFERENCES_MAX:
        raise ClientError(
            f"records: expected at most {TX_REFERENCES_MAX} where one has a reference"
        )
    if wanted.action != "record" and len(referenced) < len(wanted.records):
        raise ClientError(f"reference: expected one with each record to {wanted.action}")


def _expect_key(key: str | None) -> str:
    """Return the idempotency key; raises `Refusal` where there is none that can be one."""
    fix = 'send it as a string: Idempotency-Key: "…", new for each request, the same to repeat one'
    if key is None:
        raise Refusal(400, "expected the field Idempotency-Key", code=KEY_MISUSED, fix=fix)
    bare = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    is_sound = bare.isascii() and bare.isprintable() and '"' not in bare and "\\" not in bare
    if not (is_sound and 0 < len(bare) <= KEY_CHARACTERS_MAX):
        expected = f"1..{KEY_CHARACTERS_MAX} printable characters of ASCII"
        raise Refusal(400, f"Idempotency-Key: expected {expected}", code=KEY_MISUSED, fix=fix)
    return bare
