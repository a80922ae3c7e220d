"""Recording documents on a chain: batches signed, submitted until final, receipts fetched.

What a validator answers is believed only as far as it is proved: every receipt is verified against
the genesis before it counts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from gettext import gettext as _
from itertools import accumulate
from typing import Final

from node.chain.block import ResultCode
from node.chain.record import Notarization, RecordAction
from node.chain.transaction import Transaction
from node.cli.effect import Effect, find_effect
from node.cli.network import Network
from node.cli.screen import Fault
from node.cli.signing import clock_ms, sign_records
from node.cli.wording import unchecked_fault
from node.crypto.suite import SHA_256, document_digest_by_id
from node.errors import ClientError
from node.limits import TX_RECORDS_MAX, TX_REFERENCES_MAX
from node.rpc.client import LedgerClient, NetworkUnavailable, NotFinal, Refused, Submission
from node.rpc.port import BATCH_TXS_MAX, RECEIPTS_PAGE_MAX, REQUEST_BYTES_MAX
from node.timestamp.receipt import iso_time
from node.timestamp.verify import Attestation, NamedDigest, Outcome

DIGEST: Final = SHA_256
"""How documents are hashed."""
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


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is known of one document that was sent: a verified receipt, a fault, or neither yet."""

    tx_id: bytes
    operation_index: int
    receipt: bytes = b""
    attestation: Attestation | None = None
    fault: Fault | None = None
    is_void: bool = False
    """Whether its transaction has no effect, and never will."""

    @property
    def name(self) -> str:
        """Return how `receipt fetch` is told of the record, after `tx:`."""
        return f"{self.tx_id.hex()}:{self.operation_index}"

    @property
    def is_settled(self) -> bool:
        """Tell whether more will not be known."""
        return self.attestation is not None or self.fault is not None


Learn = Callable[[int, Sequence[Recorded]], None]
"""Is told what is known of digests from a place on: as they are sent, and when it is settled."""

Sending = Callable[[int, Transaction], None]
"""Is told of a transaction before it is sent: its records are the digests from a place on."""


def record_digests(
    network: Network,
    digests: Sequence[bytes],
    outlook: Outlook,
    learn: Learn,
    sending: Sending = lambda _first, _transaction: None,
) -> Fault | None:
    """Record digests, in their order, and have `learn` told what becomes of them as it is known.

    Returns None once all have been dealt with, and the fault that ended it earlier where the
    validators are gone: of some then nothing is known, or no more than that they were sent.
    Whatever `sending` raises ends it before the transaction is sent.
    """
    sign = partial(_sign_batches, network, digests, outlook)
    return asyncio.run(_record(network, sign, learn, sending))


def send_again(
    network: Network, transactions: Sequence[Transaction], learn: Learn, sending: Sending
) -> Fault | None:
    """Send signed transactions of records, perhaps not for the first time, as `record_digests`.

    That is safe: a chain takes a transaction once.
    """
    return asyncio.run(_record(network, lambda _lead_ms: transactions, learn, sending))


async def _record(
    network: Network,
    sign: Callable[[int], Iterable[Transaction]],
    learn: Learn,
    sending: Sending,
) -> Fault | None:
    place = 0
    async with network.client() as client:
        lead_ms = await _lead_ms(client)
        for request in _split(sign(lead_ms)):
            counts = [transaction.body.payload.count for transaction in request]
            places = list(accumulate(counts, initial=place))
            for transaction, first, count in zip(request, places, counts, strict=False):
                sending(first, transaction)
                learn(first, [Recorded(transaction.tx_id, index) for index in range(count)])
            outcomes = await _submit(client, request)
            for transaction, outcome, first in zip(request, outcomes, places, strict=False):
                settled = first
                async for part in _collect(client, network, transaction, outcome):
                    learn(settled, part)
                    settled += len(part)
            place = places[-1]
            for outcome in outcomes:
                if isinstance(outcome, NetworkUnavailable):
                    return Fault.of(outcome)
    return None


async def _lead_ms(client: LedgerClient) -> int:
    """Return how far the time that validators reckon with is ahead of the clock here."""
    here_ms = clock_ms()
    try:
        status = await client.status()
    except ClientError:
        return 0  # submitting will tell
    return status.reckoned_ms(here_ms) - here_ms


def _sign_batches(
    network: Network, digests: Sequence[bytes], outlook: Outlook, lead_ms: int
) -> Iterator[Transaction]:
    batch_size = outlook.batch_size
    if outlook.references is not None:
        batch_size = min(batch_size, TX_REFERENCES_MAX)
    for first in range(0, len(digests), batch_size):
        references = tuple((outlook.references or ())[first : first + batch_size])
        payload = Notarization(
            digest_algorithm=DIGEST.digest_id,
            type_code=outlook.type_code,
            action=outlook.action,
            digests=b"".join(digests[first : first + batch_size]),
            references=references if any(references) else None,
        )
        yield sign_records(network, payload, lead_ms)


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
    network: Network,
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
            effect = await find_effect(network, client, transaction)
            if effect is not Effect.RECORDED:
                is_void = effect is Effect.NONE
                faults = (
                    refusals if is_void else [_in_doubt(each, transaction) for each in refusals]
                )
                yield [
                    Recorded(tx_id, index, fault=fault, is_void=is_void)
                    for index, fault in enumerate(faults)
                ]
                return
        else:
            outcome.final()
        page: list[Recorded] = []
        async for receipt in client.receipts(tx_id):
            index = done + len(page)
            if index == len(digests):
                break
            page.append(_check(network, tx_id, index, receipt, digests[index]))
            if len(page) == RECEIPTS_PAGE_MAX:
                yield page
                page, done = [], done + len(page)
        missing = range(done + len(page), len(digests))  # one too few fails as one malformed does
        page += [_check(network, tx_id, index, b"", digests[index]) for index in missing]
        if page:
            yield page
    except ClientError as error:
        yield [
            Recorded(tx_id, at, fault=_fault_of(error, f"{tx_id.hex()}:{at}"))
            for at in range(done, len(digests))
        ]


def _check(
    network: Network, tx_id: bytes, index: int, receipt: bytes, digest: NamedDigest
) -> Recorded:
    verdict = network.verifier.verify(receipt, digest)
    attestation, unchecked = verdict.attestation, unchecked_fault(verdict)
    if unchecked is not None:
        return Recorded(tx_id, index, receipt, fault=unchecked)
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


def _refusals(outcome: Submission, count: int) -> list[Fault]:
    """Return why each record has no effect, by the word of the one who answered; [] if it may."""
    admission, result = outcome.admission, outcome.result
    if result is not None and result.code is not ResultCode.OK:
        return [_refusal(result.code, result.operation_index, index) for index in range(count)]
    if result is not None or admission.code.is_admitted or admission.retry_after_ms:
        return []
    return [Fault.of(Refused(admission))] * count


def _in_doubt(refusal: Fault, transaction: Transaction) -> Fault:
    """Return a refusal as told while too few validators say that there is no effect."""
    until = _("mend that, or wait: it may be recorded until {time}; then go on with --resume")
    fix = until.format(time=iso_time(transaction.body.not_after_ms))
    if refusal.code == Refused.code:
        return replace(refusal, fix=fix)
    said = _("one validator says so, too few others do: {refusal}")
    return Fault("GC-2211", said.format(refusal=refusal.message), fix)


def _refusal(code: ResultCode, broken: int, index: int) -> Fault:
    """Return the fault of document `index`: its transaction failed, by the one `broken`."""
    from node.cli.outcomes import explain

    cause, fix = explain(code)
    message = f"{code.name}: {cause}"
    if index != broken:
        told = _("record {number} of its transaction: {cause}")
        message = told.format(number=broken + 1, cause=message)
    return Fault("GC-2307", message, fix)


def _fault_of(error: ClientError, operation: str) -> Fault:
    if isinstance(error, NotFinal):
        fix = _(
            "see whether it is by now: govchain tx show {transaction}; then fetch its receipt: "
            "govchain receipt fetch tx:{operation}"
        )
        fix = fix.format(transaction=operation.partition(":")[0], operation=operation)
        return Fault(error.code, str(error), fix)
    if isinstance(error, NetworkUnavailable):
        fix = _("it may be recorded: see with govchain receipt fetch tx:{operation}")
        return Fault(error.code, str(error), fix.format(operation=operation))
    if isinstance(error, Refused) and error.admission.retry_after_ms:
        fix = _("the validators are busy or too few: see with govchain doctor, then try again")
        return Fault("GC-2315", str(error), fix)
    return Fault.of(error)
