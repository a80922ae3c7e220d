"""`govchain verify`: a document against its receipt and a trust file, with no network needed."""

from __future__ import annotations

from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.rpc.client import LedgerClient
    from node.rpc.port import RecordStatus
    from node.timestamp.trust import TrustAnchor
    from node.timestamp.verify import Attestation, Verdict


@click.command(
    "verify",
    help=_(
        "Verify that a document existed when its receipt says so. Name the document by its file, "
        "by - for standard input, or by its digest (HEX or ALGORITHM:HEX). With --home or "
        "--profile a validator is asked too whether the record still stands; --offline opens no "
        "connection."
    ),
)
@click.argument("document", metavar="FILE|DIGEST|-")
@click.option(
    "--receipt",
    "receipt_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help=_("Receipt of the document, in any format that govchain receipt export writes."),
)
@click.option(
    "--trust",
    "trust_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help=_("Trust file that pins the chain."),
)
@click.option("--offline", is_flag=True, help=_("Open no connection, whatever else is given."))
@network_options
@verb("verify")
def verify(
    screen: Screen,
    *,
    document: str,
    receipt_path: Path,
    trust_path: Path,
    offline: bool,
    network: NetworkChoice,
) -> Answer:
    """Verify a document against its receipt."""
    from node.cli.subjects import read_document, read_file
    from node.cli.wording import describe_verdict
    from node.timestamp.opening import digest_algorithm_of
    from node.timestamp.verify import Outcome, verify_receipt

    asks = network.is_explicit and not offline
    found = network.open() if asks else None  # one that is not there is told, needed or not
    anchor = load_anchor(trust_path)
    receipt = read_file(receipt_path)
    digest = read_document(document, digest_algorithm_of(receipt))
    verdict = verify_receipt(receipt, anchor, digest)
    tell_verdict(screen, document, verdict)
    facts = {"document": document, "digest": str(digest), **describe_verdict(verdict)}
    page = _compare_page(receipt) if verdict.attestation is not None else None
    if page is not None:
        screen.line(f"  {page.sentence}")
        facts["page"] = page.status
    if verdict.attestation is None or verdict.outcome is not Outcome.VERIFIED:
        return Answer({**facts, "asked": False}, _fault_of(verdict))
    if verdict.attestation.record.reference is None:
        screen.line(
            "  " + _("without a reference nothing can replace or withdraw it: nobody was asked")
        )
        return Answer({**facts, "asked": False})
    if found is None:
        screen.line("  " + _("nobody was asked whether it still stands: see --home and --profile"))
        return Answer({**facts, "asked": False})
    standing = _ask_standing(found, receipt, verdict.attestation)
    screen.line(f"  {standing.sentence}")
    return Answer({**facts, "asked": True, "standing": standing.status}, standing.fault)


def load_anchor(path: Path) -> TrustAnchor:
    """Return what a trust file pins; raises `CommandError` where it is missing or does not hold."""
    from node.cli.subjects import read_file
    from node.errors import DecodeError, ProofError
    from node.timestamp.trust import load_trust

    try:
        return load_trust(read_file(path))
    except (DecodeError, ProofError) as error:
        raise CommandError("GC-2308", f"{path}: {error}") from error


def tell_verdict(screen: Screen, label: str, verdict: Verdict) -> None:
    """Say the verdict in words, then the numbered steps that led to it."""
    from node.cli.wording import headline, outcome_style, step_title

    screen.line(headline(label, verdict), style=outcome_style(verdict.outcome))
    for report in verdict.steps:
        mark = _("ok") if report.passed else _("FAILED")
        screen.line(f"  {int(report.step)}. {step_title(report.step)}: {mark} ({report.detail})")
    attestation = verdict.attestation
    if attestation is not None and attestation.accuracy_ms is not None:
        said = _("recorded by {sender}; the chain promises its time to be accurate to {ms} ms")
        screen.line("  " + said.format(sender=attestation.sender, ms=attestation.accuracy_ms))


@dataclass(frozen=True, slots=True)
class _Page:
    """Whether the page of a PDF certificate is what its proof gives."""

    status: str
    sentence: str


def _compare_page(receipt: bytes) -> _Page | None:
    """Set the page anew from the proof and compare; None where the receipt is no PDF.

    What differs may come of another version of this product: the proof decides, never the page.
    """
    from node.cli.paper.versions import has_typst
    from node.timestamp.opening import PDF, open_receipt

    opened = open_receipt(receipt)
    if opened.format != PDF:
        return None
    if not has_typst():
        return _Page("not compared", _("rely on what stands here: the page was not compared to it"))
    from node.cli.paper.render import render_pdf

    if render_pdf(opened.receipt) == receipt:
        return _Page("as proven", _("the page says what the proof says"))
    return _Page("other", _("rely on what stands here, NOT on the page: this proof gives another"))


@dataclass(frozen=True, slots=True)
class _Standing:
    """Whether a record still stands, according to a validator."""

    status: str
    sentence: str
    fault: Fault | None


def _ask_standing(network: Network, receipt: bytes, attestation: Attestation) -> _Standing:
    """Ask whether a record with a reference was superseded or withdrawn."""
    from node.rpc.port import RecordStatus
    from node.timestamp.opening import open_receipt

    status = _find_status(network, attestation, open_receipt(receipt).receipt.log_index)
    sentence = {
        RecordStatus.IN_FORCE: _("{reference} is in force, says a validator"),
        RecordStatus.SUPERSEDED: _("{reference} has a newer record by now, says a validator"),
        RecordStatus.WITHDRAWN: _("{reference} was WITHDRAWN since, says a validator"),
        RecordStatus.NONE: _("{reference} is not known to the validator"),
    }[status].format(reference=attestation.record.reference)
    fix = _("ask the issuer which record is in force")
    withdrawn = Fault("GC-2312", sentence, fix) if status is RecordStatus.WITHDRAWN else None
    return _Standing(status.name.lower(), sentence, withdrawn)


def _find_status(network: Network, attestation: Attestation, log_index: int) -> RecordStatus:
    """Return the status a validator gives the very record of the receipt."""
    from node.rpc.port import RecordFilter, RecordStatus

    record = attestation.record
    wanted = RecordFilter(
        reference=record.reference,
        type_code=record.type_code,
        digest=record.digest,
        from_ms=attestation.time_ms,
        to_ms=attestation.time_ms + 1,
    )

    async def question(client: LedgerClient) -> RecordStatus:
        token = b""
        while True:
            page = await client.records(wanted, page_token=token)
            for entry in page.records:
                if entry.log_index == log_index:
                    return entry.status
            token = page.next_page_token
            if not token:
                return RecordStatus.NONE

    return network.ask(question)


def _fault_of(verdict: Verdict) -> Fault | None:
    from node.timestamp.verify import Outcome, Step

    failure = verdict.failure
    if failure is None:
        return None
    message = _("step {number} failed: {detail}")
    cause = message.format(number=int(failure.step), detail=failure.detail)
    if verdict.outcome is Outcome.NOT_ROOTED:
        return Fault("GC-2310", cause, _("use the trust file of the receipt's chain"))
    if failure.step is Step.DOCUMENT:
        return Fault("GC-2309", cause, _("use the receipt of this very document, unchanged"))
    return Fault("GC-2309", cause, _("fetch the receipt again: govchain receipt fetch"))
