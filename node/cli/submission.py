"""Recording documents on a chain: batches signed, submitted until final, receipts fetched.

What a validator answers is believed only as far as it is proved: every receipt is verified against
the genesis before it counts.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from gettext import gettext as _
from typing import Final

from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import (
    Transaction,
    TransactionBody,
    TransactionKind,
    sign_transaction,
)
from node.cli.network import Network
from node.cli.screen import Fault
from node.crypto.suite import SHA_256
from node.errors import ClientError
from node.limits import TX_NONCE_BYTES
from node.rpc.client import LedgerClient, NotFinal, Refused, Submission
from node.rpc.port import BATCH_TXS_MAX, REQUEST_BYTES_MAX
from node.timestamp.verify import Attestation, NamedDigest, Outcome, verify_receipt

DIGEST: Final = SHA_256
"""How documents are hashed."""
TIMEOUT_MS: Final = 30_000

_LIFETIME_MS: Final = 300_000
"""How long a transaction may wait to be included; afterwards it is void."""
_REQUEST_BYTES: Final = REQUEST_BYTES_MAX * 3 // 4
_REQUEST_TXS: Final = BATCH_TXS_MAX // 2
_RETRY_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Outlook:
    """How documents are to be recorded."""

    type_code: str
    reference: str | None = None
    batch_size: int = 1_000
    """Records of one transaction."""
    action: RecordAction = RecordAction.RECORD
    """What the records do to the standing of their reference."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of one document: a verified receipt, or a fault."""

    tx_id: bytes
    operation_index: int
    receipt: bytes = b""
    attestation: Attestation | None = None
    fault: Fault | None = None


def record_digests(
    network: Network,
    digests: Sequence[bytes],
    outlook: Outlook,
    advance: Callable[[int], None],
) -> list[Recorded]:
    """Record digests and return what became of each, in their order.

    `advance` is told how many more have been dealt with. Raises `NetworkUnavailable` when no
    validator took anything; what goes wrong later is the fault of the documents it concerns.
    """
    transactions = list(_sign_batches(network, digests, outlook))
    return asyncio.run(_record(network, digests, transactions, advance))


async def _record(
    network: Network,
    digests: Sequence[bytes],
    transactions: Sequence[Transaction],
    advance: Callable[[int], None],
) -> list[Recorded]:
    recorded: list[Recorded] = []
    async with network.client() as client:
        for request in _split(transactions):
            try:
                outcomes = await _submit(client, request)
            except ClientError as error:
                if not recorded:
                    raise
                outcomes = [error] * len(request)
            for transaction, outcome in zip(request, outcomes, strict=True):
                first = len(recorded)
                wanted = digests[first : first + transaction.body.payload.count]
                recorded += await _collect(client, network, transaction, outcome, wanted)
                advance(len(wanted))
    return recorded


def _sign_batches(
    network: Network, digests: Sequence[bytes], outlook: Outlook
) -> Iterator[Transaction]:
    references = None if outlook.reference is None else (outlook.reference,)
    for first in range(0, len(digests), outlook.batch_size):
        body = TransactionBody(
            chain_id=network.profile.chain_id,
            sender=network.identity,
            nonce=secrets.token_bytes(TX_NONCE_BYTES),
            not_after_ms=time.time_ns() // 1_000_000 + _LIFETIME_MS,
            kind=TransactionKind.NOTARIZE,
            payload=Notarization(
                digest_algorithm=DIGEST.digest_id,
                type_code=outlook.type_code,
                action=outlook.action,
                digests=b"".join(digests[first : first + outlook.batch_size]),
                references=references,
            ),
        )
        yield sign_transaction(body, network.signer, network.suite)


def _split(transactions: Sequence[Transaction]) -> Iterator[list[Transaction]]:
    """Yield transactions in requests that validators take."""
    request: list[Transaction] = []
    size_bytes = 0
    for transaction in transactions:
        size_bytes += len(transaction.encoded)
        if request and (size_bytes > _REQUEST_BYTES or len(request) == _REQUEST_TXS):
            yield request
            request, size_bytes = [], len(transaction.encoded)
        request.append(transaction)
    if request:
        yield request


async def _submit(
    client: LedgerClient, transactions: Sequence[Transaction]
) -> Sequence[Submission | ClientError]:
    """Submit until every outcome is settled or the time is over; refusals for now are repeated."""
    deadline_s = time.monotonic() + TIMEOUT_MS / 1_000
    outcomes: dict[bytes, Submission] = {}
    waiting = list(transactions)
    while waiting:
        left_ms = max(1, int((deadline_s - time.monotonic()) * 1_000))
        answers = await client.submit([each.encoded for each in waiting], left_ms)
        for transaction, answer in zip(waiting, answers, strict=True):
            outcomes[transaction.tx_id] = answer
        waiting = [each for each in waiting if outcomes[each.tx_id].admission.retry_after_ms]
        if waiting:
            retry_ms = max(outcomes[each.tx_id].admission.retry_after_ms for each in waiting)
            if time.monotonic() + retry_ms / 1_000 >= deadline_s:
                break
            await asyncio.sleep(max(retry_ms, _RETRY_MS) / 1_000)
    return [outcomes[transaction.tx_id] for transaction in transactions]


async def _collect(
    client: LedgerClient,
    network: Network,
    transaction: Transaction,
    outcome: Submission | ClientError,
    digests: Sequence[bytes],
) -> list[Recorded]:
    """Return what became of the documents of one transaction."""
    tx_id = transaction.tx_id
    try:
        if isinstance(outcome, ClientError):
            raise outcome
        result = outcome.final()
        if result.code is not ResultCode.OK:
            return [
                Recorded(tx_id, index, fault=_refusal(result.code)) for index in range(len(digests))
            ]
        receipts = [receipt async for receipt in client.receipts(tx_id)]
    except ClientError as error:
        return [
            Recorded(tx_id, index, fault=_fault_of(error, f"{tx_id.hex()}:{index}"))
            for index in range(len(digests))
        ]
    receipts += [b""] * (len(digests) - len(receipts))  # one too few fails as one malformed does
    return [
        _check(network, tx_id, index, receipt, digest)
        for index, (receipt, digest) in enumerate(zip(receipts, digests, strict=False))
    ]


def _check(network: Network, tx_id: bytes, index: int, receipt: bytes, digest: bytes) -> Recorded:
    verdict = verify_receipt(receipt, network.anchor, NamedDigest(DIGEST, digest))
    attestation = verdict.attestation
    if attestation is not None and _is_proof(verdict.outcome, attestation):
        if (attestation.tx_id, attestation.operation_index) == (tx_id, index):
            return Recorded(tx_id, index, receipt, attestation)
        failure = "it is of another transaction"
    else:
        failure = "" if verdict.failure is None else verdict.failure.detail
    message = _("the receipt of {record} does not verify: {failure}")
    fix = _("look into the validator that gave it, then fetch it again: govchain receipt fetch")
    record = f"{tx_id.hex()}:{index}"
    fault = Fault("GC-2305", message.format(record=record, failure=failure), fix)
    return Recorded(tx_id, index, receipt, fault=fault)


def _is_proof(outcome: Outcome, attestation: Attestation) -> bool:
    """Say whether a receipt proves what was asked for: of a withdrawal, that it was recorded."""
    withdrawn = attestation.record.action is RecordAction.WITHDRAW
    return outcome is (Outcome.NOT_VERIFIED if withdrawn else Outcome.VERIFIED)


def _refusal(code: ResultCode) -> Fault:
    """Return the fault of documents whose transaction the chain recorded as failed."""
    causes = {
        ResultCode.EXPIRED: (
            _("it expired before it was included"),
            _("check this machine's clock, then submit again"),
        ),
        ResultCode.NOT_PERMITTED: (
            _("this identity may not notarize"),
            _("sign as an agency: --as"),
        ),
        ResultCode.IDENTITY_NOT_VALID: (
            _("the identity's certificate was not valid at the block's time"),
            _("have the certificate renewed"),
        ),
        ResultCode.REFERENCE_IN_FORCE: (
            _("the reference is in force already"),
            _("choose another reference, or replace what is in force: --supersede"),
        ),
        ResultCode.REFERENCE_NOT_IN_FORCE: (
            _("nothing is in force under this reference, type and identity"),
            _("look for it: govchain record list --ref"),
        ),
    }
    cause, fix = causes.get(code, (code.name, _("correct what the message names")))
    return Fault("GC-2307", f"{code.name}: {cause}", fix)


def _fault_of(error: ClientError, operation: str) -> Fault:
    if isinstance(error, NotFinal):
        fix = _("fetch the receipt later: govchain receipt fetch tx:{operation}")
        return Fault(error.code, str(error), fix.format(operation=operation))
    if isinstance(error, Refused) and error.admission.retry_after_ms:
        return Fault("GC-2205", str(error), _("the validators are busy or starting: try again"))
    return Fault.of(error)
