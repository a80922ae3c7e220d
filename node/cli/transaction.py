"""`govchain tx`: what became of a transaction."""

from __future__ import annotations

from gettext import gettext as _

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, verb


@click.group("tx", help=_("Look a transaction up."))
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
    from node.cli.subjects import read_tx_id
    from node.timestamp.receipt import digest_name, iso_time

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
        "type": payload.type_code,
        "action": payload.action.name.lower(),
        "digest_algorithm": digest_name(payload.digest_algorithm),
        "records": payload.count,
        "result": result.code.name,
        "failed_operation": None if not result.code else result.operation_index,
        "log_index": result.log_index,
    }
    lines = (
        (_("transaction"), facts["transaction"]),
        (_("result"), facts["result"]),
        (_("block"), f"{answer.height} ({answer.index})"),
        (_("time"), facts["time"]),
        (_("recorded by"), body.sender),
        (_("type"), payload.type_code),
        (_("action"), facts["action"]),
        (_("records"), payload.count),
        (_("place in the log"), result.log_index),
    )
    screen.table((_("field"), _("value")), lines)
    return Answer({"transaction": facts})
