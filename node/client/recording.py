"""Recording documents on a chain: batches signed, submitted until final, receipts fetched.

What a validator answers is believed only as far as it is proved: every receipt is verified against
the genesis before it counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import Transaction
from node.client.chain import WRONG_ANSWER, Chain
from node.client.effect import Effect, find_effect
from node.client.signing import clock_ms, sign_records
from node.crypto.suite import SHA_256, DocumentDigest, document_digest_by_id
from node.errors import ClientError
from node.limits import TX_RECORDS_MAX, TX_REFERENCES_MAX
from node.rpc.client import LedgerClient, NetworkUnavailable, Refused, Submission
from node.rpc.port import BATCH_TXS_MAX, RECEIPTS_PAGE_MAX, REQUEST_BYTES_MAX
from node.timestamp.receipt import iso_time
from node.timestamp.verify import Attestation, NamedDigest, Outcome, Verdict

DIGEST: Final = SHA_256
"""What digests are made by that come from applications, on chains of every suite."""
TIMEOUT_MS: Final = 30_000

_REQUEST_BYTES: Final = REQUEST_BYTES_MAX * 3 // 4
_REQUEST_TXS: Final = BATCH_TXS_MAX // 2
_RETRY_MS: Final = 200


@dataclass(frozen=True, slots=True)
class Outlook:
    """How documents are to be recorded."""

    type_code: str
    references: Sequence[str | None] | None = None
    """One per document; None where no document has one."""
    batch_size: int = TX_RECORDS_MAX
    """Records of one transaction, at most; where references are among them, fewer."""
    action: RecordAction = RecordAction.RECORD
    """What the records do to the standing of their reference."""
    digest: DocumentDigest | None = None
    """What the digests were made by; None: what those of the chain's suite are made by."""


class Failed(ClientError):  # noqa: N818 - the word of the chain's results
    """A transaction is in a block and has no effect: one of its operations broke a rule."""

    code = "GC-2307"

    def __init__(self, result: ResultCode, broken: int, index: int) -> None:
        """`broken` is the operation that broke the rule, `index` the one asked about."""
        said = "" if index == broken else f"record {broken + 1} of its transaction: "
        super().__init__(f"{said}{result.name}")
        self.result, self.broken, self.index = result, broken, index


class InDoubt(ClientError):  # noqa: N818 - a state
    """One validator says that a transaction has no effect, and too few others say so too."""

    code = "GC-2211"

    def __init__(self, refusal: Refused | Failed, transaction: Transaction) -> None:
        """`refusal` is what the one says."""
        self.refusal, self.until_ms = refusal, transaction.body.not_after_ms
        super().__init__(
            f"one validator says so, too few others do: {refusal}",
            fix=f"send the same bytes again; it may be recorded until {iso_time(self.until_ms)}",
        )


class WrongReceipt(ClientError):  # noqa: N818 - what it is
    """A validator gave a receipt that does not verify."""

    code = WRONG_ANSWER

    def __init__(self, record: str, failure: str) -> None:
        super().__init__(
            f"the receipt of {record} does not verify: {failure}",
            fix="look into the validator that gave it, then fetch it again",
        )
        self.record, self.failure = record, failure


class UncheckedReceipt(ClientError):  # noqa: N818 - what it is
    """A part of a receipt cannot be checked here for want of a library, so it is not kept."""

    code = "GC-2310"

    def __init__(self, part: str) -> None:
        super().__init__(
            f"the {part} of the receipt cannot be checked here",
            fix="install py-ecc, or pyblst (.venv/bin/pip install -e '.[bls]')",
        )
        self.part = part


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of one document that was sent: a verified receipt, an error, or neither yet."""

    tx_id: bytes
    operation_index: int
    receipt: bytes = b""
    attestation: Attestation | None = None
    error: ClientError | None = None
    is_void: bool = False
    """Whether its transaction has no effect, and never will."""

    @property
    def name(self) -> str:
        """Return how `receipt fetch` is told of the record, after `tx:`."""
        return f"{self.tx_id.hex()}:{self.operation_index}"

    @property
    def is_settled(self) -> bool:
        """Tell whether more will not be known."""
        return self.attestation is not None or self.error is not None


Learn = Callable[[int, Sequence[Recorded]], None]
"""Is told what is known of digests from a place on: as they are sent, and when it is settled."""

Sending = Callable[[int, Transaction], None]
"""Is told of a transaction before it is sent: its records are the digests from a place on."""


async def record_digests(
    chain: Chain,
    client: LedgerClient,
    digests: Sequence[bytes],
    outlook: Outlook,
    *,
    learn: Learn,
    sending: Sending = lambda _first, _transaction: None,
) -> NetworkUnavailable | None:
    """Record digests, in their order, and have `learn` told what becomes of them as it is known.

    Returns None once all have been dealt with, and the error that ended it earlier where the
    validators are gone: of some then nothing is known, or no more than that they were sent.
    Whatever `sending` raises ends it before the transaction is sent.
    """
    signed = sign_batches(chain, digests, outlook, await lead_ms(client))
    return await send_again(chain, client, signed, learn=learn, sending=sending)


async def send_again(
    chain: Chain,
    client: LedgerClient,
    transactions: Iterable[Transaction],
    *,
    learn: Learn,
    sending: Sending = lambda _first, _transaction: None,
) -> NetworkUnavailable | None:
    """Send signed transactions of records, perhaps not for the first time, as `record_digests`.

    That is safe: a chain takes a transaction once.
    """
    place = 0
    for request in _split(transactions):
        counts = [transaction.body.payload.count for transaction in request]
        places = list(accumulate(counts, initial=place))
        for transaction, first, count in zip(request, places, counts, strict=False):
            sending(first, transaction)
            learn(first, [Recorded(transaction.tx_id, index) for index in range(count)])
        outcomes = await _submit(client, request)
        for transaction, outcome, first in zip(request, outcomes, places, strict=False):
            settled = first
            async for part in _collect(client, chain, transaction, outcome):
                learn(settled, part)
                settled += len(part)
        place = places[-1]
        for outcome in outcomes:
            if isinstance(outcome, NetworkUnavailable):
                return outcome
    return None


async def lead_ms(client: LedgerClient) -> int:
    """Return how far the time that validators reckon with is ahead of the clock here."""
    here_ms = clock_ms()
    try:
        status = await client.status()
    except ClientError:
        return 0  # submitting will tell
    return status.reckoned_ms(here_ms) - here_ms


def sign_batches(
    chain: Chain, digests: Sequence[bytes], outlook: Outlook, lead_ms: int
) -> Iterator[Transaction]:
    """Yield signed transactions of digests; the chain's clock is `lead_ms` ahead of ours."""
    batch_size = outlook.batch_size
    algorithm = outlook.digest or chain.suite.document_digest
    if outlook.references is not None:
        batch_size = min(batch_size, TX_REFERENCES_MAX)
    for first in range(0, len(digests), batch_size):
        references = tuple((outlook.references or ())[first : first + batch_size])
        payload = Notarization(
            digest_algorithm=algorithm.digest_id,
            type_code=outlook.type_code,
            action=outlook.action,
            digests=b"".join(digests[first : first + batch_size]),
            references=references if any(references) else None,
        )
        yield sign_records(chain, payload, lead_ms)


def _split(transactions: Iterable[Transaction]) -> Iterator[list[Transaction]]:
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
) -> list[Submission | ClientError]:
    """Submit until every outcome is settled or the time is over; refusals for now are repeated."""
    deadline_s = time.monotonic() + TIMEOUT_MS / 1_000
    outcomes: dict[bytes, Submission | ClientError] = {}
    waiting = list(transactions)
    while waiting:
        left_ms = max(1, int((deadline_s - time.monotonic()) * 1_000))
        try:
            answers = await client.submit([each.encoded for each in waiting], left_ms)
        except ClientError as error:
            outcomes |= dict.fromkeys((each.tx_id for each in waiting), error)
            break
        retries_ms = {}
        for transaction, answer in zip(waiting, answers, strict=True):
            outcomes[transaction.tx_id] = answer
            if answer.admission.retry_after_ms:
                retries_ms[transaction.tx_id] = answer.admission.retry_after_ms
        waiting = [each for each in waiting if each.tx_id in retries_ms]
        retry_s = max(_RETRY_MS, *retries_ms.values()) / 1_000 if waiting else 0
        if time.monotonic() + retry_s >= deadline_s:
            break
        await asyncio.sleep(retry_s)
    return [outcomes[transaction.tx_id] for transaction in transactions]


async def _collect(
    client: LedgerClient,
    chain: Chain,
    transaction: Transaction,
    outcome: Submission | ClientError,
) -> AsyncIterator[list[Recorded]]:
    """Yield what became of the documents of one transaction, in order, some at a time."""
    tx_id, done = transaction.tx_id, 0
    digests = [
        NamedDigest(document_digest_by_id(record.digest_algorithm), record.digest)
        for record in transaction.body.payload.records()
    ]
    try:
        if isinstance(outcome, ClientError):
            raise outcome
        if refusals := _refusals(outcome, len(digests)):
            effect = await find_effect(chain, client, transaction)
            if effect is not Effect.RECORDED:
                is_void = effect is Effect.NONE
                errors: list[ClientError] = [
                    each if is_void else InDoubt(each, transaction) for each in refusals
                ]
                yield [
                    Recorded(tx_id, index, error=error, is_void=is_void)
                    for index, error in enumerate(errors)
                ]
                return
        else:
            outcome.final()
        page: list[Recorded] = []
        async for receipt in client.receipts(tx_id):
            index = done + len(page)
            verdict = await chain.verify(client, receipt, digests[index])
            page.append(_check(tx_id, index, receipt, verdict))
            if index + 1 == len(digests):
                break  # asked on, it would only say that there are no more
            if len(page) == RECEIPTS_PAGE_MAX:
                yield page
                page, done = [], done + len(page)
        missing = range(done + len(page), len(digests))  # one too few fails as one malformed does
        for index in missing:
            verdict = await chain.verify(client, b"", digests[index])
            page.append(_check(tx_id, index, b"", verdict))
        if page:
            yield page
    except ClientError as error:
        yield [Recorded(tx_id, at, error=error) for at in range(done, len(digests))]


def _check(tx_id: bytes, index: int, receipt: bytes, verdict: Verdict) -> Recorded:
    attestation = verdict.attestation
    if verdict.unchecked is not None:
        return Recorded(tx_id, index, receipt, error=UncheckedReceipt(verdict.unchecked))
    if attestation is not None and _is_proof(verdict.outcome, attestation):
        if (attestation.tx_id, attestation.operation_index) == (tx_id, index):
            return Recorded(tx_id, index, receipt, attestation)
        failure = "it is of another transaction"
    else:
        failure = "" if verdict.failure is None else verdict.failure.detail
    return Recorded(tx_id, index, receipt, error=WrongReceipt(f"{tx_id.hex()}:{index}", failure))


def _is_proof(outcome: Outcome, attestation: Attestation) -> bool:
    """Say whether a receipt proves what was asked for: of a withdrawal, that it was recorded."""
    withdrawn = attestation.record.action is RecordAction.WITHDRAW
    return outcome is (Outcome.NOT_VERIFIED if withdrawn else Outcome.VERIFIED)


def _refusals(outcome: Submission, count: int) -> list[Refused | Failed]:
    """Return why each record has no effect, by the word of the one who answered; [] if it may."""
    admission, result = outcome.admission, outcome.result
    if result is not None and result.code is not ResultCode.OK:
        return [Failed(result.code, result.operation_index, index) for index in range(count)]
    if result is not None or admission.code.is_admitted or admission.retry_after_ms:
        return []
    return [Refused(admission) for _ in range(count)]
