"""`govchain audit run|report`: a chain audited over the network, and what was found, signed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from functools import partial
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import HEIGHT_MAX, NetworkChoice, network_options
from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Fault, Screen
from node.cli.verb import CommandError, Verb, verb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.chain.block import CertifiedBlock, Header
    from node.cli.network import Network
    from node.rpc.client import LedgerClient
    from node.service.audit.replay import Replay
    from node.storage.kv import KeyValueStore

BLOCKS_PER_REQUEST: Final = 64


@click.command(
    "run",
    cls=Verb,
    help=_(
        "Audit a running chain: fetch its blocks, execute them again from genesis, check every "
        "client signature, certificate, root and handover on the way, and compare the blocks from "
        "--from on with a second validator. What was found is written as one report, signed by "
        "who asks; govchain audit report verifies it."
    ),
)
@click.option(
    "--from",
    "first",
    type=click.IntRange(1, HEIGHT_MAX),
    default=1,
    show_default=True,
    help=_("First block to compare and to report on; those below are executed, too."),
)
@click.option(
    "--to",
    "last",
    type=click.IntRange(1, HEIGHT_MAX),
    help=_("Last block, instead of the newest."),
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help=_("Threads that check signatures."),
)
@click.option(
    "--out",
    "path",
    type=OutputFile(),
    required=True,
    help=_("File to write the report to."),
)
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Where there is room for a second ledger; the folder of the report, if not named."),
)
@click.option(
    "--anchors",
    type=click.Path(path_type=Path, file_okay=False),
    help=_("Folder of anchors: what authorities stamped has to be in the chain; report on them."),
)
@network_options
@verb("audit run")
def run(
    screen: Screen,
    *,
    first: int,
    last: int | None,
    jobs: int,
    path: Path,
    scratch: Path | None,
    anchors: Path | None,
    network: NetworkChoice,
) -> Answer:
    """Audit a chain over the network and write a signed report."""
    from concurrent.futures import ThreadPoolExecutor

    from node.cli.audit_anchors import Anchored, read_anchors
    from node.errors import ProofError
    from node.service.audit.replay import Replay
    from node.service.audit.report import sign_report

    found = network.open()
    source, second, tip = _choose(found, last)
    last = tip if last is None else last
    if first > last:
        raise click.UsageError(
            _("--from {first} lies above --to {last}").format(first=first, last=last)
        )
    anchored = Anchored({}, [])
    if anchors is not None:
        anchored = read_anchors(anchors, found, time.time_ns() // 1_000_000)
    trouble: ProofError | None = None
    with (
        scratch_database(scratch or path.parent) as empty,
        ThreadPoolExecutor(jobs) as workers,
        screen.progress(_("auditing"), last) as advance,
    ):
        replay = Replay(found.genesis, empty, workers)
        pinned = {block.header.height: block.header for block in found.pinned.blocks}
        compared = 0
        try:
            for block, other in _blocks(found, source, second, first, last):
                replay.take(block.header.height, block)
                _expect_same("audit-pinned", pinned.get(block.header.height), replay)
                _expect_same("audit-anchored", anchored.headers.get(block.header.height), replay)
                _expect_same("audit-second", other, replay)
                compared += other is not None
                advance(1)
        except ProofError as error:
            trouble = error
        told = _report(found, replay, first, last) | {
            "source": source,
            "compared_with": second,
            "blocks_compared": compared,
            "verdict": "sound" if trouble is None else "not sound",
            "rule": None if trouble is None else trouble.rule,
            "finding": None if trouble is None else str(trouble),
        }
        if anchors is not None:
            told["anchors"] = anchored.described
    write_anew(path, sign_report(told, found.signer))
    tell_report(screen, told)
    screen.line(_("written to {path}").format(path=path))
    return Answer({"path": str(path), "report": told}, _fault_of(told))


@click.command(
    "report",
    cls=Verb,
    help=_("Verify who signed the report of an audit, and say what was found. Nothing is asked."),
)
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), metavar="REPORT")
@click.option(
    "--trust",
    "trust_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help=_("Trust file that pins the chain."),
)
@click.option(
    "--pdf",
    "pdf_path",
    type=OutputFile(),
    help=_("Write it as a page to print, too (PDF/A-3), with the signed report attached."),
)
@verb("audit report")
def report(screen: Screen, *, path: Path, trust_path: Path, pdf_path: Path | None) -> Answer:
    """Verify a report."""
    from node.cli.kinds import REPORT, read_kind
    from node.cli.trust_file import load_anchor
    from node.errors import DecodeError, ProofError
    from node.service.audit.report import AuditorUnknownError, verify_report

    anchor = load_anchor(trust_path)
    data = read_kind(path, REPORT)
    try:
        found = verify_report(data, anchor.genesis)
    except DecodeError as error:
        raise CommandError("GC-1001", f"{path}: {error}") from error
    except ProofError as error:
        raise CommandError("GC-2309", f"{path}: {error}") from error
    except AuditorUnknownError as error:
        fix = _("have it signed by an identity of the genesis")
        raise CommandError("GC-2310", f"{path}: {error}", fix) from error
    tell_report(screen, found)
    facts = {"path": str(path), "report": found}
    if pdf_path is not None:
        _print(screen, pdf_path, data, found)
        facts["pdf"] = str(pdf_path)
    return Answer(facts, _fault_of(found))


def _print(screen: Screen, path: Path, data: bytes, found: dict[str, Any]) -> None:
    """Write a verified report as a page."""
    from node.cli.paper.versions import require_typst

    require_typst()
    from node.cli.paper.render import render_report_pdf

    write_anew(path, render_report_pdf(data, found), "--pdf")
    screen.line(_("written to {path}").format(path=path))


def tell_report(screen: Screen, found: dict[str, Any]) -> None:
    """Say what an audit found."""
    from node.cli.audit_anchors import anchor_rows

    rows = (
        (_("audited by"), found.get("auditor")),
        (_("chain"), found.get("chain_id")),
        (_("blocks"), f"{found.get('from')} - {found.get('to')}"),
        (_("blocks from"), found.get("source")),
        (_("compared with"), found.get("compared_with") or _("nobody: no other validator answers")),
        (_("blocks executed, each certified"), found.get("blocks")),
        (_("handovers followed"), found.get("epoch")),
        (_("signatures of validators"), found.get("votes")),
        (_("transactions, each signed"), found.get("transactions")),
        (_("of these without effect"), found.get("failed")),
        (_("records"), found.get("records")),
        (_("newest header"), found.get("header_digest")),
    )
    screen.table((_("field"), _("value")), (*rows, *anchor_rows(found)))
    if found.get("verdict") == "sound":
        screen.line(_("the chain is what its blocks make of genesis"), style="green")


def _fault_of(found: dict[str, Any]) -> Fault | None:
    if found.get("verdict") == "sound":
        return None
    fix = _("keep the report; ask other validators for the same blocks: govchain block show")
    return Fault("GC-2352", f"{found.get('finding')}", fix)


def _expect_same(rule: str, header: Header | None, replay: Replay) -> None:
    """Expect a header, if there is one, to be that of the block just executed."""
    from node.errors import ProofError

    if header is not None and header != replay.header:
        raise ProofError(rule, f"block {replay.header.height} is another there")


@contextmanager
def scratch_database(folder: Path) -> Iterator[KeyValueStore]:
    """Open a database for a while; raises `CommandError` where the disk it is on is full."""
    from node.assembly import open_scratch
    from node.errors import StorageError

    try:
        with open_scratch(folder) as empty:
            yield empty
    except StorageError as error:
        if error.code != "GC-3004":
            raise
        fix = _("free space there, or name a folder that has some: --scratch")
        raise CommandError("GC-2306", str(error), fix) from error


def _choose(network: Network, last: int | None) -> tuple[str, str | None, int]:
    """Return who gives the blocks, who is compared with, if anyone, and the newest height."""
    from node.errors import ClientError
    from node.rpc.connection import judge
    from node.rpc.port import NodeStatus

    answers = network.ask(lambda client: client.statuses())
    heights = {name: each.height for name, each in answers.items() if isinstance(each, NodeStatus)}
    if not heights:
        raise judge([each for each in answers.values() if isinstance(each, ClientError)])
    by_height = sorted(heights, key=lambda name: heights[name], reverse=True)
    source, others = by_height[0], by_height[1:]
    tip = min(heights[name] for name in by_height[:2])
    if last is not None and last > heights[source]:
        message = _("block {height} is not there yet: the newest is {tip}")
        raise CommandError("GC-2203", message.format(height=last, tip=heights[source]))
    return source, others[0] if others else None, tip


def _blocks(
    network: Network, source: str, second: str | None, first: int, last: int
) -> Iterator[tuple[CertifiedBlock, Header | None]]:
    """Yield the blocks up to a height by one validator, each with the header by another.

    Without the latter where there is no other, and below `first`.
    """
    from node.chain.block import CertifiedBlock, Header
    from node.cli.network import decode_answer

    def read(data: bytes) -> CertifiedBlock:
        return CertifiedBlock.decode(data, network.suite)

    for start in range(1, last + 1, BLOCKS_PER_REQUEST):
        end = min(start + BLOCKS_PER_REQUEST, last + 1)
        compared = range(max(start, first), end)
        blocks = network.ask(partial(ask_blocks, heights=range(start, end)), source)
        others = {}
        if second is not None and compared:
            headers = network.ask(partial(_ask_headers, heights=compared), second)
            others = dict(zip(compared, headers, strict=True))
        for height, block in zip(range(start, end), blocks, strict=True):
            other = others.get(height)
            yield (
                decode_answer(read, block),
                None if other is None else decode_answer(Header.decode, other),
            )


async def ask_blocks(client: LedgerClient, heights: range) -> list[bytes]:
    """Return blocks as they are sent, unread."""
    return [(await client.block(height)).block for height in heights]


async def _ask_headers(client: LedgerClient, heights: range) -> list[bytes]:
    return [(await client.certified_header(height)).header for height in heights]


def _report(network: Network, replay: Replay, first: int, last: int) -> dict[str, Any]:
    """Return what was found in order, as JSON."""
    import node
    from node.timestamp.receipt import iso_time

    audited, header = replay.audited, replay.header
    return {
        "chain_id": network.genesis.chain_id.hex(),
        "auditor": network.identity,
        "program": f"govchain {node.__version__}",
        "from": first,
        "to": last,
        "blocks": audited.blocks,
        "transactions": audited.transactions,
        "failed": audited.failed,
        "votes": audited.votes,
        "records": audited.records,
        "epoch": header.epoch,
        "height": header.height,
        "time": iso_time(header.time_ms),
        "header_digest": replay.header_digest.hex(),
        "state_root": header.state_root.hex(),
        "log_size": header.log_size,
        "log_root": header.log_roots[0].hex(),
    }
