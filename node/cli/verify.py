"""`govchain verify`: a document against its receipt and a trust file, with no network needed."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.age import AgeType
from node.cli.choice import NetworkChoice, network_options
from node.cli.remedies import remedy_of
from node.cli.screen import Answer, Fault, Screen
from node.cli.token_options import (
    FILE,
    certificate_option,
    crl_option,
    read_certificates,
    read_request,
)
from node.cli.verb import Verb, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.crypto.revocation import RevocationList
    from node.timestamp.tokens.request import TimeStampRequest
    from node.timestamp.trust import TrustAnchor


_OTHER_PAGE: Final = "other"


@click.command(
    "verify",
    cls=Verb,
    help=_(
        "Verify that a document existed when its receipt says so. Name the document by its file, "
        "by - for standard input, or by its digest (HEX or ALGORITHM:HEX). Whether the record "
        "still stood later is told by a proof of standing beside it (--standing), or with --home "
        "or --profile by the validators. Without --receipt, verify what the file itself proves: "
        "the standing of a reference, or that the chain only grew. --offline opens no connection."
    ),
)
@click.argument("document", metavar="FILE|DIGEST|-")
@click.option(
    "--receipt",
    "receipt_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Receipt of the document, in any format that govchain receipt export writes."),
)
@click.option(
    "--trust",
    "trust_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help=_("Trust file that pins the chain."),
)
@click.option(
    "--standing",
    "standing_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_("Proof of what stands under the record's reference."),
)
@click.option(
    "--max-age",
    "max_age_ms",
    type=AgeType(),
    help=_("How old a proof of standing may be, by the clock here: 90s, 30m, 24h, 7d."),
)
@click.option(
    "--query",
    "query_path",
    type=FILE,
    help=_("The request that a time-stamp token answers: imprint, nonce and policy are its own."),
)
@certificate_option
@crl_option
@click.option("--offline", is_flag=True, help=_("Open no connection, whatever else is given."))
@network_options
@verb("verify")
def verify(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    document: str,
    receipt_path: Path | None,
    trust_path: Path,
    standing_path: Path | None,
    max_age_ms: int | None,
    query_path: Path | None,
    certificate_paths: Sequence[Path],
    crl_paths: Sequence[Path],
    offline: bool,
    network: NetworkChoice,
) -> Answer:
    """Verify a document against its receipt, or a proof by itself."""
    from node.cli.kinds import kind_of
    from node.cli.revocation_lists import read_revocations, tell_lists
    from node.cli.trust_file import load_anchor
    from node.cli.verify_compact import verify_text
    from node.cli.verify_proof import verify_proof
    from node.cli.verify_tlog import verify_tlog
    from node.timestamp.compact_verify import is_compact
    from node.timestamp.log.verify import is_tlog_proof

    asks = network.is_explicit and not offline
    found = network.open() if asks else None  # one that is not there is told, needed or not
    anchor = load_anchor(trust_path)
    request = None if query_path is None else read_request(query_path)
    certificates = read_certificates(certificate_paths)
    revocations = read_revocations(crl_paths)
    receipt = b"" if receipt_path is None else _read_receipt(receipt_path, document)
    is_whole = not (receipt_path is None or is_compact(receipt) or is_tlog_proof(receipt))
    if request is not None and not is_whole:
        raise click.UsageError(_("a request is answered by a time-stamp token: --receipt"))
    if standing_path is not None and not is_whole:
        raise click.UsageError(
            _(
                "a proof of standing goes with a receipt that holds the record: give that as "
                "--receipt, or verify the proof by itself: govchain verify PROOF --trust FILE"
            )
        )
    asks_standing = is_whole and (standing_path is not None or found is not None)
    if max_age_ms is not None and receipt_path is not None and not asks_standing:
        raise click.UsageError(
            _("--max-age is of a proof of standing: --standing, or --home or --profile to ask")
        )
    now_ms = time.time_ns() // 1_000_000
    if receipt_path is None:
        answer = verify_proof(screen, document, anchor, max_age_ms)
    elif is_compact(receipt):
        answer = verify_text(screen, document, receipt, anchor, now_ms)
    elif is_tlog_proof(receipt):
        answer = verify_tlog(screen, document, receipt, anchor, now_ms)
    else:
        beside = _Beside(
            now_ms, request, certificates, revocations, standing_path, max_age_ms, found
        )
        answer = _verify_receipt(screen, document, receipt, anchor, beside)
    if answer.fault is not None and receipt_path is not None and kind_of(receipt) is None:
        answer = Answer(answer.facts, _unlike_any(receipt_path, answer.fault))
    if answer.fault is None and answer.facts.get("page") == _OTHER_PAGE:
        message = _("{path}: the proof holds, and gives another page than this")
        altered = message.format(path=receipt_path)
        answer = Answer(answer.facts, Fault("GC-2343", altered, remedy_of("GC-2343").fix))
    lists = tell_lists(screen, crl_paths, revocations, _tokens_in(receipt), certificates)
    return Answer({**answer.facts, **lists}, answer.fault)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What is given beside a receipt, and the time here."""

    now_ms: int
    request: TimeStampRequest | None
    certificates: Sequence[bytes]
    revocations: Sequence[RevocationList]
    standing_path: Path | None
    max_age_ms: int | None
    network: Network | None


def _verify_receipt(
    screen: Screen,
    document: str,
    receipt: bytes,
    anchor: TrustAnchor,
    beside: _Beside,
) -> Answer:
    from node.cli.kinds import STANDING, read_claim
    from node.cli.standing import follow_record
    from node.cli.subjects import read_document
    from node.cli.verdict import fault_of_receipt, tell_verdict
    from node.cli.wording import describe_verdict
    from node.timestamp.opening import digest_algorithm_of, open_receipt
    from node.timestamp.tokens.check import TokenStep
    from node.timestamp.verify import Outcome, verify_receipt

    path = beside.standing_path
    standing = None if path is None else read_claim(path, STANDING)
    digest = read_document(document, digest_algorithm_of(receipt))
    verdict = verify_receipt(
        receipt,
        anchor,
        digest,
        now_ms=beside.now_ms,
        request=beside.request,
        certificates=beside.certificates,
        revocations=beside.revocations,
    )
    page = None if verdict.attestation is None else _compare_page(receipt)
    if page is not None and page.status == _OTHER_PAGE:  # before anybody believes what is printed
        screen.line(page.sentence, style="yellow")
    tell_verdict(screen, document, verdict)
    facts = {"document": document, "digest": str(digest), **describe_verdict(verdict)}
    attestation = verdict.attestation
    last = verdict.steps[-1].step
    if last is TokenStep.CHAIN and verdict.outcome is Outcome.NOT_ROOTED:
        facts |= _tell_coordinates(screen, receipt, anchor)
    if page is not None:
        if page.status != _OTHER_PAGE:
            screen.line(f"  {page.sentence}")
        facts["page"] = page.status
    if attestation is None or verdict.outcome is not Outcome.VERIFIED:
        return Answer({**facts, "asked": False}, fault_of_receipt(verdict))
    if attestation.record.reference is None and standing is None:
        screen.line(
            "  " + _("without a reference nothing can replace or withdraw it: nobody was asked")
        )
        return Answer({**facts, "asked": False})
    source = beside.network if standing is None else standing
    if source is None:
        screen.line("  " + _("nobody was asked whether it still stands: see --home and --profile"))
        return Answer({**facts, "asked": False})
    held, age_ms = open_receipt(receipt).receipt, beside.max_age_ms
    told, fault = follow_record(screen, held, attestation, anchor, source, max_age_ms=age_ms)
    return Answer({**facts, "asked": standing is None, **told}, fault)


def _tell_coordinates(screen: Screen, token: bytes, anchor: TrustAnchor) -> dict[str, Any]:
    """Say where the record of a sound token alone stands, by its serial number; JSON members.

    Nothing is said of a token of another chain, or of another authority: its numbers are its own.
    """
    from node.errors import DecodeError
    from node.timestamp.tokens.issuing import Coordinates
    from node.timestamp.tokens.reading import ReadToken, token_of_answer

    try:
        serial_number = ReadToken.decode(token_of_answer(token)).info.serial_number
        at = Coordinates.from_serial(serial_number)
    except DecodeError:
        return {}
    if at != Coordinates.of(anchor.chain_id, at.height, at.log_index):
        return {}
    said = _("by its serial number it is of block {height}, entry {index} of the log of this chain")
    screen.line("  " + said.format(height=at.height, index=at.log_index))
    return {"coordinates": {"height": at.height, "log_index": at.log_index}}


def _unlike_any(path: Path, fault: Fault) -> Fault:
    """Return a fault of a file that does not begin as any that is taken: it need not be a proof."""
    from node.cli.kinds import QR_TEXT, RECEIPTS, TLOG
    from node.cli.sentences.telling import tell_refusal

    message = _("{path} does not begin as any of these does: {kinds} ({why})")
    kinds = ", ".join(each.name for each in (*RECEIPTS, TLOG, QR_TEXT))
    fix = _("name the file that govchain notarize wrote, or get it again, whole and unchanged")
    why = tell_refusal(fault.message)
    return Fault(fault.code, message.format(path=path, kinds=kinds, why=why), fix)


def _tokens_in(receipt: bytes) -> list[bytes]:
    """Return the time-stamp token of a receipt, if it has one that can be read."""
    from node.errors import DecodeError, ProofError
    from node.timestamp.opening import token_in
    from node.timestamp.steps import NotRootedError

    try:
        token = token_in(receipt)
    except (DecodeError, ProofError, NotRootedError):
        return []
    return [] if token is None else [token]


def _read_receipt(path: Path, document: str) -> bytes:
    """Return the content of a receipt file, or of standard input where that is named."""
    from node.cli.inputs import STANDARD_INPUT
    from node.cli.kinds import QR_TEXT, RECEIPTS, TLOG, refuse_other
    from node.cli.subjects import read_file
    from node.limits import RECEIPT_FILE_BYTES_MAX

    if str(path) != STANDARD_INPUT:
        data = read_file(path)
    elif document == STANDARD_INPUT:
        raise click.UsageError(_("standard input cannot be both the document and its receipt"))
    else:
        data = sys.stdin.buffer.read(RECEIPT_FILE_BYTES_MAX + 1)
    refuse_other(path, data, *RECEIPTS, TLOG, QR_TEXT)
    return data


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

    if render_pdf(opened.receipt, opened.joined) == receipt:
        return _Page("as proven", _("the page says what the proof says"))
    return _Page(
        _OTHER_PAGE, _("rely on what stands here, NOT on the page: this proof gives another")
    )
