"""`govchain receipt export`: a receipt written in another format, from its file alone."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from node.cli.outputs import OutputFile, name_after, write_anew
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from node.timestamp.opening import OpenedReceipt
    from node.timestamp.receipt import Receipt

FORMATS: Final = ("native", "tsr", "tlog", "cose", "qr", "pdf")
"""As in `node.timestamp.export.EXPORTS`, and what is set by typst; a test holds them together."""

_PUBLIC_FORMS: Final = ("tlog", "cose")
_VOUCHED_FORMS: Final = ("tsr", "tlog", "qr")
"""Those that could not say that nobody vouches for the time in them."""
_PDF: Final = "pdf"
_JOIN: Final = "join"
_STAMP: Final = "stamp"


@click.command(
    "export",
    cls=Verb,
    help=_(
        "Write a receipt in another format: a pure function of the receipt, the same bytes on any "
        "machine. TSR, COSE and PDF carry the receipt itself, refreshed or not, and can be "
        "exported again."
    ),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="RECEIPT")
@click.option(
    "--format",
    "wanted",
    type=click.Choice(FORMATS),
    required=True,
    help=_(
        "native: proto/RECEIPT.md; tsr: RFC 3161, for openssl ts; tlog: a C2SP tlog-proof; cose: "
        "RFC 9942; qr: a QR code whose text verifies by itself, drawn as the file's name ends "
        "(.svg, .png, .txt); pdf: a certificate to print, PDF/A-3."
    ),
)
@click.option(
    "--out",
    type=OutputFile(may_repeat=True),
    help=_("File to write. Default: beside the receipt, named by the format."),
)
@click.option(
    "--stamp",
    type=click.Path(path_type=Path, dir_okay=False),
    help=_(
        "For cose: a time-stamp token (.tsr) over the signature, which is the last 66 bytes of the "
        "file without it; it goes into header 270."
    ),
)
@verb("receipt export")
def export(
    screen: Screen, *, path: Path, wanted: str, out: Path | None, stamp: Path | None
) -> Answer:
    """Write a receipt in another format."""
    from node.cli.kinds import RECEIPTS, read_kind
    from node.errors import DecodeError, ProofError
    from node.timestamp.export import COSE
    from node.timestamp.opening import open_receipt
    from node.timestamp.steps import NotRootedError

    try:
        given = read_kind(path, *RECEIPTS)
        opened = open_receipt(given)
    except (DecodeError, ProofError, NotRootedError) as error:
        fix = _("name a file made by govchain notarize or govchain receipt export")
        raise CommandError("GC-1001", f"{path}: {error}", fix) from error
    suffix, data = _make(wanted, opened, stamp)
    left_out = _left_out(opened, wanted)
    if opened.stamped_ms is not None and wanted == COSE:
        data = given if stamp is None else data  # opened: it says just what its receipt exports to
        left_out = [] if data == given else left_out
    if wanted == "qr":
        from node.cli.qr import PICTURE_SUFFIX, draw

        drawn = PICTURE_SUFFIX if out is None else out.suffix
        suffix, data = f".qr{drawn}", draw(data, drawn)
    target = path.with_name(name_after(path.stem, suffix)) if out is None else out
    write_anew(target, data)
    screen.line(_("written to {path} ({size} bytes)").format(path=target, size=len(data)))
    screen.line(_("Nothing was verified: see govchain verify."))
    for part in left_out:
        screen.note(_what_is_lost(part).format(path=path, format=wanted))
    facts = {"path": str(target), "format": wanted, "size_bytes": len(data), "left_out": left_out}
    return Answer(facts)


def _left_out(opened: OpenedReceipt, wanted: str) -> list[str]:
    """Return what a file says besides its receipt, which a format has no room for."""
    from node.timestamp.export import EXPORTS

    has_room = wanted == _PDF or EXPORTS[wanted].joined_suffix is not None
    join = [] if opened.joined is None or has_room else [_JOIN]
    return join if opened.stamped_ms is None else [*join, _STAMP]


def _what_is_lost(left_out: str) -> str:
    """Return what follows from what was left out, with `{path}` to be filled in."""
    return {
        _JOIN: _(
            "left out: what joins {path} to a later block, for which {format} has no room. What "
            "was written is good only by trust files that pin its own epoch: keep {path}"
        ),
        _STAMP: _("left out: the time stamp over the signature in {path}: keep that file"),
    }[left_out]


def _make(wanted: str, opened: OpenedReceipt, stamp: Path | None) -> tuple[str, bytes]:
    """Return the suffix and the bytes of a format; raises `CommandError` saying what is missing."""
    from node.timestamp.export import EXPORTS

    if stamp is not None and wanted != "cose":
        raise click.UsageError(_("--stamp goes with --format cose"))
    receipt, join = opened.receipt, opened.joined
    if wanted == _PDF:
        from node.cli.paper.versions import PDF_SUFFIX, require_typst

        require_typst()
        from node.cli.paper.render import render_pdf

        return PDF_SUFFIX, render_pdf(receipt, join)
    export = EXPORTS[wanted]
    made = export.make(receipt, join) if stamp is None else _make_stamped(opened, stamp)
    if made is None:
        lack, fix = _what_is_missing(wanted, receipt)
        name = f"{receipt.leaf.tx_id.hex()}:{receipt.leaf.operation_index}"
        raise CommandError("GC-2340", f"{wanted}: {lack}", fix.format(operation=name))
    joined_suffix = None if join is None else export.joined_suffix
    return joined_suffix or export.suffix, made


def _make_stamped(opened: OpenedReceipt, stamp: Path) -> bytes | None:
    """Return the COSE Receipt with the token of a file, over its signature."""
    from node.cli.kinds import TOKEN, read_kind
    from node.errors import CryptoError, DecodeError, ProofError
    from node.timestamp.cose_stamp import stamp_of_answer
    from node.timestamp.export import export_stamped_cose

    token = read_kind(stamp, TOKEN)
    try:
        return export_stamped_cose(opened.receipt, stamp_of_answer(token), opened.joined)
    except (CryptoError, DecodeError, ProofError) as error:
        fix = _("stamp the last 66 bytes of the .cose file: tail -c 66, then govchain timestamp")
        raise CommandError("GC-1004", f"{stamp}: {error}", fix) from error


def _what_is_missing(wanted: str, receipt: Receipt) -> tuple[str, str]:
    """Return what a receipt lacks for a format, and what gives one that has it, of `operation`."""
    suite = receipt.suite
    if wanted in _PUBLIC_FORMS and not suite.has_public_forms:
        return (
            _(
                "the format prescribes SHA-256 and P-256, and the chain is of the suite {suite}"
            ).format(suite=suite.name),
            _("export native, tsr, qr or pdf, which any suite has"),
        )
    if wanted in _VOUCHED_FORMS and receipt.block.header.time_degraded:
        return (
            _("the validators do not vouch for the time of its block, which this form cannot show"),
            _("export native, cose or pdf, or notarize the document again: govchain notarize"),
        )
    return {
        "tsr": (
            _("the receipt holds no time-stamp token"),
            _("fetch it from a validator that stamps time: govchain receipt fetch tx:{operation}"),
        ),
        "tlog": (
            _("the receipt holds no checkpoint of the public log"),
            _(
                "they sign one within seconds: export what this writes then: "
                "govchain receipt fetch tx:{operation}"
            ),
        ),
        "qr": (
            _("the receipt holds no compact certificate"),
            _(
                "they sign one within seconds, if the chain has them: "
                "export what this writes then: "
                "govchain receipt fetch tx:{operation}"
            ),
        ),
        "cose": (
            _("the receipt has no validator's signature of the log root"),
            _("fetch it from a validator of that epoch: govchain receipt fetch tx:{operation}"),
        ),
    }[wanted]
