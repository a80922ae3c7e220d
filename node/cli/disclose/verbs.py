"""`govchain disclose`: a record committed to field by field, and some fields proved, not others."""

from __future__ import annotations

import time
from collections.abc import Callable
from gettext import gettext as _
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from node.cli.choice import NetworkChoice, network_options
from node.cli.masking import choose_policy, masking_options
from node.cli.notarize import check_text, recording_options
from node.cli.outputs import OutputFile
from node.cli.screen import Answer, Screen
from node.cli.vault.verbs import authorised_limits, terms_options
from node.cli.verb import VerbGroup, verb
from node.limits import RECORD_REFERENCE_BYTES_MAX, RECORD_TYPE_BYTES_MAX

if TYPE_CHECKING:
    from node.disclosure.opening import Opening
    from node.disclosure.proof import Disclosure

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


def _fields_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--field",
        "names",
        multiple=True,
        required=True,
        metavar="PATH",
        help=_("A field by its path, as disclose show lists it. May be given several times."),
    )(function)


@click.group(
    "disclose", cls=VerbGroup, help=_("Prove some fields of a record, and show nothing of others.")
)
def disclose() -> None:
    """Hold the verbs."""


@disclose.command(
    "commit",
    help=_(
        "Commit to a record (JSON, or a table: CSV) field by field, each under a salt of its own, "
        "and notarize the commitment. What opens it goes into the vault, for this identity and "
        "those named; nothing of the record goes on chain. Run it again if it was stopped."
    ),
)
@click.argument("path", type=_FILE, metavar="FILE")
@click.option(
    "--to",
    "recipients",
    multiple=True,
    metavar="NAME",
    help=_("Who else may open all of it, as with vault put. May be given several times."),
)
@click.option("--ref", "reference", help=_("Reference of the record."))
@click.option(
    "--keep-here", is_flag=True, help=_("Leave the opening beside the receipt, not in the vault.")
)
@recording_options
@network_options
@verb("disclose commit")
def commit(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    path: Path,
    recipients: tuple[str, ...],
    reference: str | None,
    keep_here: bool,
    out: Path,
    type_code: str,
    patience_s: int,
    network: NetworkChoice,
) -> Answer:
    """Commit to a record."""
    from node.cli.disclose.openings import begin_opening, put_opening
    from node.cli.disclose.records import read_record
    from node.cli.inputs import Document
    from node.cli.kept import KeptReceipts
    from node.cli.outputs import name_after, write_anew
    from node.cli.recording import expect_folder, record_documents, summarize, tell_recorded
    from node.cli.vault.chain import VaultDesk
    from node.client.recording import Outlook
    from node.operations.topology import lock_folder

    if keep_here and recipients:
        raise click.UsageError(_("--to is of the vault, and --keep-here leaves it out"))
    check_text("--type", type_code, RECORD_TYPE_BYTES_MAX)
    if reference is not None:
        check_text("--ref", reference, RECORD_REFERENCE_BYTES_MAX)
    fields, found = read_record(path), network.open()
    expect_folder(out)
    opening_path = out / name_after(path.name, ".opening")
    opening = begin_opening(screen, opening_path, fields, found.suite)
    statement_path = out / name_after(path.name, ".fields")
    write_anew(statement_path, opening.statement.encode())
    document = Document(str(statement_path), statement_path, reference=reference)
    with lock_folder(out, wait=False):
        earlier = KeptReceipts.read(out, found)
        (item,) = record_documents(
            screen, found, [document], Outlook(type_code), out, patience_s=patience_s,
            earlier=earlier,
        )  # fmt: skip
    tell_recorded(screen, item)
    answer = summarize([item])
    facts: dict[str, Any] = {
        **answer.facts,
        "statement": str(statement_path),
        "fields": len(opening.entries),
        "root": opening.statement.root.hex(),
    }
    if answer.fault is not None:
        return Answer({**facts, "opening": str(opening_path)}, answer.fault)
    if keep_here:
        said = _("COMMITTED  {count} fields of {path}; what opens them: {opening}: keep it secret")
        told = said.format(count=len(opening.entries), path=path, opening=opening_path)
        screen.line(told, style="green")
        return Answer({**facts, "opening": str(opening_path)})
    known = put_opening(screen, VaultDesk(found), opening_path, recipients)
    said = _("COMMITTED  {count} fields of {path}; what opens them is in the vault: {document}")
    told = said.format(count=len(opening.entries), path=path, document=known.document_id.hex())
    screen.line(told, style="green")
    return Answer({**facts, "document": known.document_id.hex()})


@disclose.command(
    "show", help=_("Show the fields of a record that can be proved. SOURCE is an opening.")
)
@click.argument("source", metavar="SOURCE")
@masking_options
@network_options
@verb("disclose show")
def show(
    screen: Screen, *, source: str, masking_path: Path | None, clear: bool, network: NetworkChoice
) -> Answer:
    """Show what an opening holds."""
    from node.cli.disclose.telling import describe_fields, tell_fields
    from node.cli.inputs import is_file

    chain = None if is_file(source) else network.open()
    policy = choose_policy(masking_path, clear=clear, chain=chain)
    opening = _opening(screen, source, network)
    shown = [(each.path, each.value) for each in opening.fields]
    erased = len(opening.entries) - len(shown)
    tell_fields(screen, shown, policy)
    if erased:
        said = _("{count} fields were erased: nobody can prove or guess them")
        screen.line(said.format(count=erased))
    return Answer({"fields": describe_fields(shown, policy), "erased": erased})


@disclose.command(
    "prove",
    help=_(
        "Write a disclosure: the fields named, proved by the receipt of the commitment, and "
        "nothing of the others. SOURCE is an opening: a file, or the id of a document in the vault."
    ),
)
@click.argument("source", metavar="SOURCE")
@_fields_option
@click.option("--receipt", "receipt_path", type=_FILE, required=True, help=_("Of the commitment."))
@click.option("--out", type=OutputFile(), required=True, help=_("File to write."))
@network_options
@verb("disclose prove")
def prove(
    screen: Screen,
    *,
    source: str,
    names: tuple[str, ...],
    receipt_path: Path,
    out: Path,
    network: NetworkChoice,
) -> Answer:
    """Prove fields."""
    from node.cli.outputs import write_anew
    from node.disclosure.fields import path_text

    disclosure = _disclosure(screen, source, names, receipt_path, network)
    write_anew(out, disclosure.encode())
    shown = [path_text(each.field.path) for each in disclosure.shown]
    said = _("PROVED  {fields}: {path}")
    screen.line(said.format(fields=", ".join(shown), path=out), style="green")
    return Answer({"file": str(out), "fields": shown})


@disclose.command(
    "sd-jwt",
    help=_(
        "Write the fields named as an SD-JWT (RFC 9901), signed by this identity, for readers "
        "outside; all other fields stay hidden in it. It names the record that committed to them."
    ),
)
@click.argument("source", metavar="SOURCE")
@_fields_option
@click.option("--receipt", "receipt_path", type=_FILE, required=True, help=_("Of the commitment."))
@click.option("--out", type=OutputFile(), required=True, help=_("File to write."))
@network_options
@verb("disclose sd-jwt")
def export_sd_jwt(
    screen: Screen,
    *,
    source: str,
    names: tuple[str, ...],
    receipt_path: Path,
    out: Path,
    network: NetworkChoice,
) -> Answer:
    """Export fields."""
    from node.cli.disclose.records import read_paths
    from node.cli.disclose.telling import expect_receipt_of, sd_jwt_of
    from node.cli.kinds import RECEIPTS, read_claim
    from node.cli.outputs import write_anew

    found, paths = network.open(), read_paths(names)
    receipt = read_claim(receipt_path, *RECEIPTS)
    opening = _opening(screen, source, network)
    expect_receipt_of(receipt_path, receipt, opening.statement.encode())
    token = sd_jwt_of(found, opening, paths, receipt, issued_s=int(time.time()))
    write_anew(out, token.encode() + b"\n")
    screen.line(_("WRITTEN  {path}").format(path=out), style="green")
    return Answer({"file": str(out), "disclosures": token.count("~") - 1})


@disclose.command(
    "authorise",
    help=_(
        "Let one recipient read some fields of a record, for a purpose and until a time: the "
        "disclosure of these goes into the vault, and each reading leaves a trace on chain. The "
        "recipient reads it by govchain vault get."
    ),
)
@click.argument("source", metavar="SOURCE")
@_fields_option
@click.option("--receipt", "receipt_path", type=_FILE, required=True, help=_("Of the commitment."))
@click.option("--to", "recipient", required=True, metavar="NAME", help=_("Who may read them."))
@terms_options
@network_options
@verb("disclose authorise")
def authorise(  # noqa: PLR0913 - one for each option
    screen: Screen,
    *,
    source: str,
    names: tuple[str, ...],
    receipt_path: Path,
    recipient: str,
    purpose: str,
    until: str,
    basis: Path | None,
    network: NetworkChoice,
) -> Answer:
    """Authorise a recipient to read fields."""
    from node.cli.disclose.openings import put_disclosure
    from node.cli.vault.authorising import authorise_document, read_terms
    from node.cli.vault.chain import VaultDesk
    from node.cli.vault.telling import tell_change
    from node.disclosure.fields import path_text

    disclosure = _disclosure(screen, source, names, receipt_path, network)
    shown = [path_text(each.field.path) for each in disclosure.shown]
    terms = read_terms(purpose, until, basis, shown)
    desk = VaultDesk(network.open())
    desk.recipients([recipient])  # one that has no key is refused before anything is kept
    kept = put_disclosure(screen, desk, disclosure)
    known = authorise_document(desk, kept.document_id, recipient, terms)
    return tell_change(screen, known, _("AUTHORISED"), authorised_limits())


@disclose.command(
    "verify",
    help=_(
        "Verify a disclosure offline: that the fields shown are those committed to, and that the "
        "commitment was recorded when its receipt says so. Opens no connection."
    ),
)
@click.argument("path", type=_FILE, metavar="FILE")
@click.option(
    "--trust", "trust_path", type=_FILE, required=True, help=_("Trust file of the chain.")
)
@masking_options
@verb("disclose verify")
def verify_disclosure(
    screen: Screen, *, path: Path, trust_path: Path, masking_path: Path | None, clear: bool
) -> Answer:
    """Verify a disclosure."""
    from node.cli.disclose.telling import verify_file
    from node.cli.trust_file import load_anchor

    policy = choose_policy(masking_path, clear=clear)
    now_ms = time.time_ns() // 1_000_000
    return verify_file(screen, path, load_anchor(trust_path), policy, now_ms=now_ms)


@disclose.command(
    "erase",
    help=_(
        "Forget fields for good: value and salt go from the opening in the vault, and every node "
        "destroys the version that had them. The others can be proved as before."
    ),
)
@click.argument("document", metavar="DOCUMENT")
@_fields_option
@click.option("--yes", "is_sure", is_flag=True, help=_("Do not ask."))
@network_options
@verb("disclose erase")
def erase(
    screen: Screen, *, document: str, names: tuple[str, ...], is_sure: bool, network: NetworkChoice
) -> Answer:
    """Erase fields."""
    from node.cli.disclose.openings import erase_fields
    from node.cli.disclose.records import read_paths
    from node.cli.vault.chain import VaultDesk, read_document_id
    from node.disclosure.fields import path_text

    paths, document_id = read_paths(names), read_document_id(document)
    listed = ", ".join(path_text(each) for each in paths)
    if not is_sure:
        question = _("erase {fields} for good?").format(fields=listed)
        screen.confirm(question, _("it cannot be undone: say --yes"))
    known, left = erase_fields(screen, VaultDesk(network.open()), document_id, paths)
    said = _("ERASED  {fields}; {count} of {total} fields can be proved still (block {height})")
    total = len(left.entries)
    told = said.format(
        fields=listed, count=len(left.fields), total=total, height=known.document.height
    )
    screen.line(told, style="green")
    limits = _("what somebody opened and kept elsewhere, and disclosures given away, stay")
    screen.line("  " + _("note: {limits}").format(limits=limits))
    return Answer(
        {
            "document": document_id.hex(),
            "erased": [path_text(each) for each in paths],
            "fields": len(left.fields),
            "of": total,
            "content_version": known.document.version,
            "limits": limits,
        }
    )


def _disclosure(
    screen: Screen,
    source: str,
    names: tuple[str, ...],
    receipt_path: Path,
    network: NetworkChoice,
) -> Disclosure:
    """Return the disclosure of the fields named; raises `CommandError` for what cannot be shown."""
    from node.cli.disclose.records import read_paths
    from node.cli.disclose.telling import expect_receipt_of
    from node.cli.kinds import RECEIPTS, read_claim
    from node.disclosure.proof import disclose as disclose_fields

    paths = read_paths(names)
    receipt = read_claim(receipt_path, *RECEIPTS)
    opening = _opening(screen, source, network)
    expect_receipt_of(receipt_path, receipt, opening.statement.encode())
    return disclose_fields(opening, paths, receipt)


def _opening(screen: Screen, source: str, network: NetworkChoice) -> Opening:
    """Return the opening named: of a file without any network, else of the vault."""
    from node.cli.disclose.openings import find_opening, read_opening
    from node.cli.inputs import is_file

    if is_file(source):
        return read_opening(Path(source))
    return find_opening(screen, source, network.open())
