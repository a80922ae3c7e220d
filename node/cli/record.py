"""`govchain record`: what the chain holds of documents."""

from __future__ import annotations

from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import (
    NetworkChoice,
    choose_digest,
    digest_option,
    network_options,
    read_reference_name,
)
from node.cli.masking import choose_policy, masking_options
from node.cli.notarize import TYPE_DEFAULT
from node.cli.outputs import OutputFile, write_anew
from node.cli.screen import Answer, Screen
from node.cli.verb import CommandError, VerbGroup, verb

if TYPE_CHECKING:
    from node.cli.network import Network
    from node.disclosure.masking import MaskingPolicy
    from node.rpc.client import LedgerClient
    from node.rpc.port import RecordEntry, RecordFilter

LIMIT_DEFAULT: Final = 100
_LIMIT_MAX: Final = 100_000
_PAGE_MAX: Final = 1_000


@click.group("record", cls=VerbGroup, help=_("Look records up."))
def record() -> None:
    """Hold the verbs."""


@record.command("show", help=_("Show every record of one document."))
@click.argument("document", metavar="FILE|DIGEST|-")
@digest_option
@masking_options
@network_options
@verb("record show")
def show(
    screen: Screen,
    *,
    document: str,
    digest_name: str | None,
    masking_path: Path | None,
    clear: bool,
    network: NetworkChoice,
) -> Answer:
    """Show every record of one document."""
    from node.cli.subjects import read_document
    from node.rpc.port import RecordFilter

    chain = network.open()
    digest = read_document(document, choose_digest(digest_name, chain.suite))
    policy = choose_policy(masking_path, clear=clear, chain=chain)
    rows, more = _find(chain, RecordFilter(digest=digest.value), _LIMIT_MAX, policy)
    if not rows:
        message = _("{document}: no record of {digest}")
        fix = _("notarize it: govchain notarize; hashed otherwise, it is found by --digest")
        raise CommandError("GC-2203", message.format(document=document, digest=digest), fix)
    _show(screen, rows, more=more)
    return Answer({"digest": str(digest), "records": rows, "more": more})


@record.command("list", help=_("List records in the order of the chain."))
@click.option("--ref", "reference", help=_("Only those of this reference."))
@click.option("--type", "type_code", help=_("Only those of this type."))
@click.option("--from", "from_text", metavar="TIME", help=_("Not before this time."))
@click.option("--to", "to_text", metavar="TIME", help=_("Before this time."))
@click.option(
    "--limit",
    type=click.IntRange(1, _LIMIT_MAX),
    default=LIMIT_DEFAULT,
    show_default=True,
    help=_("Records at most."),
)
@masking_options
@network_options
@verb("record list")
def list_records(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    reference: str | None,
    type_code: str | None,
    from_text: str | None,
    to_text: str | None,
    limit: int,
    masking_path: Path | None,
    clear: bool,
    network: NetworkChoice,
) -> Answer:
    """List records."""
    from node.cli.subjects import read_time_ms
    from node.rpc.port import RecordFilter

    wanted = RecordFilter(
        reference=reference,
        type_code=type_code,
        from_ms=None if from_text is None else read_time_ms(from_text),
        to_ms=None if to_text is None else read_time_ms(to_text),
    )
    chain = network.open()
    policy = choose_policy(masking_path, clear=clear, chain=chain)
    rows, more = _find(chain, wanted, limit, policy)
    _show(screen, rows, more=more)
    return Answer({"records": rows, "more": more})


@record.command(
    "status",
    help=_(
        "Say what stands under a reference by now, proved: in force, withdrawn, or that its issuer "
        "never recorded anything under it. All validators are asked, and the newest proof counts. "
        "--prove keeps it for others, who verify it offline: govchain verify."
    ),
)
@click.argument("reference")
@click.option("--type", "type_code", default=TYPE_DEFAULT, show_default=True, help=_("Type code."))
@click.option("--issuer", help=_("Identity that records under it, if not the one that asks."))
@click.option(
    "--prove",
    "path",
    type=OutputFile(),
    help=_("File to write the proof to."),
)
@network_options
@verb("record status")
def status(
    screen: Screen,
    *,
    reference: str,
    type_code: str,
    issuer: str | None,
    path: Path | None,
    network: NetworkChoice,
) -> Answer:
    """Ask for a standing, verify the proof and keep it if wanted."""
    from node.cli.standing import ask_standing, describe_standing, fault_of, tell_standing

    found = network.open()
    name = read_reference_name(issuer or found.identity, type_code, reference)
    proof, verdict = ask_standing(found, name, found.pinned)
    tell_standing(screen, verdict)
    facts = describe_standing(verdict)
    if path is not None:
        write_anew(path, proof, "--prove")
        screen.line(_("written to {path}").format(path=path))
        facts["proof"] = str(path)
    return Answer(facts, fault_of(verdict))


def _find(
    network: Network, wanted: RecordFilter, limit: int, policy: MaskingPolicy | None
) -> tuple[list[dict[str, Any]], bool]:
    """Return matching records, at most `limit`, and whether there are more."""

    async def question(client: LedgerClient) -> tuple[list[RecordEntry], bool]:
        found: list[RecordEntry] = []
        token = b""
        while len(found) < limit:
            room = min(limit - len(found), _PAGE_MAX)
            page = await client.records(wanted, limit=room, page_token=token)
            found += page.records
            token = page.next_page_token
            if not token:
                break
        return found, bool(token)

    entries, more = network.ask(question)
    return [_describe(entry, policy) for entry in entries], more


def _describe(entry: RecordEntry, policy: MaskingPolicy | None) -> dict[str, Any]:
    from node.chain.record import RecordLeaf
    from node.cli.network import decode_answer
    from node.timestamp.receipt import digest_name, iso_time

    leaf = decode_answer(RecordLeaf.decode, entry.leaf)
    reference = leaf.record.reference
    shown = reference if policy is None else policy.mask_reference(reference)
    return {
        "log_index": entry.log_index,
        "height": leaf.height,
        "time": iso_time(leaf.time_ms),
        "time_ms": leaf.time_ms,
        "digest": f"{digest_name(leaf.record.digest_algorithm)}:{leaf.record.digest.hex()}",
        "type": leaf.record.type_code,
        "reference": shown,
        "masked": shown != reference,
        "action": leaf.record.action.name.lower(),
        "status": entry.status.name.lower(),
        "sender": leaf.sender,
        "transaction": leaf.tx_id.hex(),
        "operation": leaf.operation_index,
    }


def _show(screen: Screen, rows: list[dict[str, Any]], *, more: bool) -> None:
    from node.cli.standing import tell_vouching

    shown = ("log_index", "height", "time", "digest", "type", "reference", "status", "sender")
    titles = (
        _("place in the log"),
        _("block"),
        _("time"),
        _("document"),
        _("type"),
        _("reference"),
        _("standing"),
        _("recorded by"),
    )
    screen.table(
        titles, [["-" if row[name] is None else row[name] for name in shown] for row in rows]
    )
    if rows:
        tell_vouching(screen)
    if any(row["masked"] for row in rows):
        screen.note(_("references are masked here; --clear shows them as they were recorded"))
    if more:
        screen.note(_("there are more: raise --limit, or narrow the search"))
