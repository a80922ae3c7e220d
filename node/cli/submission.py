"""Recording documents from the command line: what `node.client` does, and its errors as told."""

from __future__ import annotations

from collections.abc import Sequence
from gettext import gettext as _

from node.chain.admission import AdmissionCode
from node.chain.transaction import Transaction
from node.cli.network import Network
from node.cli.screen import Fault
from node.cli.wording import unchecked_part_fault
from node.client import recording
from node.client.recording import (
    Failed,
    InDoubt,
    Learn,
    Outlook,
    Recorded,
    Sending,
    UncheckedReceipt,
    WrongReceipt,
)
from node.errors import ClientError
from node.rpc.client import LedgerClient, NetworkUnavailable, NotFinal, Refused
from node.timestamp.receipt import iso_time


def record_digests(
    network: Network,
    digests: Sequence[bytes],
    outlook: Outlook,
    learn: Learn,
    sending: Sending = lambda _first, _transaction: None,
) -> Fault | None:
    """Record digests, as `node.client.recording` has it; return the fault that ended it early."""

    async def record(client: LedgerClient) -> NetworkUnavailable | None:
        return await recording.record_digests(
            network, client, digests, outlook, learn=learn, sending=sending
        )

    return _fault_that_ended(network.ask(record))


def send_again(
    network: Network, transactions: Sequence[Transaction], learn: Learn, sending: Sending
) -> Fault | None:
    """Send signed transactions, likewise."""

    async def send(client: LedgerClient) -> NetworkUnavailable | None:
        return await recording.send_again(
            network, client, transactions, learn=learn, sending=sending
        )

    return _fault_that_ended(network.ask(send))


def _fault_that_ended(end: NetworkUnavailable | None) -> Fault | None:
    return None if end is None else Fault.of(end)


def fault_of(recorded: Recorded) -> Fault | None:
    """Return why a record has no receipt, as it is told; None where it has one, or may get one."""
    error = recorded.error
    if isinstance(error, InDoubt):
        return _in_doubt(error)
    if isinstance(error, Failed):
        return _failure(error)
    if isinstance(error, WrongReceipt):
        message = _("the receipt of {record} does not verify: {failure}")
        fix = _("look into the validator that gave it, then fetch it again: govchain receipt fetch")
        return Fault(error.code, message.format(record=error.record, failure=error.failure), fix)
    if isinstance(error, UncheckedReceipt):
        return unchecked_part_fault(error.part)
    return None if error is None else _fault_of(error, recorded.name)


def _in_doubt(error: InDoubt) -> Fault:
    """Return a refusal as told while too few validators say that there is no effect."""
    until = _("mend that, or wait: it may be recorded until {time}; then go on with --resume")
    fix = until.format(time=iso_time(error.until_ms))
    if isinstance(error.refusal, Refused):
        return Fault(error.refusal.code, str(error.refusal), fix)
    said = _("one validator says so, too few others do: {refusal}")
    return Fault(error.code, said.format(refusal=_failure(error.refusal).message), fix)


def _failure(error: Failed) -> Fault:
    """Return the fault of a document: its transaction failed, by the one that broke a rule."""
    from node.cli.outcomes import explain

    cause, fix = explain(error.result)
    message = f"{error.result.name}: {cause}"
    if error.index != error.broken:
        told = _("record {number} of its transaction: {cause}")
        message = told.format(number=error.broken + 1, cause=message)
    return Fault(error.code, message, fix)


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
        if error.admission.code is AdmissionCode.OVER_QUOTA:
            seconds = -(-error.admission.retry_after_ms // 1_000)
            fix = _("try again in {seconds} s; see the quota: govchain org show ORGANISATION")
            return Fault("GC-2325", str(error), fix.format(seconds=seconds))
        fix = _("the validators are busy or too few: see with govchain doctor, then try again")
        return Fault("GC-2315", str(error), fix)
    return Fault.of(error)
