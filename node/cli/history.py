"""`govchain history`: every record under a reference, each proved, and that there are no others."""

from __future__ import annotations

from dataclasses import dataclass
from gettext import gettext as _
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from node.chain.record import RecordLeaf
    from node.chain.reference import ReferenceName
    from node.cli.network import Network
    from node.rpc.client import LedgerClient
    from node.timestamp.standing import StandingVerdict

_ATTEMPTS: Final = 3
"""A record may come between two questions, or the validator asked first be behind the others."""

_Found = tuple[int, "RecordLeaf", bytes]
"""Log index, leaf and receipt of a record, as a validator gives them."""


@dataclass(frozen=True, slots=True)
class _History:
    """The records under one name as JSON, each verified or not, and what stands there."""

    name: ReferenceName
    rows: list[dict[str, Any]]
    verdict: StandingVerdict

    @property
    def is_complete(self) -> bool:
        """Whether verified records are all that the state counts, up to the latest."""
        attestation = self.verdict.attestation
        status = None if attestation is None else attestation.status
        if status is None or not all(row["verified"] for row in self.rows):
            return False
        places = {row["log_index"] for row in self.rows}
        return len(places) == len(self.rows) == status.version and max(places) == status.log_index


@click.command(
    "history",
    cls=Verb,
    help=_(
        "Show every record under a reference, of each issuer and type that used it: recorded, "
        "superseded, withdrawn, and when. Each is verified by its receipt; a proof of standing, "
        "which counts the records, shows that none is left out."
    ),
)
@click.argument("reference")
@click.option("--type", "type_code", help=_("Only records of this type."))
@click.option("--issuer", help=_("Only records of this identity."))
@network_options
@verb("history")
def history(
    screen: Screen,
    *,
    reference: str,
    type_code: str | None,
    issuer: str | None,
    network: NetworkChoice,
) -> Answer:
    """Show and prove a history."""
    found = network.open()
    for _attempt in range(_ATTEMPTS):
        histories = _prove(found, reference, type_code, issuer)
        if all(each.is_complete for each in histories):
            break
    if not histories:
        message = _("{reference}: no record under this reference").format(reference=reference)
        fix = _("prove that there is none: govchain record status --prove")
        raise CommandError("GC-2203", message, fix)
    for each in histories:
        _tell(screen, each)
    facts = {"reference": reference, "histories": [_describe(each) for each in histories]}
    if all(each.is_complete for each in histories):
        return Answer(facts)
    message = _("a validator gave records that are not all there are, or that do not verify")
    return Answer(facts, Fault("GC-2305", message, _("ask again, then look into that validator")))


def _ask(
    network: Network, reference: str, type_code: str | None
) -> dict[ReferenceName, list[_Found]]:
    """Return the records under a reference with their receipts, by what they belong to."""
    from node.chain.record import RecordLeaf
    from node.chain.reference import ReferenceName
    from node.cli.network import decode_answer
    from node.rpc.port import RecordFilter

    wanted = RecordFilter(reference=reference, type_code=type_code)

    async def question(client: LedgerClient) -> list[_Found]:
        found: list[_Found] = []
        token = b""
        while True:
            page = await client.records(wanted, page_token=token)
            for entry in page.records:
                leaf = decode_answer(RecordLeaf.decode, entry.leaf)
                receipt = await client.receipt_of_operation(leaf.tx_id, leaf.operation_index)
                found.append((entry.log_index, leaf, receipt))
            token = page.next_page_token
            if not token:
                return found

    histories: dict[ReferenceName, list[_Found]] = {}
    for each in network.ask(question):
        leaf = each[1]
        name = ReferenceName(leaf.sender, leaf.record.type_code, reference)
        histories.setdefault(name, []).append(each)
    return histories


def _prove(
    network: Network, reference: str, type_code: str | None, issuer: str | None
) -> list[_History]:
    """Return what is under a reference, each record verified, with what stands there now."""
    from node.cli.standing import ask_standing

    histories = []
    for name, found in _ask(network, reference, type_code).items():
        if issuer in (None, name.issuer):
            rows = [_describe_record(network, name, each) for each in found]
            _proof, verdict = ask_standing(network, name, network.pinned)
            histories.append(_History(name, rows, verdict))
    return histories


def _tell(screen: Screen, history: _History) -> None:
    """Tell the records under one name."""
    from node.cli.standing import spoken, tell_date, tell_vouching

    name, rows, verdict = history.name, history.rows, history.verdict
    screen.line(
        _("{reference} ({type}, {issuer})").format(
            reference=name.reference, type=name.type_code, issuer=name.issuer
        )
    )
    titles = (
        _("action"),
        _("time"),
        _("block"),
        _("document"),
        _("place in the log"),
        _("receipt"),
    )
    words = {True: _("verified"), False: _("NOT VERIFIED")}
    actions = {"record": _("record"), "supersede": _("supersede"), "withdraw": _("withdraw")}
    screen.table(
        titles,
        [
            [
                actions[row["action"]],
                row["time"],
                row["height"],
                row["digest"],
                row["log_index"],
                words[row["verified"]],
            ]
            for row in rows
        ],
    )
    if verdict.attestation is not None:
        screen.line(f"  {spoken(verdict.attestation)}")
        tell_date(screen, verdict.attestation)
        tell_vouching(screen)
    if history.is_complete:
        screen.line("  " + _("these are all the records under it, proved"), style="green")
    else:
        screen.line("  " + _("NOT PROVED to be all the records under it"), style="red")


def _describe(history: _History) -> dict[str, Any]:
    """Return a history as JSON."""
    from node.cli.standing import describe_standing

    return {
        "issuer": history.name.issuer,
        "type": history.name.type_code,
        "records": history.rows,
        "complete": history.is_complete,
        "standing": describe_standing(history.verdict),
    }


def _describe_record(network: Network, name: ReferenceName, found: _Found) -> dict[str, Any]:
    """Verify one record by its receipt, and return it as JSON."""
    from node.timestamp.receipt import digest_name, iso_time

    log_index, leaf, _receipt = found
    return {
        "action": leaf.record.action.name.lower(),
        "height": leaf.height,
        "time": iso_time(leaf.time_ms),
        "time_ms": leaf.time_ms,
        "digest": f"{digest_name(leaf.record.digest_algorithm)}:{leaf.record.digest.hex()}",
        "log_index": log_index,
        "transaction": leaf.tx_id.hex(),
        "operation": leaf.operation_index,
        "verified": leaf.record.reference == name.reference and _is_proved(network, found),
    }


def _is_proved(network: Network, found: _Found) -> bool:
    """Say whether a receipt proves that this very leaf stands at this very place."""
    from node.crypto.suite import document_digest_by_id
    from node.errors import CryptoError, DecodeError
    from node.timestamp.receipt import Receipt
    from node.timestamp.verify import NamedDigest

    log_index, leaf, receipt = found
    try:
        algorithm = document_digest_by_id(leaf.record.digest_algorithm)
        opened = Receipt.decode(receipt)
    except (CryptoError, DecodeError):
        return False
    digest = NamedDigest(algorithm, leaf.record.digest)
    attested = network.verify_receipt(receipt, digest).attestation is not None
    return attested and (opened.log_index, opened.leaf) == (log_index, leaf)
