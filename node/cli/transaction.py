"""`govchain tx`: what became of a transaction."""

from __future__ import annotations

from gettext import gettext as _
from typing import TYPE_CHECKING

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.chain.transaction import Payload
    from node.chain.vault import Vault


@click.group("tx", cls=VerbGroup, help=_("Look a transaction up."))
def transaction() -> None:
    """Hold the verbs."""


@transaction.command("show", help=_("Show a transaction that is on the chain, and its result."))
@click.argument("tx_id", metavar="ID")
@network_options
@verb("tx show")
def show(screen: Screen, *, tx_id: str, network: NetworkChoice) -> Answer:
    """Show a transaction."""
    from node.chain.block import TransactionResult
    from node.chain.transaction import Transaction
    from node.cli.network import decode_answer
    from node.cli.outcomes import explain
    from node.cli.subjects import read_tx_id
    from node.timestamp.receipt import iso_time

    found, wanted = network.open(), read_tx_id(tx_id)
    answer = found.ask(lambda client: client.transaction(wanted))
    committed = decode_answer(
        lambda data: Transaction.decode(data, found.suite), answer.transaction
    )
    if committed.tx_id != wanted:
        raise CommandError("GC-2305", f"expected transaction {tx_id}, got {committed.tx_id.hex()}")
    result = decode_answer(TransactionResult.decode, answer.result)
    body, payload = committed.body, committed.body.payload
    facts = {
        "transaction": committed.tx_id.hex(),
        "height": answer.height,
        "index": answer.index,
        "time": iso_time(answer.time_ms),
        "time_ms": answer.time_ms,
        "sender": body.sender,
        "kind": body.kind.name.lower(),
        "not_after_ms": body.not_after_ms,
        **_facts_of(payload),
        "records": payload.count,
        "result": result.code.name,
        "why": explain(result.code)[0] if result.code else None,
        "failed_operation": None if not result.code else result.operation_index,
        "log_index": result.log_index,
    }
    lines = (
        (_("transaction"), facts["transaction"]),
        (_("result"), facts["result"]),
        *(((_("why"), facts["why"]),) if result.code else ()),
        (_("block"), f"{answer.height} ({answer.index})"),
        (_("time"), facts["time"]),
        (_("recorded by"), body.sender),
        *_rows_of(payload),
        (_("records"), payload.count),
        (_("place in the log"), result.log_index),
    )
    screen.table((_("field"), _("value")), lines)
    return Answer({"transaction": facts})


def _facts_of(payload: Payload) -> dict[str, object]:
    """Return what is told of a transaction by its kind."""
    from node.chain.governance import Governance
    from node.chain.vault import Vault
    from node.timestamp.receipt import digest_name

    if isinstance(payload, Governance):
        return {
            "epoch": payload.epoch,
            "operations": [type(operation).__name__ for operation in payload.operations],
            "approvals": [approval.identity_id for approval in payload.approvals],
        }
    if isinstance(payload, Vault):
        return {"operations": [type(payload.operation).__name__], **_vault_facts(payload)}
    return {
        "type": payload.type_code,
        "action": payload.action.name.lower(),
        "digest_algorithm": digest_name(payload.digest_algorithm),
    }


def _vault_facts(payload: Vault) -> dict[str, object]:
    from node.chain.vault import Authorise, RegisterKey, Revoke, Shred, Use

    operation = payload.operation
    if isinstance(operation, RegisterKey):
        return {"key_number": operation.number}
    if isinstance(operation, Shred | Use):
        return {"document": operation.document_id.hex()}
    if isinstance(operation, Authorise):
        recipient = operation.wrap.recipient
        return {"document": operation.document_id.hex(), "recipients": [recipient]}
    recipients = (
        operation.recipients
        if isinstance(operation, Revoke)
        else [wrap.recipient for wrap in operation.wraps]
    )
    return {"document": operation.document_id.hex(), "recipients": list(recipients)}


def _rows_of(payload: Payload) -> tuple[tuple[str, object], ...]:
    from node.chain.governance import Governance
    from node.chain.vault import Vault

    facts = _facts_of(payload)
    if isinstance(payload, Governance):
        return (
            (_("epoch"), facts["epoch"]),
            (_("operations"), ", ".join(type(each).__name__ for each in payload.operations)),
            (_("approved by"), ", ".join(each.identity_id for each in payload.approvals)),
        )
    if isinstance(payload, Vault):
        rows: list[tuple[str, object]] = [(_("operations"), type(payload.operation).__name__)]
        if "document" in facts:
            rows.append((_("document"), facts["document"]))
        if isinstance(recipients := facts.get("recipients"), list):
            rows.append((_("recipients"), ", ".join(recipients)))
        return tuple(rows)
    return ((_("type"), facts["type"]), (_("action"), facts["action"]))
